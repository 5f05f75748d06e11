import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { configSchema } from '../config/options.ts';
import { developmentBanner } from './development.ts';

describe('what a development server says at its start', () => {
  const banner = (changes: object): string =>
    developmentBanner(
      configSchema.parse({ bind_addresses: ['127.0.0.1'], keys: { devkey: 'secret' }, ...changes }),
      7880,
    );

  it('names the address and the keys', () => {
    const text = banner({});
    assert.match(text, /URL +ws:\/\/localhost:7880\n +API key +devkey\n/);
    assert.doesNotMatch(text, /wss:/);
  });

  it('names the secure address where there is one', () => {
    assert.match(banner({ tls: { mode: 'selfsigned', domain: 'call.test' } }), /wss:\/\/call\.test\n/);
    const other = banner({ tls: { mode: 'selfsigned', names: ['2001:db8::1'], port: 8443 } });
    assert.match(other, /wss:\/\/\[2001:db8::1\]:8443\n +https:\/\/\[2001:db8::1\]:8443\/meet\/\n/);
  });
});

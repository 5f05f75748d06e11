import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { loadConfig } from './load.ts';
import { configHelp, configReference, optionRows } from './reference.ts';

const keys = { keys: { devkey: 'secret' } };

function problemsOf(load: () => unknown): string {
  try {
    load();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  assert.fail('expected a bad-config error');
}

describe('loadConfig', () => {
  it('fills every default of the table', () => {
    const config = loadConfig({ overrides: keys });
    assert.equal(config.port, 7880);
    assert.equal(config.room.empty_timeout, 300);
    assert.equal(config.limit.max_metadata_size, 512 * 1024);
  });

  it('lets flags win over the environment and the environment over the file', () => {
    const config = loadConfig({
      yaml: 'port: 1000\nregion: file\nkeys:\n  a: file\n',
      env: { LIVEKIT_REGION: 'env', LIVEKIT_KEYS: 'b: env' },
      overrides: { port: 2000 },
    });
    assert.equal(config.port, 2000);
    assert.equal(config.region, 'env');
    assert.deepEqual(config.keys, { a: 'file', b: 'env' });
  });

  it('takes one announced address or several', () => {
    assert.deepEqual(loadConfig({ yaml: 'rtc:\n  node_ip: 10.0.0.1\n', overrides: keys }).rtc.node_ip, ['10.0.0.1']);
    assert.deepEqual(loadConfig({ env: { NODE_IP: '10.0.0.1, 10.0.0.2' }, overrides: keys }).rtc.node_ip, [
      '10.0.0.1',
      '10.0.0.2',
    ]);
  });

  it('names every problem at once, with its path', () => {
    const text = problemsOf(() => loadConfig({ yaml: 'port: 99999\nrtc:\n  portrange: 1\nlogging:\n  level: loud\n' }));
    assert.match(text, /`port`/);
    assert.match(text, /unknown option `rtc\.portrange`/);
    assert.match(text, /`logging\.level`/);
  });

  it('refuses a configuration without keys, with a webhook that nobody could verify, and with TURN without credentials', () => {
    assert.match(
      problemsOf(() => loadConfig({})),
      /`keys` is empty/,
    );
    assert.match(
      problemsOf(() => loadConfig({ overrides: { ...keys, webhook: { urls: ['http://127.0.0.1:1/'] } } })),
      /webhook\.api_key/,
    );
    assert.match(
      problemsOf(() => loadConfig({ overrides: { ...keys, rtc: { turn_servers: [{ host: 'a', port: 1 }] } } })),
      /turn_servers\.0/,
    );
  });

  it('refuses numbers that cannot be told to clients', () => {
    const room = 'room:\n  empty_timeout: 0.5\n  departure_timeout: 5000000000\n  max_participants: 5000000000\n';
    const text = problemsOf(() => loadConfig({ yaml: room, overrides: keys }));
    for (const name of ['empty_timeout', 'departure_timeout', 'max_participants']) {
      assert.match(text, new RegExp(`room\\.${name}`));
    }
  });

  it('refuses text that is not YAML, and YAML that is not a map', () => {
    assert.match(
      problemsOf(() => loadConfig({ yaml: 'a: [1' })),
      /not valid YAML/,
    );
    assert.match(
      problemsOf(() => loadConfig({ yaml: '- a' })),
      /name: value/,
    );
  });
});

describe('option reference', () => {
  it('is what docs/reference/config.md says', () => {
    const written = readFileSync(new URL('../../docs/reference/config.md', import.meta.url), 'utf8');
    assert.equal(written, configReference(), 'run: node scripts/docs.ts');
  });

  it('has a text for each option, and the help shows each', () => {
    for (const row of optionRows()) {
      assert.notEqual(row.text, '', row.name);
      assert.ok(configHelp().includes(`  ${row.name} (`), row.name);
    }
  });
});

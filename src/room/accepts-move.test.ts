import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ClientInfo_SDK } from '@livekit/protocol';
import { parseClientFacts } from '../protocol/client-facts.ts';
import { acceptsMove } from './accepts-move.ts';

function facts(query: string, userAgent = '') {
  return parseClientFacts({ query: new URLSearchParams(query), userAgent, address: '' });
}

const chrome = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36';
const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
const safari =
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15';
const chromeOnIos =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Mobile/15E148 Safari/604.1';

describe('clients that can be moved', () => {
  it('are livekit-client in Chromium and the SDKs on the Rust core', () => {
    assert.equal(acceptsMove(facts('sdk=js&protocol=17', chrome)), true);
    assert.equal(acceptsMove(facts('sdk=js&protocol=17', chrome.replace('Chrome', 'HeadlessChrome'))), true);
    for (const sdk of ['node', 'rust', 'python', 'cpp']) {
      assert.equal(acceptsMove(facts(`sdk=${sdk}&protocol=16`)), true, sdk);
    }
  });

  it('are not Firefox, Safari, or what has Safari inside', () => {
    for (const userAgent of [firefox, safari, chromeOnIos, '']) {
      assert.equal(acceptsMove(facts('sdk=js&protocol=17', userAgent)), false, userAgent);
    }
  });

  it('are not SDKs that nobody has tried, nor clients that do not number their data', () => {
    for (const sdk of ['go', 'ios', 'android', 'flutter', 'unity', 'nobody']) {
      assert.equal(acceptsMove(facts(`sdk=${sdk}&protocol=17`, chrome)), false, sdk);
    }
    assert.equal(acceptsMove({ ...facts('protocol=15'), sdk: ClientInfo_SDK.NODE }), false);
  });
});

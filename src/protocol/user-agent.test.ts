import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseUserAgent } from './user-agent.ts';

const samples: readonly [string, ...string[]][] = [
  [
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
    'Chrome',
    '140.0.0.0',
    'Windows',
    '10.0',
    '',
  ],
  [
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.3485.54',
    'Edge',
    '140.0.3485.54',
    'Windows',
    '10.0',
    '',
  ],
  ['Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0', 'Firefox', '128.0', 'Linux', '', ''],
  [
    'Mozilla/5.0 (Android 14; Mobile; rv:143.0) Gecko/143.0 Firefox/143.0',
    'Firefox Mobile',
    '143.0',
    'Android',
    '14',
    'Mobile',
  ],
  [
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Safari/605.1.15',
    'Safari',
    '18.3',
    'Mac OS X',
    '10.15.7',
    'Mac',
  ],
  [
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1',
    'Mobile Safari',
    '18.5',
    'iOS',
    '18.5',
    'iPhone',
  ],
  [
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0.7339.101 Mobile/15E148 Safari/604.1',
    'Chrome Mobile iOS',
    '140.0.7339.101',
    'iOS',
    '18.5',
    'iPhone',
  ],
  [
    'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36',
    'Chrome Mobile',
    '140.0.0.0',
    'Android',
    '10',
    'K',
  ],
  [
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36',
    'HeadlessChrome',
    '140.0.0.0',
    'Linux',
    '',
    '',
  ],
  ['curl/8.5.0', '', '', '', '', ''],
];

describe('parseUserAgent', () => {
  it('names browsers and systems as LiveKit does', () => {
    for (const [userAgent, ...expected] of samples) {
      const facts = parseUserAgent(userAgent);
      assert.deepEqual(
        [facts.browser, facts.browserVersion, facts.os, facts.osVersion, facts.deviceModel],
        expected,
        userAgent,
      );
    }
  });
});

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { Writable } from 'node:stream';
import { describe, it } from 'node:test';
import { signToken } from '../protocol/token.ts';
import { createLog } from './log.ts';

const token = signToken(
  { sub: 'ana' },
  { apiKey: 'key', secret: 'the secret of the key', nowS: 1_800_000_000, ttlS: 60 },
);
const { privateKey } = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
});

for (const json of [true, false]) {
  describe(json ? 'a log in JSON' : 'a readable log', () => {
    /** What one line says, in whatever object and text the secret rides. */
    function written(say: (log: ReturnType<typeof createLog>) => void): string {
      let text = '';
      const destination = new Writable({
        write: (chunk: Buffer, _encoding, done) => {
          text += chunk.toString();
          done();
        },
      });
      say(createLog({ level: 'debug', json }, destination));
      return text;
    }

    it('shows no token, in a field, a URL, a header, an error or a list', () => {
      const text = written((log) => {
        log.info({ token, request: { token, url: `/rtc?access_token=${token}&a=1` } }, `joined with ${token}`);
        log.warn({ err: new Error(`bad token ${token}`), list: [[{ deep: token }]] }, 'refused');
        log.info(
          { headers: { accept: '*', authorization: `Bearer ${token}` }, raw: `Authorization: Bearer ${token}` },
          'x',
        );
        log.info({ url: '/rtc?access_token=not-even-a-jwt&b=1' }, 'x');
      });
      assert.match(text, /joined with/);
      assert.ok(!text.includes(token.split('.')[2] ?? '-'), text);
      assert.ok(!text.includes('not-even-a-jwt'), text);
    });

    it('shows no private key, in a field or in the middle of a text', () => {
      const text = written((log) => {
        log.info({ key: privateKey, pair: { key: privateKey, chain: 'public' }, other: privateKey }, 'certificate');
        log.error({ err: new Error(`cannot read ${privateKey}`) }, 'x');
      });
      assert.match(text, /certificate/);
      for (const line of privateKey.split('\n').slice(1, -2)) assert.ok(!text.includes(line), text);
    });

    it('shows no password, secret or credential', () => {
      const secret = 'hunter2hunter2';
      const text = written((log) => {
        log.info({ secret, password: secret, redis: { password: secret }, turn: { credential: secret, secret } }, 'x');
        log.info({ keys: { devkey: secret } }, 'x');
      });
      assert.ok(!text.includes(secret), text);
    });
  });
}

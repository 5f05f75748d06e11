import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TrackSource } from '@livekit/protocol';
import { verifyToken, type AccessClaims } from '../protocol/token.ts';
import { tokenCommand } from './token.ts';

class Text {
  text = '';

  write(text: string): void {
    this.text += text;
  }
}

async function run(...args: string[]): Promise<string> {
  const out = new Text();
  await tokenCommand({}, out, new Text()).parseAsync(['create', ...args], { from: 'user' });
  return out.text;
}

function verify(token: string, secret = 'secret'): AccessClaims {
  const check = verifyToken(token.trim(), { secretOf: () => secret, nowS: Date.now() / 1000 });
  assert.ok(check.ok, check.ok ? '' : check.refusal.body);
  return check.claims;
}

describe('plenum token create', () => {
  it('makes a token that joins a room', async () => {
    const text = await run(
      '--room',
      'demo',
      '--identity',
      'ana',
      '--name',
      'Ana',
      '--metadata',
      'm',
      '--attribute',
      'a=1',
    );
    assert.match(text, /^[\w-]+\.[\w-]+\.[\w-]+\n$/);
    const claims = verify(text);
    assert.deepEqual([claims.apiKey, claims.identity, claims.name, claims.metadata], ['devkey', 'ana', 'Ana', 'm']);
    assert.deepEqual(claims.attributes, { a: '1' });
    const { room, roomJoin, canPublish, canSubscribe, canPublishData, roomAdmin, roomCreate } = claims.grants ?? {};
    assert.deepEqual([room, roomJoin, canPublish, canSubscribe, canPublishData], ['demo', true, true, true, true]);
    assert.deepEqual([roomAdmin, roomCreate], [false, false]);
    assert.ok(Math.abs(claims.expiresAtS - Date.now() / 1000 - 6 * 3_600) < 60);
  });

  it('withdraws rights one by one', async () => {
    const silent = verify(await run('--room', 'demo', '--identity', 'ana', '--no-publish')).grants;
    assert.deepEqual([silent?.canPublish, silent?.canPublishData, silent?.canSubscribe], [false, true, true]);
    const noData = verify(await run('--room', 'demo', '--identity', 'ana', '--no-publish-data')).grants;
    assert.deepEqual([noData?.canPublish, noData?.canPublishData], [true, false]);
    const blind = verify(await run('--room', 'demo', '--identity', 'ana', '--no-subscribe')).grants;
    assert.equal(blind?.canSubscribe, false);
  });

  it('grants what is asked for', async () => {
    const flags = [
      '--publish-source',
      'microphone',
      'screen_share',
      '--update-own-metadata',
      '--hidden',
      '--agent',
      '--recorder',
      '--admin',
    ];
    const grants = verify(await run('--room', 'demo', '--identity', 'ana', ...flags)).grants;
    assert.deepEqual(grants?.canPublishSources, [TrackSource.MICROPHONE, TrackSource.SCREEN_SHARE]);
    const { canUpdateOwnMetadata, hidden, agent, recorder, roomAdmin } = grants;
    assert.deepEqual([canUpdateOwnMetadata, hidden, agent, recorder, roomAdmin], [true, true, true, true, true]);
  });

  it('makes tokens for the server API without an identity', async () => {
    const grants = verify(await run('--create', '--list', '--record', '--ttl', '10m')).grants;
    assert.deepEqual(
      [grants?.roomCreate, grants?.roomList, grants?.roomRecord, grants?.roomJoin],
      [true, true, true, false],
    );
    const admin = verify(await run('--admin', '--room', 'demo')).grants;
    assert.deepEqual([admin?.roomAdmin, admin?.room, admin?.roomJoin], [true, 'demo', false]);
  });

  it('takes durations in seconds, minutes, hours and days', async () => {
    for (const [ttl, seconds] of [
      ['90', 90],
      ['90s', 90],
      ['30m', 1_800],
      ['2h', 7_200],
      ['10d', 864_000],
    ] as const) {
      const { expiresAtS } = verify(await run('--list', '--ttl', ttl));
      assert.ok(Math.abs(expiresAtS - Date.now() / 1000 - seconds) < 30, ttl);
    }
    for (const ttl of ['soon', '0', '-1h', '1y', '']) {
      await assert.rejects(run('--list', '--ttl', ttl), { code: 'commander.invalidArgument' });
    }
  });

  it('takes key and secret from the environment, and options before it', async () => {
    const out = new Text();
    const env = { LIVEKIT_API_KEY: 'envkey', LIVEKIT_API_SECRET: 'envsecret' };
    await tokenCommand(env, out, new Text()).parseAsync(['create', '--list'], { from: 'user' });
    assert.equal(verify(out.text, 'envsecret').apiKey, 'envkey');
    assert.equal(
      verify(await run('--list', '--api-key', 'optionkey', '--api-secret', 'optionsecret'), 'optionsecret').apiKey,
      'optionkey',
    );
  });

  it('explains a token as JSON', async () => {
    const { token, claims } = JSON.parse(await run('--room', 'demo', '--identity', 'ana', '--json')) as {
      token: string;
      claims: { sub: string; video: object };
    };
    assert.equal(verify(token).identity, 'ana');
    assert.equal(claims.sub, 'ana');
    assert.deepEqual(claims.video, { room: 'demo', roomJoin: true });
  });

  it('makes links to the meeting page of the server', async () => {
    const link = new URL(await run('--room', 'demo', '--identity', 'ana', '--link'));
    assert.equal(`${link.origin}${link.pathname}`, 'http://127.0.0.1:7880/meet/');
    assert.equal(verify(link.searchParams.get('token') ?? '').identity, 'ana');
    const elsewhere = ['--link', '--url', 'wss://video.example.com/below'];
    assert.match(
      await run('--room', 'demo', '--identity', 'ana', ...elsewhere),
      /^https:\/\/video\.example\.com\/below\/meet\/\?token=ey/,
    );
    const json = JSON.parse(await run('--room', 'demo', '--identity', 'ana', '--link', '--json')) as Record<
      string,
      string
    >;
    assert.equal(json['link'], `http://127.0.0.1:7880/meet/?token=${json['token']}`);
    await assert.rejects(run('--list', '--link'), { code: 'commander.error' });
    await assert.rejects(run('--room', 'demo', '--identity', 'ana', '--link', '--url', 'nonsense'), {
      reason: 'server-unreachable',
    });
  });

  it('asks for what is missing', async () => {
    const err = new Text();
    const attempt = (...args: string[]): Promise<unknown> =>
      tokenCommand({}, new Text(), err).parseAsync(['create', ...args], { from: 'user' });
    await assert.rejects(attempt(), { code: 'commander.error' });
    await assert.rejects(attempt('--room', 'demo'), { code: 'commander.error' });
    await assert.rejects(attempt('--identity', 'ana'), { code: 'commander.error' });
    await assert.rejects(attempt('--admin'), { code: 'commander.error' });
    await assert.rejects(attempt('--list', '--attribute', 'novalue'), { code: 'commander.invalidArgument' });
    assert.match(err.text, /say who joins the room with --identity/);
    assert.match(err.text, /--admin is for one room/);
  });

  it('help has examples', async () => {
    const out = new Text();
    await assert.rejects(tokenCommand({}, out, new Text()).parseAsync(['create', '--help'], { from: 'user' }), {
      code: 'commander.helpDisplayed',
    });
    assert.match(out.text, /\.\/plenum token create --room demo --identity ana/);
  });
});

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, it } from 'node:test';
import { RoomConfiguration } from '@livekit/protocol';
import fc from 'fast-check';
import { AccessToken, TokenVerifier } from 'livekit-server-sdk';
import { refreshToken, signToken, verifyToken } from './token.ts';

const nowS = 1_800_000_000;
const keys: Record<string, string> = { devkey: 'secret', other: 'other-secret' };
const options = { secretOf: (apiKey: string) => (Object.hasOwn(keys, apiKey) ? keys[apiKey] : undefined), nowS };

function token(
  claims: Record<string, unknown>,
  signing: { apiKey?: string; secret?: string; ttlS?: number; nowS?: number } = {},
): string {
  return signToken(claims, { apiKey: 'devkey', secret: 'secret', nowS, ttlS: 600, ...signing });
}

/** Signs whatever it is given, header included. */
function forge(header: unknown, payload: unknown, secret = 'secret'): string {
  const signed = [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

function claimsOf(text: string) {
  const check = verifyToken(text, options);
  assert.ok(check.ok, check.ok ? '' : check.refusal.body);
  return check.claims;
}

function refusalOf(text: string): string {
  const check = verifyToken(text, options);
  assert.ok(!check.ok);
  assert.equal(check.refusal.status, 401);
  return check.refusal.body;
}

describe('verifyToken', () => {
  it('accepts a token of livekit-server-sdk with all that it can carry', async () => {
    const sdkToken = new AccessToken('devkey', 'secret', {
      identity: 'alice',
      name: 'Alice',
      metadata: 'm',
      attributes: { a: '1' },
      ttl: '6h',
    });
    sdkToken.addGrant({ roomJoin: true, room: 'r', canPublish: true, canPublishSources: [2, 3], hidden: true });
    sdkToken.kind = 'agent';
    sdkToken.roomConfig = new RoomConfiguration({ name: 'r', emptyTimeout: 7, agents: [{ agentName: 'bot' }] });
    const check = verifyToken(await sdkToken.toJwt(), { ...options, nowS: Date.now() / 1000 });
    assert.ok(check.ok);
    const { claims } = check;
    assert.equal(claims.apiKey, 'devkey');
    assert.equal(claims.identity, 'alice');
    assert.equal(claims.name, 'Alice');
    assert.equal(claims.metadata, 'm');
    assert.deepEqual(claims.attributes, { a: '1' });
    assert.equal(claims.kind, 4);
    assert.equal(claims.grants?.room, 'r');
    assert.equal(claims.grants?.hidden, true);
    assert.deepEqual(claims.grants?.canPublishSources, [2, 3]);
    assert.ok(claims.roomConfiguration !== undefined);
    assert.equal(RoomConfiguration.fromBinary(claims.roomConfiguration).agents[0]?.agentName, 'bot');
  });

  it('fills in the defaults of grants that are not given', () => {
    const { grants } = claimsOf(token({ sub: 'a', video: { roomJoin: true, room: 'r' } }));
    assert.equal(grants?.canPublish, true);
    assert.equal(grants?.canSubscribe, true);
    assert.equal(grants?.canPublishData, true);
    assert.equal(grants?.canUpdateOwnMetadata, false);
    assert.deepEqual(grants?.canPublishSources, []);
    const silent = claimsOf(token({ sub: 'a', video: { canPublish: false } })).grants;
    assert.equal(silent?.canPublishData, false, 'data follows media when it is not given');
    assert.equal(
      claimsOf(token({ sub: 'a', video: { canPublish: false, canPublishData: true } })).grants?.canPublishData,
      true,
    );
  });

  it('has no grants without a video claim and takes null as not given', () => {
    assert.equal(claimsOf(token({ sub: 'a' })).grants, undefined);
    const claims = claimsOf(
      token({ sub: null, jti: 'j', name: null, attributes: null, video: null, roomConfig: null, kind: null }),
    );
    assert.equal(claims.identity, 'j');
    assert.equal(claims.grants, undefined);
    assert.equal(claims.kind, 0);
  });

  it('never turns an unknown source into permission for every source', () => {
    assert.deepEqual(claimsOf(token({ video: { canPublishSources: ['hologram'] } })).grants?.canPublishSources, [0]);
  });

  it('refuses what is not a JWT with HS256', () => {
    const payload = { iss: 'devkey', exp: nowS + 60, sub: 'a' };
    const bad = [
      '',
      'a',
      'a.b.c',
      'a.b',
      `${token({})}.x`,
      forge({ alg: 'none' }, payload),
      forge({ alg: 'RS256' }, payload),
    ];
    bad.push(forge('HS256', payload), forge({ alg: 'HS256' }, []), forge({ alg: 'HS256' }, { ...payload, iss: 7 }));
    bad.push(token({}).slice(0, -10));
    for (const text of bad) {
      assert.equal(refusalOf(text), 'invalid authorization token');
    }
  });

  it('refuses a foreign key before it looks at the signature', () => {
    assert.equal(refusalOf(token({}, { apiKey: 'stranger' })), 'invalid API key');
    assert.equal(refusalOf(token({}, { apiKey: '__proto__' })), 'invalid API key');
  });

  it('refuses a wrong signature and the secret of another key', () => {
    assert.equal(refusalOf(token({}, { secret: 'wrong' })), 'invalid authorization token: signature does not match');
    assert.equal(
      refusalOf(token({}, { secret: 'other-secret' })),
      'invalid authorization token: signature does not match',
    );
  });

  it('widens the validity by 60 s on both ends and demands exp', () => {
    assert.equal(claimsOf(token({}, { nowS: nowS - 659 })).expiresAtS, nowS - 59);
    assert.equal(refusalOf(token({}, { nowS: nowS - 661 })), 'invalid authorization token: token is expired');
    claimsOf(token({}, { nowS: nowS + 59 }));
    assert.equal(refusalOf(token({}, { nowS: nowS + 61 })), 'invalid authorization token: token is not valid yet');
    assert.match(refusalOf(forge({ alg: 'HS256' }, { iss: 'devkey' })), /^invalid authorization token: claim exp: /);
  });

  it('refuses claims of the wrong type without crashing', () => {
    const hostile = [
      { sub: 7 },
      { name: {} },
      { metadata: [] },
      { attributes: { a: 1 } },
      { attributes: 'x' },
      { video: [] },
      { video: { room: {} } },
      { video: { canPublish: 'yes' } },
      { video: { canPublishSources: 'camera' } },
      { kind: 4 },
      { kindDetails: [1] },
      { roomConfig: 'x' },
      { roomConfig: { agents: 7 } },
      { sha256: 1 },
    ];
    for (const claims of hostile) {
      assert.match(refusalOf(token(claims)), /^invalid authorization token: /, JSON.stringify(claims));
    }
    assert.match(
      refusalOf(forge({ alg: 'HS256' }, { iss: 'devkey', exp: 'soon' })),
      /^invalid authorization token: claim exp/,
    );
  });

  it('never throws, whatever the text or the signed claims are', () => {
    fc.assert(fc.property(fc.string(), (text) => !verifyToken(text, options).ok));
    fc.assert(
      fc.property(fc.jsonValue(), (payload) => {
        verifyToken(forge({ alg: 'HS256' }, payload), options);
      }),
    );
    const names = ['sub', 'name', 'attributes', 'kind', 'kindDetails', 'video', 'roomConfig', 'exp', 'nbf', 'sha256'];
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names), fc.jsonValue()), (claims) => {
        const check = verifyToken(forge({ alg: 'HS256' }, { iss: 'devkey', exp: nowS, ...claims }), options);
        assert.ok(check.ok || check.refusal.body.startsWith('invalid authorization token: '));
      }),
    );
  });
});

describe('signToken', () => {
  it('writes tokens that livekit-server-sdk verifies', async () => {
    const realNowS = Date.now() / 1000;
    const text = signToken({ sha256: 'abc' }, { apiKey: 'devkey', secret: 'secret', nowS: realNowS, ttlS: 300 });
    const claims = await new TokenVerifier('devkey', 'secret').verify(text);
    assert.equal(claims.sha256, 'abc');
    assert.equal(claims.exp, Math.floor(realNowS) + 300);
  });
});

describe('refreshToken', () => {
  it('says the same as the token that it replaces', () => {
    const original = claimsOf(
      token({
        sub: 'alice',
        name: 'Alice',
        metadata: 'm',
        attributes: { a: '1' },
        kind: 'agent',
        kindDetails: ['cloud_agent', 'simulation'],
        video: {
          roomJoin: true,
          room: 'r',
          canPublishSources: ['camera', 'screen_share_audio'],
          canSubscribe: false,
          recorder: true,
        },
        roomConfig: { name: 'r', departureTimeout: 9 },
      }),
    );
    assert.ok(original.grants !== undefined);
    const participant = { ...original, grants: original.grants };
    const refreshed = claimsOf(
      refreshToken(participant, { apiKey: 'devkey', secret: 'secret', nowS, tokenExpiresAtS: original.expiresAtS }),
    );
    assert.deepEqual(refreshed, original);
  });

  it('lasts as long as the original would, but ten minutes at least', () => {
    const { grants, ...facts } = claimsOf(token({ sub: 'a', video: {} }));
    assert.ok(grants !== undefined);
    const expiry = (tokenExpiresAtS: number) =>
      claimsOf(refreshToken({ ...facts, grants }, { apiKey: 'devkey', secret: 'secret', nowS, tokenExpiresAtS }))
        .expiresAtS;
    assert.equal(expiry(nowS + 3600), nowS + 3600);
    assert.equal(expiry(nowS - 5000), nowS + 600);
  });
});

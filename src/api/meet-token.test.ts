import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { loadConfig } from '../config/load.ts';
import { verifyToken } from '../protocol/token.ts';
import { createMeetTokenHandler } from './meet-token.ts';

const config = loadConfig({ overrides: { keys: { devkey: 'secret' }, meet: { open: true } } });
const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

describe('tokens for the meeting page', () => {
  it('lets a named person into the named room and nothing more', () => {
    const reply = createMeetTokenHandler(config)?.(encode({ room: ' demo ', name: 'Ann' }));
    assert.ok(reply !== undefined && 'token' in reply.body);
    const check = verifyToken(reply.body.token, { secretOf: () => 'secret', nowS: Date.now() / 1000 });
    assert.ok(check.ok);
    assert.equal(check.claims.grants?.room, 'demo');
    assert.equal(check.claims.grants?.roomAdmin, false);
    assert.equal(check.claims.name, 'Ann');
  });

  it('gives two people of one name two identities', () => {
    const handler = createMeetTokenHandler(config);
    const identities = [1, 2].map(() => {
      const reply = handler?.(encode({ room: 'demo', name: 'Ann' }));
      assert.ok(reply !== undefined && 'token' in reply.body);
      const check = verifyToken(reply.body.token, { secretOf: () => 'secret', nowS: Date.now() / 1000 });
      assert.ok(check.ok);
      return check.claims.identity;
    });
    assert.notEqual(identities[0], identities[1]);
  });

  it('says what is wrong with a request', () => {
    for (const body of [
      encode({ room: '', name: 'Ann' }),
      encode({ room: 'x'.repeat(300), name: 'Ann' }),
      encode({ room: 'a', name: ' ' }),
      new Uint8Array([1, 2]),
    ]) {
      const reply = createMeetTokenHandler(config)?.(body);
      assert.equal(reply?.status, 400);
      assert.ok('message' in reply.body && reply.body.message !== '');
    }
  });

  it('is not offered unless the operator opened the page', () => {
    assert.equal(createMeetTokenHandler(loadConfig({ overrides: { keys: { devkey: 'secret' } } })), undefined);
  });
});

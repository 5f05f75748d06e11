import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CandidateProtocol, ClientConfigSetting, SimulateScenario } from '@livekit/protocol';
import { TestRoom, type Session } from './room-test-kit.ts';

function isForced(session: Session): boolean {
  return session.join.clientConfiguration?.forceRelay === ClientConfigSetting.ENABLED;
}

function fail(room: TestRoom, session: Session): void {
  room.leg({ kind: 'failed', leg: session.sid, failure: 'ice-lost', detail: 'test' });
  room.pass(6_000);
}

describe('a client whose media fails', () => {
  it('is told to use TURN alone after two short sessions, and not to publish before it is asked to', () => {
    const room = new TestRoom();
    const sessions = [room.enter('alice')];
    for (let count = 0; count < 2; count += 1) {
      fail(room, sessions.at(-1) as Session);
      sessions.push(room.enter('alice'));
    }
    assert.deepEqual(sessions.map(isForced), [false, false, true]);
    assert.deepEqual(
      sessions.map(({ join }) => join.fastPublish),
      [true, true, false],
    );
    assert.equal(isForced(room.enter('bob')), false);
  });

  it('is told so when it resumes, too', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    for (const forced of [undefined, ClientConfigSetting.ENABLED]) {
      room.leg({ kind: 'failed', leg: alice.sid, failure: 'ice-lost', detail: 'test' });
      room.resume(alice);
      assert.equal(room.receivedOf(alice, 'reconnect')[0]?.clientConfiguration?.forceRelay, forced);
      room.connect(alice);
    }
  });

  it('may try everything again when the relay fails, or after five minutes', () => {
    const room = new TestRoom();
    for (const expected of [false, false, true, false, false, true]) {
      const alice = room.enter('alice');
      assert.equal(isForced(alice), expected);
      fail(room, alice);
    }
    const other = new TestRoom();
    for (let count = 0; count < 2; count += 1) fail(other, other.enter('alice'));
    const keeper = other.enter('keeper');
    assert.ok(keeper);
    other.pass(5 * 60_000);
    assert.equal(isForced(other.enter('alice')), false);
  });

  it('is not suspected after a long session', () => {
    const room = new TestRoom();
    for (let count = 0; count < 3; count += 1) {
      const alice = room.enter('alice');
      assert.equal(isForced(alice), false);
      room.pass(100_000);
      fail(room, alice);
    }
  });

  it('is left alone where there is no TURN', () => {
    const room = new TestRoom({ iceServersOf: () => [] });
    for (let count = 0; count < 2; count += 1) fail(room, room.enter('alice'));
    assert.equal(isForced(room.enter('alice')), false);
  });

  it('switches to the relay and back as a test scenario says', () => {
    const room = new TestRoom();
    for (const [value, forced] of [
      [CandidateProtocol.TLS, true],
      [CandidateProtocol.UDP, false],
    ] as const) {
      const alice = room.enter('alice');
      const scenario = new SimulateScenario({ scenario: { case: 'switchCandidateProtocol', value } });
      room.signal(alice, { case: 'simulate', value: scenario });
      assert.equal(isForced(room.enter('alice')), forced);
    }
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LeaveRequest } from '@livekit/protocol';
import { TestRoom, type JoinOverrides, type Session } from './room-test-kit.ts';

const before = (protocol: number): JoinOverrides => ({ client: { protocol: protocol - 1 } });
const since = (protocol: number): JoinOverrides => ({ client: { protocol } });

/** A room in which somebody speaks. */
function speakingRoom(): { room: TestRoom; speak: () => void } {
  const room = new TestRoom();
  const sid = room.publish(room.enter('speaker'), { cid: 'mic' });
  const speak = (): void => {
    room.leg({ kind: 'levels', roomName: 'lobby', levels: [{ trackSid: sid, levelDbov: 6 }] });
    room.pass(400);
  };
  return { room, speak };
}

describe('clients of an older protocol', () => {
  it('have their tracks in a stream that names the publisher, and since protocol 1 the track too', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const sid = room.publish(alice, { cid: 'mic' });
    const streamOf = (session: Session): string | undefined => room.wantedOf(session)?.subscriptions[0]?.streamId;
    assert.equal(streamOf(room.enter('old', before(1))), alice.sid);
    assert.equal(streamOf(room.enter('newer', since(1))), `${alice.sid}|${sid}`);
  });

  it('lead with their publisher connection, and since protocol 3 with that of the subscriber', () => {
    const room = new TestRoom();
    assert.equal(room.enter('old', before(3)).join.subscriberPrimary, false);
    assert.equal(room.enter('newer', since(3)).join.subscriberPrimary, true);
  });

  it('hear who speaks since protocol 3', () => {
    const { room, speak } = speakingRoom();
    const [old, newer] = [room.enter('old', before(3)), room.enter('newer', since(3))];
    speak();
    assert.equal(room.receivedOf(old, 'speakersChanged').length, 0);
    assert.equal(room.receivedOf(newer, 'speakersChanged').length, 1);
  });

  it('hear of the quality of connections since protocol 5', () => {
    const room = new TestRoom();
    const [old, newer] = [room.enter('old', before(5)), room.enter('newer', since(5))];
    room.pass(5_000);
    assert.equal(room.receivedOf(old, 'connectionQuality').length, 0);
    assert.ok(room.receivedOf(newer, 'connectionQuality').length > 0);
  });

  it('hear in a resume of those who left meanwhile since protocol 9', () => {
    const room = new TestRoom();
    const gone = room.enter('gone');
    const [old, newer] = [room.enter('old', before(9)), room.enter('newer', since(9))];
    room.cutSocket(old);
    room.cutSocket(newer);
    room.signal(gone, { case: 'leave', value: new LeaveRequest() });
    const missed = [old, newer].map((session) => {
      room.resume(session);
      return room.updates(session).includes('gone:DISCONNECTED');
    });
    assert.deepEqual(missed, [false, true]);
  });
});

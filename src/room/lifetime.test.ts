import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DeleteRoomRequest, DisconnectReason, LeaveRequest, LeaveRequest_Action } from '@livekit/protocol';
import { TestRoom, type Session } from './room-test-kit.ts';

const leave = (room: TestRoom, session: Session) => room.signal(session, { case: 'leave', value: new LeaveRequest() });

describe('a room', () => {
  it('starts with a webhook and a statement to the directory', () => {
    const room = new TestRoom();
    room.step({ kind: 'deadline' });
    assert.deepEqual(room.order(), ['webhook', 'save', 'publishRoom']);
    assert.deepEqual(room.webhooks(), ['room_started']);
  });

  it('closes when nobody joins within the empty timeout', () => {
    const room = new TestRoom();
    room.step({ kind: 'deadline' });
    room.pass(299_999);
    assert.equal(room.closed, false);
    room.pass(1);
    assert.equal(room.closed, true);
    assert.deepEqual(room.webhooks(), ['room_finished']);
    assert.equal(room.room.deadlineMs(), undefined);
  });

  it('closes after the departure timeout and leaves nothing behind', () => {
    const room = new TestRoom();
    const sessions = ['alice', 'bob', 'carol'].map((identity) => room.enter(identity));
    for (const session of sessions) {
      room.publish(session, { cid: 'mic' });
      room.publishCamera(session);
    }
    for (const session of sessions) {
      leave(room, session);
    }
    room.pass(19_999);
    assert.equal(room.closed, false);
    room.pass(1);
    assert.equal(room.closed, true);
    const { participants, tracks, timers, connections, departures, pendingRpcs } = room.room.snapshot();
    assert.deepEqual([participants.length, tracks, timers, connections, departures, pendingRpcs], [0, 0, 0, 0, 0, 0]);
  });

  it('answers a command and a join that come when its time is just up', () => {
    for (const ask of ['command', 'join'] as const) {
      const room = new TestRoom();
      leave(room, room.enter('alice'));
      // The timer of the host fires a little later than the room's deadline.
      room.nowMs += 20_000;
      if (ask === 'command') {
        const result = room.command('DeleteRoom', new DeleteRoomRequest({ room: 'lobby' }));
        assert.equal(result?.ok === false && result.code, 'not_found');
      } else {
        room.askToJoin('bob');
        assert.equal(room.toGateway('refused')[0]?.status, 503);
      }
      assert.equal(room.closed, true);
      assert.equal(room.effects.at(-1)?.kind, 'closed');
    }
  });

  it('stays when somebody comes back in time', () => {
    const room = new TestRoom();
    leave(room, room.enter('alice'));
    room.pass(10_000);
    room.enter('alice');
    room.pass(60_000);
    assert.equal(room.room.isClosed, false);
  });

  it('takes timeouts of parts of a second, and of ages', () => {
    const room = new TestRoom({ emptyTimeoutS: 1e12, departureTimeoutS: 0.5 });
    const alice = room.enter('alice');
    assert.deepEqual([alice.join.room?.emptyTimeout, alice.join.room?.departureTimeout], [0xffff_ffff, 1]);
    leave(room, alice);
    room.pass(500);
    assert.equal(room.closed, true);
  });

  it('is not kept open by helpers, who are told that it ended', () => {
    const room = new TestRoom();
    const agent = room.enter('agent', { kind: 4 });
    const alice = room.enter('alice');
    leave(room, alice);
    room.pass(20_000);
    assert.equal(room.closed, true);
    assert.deepEqual(
      room.receivedOf(agent, 'leave').map((message) => [message.reason, message.action]),
      [[DisconnectReason.ROOM_CLOSED, LeaveRequest_Action.DISCONNECT]],
    );
  });

  it('counts neither helpers nor hidden participants', () => {
    const room = new TestRoom();
    room.enter('agent', { kind: 4 });
    room.enter('ghost', { grants: { hidden: true } });
    const { join } = room.join('alice');
    assert.equal(join.room?.numParticipants, 1);
  });

  it('tells counters within five seconds, and a recording at once', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    room.pass(10_000);
    room.enter('bob');
    assert.deepEqual(room.receivedOf(alice, 'roomUpdate'), []);
    room.pass(5_000);
    assert.equal(room.receivedOf(alice, 'roomUpdate')[0]?.room?.numParticipants, 2);
    const recorder = room.join('recorder', { grants: { recorder: true } });
    assert.equal(room.receivedOf(alice, 'roomUpdate')[0]?.room?.activeRecording, true);
    leave(room, recorder);
    assert.equal(room.receivedOf(alice, 'roomUpdate')[0]?.room?.activeRecording, false);
  });

  it('sends its members away, or back, when the node stops', () => {
    for (const [action, expected] of [
      ['disconnect', [DisconnectReason.SERVER_SHUTDOWN, LeaveRequest_Action.DISCONNECT]],
      ['reconnect', [DisconnectReason.MIGRATION, LeaveRequest_Action.RECONNECT]],
    ] as const) {
      const room = new TestRoom();
      const alice = room.enter('alice');
      room.step({ kind: 'shutdown', action });
      assert.deepEqual(
        room.receivedOf(alice, 'leave').map((message) => [message.reason, message.action]),
        [expected],
      );
      assert.equal(room.closed, true);
    }
  });
});

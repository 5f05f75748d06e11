import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DisconnectReason, LeaveRequest_Action, RoomParticipantIdentity } from '@livekit/protocol';
import { joinParameters, startMs, TestRoom } from './room-test-kit.ts';
import { decodeSavedRoom, type SavedRoom } from './saved-room.ts';
import type { ConnectionId } from '../protocol/ids.ts';

const nowS = startMs / 1000;

function revoke(room: TestRoom, identity: string, beforeS: number): string {
  const request = new RoomParticipantIdentity({ room: 'lobby', identity, revokeTokenTs: BigInt(beforeS) });
  const result = room.command('RemoveParticipant', request);
  if (result === undefined) throw new Error('no answer');
  return result.ok ? 'removed' : result.code;
}

/** The reason with which a token of this age is turned away; undefined when it lets in. */
function refusal(room: TestRoom, identity: string, tokenNotBeforeS?: number): DisconnectReason | undefined {
  const age = tokenNotBeforeS === undefined ? {} : { tokenNotBeforeS };
  const first = room.first(room.askToJoin(identity, age));
  if (first.case !== 'leave') return undefined;
  assert.equal(first.value.action, LeaveRequest_Action.DISCONNECT);
  return first.value.reason;
}

describe('tokens that a moderator takes back', () => {
  it('let in again only when they are younger than he said, and only those of that participant are meant', () => {
    const room = new TestRoom();
    room.enter('alice');
    room.enter('bob', { tokenNotBeforeS: nowS });
    assert.equal(revoke(room, 'bob', nowS + 10), 'removed');
    assert.equal(refusal(room, 'bob', nowS + 9), DisconnectReason.PARTICIPANT_REMOVED);
    assert.equal(refusal(room, 'bob'), DisconnectReason.PARTICIPANT_REMOVED);
    assert.equal(refusal(room, 'carl', nowS), undefined);
    assert.equal(refusal(room, 'bob', nowS + 10), undefined);
  });

  it('do not let in either when their holder was gone already, nor by a resume of another session', () => {
    const room = new TestRoom();
    room.enter('alice');
    assert.equal(revoke(room, 'bob', nowS + 1), 'not_found');
    assert.equal(refusal(room, 'bob', nowS), DisconnectReason.PARTICIPANT_REMOVED);
    const bob = room.enter('bob', { tokenNotBeforeS: nowS + 1 });
    const connectionId = 'CO_thief' as ConnectionId;
    const join = joinParameters('bob', {
      tokenNotBeforeS: nowS,
      resume: { participantSid: bob.sid, reason: 1 },
    });
    room.step({ kind: 'gateway', message: { kind: 'join', connectionId, join } });
    assert.equal(room.first(connectionId).case, 'leave');
    assert.ok(room.room.snapshot().participants.some(({ sid }) => sid === bob.sid));
  });

  it('stay void under the next host of the room', () => {
    const room = new TestRoom();
    room.enter('alice');
    const parts = new Map<string, Uint8Array>();
    revoke(room, 'bob', nowS + 1);
    for (const effect of room.effects) {
      if (effect.kind === 'save') {
        for (const { name, bytes } of effect.parts) if (bytes !== undefined) parts.set(name, bytes);
      }
    }
    const saved = decodeSavedRoom(parts);
    assert.ok(saved !== undefined);
    const next = new TestRoom({}, undefined, saved);
    assert.equal(refusal(next, 'bob', nowS), DisconnectReason.PARTICIPANT_REMOVED);
    assert.equal(refusal(next, 'alice', nowS), undefined);
    const older: SavedRoom | undefined = decodeSavedRoom(
      new Map([['room', new TextEncoder().encode('{"sid":"RM_1","revocations":"x"}')]]),
    );
    assert.deepEqual(older?.revocations, []);
  });

  it('stay as they are after a removal that takes none back', () => {
    const room = new TestRoom();
    room.enter('bob', { tokenNotBeforeS: nowS });
    assert.equal(revoke(room, 'bob', 0), 'removed');
    assert.equal(refusal(room, 'bob', nowS), undefined);
  });
});

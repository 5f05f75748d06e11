import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ParticipantPermission, UpdateParticipantRequest, UpdateRoomMetadataRequest } from '@livekit/protocol';
import { Room } from './room.ts';
import type { RoomEffect } from './events.ts';
import { decodeSavedRoom } from './saved-room.ts';
import { countingSuffix, joinParameters, startMs, testSettings } from './room-test-kit.ts';
import type { ConnectionId } from '../protocol/ids.ts';
import type { RoomCommand } from '../protocol/session-messages.ts';

/** A host that keeps what its room saves, as the store does. */
class SavingHost {
  readonly parts = new Map<string, Uint8Array>();
  readonly effects: RoomEffect[] = [];
  readonly room: Room;

  constructor(former?: SavingHost) {
    const saved = former === undefined ? undefined : decodeSavedRoom(former.parts);
    for (const [name, bytes] of former?.parts ?? []) this.parts.set(name, bytes);
    this.room = new Room({
      name: 'lobby',
      settings: testSettings,
      random: countingSuffix(),
      nowMs: startMs,
      ...(saved === undefined ? {} : { saved }),
    });
    this.step({ kind: 'deadline' });
  }

  step(event: Parameters<Room['step']>[0], nowMs = startMs): void {
    for (const effect of this.room.step(event, nowMs)) {
      this.effects.push(effect);
      for (const { name, bytes } of effect.kind === 'save' ? effect.parts : []) {
        if (bytes === undefined) this.parts.delete(name);
        else this.parts.set(name, bytes);
      }
    }
  }

  join(name: string): void {
    const connectionId = `CO_${name}` as ConnectionId;
    this.step({ kind: 'gateway', message: { kind: 'join', connectionId, join: joinParameters(name) } });
  }

  command(method: RoomCommand['method'], request: { toBinary(): Uint8Array }): void {
    const command = { method, request: request.toBinary() };
    this.step({ kind: 'gateway', message: { kind: 'command', requestId: 1, roomName: 'lobby', command } });
  }
}

describe('a room whose host was lost', () => {
  it('goes on with its sid, metadata and members as they were described', () => {
    const first = new SavingHost();
    first.join('alice');
    first.command('UpdateRoomMetadata', new UpdateRoomMetadataRequest({ room: 'lobby', metadata: 'about us' }));
    first.command(
      'UpdateParticipant',
      new UpdateParticipantRequest({
        room: 'lobby',
        identity: 'alice',
        metadata: 'described',
        attributes: { seat: '7' },
        permission: new ParticipantPermission({ canSubscribe: true, canPublish: false }),
      }),
    );
    const second = new SavingHost(first);
    second.join('alice');
    assert.equal(second.room.sid, first.room.sid);
    assert.equal(second.room.snapshot().metadata, 'about us');
    const saved = decodeSavedRoom(second.parts);
    const [alice] = saved?.participants ?? [];
    assert.equal(alice?.metadata, 'described');
    assert.deepEqual(alice.attributes, { seat: '7' });
    assert.equal(alice.grants.canPublish, false);
    const told = second.effects.flatMap((effect) => (effect.kind === 'webhook' ? [effect.event] : []));
    assert.deepEqual(
      told.map(({ event }) => event),
      ['participant_connection_aborted'],
      'it did not start; her first session has ended',
    );
  });

  it('keeps nothing of members that left before, or do not come back', () => {
    const first = new SavingHost();
    first.join('alice');
    first.join('bob');
    first.step({
      kind: 'gateway',
      message: { kind: 'socketClosed', connectionId: 'CO_bob' as ConnectionId, cause: 'client-closed' },
    });
    assert.deepEqual([...first.parts.keys()].toSorted(), ['participant:alice', 'room']);
    const second = new SavingHost(first);
    second.join('carol');
    second.step({ kind: 'deadline' }, startMs + 60_000);
    assert.equal(second.parts.has('participant:alice'), false);
  });

  it('is a new room when what was saved cannot be read', () => {
    for (const text of ['', 'no json', '{}', '[]', 'null']) {
      assert.equal(decodeSavedRoom(new Map([['room', new TextEncoder().encode(text)]])), undefined);
    }
    assert.equal(decodeSavedRoom(new Map()), undefined);
    const parts = new Map([
      ['room', new TextEncoder().encode('{"sid":"RM_x","newer":1}')],
      ['participant:x', new TextEncoder().encode('{')],
    ]);
    assert.deepEqual(decodeSavedRoom(parts)?.participants, []);
  });
});

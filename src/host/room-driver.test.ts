import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { RoomEffect, RoomEvent } from '../room/events.ts';
import type { RoomSnapshot } from '../room/room.ts';
import { RoomDriver } from './room-driver.ts';

const command = (requestId: number): RoomEvent => ({
  kind: 'gateway',
  message: {
    kind: 'command',
    requestId,
    roomName: 'lobby',
    command: { method: 'DeleteRoom', request: new Uint8Array() },
  },
});

const answer = (requestId: number): RoomEffect => ({
  kind: 'toGateway',
  message: { kind: 'commandResult', requestId, result: { ok: true, response: new Uint8Array() } },
});

/** A room that answers every command, and closes with the first one. */
function closingRoom(): { driver: RoomDriver; answered: number[]; closed: string[] } {
  const answered: number[] = [];
  const closed: string[] = [];
  let isClosed = false;
  const driver: RoomDriver = new RoomDriver({
    room: {
      name: 'lobby',
      step: (event): RoomEffect[] => {
        const requestId = event.kind === 'gateway' && event.message.kind === 'command' ? event.message.requestId : 0;
        const effects = [answer(requestId), ...(isClosed ? [] : [{ kind: 'closed', reason: 'deleted' } as const])];
        isClosed = true;
        return effects;
      },
      deadlineMs: () => undefined,
      movableLegs: () => [],
      snapshot: () => ({}) as RoomSnapshot,
    },
    now: () => 0,
    perform: (effect) => {
      if (effect.kind === 'toGateway' && effect.message.kind === 'commandResult') {
        answered.push(effect.message.requestId);
      }
    },
    closed: (reason) => closed.push(reason),
    failed: (error) => assert.fail(String(error)),
  });
  return { driver, answered, closed };
}

describe('the driver of a room', () => {
  it('has what waits answered by a room that closes meanwhile', () => {
    const { driver, answered, closed } = closingRoom();
    driver.hold();
    driver.handle(command(1));
    driver.handle(command(2));
    driver.release();
    assert.deepEqual([answered, closed.length], [[1, 2], 1]);
  });

  it('says nothing more for a room that was given to another host', () => {
    const { driver, answered, closed } = closingRoom();
    driver.hold();
    driver.handle(command(1));
    assert.equal(driver.abandon().length, 1);
    driver.release();
    assert.deepEqual([answered, closed], [[], []]);
  });
});

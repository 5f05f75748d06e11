import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nodeId, participantSid, type NodeId } from '../protocol/ids.ts';
import type { RoomEvent } from '../room/events.ts';
import { until } from '../../test/kit/until.ts';
import { HostMoves } from './host-moves.ts';
import { ReconnectingMoves } from './reconnecting-moves.ts';
import type { RoomDriver } from './room-driver.ts';

const [here, there] = [nodeId('here'), nodeId('there')];
const ana = participantSid('ana');
const ben = participantSid('ben');

function createMoves(isMoved: () => Promise<boolean>) {
  const events: RoomEvent[] = [];
  const participants = [
    { sid: ana, tracks: [{}] },
    { sid: ben, tracks: [] },
  ];
  const driver = { room: { snapshot: () => ({ participants }) }, handle: (event: RoomEvent) => events.push(event) };
  // Of a driver it uses just this.
  const drivers = new Map([['lobby', driver as unknown as RoomDriver]]);
  const homes: [typeof ana, NodeId][] = [
    [ana, here],
    [ben, there],
  ];
  const on = (id: NodeId) =>
    homes.flatMap(([sid, at]) => (at === id ? [{ participantSid: sid, roomName: 'lobby' }] : []));
  const hosts = new HostMoves({
    nodeId: here,
    rooms: () => drivers.keys(),
    legNodes: () => new Map(homes.map(([, at]) => [at, 1])),
    move: isMoved,
    now: () => performance.now(),
  });
  const moves = new ReconnectingMoves({ hosts, drivers, legs: { on } });
  return { moves, drivers, events };
}

describe('moves by reconnects', () => {
  it('tells what rooms have on a node', () => {
    const { moves } = createMoves(() => Promise.resolve(true));
    const own = moves.on(here);
    assert.deepEqual(own.rooms, [
      { roomName: 'lobby', hostNodeId: here, hostMove: { kind: 'staying', failures: 0, retryInMs: 0 } },
    ]);
    assert.deepEqual(
      own.legs.map((leg) => [leg.participantSid, leg.publishes, leg.acceptsMove]),
      [[ana, true, false]],
    );
    const other = moves.on(there);
    assert.deepEqual(
      other.rooms.map(({ hostNodeId }) => hostNodeId),
      [here],
    );
    assert.deepEqual(
      other.legs.map((leg) => [leg.participantSid, leg.publishes]),
      [[ben, false]],
    );
    assert.deepEqual(moves.on(nodeId('third')), { rooms: [], legs: [] });
  });

  it('tells clients to join anew, and refuses steps for rooms that it does not host', () => {
    const { moves, events } = createMoves(() => Promise.resolve(true));
    const step = { kind: 'reconnectClient', roomName: 'lobby', participantSid: ana, why: 'cannot-move' } as const;
    moves.perform(step);
    assert.deepEqual(events, [{ kind: 'reconnect', participants: [ana] }]);
    assert.throws(() => moves.perform({ ...step, roomName: 'elsewhere' }), { reason: 'not-here' });
  });

  it('gives a room away once, however often it is told, and again later when that failed', async () => {
    const asked: PromiseWithResolvers<boolean>[] = [];
    const { moves, drivers } = createMoves(() => {
      const answer = Promise.withResolvers<boolean>();
      asked.push(answer);
      return answer.promise;
    });
    const step = { kind: 'moveHost', roomName: 'lobby', target: there } as const;
    moves.perform(step);
    moves.perform(step);
    assert.equal(asked.length, 1);
    assert.equal(moves.on(here).rooms[0]?.hostMove.kind, 'moving');
    asked[0]?.resolve(false);
    await until(() => (moves.on(here).rooms[0]?.hostMove.kind === 'staying' ? '' : 'still moving'));
    const failed = moves.on(here).rooms[0]?.hostMove;
    assert.ok(failed?.kind === 'staying' && failed.failures === 1 && failed.retryInMs > 0);
    moves.perform(step);
    assert.equal(asked.length, 2);
    drivers.delete('lobby');
    asked[1]?.resolve(true);
    assert.deepEqual(moves.on(here), { rooms: [], legs: [] });
  });
});

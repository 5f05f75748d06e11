import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { until } from '../../test/kit/until.ts';
import type { DrainLeg } from '../placement/drain-plan.ts';
import { legId, nodeId, participantSid, type LegId, type NodeId } from '../protocol/ids.ts';
import type { RoomEvent } from '../room/events.ts';
import type { MovableLeg } from '../room/moving.ts';
import { HostMoves } from './host-moves.ts';
import { LegMoves } from './leg-moves.ts';
import type { RoomDriver } from './room-driver.ts';

const [here, there] = [nodeId('here'), nodeId('there')];
const ana = participantSid('ana');
const ben = participantSid('ben');

function createMoves(isMoved: () => Promise<boolean>) {
  const events: RoomEvent[] = [];
  const staying: DrainLeg['move'] = { kind: 'staying', failures: 0, retryInMs: 0 };
  const movable: MovableLeg[] = [
    { participantSid: ana, leg: legId(ana, 2), publishes: true, acceptsMove: true, move: staying },
    { participantSid: ben, leg: ben, publishes: false, acceptsMove: false, move: staying },
  ];
  const driver = {
    room: { name: 'lobby' },
    movableLegs: () => movable,
    handle: (event: RoomEvent) => events.push(event),
  };
  // Of a driver it uses just this.
  const drivers = new Map([['lobby', driver as unknown as RoomDriver]]);
  const homes = new Map<LegId, NodeId>([
    [legId(ana, 2), here],
    [ben, there],
  ]);
  const hosts = new HostMoves({
    nodeId: here,
    rooms: () => drivers.keys(),
    legNodes: () => new Map([...homes.values()].map((at) => [at, 1])),
    move: isMoved,
    now: () => performance.now(),
  });
  const moves = new LegMoves({ hosts, drivers, homeOf: (leg) => homes.get(leg) });
  return { moves, drivers, events };
}

describe('moves of rooms and participants', () => {
  it('are told by the node that the legs are on', () => {
    const { moves } = createMoves(() => Promise.resolve(true));
    const own = moves.on(here);
    assert.deepEqual(own.rooms, [
      { roomName: 'lobby', hostNodeId: here, hostMove: { kind: 'staying', failures: 0, retryInMs: 0 } },
    ]);
    assert.deepEqual(
      own.legs.map((leg) => [leg.roomName, leg.participantSid, leg.publishes, leg.acceptsMove]),
      [['lobby', ana, true, true]],
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

  it('give the steps of participants to their room, and refuse those of rooms that are hosted elsewhere', () => {
    const { moves, events } = createMoves(() => Promise.resolve(true));
    const action = { kind: 'prepareLeg', roomName: 'lobby', participantSid: ana, target: there } as const;
    moves.perform(action);
    assert.deepEqual(events, [{ kind: 'move', action }]);
    assert.throws(() => moves.perform({ ...action, roomName: 'elsewhere' }), { reason: 'not-here' });
  });

  it('give a room away once, however often it is told, and again later when that failed', async () => {
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

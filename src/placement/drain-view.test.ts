import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nodeId, participantSid } from '../protocol/ids.ts';
import type { DrainLeg, DrainRoom } from './drain-plan.ts';
import { gatherDrain, isUnderWay, type DrainObservation } from './drain-view.ts';
import { describeWait } from './drain-words.ts';

const [draining, other] = [nodeId('draining'), nodeId('other')];
const staying = { kind: 'staying', failures: 0, retryInMs: 0 } as const;
const ana = participantSid('ana');
const ben = participantSid('ben');

const room = (roomName: string, hostNodeId: typeof draining): DrainRoom => ({
  roomName,
  hostNodeId,
  hostMove: staying,
});
const leg = (sid: typeof ana, roomName: string): DrainLeg => ({
  participantSid: sid,
  roomName,
  publishes: true,
  acceptsMove: true,
  move: staying,
});
const said = (by: typeof draining, about: Partial<DrainObservation> = {}): DrainObservation => ({
  nodeId: by,
  rooms: [],
  legs: [],
  carried: [],
  ...about,
});

describe('what is known about a node that drains', () => {
  it('comes from all hosts, and each room has one to be told', () => {
    const seen = gatherDrain(
      draining,
      [
        said(other, { rooms: [room('b', other)], legs: [leg(ben, 'b')] }),
        said(draining, { rooms: [room('a', draining)], legs: [leg(ana, 'a')] }),
      ],
      [{ roomName: 'a', epoch: 3, isLive: true }],
    );
    assert.deepEqual(seen.rooms.map(({ roomName }) => roomName).toSorted(), ['a', 'b']);
    assert.deepEqual(seen.legs.map(({ participantSid: sid }) => sid).toSorted(), [ana, ben]);
    assert.deepEqual(Object.fromEntries(seen.hosts), { a: draining, b: other });
    assert.deepEqual([seen.unopened, seen.isComplete, isUnderWay(seen)], [[], true, false]);
  });

  it('believes the new host of a room that both tell of', () => {
    const seen = gatherDrain(
      draining,
      [said(other, { rooms: [room('a', other)] }), said(draining, { rooms: [room('a', draining)] })],
      [],
    );
    assert.deepEqual(seen.rooms, [room('a', other)]);
    assert.equal(seen.hosts.get('a'), other);
  });

  it('counts what the store says it owns, and legs that no host knows, and says nothing without its own word', () => {
    const stated = [{ roomName: 'claimed', epoch: 5, isLive: false }];
    const seen = gatherDrain(draining, [said(draining, { carried: [{ participantSid: ana, roomName: 'x' }] })], stated);
    assert.deepEqual(seen.unopened, stated);
    assert.deepEqual(
      seen.rooms.map(({ hostNodeId }) => hostNodeId),
      [draining],
    );
    assert.equal(seen.hosts.has('claimed'), false);
    assert.deepEqual(
      seen.legs.map(({ participantSid: sid, move }) => [sid, move.kind]),
      [[ana, 'reconnecting']],
    );
    assert.equal(gatherDrain(draining, [said(other)], []).isComplete, false);
  });

  it('tells what has been begun', () => {
    const move = { kind: 'prepared', target: other, ageMs: 5 } as const;
    assert.equal(isUnderWay({ rooms: [], legs: [{ ...leg(ana, 'a'), move }] }), true);
    const hostMove = { kind: 'moving', target: other, ageMs: 0 } as const;
    assert.equal(isUnderWay({ rooms: [{ ...room('a', draining), hostMove }], legs: [] }), true);
  });

  it('says in words what it waits for', () => {
    assert.equal(describeWait({ kind: 'room', roomName: 'a' }), 'room a goes on');
    assert.equal(describeWait({ kind: 'moving', hosts: 1, legs: 4 }), '1 room and 4 participants are being moved');
    const rejections = [{ nodeId: other, reason: 'not-serving', detail: 'is CORDONED' } as const];
    assert.equal(
      describeWait({ kind: 'no-target', roomName: 'a', rejections }),
      'no media node can take room a: 1 of 1 not-serving (ND_other is CORDONED)',
    );
  });
});

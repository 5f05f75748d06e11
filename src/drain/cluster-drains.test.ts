import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { until } from '../../test/kit/until.ts';
import { MemoryCluster, testTimings, type TestMember } from '../cluster/cluster-test-kit.ts';
import type { RoomMoveAction, RoomMoves, RoomsOnNode } from '../host/room-moves.ts';
import { createLog } from '../observe/log.ts';
import { defaultDrainPacing, type DrainLeg, type DrainRoom } from '../placement/drain-plan.ts';
import { defaultNodeLimits } from '../placement/load.ts';
import { participantSid, type NodeId, type ParticipantSid } from '../protocol/ids.ts';
import { HostReach } from '../cluster/host-reach.ts';
import { HostRelations } from '../cluster/host-relations.ts';
import { MasterOpinions } from '../cluster/master-opinions.ts';
import { ClusterDrains } from './cluster-drains.ts';
import { DrainService } from './drain-service.ts';
import { NodeLifecycles } from './node-lifecycles.ts';

const log = createLog({ level: 'silent', json: true });
const pacing = { ...defaultDrainPacing, settleMs: 150, batchIntervalMs: 20, batchSize: 2 };

/** All rooms of the cluster: steps that hosts carry out at once, or not at all while `isStuck`. */
class Model {
  readonly rooms = new Map<
    string,
    { hostId: NodeId; move: DrainRoom['hostMove']; legs: Map<ParticipantSid, ModelLeg> }
  >();
  readonly actions: string[] = [];
  isStuck = false;

  add(roomName: string, hostId: NodeId, legs = 2, legsOn = hostId): void {
    const all = Array.from({ length: legs }, (_, index): [ParticipantSid, ModelLeg] => [
      participantSid(`${roomName}${index}`),
      { nodeId: legsOn, move: { kind: 'staying', failures: 0, retryInMs: 0 } },
    ]);
    this.rooms.set(roomName, { hostId, move: { kind: 'staying', failures: 0, retryInMs: 0 }, legs: new Map(all) });
  }

  legsOn(nodeId: NodeId): { participantSid: ParticipantSid; roomName: string }[] {
    return [...this.rooms].flatMap(([roomName, room]) =>
      [...room.legs].flatMap(([sid, leg]) => (leg.nodeId === nodeId ? [{ participantSid: sid, roomName }] : [])),
    );
  }

  moves(hostId: NodeId): RoomMoves {
    return { on: (nodeId) => this.#on(hostId, nodeId), perform: (action) => this.#perform(hostId, action) };
  }

  #on(hostId: NodeId, nodeId: NodeId): RoomsOnNode {
    const rooms: DrainRoom[] = [];
    const legs: DrainLeg[] = [];
    for (const [roomName, room] of this.rooms) {
      const here = [...room.legs].filter(([, leg]) => leg.nodeId === nodeId);
      if (room.hostId === hostId && (hostId === nodeId || here.length > 0)) {
        rooms.push({ roomName, hostNodeId: hostId, hostMove: room.move });
        for (const [sid, { move }] of here) {
          legs.push({ participantSid: sid, roomName, publishes: false, acceptsMove: true, move });
        }
      }
    }
    return { rooms, legs };
  }

  #perform(hostId: NodeId, action: RoomMoveAction): void {
    this.actions.push(action.kind);
    const room = this.rooms.get(action.roomName);
    if (room?.hostId !== hostId) throw new Error(`${action.roomName} is not on ${hostId}`);
    if (action.kind === 'moveHost') {
      room.move = { kind: 'moving', target: action.target, ageMs: 1 };
      if (!this.isStuck) {
        room.hostId = action.target;
        room.move = { kind: 'staying', failures: 0, retryInMs: 0 };
      }
    } else if (action.kind === 'abortHostMove') {
      room.move = { kind: 'staying', failures: 0, retryInMs: 0 };
    } else if (action.kind === 'prepareLeg') {
      this.#leg(room, action.participantSid).move = { kind: 'prepared', target: action.target, ageMs: 0 };
    } else if (action.kind === 'abortPreparation') {
      this.#leg(room, action.participantSid).move = { kind: 'staying', failures: 0, retryInMs: 0 };
    } else if (action.kind === 'triggerLegs') {
      for (const { participantSid: sid } of action.legs) {
        const leg = this.#leg(room, sid);
        if (leg.move.kind === 'prepared') {
          leg.nodeId = leg.move.target;
          leg.move = { kind: 'staying', failures: 0, retryInMs: 0 };
        }
      }
    } else {
      room.legs.delete(action.participantSid);
    }
  }

  #leg(room: { legs: Map<ParticipantSid, ModelLeg> }, sid: ParticipantSid): ModelLeg {
    const leg = room.legs.get(sid);
    if (leg === undefined) throw new Error(`no leg ${sid}`);
    return leg;
  }
}

type ModelLeg = { nodeId: NodeId; move: DrainLeg['move'] };

describe('ClusterDrains', () => {
  let cluster: MemoryCluster;
  let model: Model;
  let one: TestMember;
  let two: TestMember;
  const drains = new Map<NodeId, ClusterDrains>();
  const moved: string[] = [];

  beforeEach(async () => {
    cluster = new MemoryCluster();
    model = new Model();
    one = await media('one');
    two = await media('two');
  });
  afterEach(async () => {
    await Promise.all([...drains.values()].map((each) => each.close()));
    drains.clear();
    moved.length = 0;
    cluster.close();
  });

  async function media(name: string): Promise<TestMember> {
    const member = await cluster.join(name, 'media');
    const { nodeId, relay, store } = member;
    new DrainService({ nodeId, relay, moves: model.moves(nodeId), carried: () => model.legsOn(nodeId), log }).serve();
    const lifecycles = new NodeLifecycles(store.nodeStates);
    await lifecycles.apply(nodeId, { kind: 'booted', owner: 'node', reason: '' });
    await lifecycles.apply(nodeId, { kind: 'ready', owner: 'node', reason: '' });
    return member;
  }

  async function master(name: string): Promise<ClusterDrains> {
    const member = await cluster.join(name, 'master');
    const { leaseMs } = member.store.timings;
    const relations = new HostRelations({ leaseMs, affirmMs: leaseMs });
    const opinions = new MasterOpinions({ ...member, relations, moved: () => {} });
    const each = new ClusterDrains({
      ...member,
      reach: new HostReach(member),
      opinions,
      limits: defaultNodeLimits,
      region: '',
      moved: (roomName, nodeId) => moved.push(`${roomName} ${nodeId}`),
      log,
      pacing,
    });
    drains.set(member.nodeId, each);
    await each.start();
    return each;
  }

  const drain = (by: ClusterDrains, node: TestMember, policy: 'wait' | 'migrate' = 'migrate'): Promise<unknown> =>
    by.admin.step(node.nodeId, { kind: 'drain', owner: 'ana', reason: 'update', policy, deadlineMs: null });

  const state = (by: ClusterDrains, node: TestMember, wanted: string): Promise<void> =>
    until(async () => {
      const report = await by.admin.get(node.nodeId);
      return report.state === wanted ? '' : JSON.stringify(report);
    });

  it('empties a node, tells how far it is, and keeps whose wish it was', async () => {
    const leader = await master('m1');
    model.add('a', one.nodeId, 3);
    model.add('b', two.nodeId, 2, one.nodeId);
    model.isStuck = true;
    await drain(leader, one);
    await until(async () => {
      const { drain: report } = await leader.admin.get(one.nodeId);
      return report?.rooms === 1 && (report.participants ?? 0) > 0 && report.waitingFor.length === 1
        ? ''
        : JSON.stringify(report);
    });
    assert.deepEqual(
      leader.progress().map(({ nodeId, rooms }) => [nodeId, rooms]),
      [[one.nodeId, 1]],
    );
    model.isStuck = false;
    model.rooms.get('a')!.move = { kind: 'staying', failures: 1, retryInMs: 0 };
    await state(leader, one, 'DRAINED');
    assert.equal(model.legsOn(one.nodeId).length, 0);
    assert.deepEqual(moved, [`a ${two.nodeId}`]);
    const report = await leader.admin.get(one.nodeId);
    assert.deepEqual([report.owner, report.reason, report.drain], ['ana', 'update', null]);
  });

  it('is led on by another master when the first one is gone', async () => {
    const [first, second] = [await master('m1'), await master('m2')];
    model.add('a', one.nodeId);
    await drain(second, one, 'wait');
    const leaderOf = async (): Promise<string> => (await second.admin.get(one.nodeId)).drain?.leader ?? '';
    await until(async () => ((await leaderOf()).endsWith('m1') ? '' : 'm1 does not lead'));
    await first.close();
    cluster.kill('ND_m1' as NodeId);
    await until(async () => ((await leaderOf()).endsWith('m2') ? '' : 'm2 does not lead'));
    model.rooms.clear();
    await state(second, one, 'DRAINED');
  });

  it('takes back what was begun when a node is undrained, also what an earlier leader has left', async () => {
    const first = await master('m1');
    model.add('a', one.nodeId);
    model.isStuck = true;
    await drain(first, one);
    await until(() => (model.rooms.get('a')?.move.kind === 'moving' ? '' : 'nothing moves'));
    await first.admin.step(one.nodeId, { kind: 'undrain', owner: 'ana', reason: '' });
    await until(() => (model.rooms.get('a')?.move.kind === 'staying' ? '' : 'it still moves'));
    assert.equal((await first.admin.get(one.nodeId)).state, 'SERVING');
    await first.close();
    model.rooms.get('a')!.move = { kind: 'moving', target: two.nodeId, ageMs: 1 };
    await master('m2');
    await until(() => (model.rooms.get('a')?.move.kind === 'staying' ? '' : 'it still moves'));
  });

  it('drains two nodes at once, neither into the other', async () => {
    const leader = await master('m1');
    const three = await media('three');
    model.add('a', one.nodeId);
    model.add('b', two.nodeId);
    await Promise.all([drain(leader, one), drain(leader, two)]);
    await state(leader, one, 'DRAINED');
    await state(leader, two, 'DRAINED');
    assert.equal(model.legsOn(three.nodeId).length, 4);
    assert.equal(
      [...model.rooms.values()].every(({ hostId }) => hostId === three.nodeId),
      true,
    );
  });

  it('says so when no node can take the rooms, and touches nobody', async () => {
    const leader = await master('m1');
    model.add('a', one.nodeId);
    await leader.admin.step(two.nodeId, { kind: 'cordon', owner: 'ana', reason: '' });
    await drain(leader, one);
    await until(async () => {
      const waits = (await leader.admin.get(one.nodeId)).drain?.waitingFor.join() ?? '';
      return /no media node can take room a: .*not-serving/.test(waits) ? '' : waits;
    });
    assert.deepEqual(model.actions, []);
    assert.equal((await leader.admin.get(one.nodeId)).state, 'DRAINING');
  });

  it('calls no node drained that does not answer, or that Redis says owns a room', async () => {
    const leader = await master('m1');
    const claim = await one.store.rooms.claim('claimed', one.nodeId);
    assert.ok(claim.kind === 'owned');
    await one.store.rooms.save('claimed', claim.epoch, new Map([['room', Uint8Array.of(1)]]));
    cluster.hub.freeze(one.nodeId);
    await drain(leader, one, 'wait');
    await delay(3 * pacing.settleMs);
    assert.equal((await leader.admin.get(one.nodeId)).state, 'DRAINING');
    cluster.hub.thaw(one.nodeId);
    // Its lease ends unopened, so the room goes to another node with all that was saved of it.
    await state(leader, one, 'DRAINED');
    assert.deepEqual(moved, [`claimed ${two.nodeId}`]);
    assert.equal((await one.store.rooms.find('claimed'))?.nodeId, two.nodeId);
  });

  it('goes on after an outage of the store as if nothing had been', async () => {
    const leader = await master('m1');
    model.add('a', one.nodeId);
    await drain(leader, one, 'wait');
    await until(async () => ((await leader.admin.get(one.nodeId)).drain?.rooms === 1 ? '' : 'not looked at'));
    cluster.server.stop();
    await assert.rejects(leader.admin.list(), { reason: 'store-away' });
    await delay(3 * testTimings.leaseMs);
    cluster.server.start();
    assert.deepEqual(model.actions, []);
    model.rooms.clear();
    await state(leader, one, 'DRAINED');
    assert.equal((await leader.admin.get(two.nodeId)).state, 'SERVING');
  });

  it('calls a node lost that nobody hears or reaches, and takes it back when it is heard', async () => {
    const leader = await master('m1');
    await leader.admin.step(one.nodeId, { kind: 'cordon', owner: 'ana', reason: 'odd noises' });
    cluster.stopBeating(one.nodeId);
    await delay(3 * testTimings.leaseMs);
    assert.equal((await leader.admin.get(one.nodeId)).state, 'CORDONED', 'masters reach it');
    cluster.kill(one.nodeId);
    await state(leader, one, 'LOST');
    const lost = await leader.admin.get(one.nodeId);
    assert.deepEqual([lost.stateBefore, lost.owner, lost.live], ['CORDONED', 'ana', false]);
    cluster.beatAgain(one);
    await state(leader, one, 'CORDONED');
  });
});

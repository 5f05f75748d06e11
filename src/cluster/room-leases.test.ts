import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { until } from '../../test/kit/until.ts';
import { createLog } from '../observe/log.ts';
import { MemoryCluster, openRoom, type TestMember } from './cluster-test-kit.ts';
import { RoomLeases } from './room-leases.ts';
import type { ClusterStore } from './store.ts';

const log = createLog({ level: 'silent', json: true });
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('RoomLeases', () => {
  let cluster: MemoryCluster;
  let here: TestMember;
  let there: TestMember;

  beforeEach(async () => {
    cluster = new MemoryCluster();
    here = await cluster.join('here', 'media');
    there = await cluster.join('there', 'media');
  });
  afterEach(() => cluster.close());

  it('takes a new room, and not one of another node', async () => {
    const leases = cluster.leases(here);
    assert.deepEqual(await leases.acquire('unknown'), { kind: 'missing' });
    const grant = await openRoom(here, leases, 'mine');
    assert.ok(grant.kind === 'owned' && grant.epoch > 0 && grant.parts === undefined);
    await there.store.rooms.claim('theirs', there.nodeId);
    assert.deepEqual(await openRoom(here, leases, 'theirs'), { kind: 'elsewhere' });
    assert.equal(leases.size, 1);
  });

  it('passes on a room that was meant for it when it takes none, and opens it when nobody else does', async () => {
    await there.store.rooms.claim('early', here.nodeId);
    const draining = cluster.leases(here, there.nodeId, () => false);
    assert.deepEqual(await openRoom(here, draining, 'early'), { kind: 'elsewhere' });
    assert.equal((await there.store.rooms.find('early'))?.nodeId, there.nodeId);
    const last = cluster.leases(here, undefined, () => false);
    await there.store.rooms.claim('alone', here.nodeId);
    assert.equal((await openRoom(here, last, 'alone')).kind, 'owned');
  });

  it('hands on what was saved when it gives a room away, and takes no more writes for it', async () => {
    const leases = cluster.leases(here, there.nodeId);
    const next = cluster.leases(there);
    await openRoom(here, leases, 'lobby');
    leases.publish('lobby', bytes('published'));
    leases.save('lobby', [
      { name: 'room', bytes: bytes('facts') },
      { name: 'gone', bytes: bytes('left') },
    ]);
    leases.save('lobby', [{ name: 'gone', bytes: undefined }]);
    await until(async () => ((await here.store.rooms.list([])).length === 1 ? '' : 'nothing is published'));
    assert.equal(await leases.handOver('lobby'), there.nodeId);
    leases.save('lobby', [{ name: 'room', bytes: bytes('too late') }]);
    const grant = await openRoom(there, next, 'lobby');
    assert.ok(grant.kind === 'owned' && grant.parts !== undefined);
    assert.deepEqual([...grant.parts], [['room', bytes('facts')]]);
  });

  it('has the store know the newest of a room, or its end, once it is stated', async () => {
    const leases = cluster.leases(here);
    await openRoom(here, leases, 'lobby');
    for (const text of ['first', 'second', 'third']) leases.publish('lobby', bytes(text));
    await leases.stated('lobby');
    assert.deepEqual(await here.store.rooms.list(['lobby']), [bytes('third')]);
    leases.release('lobby');
    await leases.stated('lobby');
    assert.equal(await here.store.rooms.find('lobby'), undefined);
    await leases.stated('unknown');
  });

  it('lets nobody wait for a store that is away', async () => {
    const leases = cluster.leases(here);
    await openRoom(here, leases, 'lobby');
    cluster.server.stop();
    leases.publish('lobby', bytes('unheard'));
    await leases.stated('lobby');
    assert.equal(leases.size, 1);
  });

  it('gives a room away with what was still being written', async () => {
    const leases = cluster.leases(here, there.nodeId);
    await openRoom(here, leases, 'lobby');
    leases.save('lobby', [{ name: 'room', bytes: bytes('first') }]);
    leases.save('lobby', [{ name: 'room', bytes: bytes('last') }]);
    assert.equal(await leases.handOver('lobby'), there.nodeId);
    const grant = await openRoom(there, cluster.leases(there), 'lobby');
    assert.ok(grant.kind === 'owned' && grant.parts !== undefined);
    assert.deepEqual([...grant.parts], [['room', bytes('last')]]);
  });

  it('tells which rooms another node has taken', async () => {
    const leases = cluster.leases(here);
    const lost: string[] = [];
    leases.onLost((roomName) => lost.push(roomName));
    const grant = await openRoom(here, leases, 'lobby');
    await openRoom(here, leases, 'kept');
    await leases.renew();
    assert.equal(leases.mayAct('lobby'), true);
    assert.ok(grant.kind === 'owned');
    await there.store.rooms.handOver('lobby', grant.epoch, there.nodeId);
    await leases.renew();
    assert.deepEqual(lost, ['lobby']);
    assert.equal(leases.size, 1);
  });

  it('states everything again to a store that has forgotten it', async () => {
    const leases = cluster.leases(here);
    const before = cluster.server.checkpoint();
    await openRoom(here, leases, 'lobby');
    leases.publish('lobby', bytes('published'));
    leases.save('lobby', [{ name: 'room', bytes: bytes('facts') }]);
    await until(async () => ((await here.store.rooms.list([])).length === 1 ? '' : 'nothing is published'));
    cluster.server.failOver(before);
    assert.deepEqual(await here.store.rooms.list([]), []);
    await until(async () => {
      await leases.renew();
      const [listed, saved] = [await here.store.rooms.list([]), await here.store.rooms.load('lobby')];
      return listed.length === 1 && saved?.parts.size === 1 ? '' : 'not everything is there again';
    });
  });

  it('frees the name of a room that ended while the store was away', async () => {
    const leases = cluster.leases(here);
    const first = await openRoom(here, leases, 'lobby');
    cluster.server.stop();
    leases.release('lobby');
    await leases.renew();
    cluster.server.start();
    await leases.renew();
    await until(async () => ((await here.store.rooms.find('lobby')) === undefined ? '' : 'it is still there'));
    const second = await openRoom(here, leases, 'lobby');
    assert.ok(first.kind === 'owned' && second.kind === 'owned' && second.epoch > first.epoch);
    assert.equal(second.parts, undefined);
  });

  it('regains a room that was placed here, and whose lease ran out before anybody came', async () => {
    await here.store.rooms.claim('lobby', here.nodeId);
    await until(async () => ((await here.store.rooms.find('lobby'))?.isLive === false ? '' : 'the lease lives'));
    assert.equal((await openRoom(here, cluster.leases(here), 'lobby')).kind, 'owned');
  });

  it('may act as long as the store has renewed its lease, or a master says so', async () => {
    const { store, nodeId } = here;
    const state = { affirmedAtMs: -Infinity };
    const affirmation = { affirmedAtMs: () => state.affirmedAtMs, renewed: () => undefined };
    const leases = new RoomLeases({
      store,
      nodeId,
      chooseSuccessor: () => undefined,
      admitsRooms: () => true,
      affirmation,
      log,
    });
    assert.equal(leases.mayAct('lobby'), false);
    await openRoom(here, leases, 'lobby');
    assert.equal(leases.mayAct('lobby'), true);
    await until(() => (leases.mayAct('lobby') ? 'its lease is over' : ''));
    state.affirmedAtMs = performance.now();
    assert.equal(leases.mayAct('lobby'), true);
    await until(() => (leases.mayAct('lobby') ? 'nobody has affirmed it for long' : ''));
    await leases.renew();
    assert.equal(leases.mayAct('lobby'), true);
    leases.close();
  });

  it('is silent from giving a room away until a later renewal, whose answer says who has it', async () => {
    const { nodeId } = here;
    const fault = { isDone: false };
    const store = withRooms(here.store, async (rooms, ...call) => {
      if (fault.isDone) await rooms.handOver(...call);
      throw new Error('the answer is lost');
    });
    const leases = new RoomLeases({ store, nodeId, chooseSuccessor: () => there.nodeId, admitsRooms: () => true, log });
    const lost: string[] = [];
    leases.onLost((roomName) => lost.push(roomName));
    await openRoom(here, leases, 'lobby');
    assert.equal(await leases.handOver('lobby'), undefined);
    assert.equal(leases.mayAct('lobby'), false);
    await leases.renew();
    assert.equal(leases.mayAct('lobby'), true);
    fault.isDone = true;
    assert.equal(await leases.handOver('lobby'), undefined);
    assert.equal(leases.mayAct('lobby'), false);
    assert.deepEqual(lost, []);
    await leases.renew();
    assert.deepEqual(lost, ['lobby']);
    leases.close();
  });

  it('asks for a higher epoch when others have seen one that the store has forgotten', async () => {
    const leases = cluster.leases(here);
    const lost: string[] = [];
    leases.onLost((roomName) => lost.push(roomName));
    const first = await openRoom(here, leases, 'lobby');
    assert.ok(first.kind === 'owned');
    leases.superseded('lobby', first.epoch);
    assert.deepEqual(lost, [], 'its own epoch is no later one');
    leases.superseded('lobby', first.epoch + 40);
    assert.deepEqual(lost, ['lobby']);
    const second = await leases.acquire('lobby');
    assert.ok(second.kind === 'owned' && second.epoch > first.epoch + 40, JSON.stringify(second));
  });
});

type Rooms = ClusterStore['rooms'];

/** The store with another way to hand rooms over. */
function withRooms(
  store: ClusterStore,
  handOver: (rooms: Rooms, ...call: Parameters<Rooms['handOver']>) => ReturnType<Rooms['handOver']>,
): ClusterStore {
  const { rooms, timings, health, nodes, nodeStates, leases, records, bus } = store;
  const changed: Rooms = {
    find: (...call) => rooms.find(...call),
    claim: (...call) => rooms.claim(...call),
    renew: (...call) => rooms.renew(...call),
    takeOver: (...call) => rooms.takeOver(...call),
    handOver: (...call) => handOver(rooms, ...call),
    release: (...call) => rooms.release(...call),
    save: (...call) => rooms.save(...call),
    load: (...call) => rooms.load(...call),
    publish: (...call) => rooms.publish(...call),
    list: (...call) => rooms.list(...call),
    ofNode: (...call) => rooms.ofNode(...call),
  };
  return { rooms: changed, timings, health, nodes, nodeStates, leases, records, bus, close: () => store.close() };
}

import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { MemoryStoreServer, type MemoryStore } from '../cluster/memory-store.ts';
import { createLog } from '../observe/log.ts';
import type { NodeEvent } from '../placement/node-lifecycle.ts';
import { nodeId } from '../protocol/ids.ts';
import { until } from '../../test/kit/until.ts';
import { NodeLifecycles } from './node-lifecycles.ts';
import { OwnLifecycle } from './own-lifecycle.ts';
import { SelfDrain, type SelfDrainOptions } from './self-drain.ts';

const log = createLog({ level: 'silent', json: true });
const leaseMs = 2_000;
const seat = 'machine 10.0.0.1:7890';

describe('OwnLifecycle', () => {
  let nowMs: number;
  let server: MemoryStoreServer;
  let store: MemoryStore;
  let lifecycles: NodeLifecycles;

  beforeEach(() => {
    nowMs = 1_000;
    server = new MemoryStoreServer({ now: () => nowMs, wait: () => Promise.resolve() });
    store = server.connect();
    lifecycles = new NodeLifecycles(store.nodeStates);
  });

  const start = (name: string, at = seat): OwnLifecycle =>
    new OwnLifecycle({ nodeId: nodeId(name), seat: at, lifecycles, leaseMs, log, now: () => nowMs });
  const beat = async (own: OwnLifecycle, name: string): Promise<void> =>
    own.noteBeat(await store.nodeStates.get(nodeId(name)), nowMs);
  const operator = { owner: 'ana', reason: 'disk' };
  const drain = (own: OwnLifecycle, about: Partial<NodeEvent & { kind: 'drain' }> = {}): Promise<unknown> =>
    own.ask({ kind: 'drain', policy: 'wait', deadlineMs: 60_000, ...operator, ...about });

  it('serves once it is ready and has been told so lately, and takes no rooms otherwise', async () => {
    const own = start('one');
    assert.deepEqual([own.state, own.admitsRooms], ['BOOTING', false]);
    await own.ready();
    assert.deepEqual([own.state, own.admitsRooms], ['SERVING', true]);
    nowMs += leaseMs;
    assert.deepEqual([own.state, own.isFresh, own.admitsRooms], ['SERVING', false, false]);
    await beat(own, 'one');
    assert.equal(own.admitsRooms, true);
    await lifecycles.apply(nodeId('one'), { kind: 'cordon', ...operator });
    await beat(own, 'one');
    assert.deepEqual([own.state, own.isFresh, own.admitsRooms], ['CORDONED', true, false]);
  });

  it('states itself with a later beat when the store was away at its start', async () => {
    server.stop();
    const own = start('one');
    await own.ready();
    assert.equal(own.state, 'BOOTING');
    server.start();
    await beat(own, 'one');
    await until(() => (own.state === 'SERVING' ? '' : own.state));
  });

  it('states again what the store has forgotten, deadline included', async () => {
    const own = start('one');
    await own.ready();
    await drain(own);
    nowMs += 10_000;
    const record = await store.nodeStates.get(nodeId('one'));
    await store.nodeStates.remove(nodeId('one'), record?.epoch ?? 0);
    await beat(own, 'one');
    await until(async () => ((await store.nodeStates.get(nodeId('one')))?.state === 'DRAINING' ? '' : 'not restated'));
    const restated = await store.nodeStates.get(nodeId('one'));
    assert.deepEqual([restated?.owner, restated?.remainingMs, restated?.seat], ['ana', 50_000, seat]);
  });

  it('goes on with what was wanted of the process before it on that machine', async () => {
    const first = start('first');
    await first.ready();
    await drain(first);
    const second = start('second');
    await second.ready();
    assert.deepEqual([second.state, second.record?.owner, second.record?.policy], ['DRAINING', 'ana', 'wait']);
    assert.deepEqual(
      (await lifecycles.list()).map((record) => record.nodeId),
      [nodeId('second')],
    );
    await second.ask({ kind: 'emptied', ...operator });
    const third = start('third');
    await third.ready();
    assert.deepEqual([third.state, third.record?.reason], ['CORDONED', 'disk'], 'who drained it takes it back');
    const elsewhere = start('elsewhere', 'machine 10.0.0.2:7890');
    await elsewhere.ready();
    assert.equal(elsewhere.state, 'SERVING');
  });

  it('leaves no wish behind that was its own, and no record when it just ends', async () => {
    const first = start('first');
    await first.ready();
    await drain(first, { owner: 'node', reason: 'SIGTERM' });
    await first.end();
    assert.equal((await lifecycles.get(nodeId('first')))?.state, 'DRAINED');
    const second = start('second');
    await second.ready();
    assert.equal(second.state, 'SERVING');
    await second.end();
    assert.deepEqual(await lifecycles.list(), []);
  });

  it('tells refusals by their reasons', async () => {
    const own = start('one');
    await own.ready();
    await assert.rejects(lifecycles.apply(nodeId('none'), { kind: 'cordon', ...operator }), { reason: 'unknown-node' });
    await drain(own);
    await own.ask({ kind: 'emptied', ...operator });
    await assert.rejects(own.ask({ kind: 'undrain', ...operator }), { reason: 'already-drained' });
    server.stop();
    await assert.rejects(own.ask({ kind: 'cordon', ...operator }), { reason: 'store-away' });
  });
});

describe('SelfDrain', () => {
  async function serving(): Promise<{ own: OwnLifecycle; server: MemoryStoreServer; lifecycles: NodeLifecycles }> {
    const server = new MemoryStoreServer();
    const lifecycles = new NodeLifecycles(server.connect().nodeStates);
    const own = new OwnLifecycle({ nodeId: nodeId('one'), seat, lifecycles, leaseMs: 60_000, log });
    await own.ready();
    return { own, server, lifecycles };
  }

  const options = (own: OwnLifecycle, changes: Partial<SelfDrainOptions> = {}): SelfDrainOptions => ({
    own,
    policy: 'wait',
    deadlineMs: 60_000,
    counts: () => ({ rooms: 1, participants: 2 }),
    hasMaster: () => true,
    log,
    ...changes,
  });

  it('asks to be drained by its deadline, asks again when that was taken back, and waits until it is drained', async () => {
    const { own, lifecycles } = await serving();
    const end = new SelfDrain(options(own)).run();
    await until(() => (own.state === 'DRAINING' ? '' : own.state));
    assert.deepEqual([own.record?.owner, own.record?.reason, own.record?.deadlineIsHard], ['node', 'SIGTERM', true]);
    await own.ask({ kind: 'undrain', owner: 'ana', reason: '' });
    await until(() => (own.state === 'DRAINING' ? '' : own.state));
    const { record } = await lifecycles.apply(nodeId('one'), { kind: 'emptied', owner: 'node', reason: 'SIGTERM' });
    own.noteBeat(record, performance.now());
    assert.equal(await end, 'drained');
  });

  it('keeps whose wish it was when it was to be drained already', async () => {
    const { own } = await serving();
    await own.ask({ kind: 'drain', policy: 'migrate', deadlineMs: null, owner: 'ana', reason: 'disk' });
    const end = new SelfDrain(options(own, { deadlineMs: 400 })).run();
    await until(() => (own.record?.deadlineIsHard === true ? '' : 'no deadline'));
    assert.deepEqual([own.record?.owner, own.record?.reason], ['ana', 'disk']);
    assert.equal(await end, 'deadline');
  });

  it('ends at its deadline when nobody drains it, and earlier when it is empty', async () => {
    const busy = await serving();
    busy.server.stop();
    const atDeadline = options(busy.own, { deadlineMs: 300, hasMaster: () => false });
    assert.equal(await new SelfDrain(atDeadline).run(), 'deadline');
    const idle = await serving();
    const empty = options(idle.own, { hasMaster: () => false, counts: () => ({ rooms: 0, participants: 0 }) });
    assert.equal(await new SelfDrain(empty).run(), 'empty');
    await until(() => (idle.own.state === 'DRAINED' ? '' : idle.own.state));
  });
});

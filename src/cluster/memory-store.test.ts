import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { NodeId } from '../protocol/ids.ts';
import { MemoryStoreServer } from './memory-store.ts';
import { contractTimings, describeStore } from './store-contract-test-kit.ts';

const [alpha, beta] = ['ND_alpha', 'ND_beta'] as [NodeId, NodeId];

function createServer() {
  const clock = { nowMs: 1_000 };
  const wait = (ms: number): Promise<void> => {
    clock.nowMs += ms;
    return Promise.resolve();
  };
  return { clock, wait, server: new MemoryStoreServer({ timings: contractTimings, now: () => clock.nowMs, wait }) };
}

describeStore('MemoryStore', () => {
  const { server, wait } = createServer();
  return Promise.resolve({
    connect: () => Promise.resolve(server.connect()),
    elapse: wait,
    close: () => Promise.resolve(),
  });
});

describe('MemoryStoreServer', () => {
  it('rejects everything while it is away, and gives living leases one period when it is back', async () => {
    const { server, clock } = createServer();
    const store = server.connect();
    const changes: string[] = [];
    store.health.onChange((change) => changes.push(change));
    const dead = await store.rooms.claim('dead', beta);
    clock.nowMs += contractTimings.leaseMs;
    const held = await store.rooms.claim('held', alpha);
    server.stop();
    assert.equal(store.health.answeringSince(), undefined);
    await assert.rejects(store.rooms.claim('new', alpha), { code: 'unavailable', reason: 'store-away' });
    clock.nowMs += 600_000;
    server.start();
    assert.equal(store.health.answeringSince(), clock.nowMs);
    assert.deepEqual(changes, ['lost', 'back']);
    clock.nowMs += contractTimings.leaseMs - 1;
    assert.equal((await store.rooms.find('held'))?.isLive, true);
    assert.deepEqual(await store.rooms.find('dead'), { nodeId: beta, epoch: dead.epoch, isLive: false });
    clock.nowMs += 1;
    assert.deepEqual(await store.rooms.takeOver('held', held.epoch, beta).then(({ kind }) => kind), 'taken');
  });

  it('never hands an epoch out twice when a failover loses the last grants', async () => {
    const { server } = createServer();
    const store = server.connect();
    await store.rooms.claim('old', alpha);
    const known = server.checkpoint();
    const lost = await store.rooms.claim('lost', alpha);
    server.failOver(known);
    const other = await store.rooms.claim('other', beta);
    assert.ok(other.epoch > lost.epoch);
    const renewal = await store.rooms.renew(alpha, [{ roomName: 'lost', epoch: lost.epoch }]);
    assert.deepEqual(renewal, { lost: [], restated: ['lost'] });
    server.restart(known);
    assert.ok((await store.rooms.claim('next', beta)).epoch > lost.epoch);
  });

  it('lets nodes restate their rooms before it gives a lost name away', async () => {
    const { server, clock } = createServer();
    const store = server.connect();
    const known = server.checkpoint();
    const lost = await store.rooms.claim('lost', alpha);
    server.failOver(known);
    const startedMs = clock.nowMs;
    const claim = store.rooms.claim('lost', beta);
    await store.rooms.renew(alpha, [{ roomName: 'lost', epoch: lost.epoch }]);
    assert.deepEqual(await claim, { kind: 'owned', created: false, nodeId: alpha, epoch: lost.epoch });
    assert.ok(clock.nowMs - startedMs <= 2 * contractTimings.heartbeatMs + 1);
  });

  it('cuts one node off alone', async () => {
    const { server } = createServer();
    const [cut, fine] = [server.connect(), server.connect()];
    cut.cutOff(true);
    await assert.rejects(cut.nodes.list(), { reason: 'store-away' });
    assert.deepEqual(await fine.nodes.list(), []);
    cut.cutOff(false);
    assert.deepEqual(await cut.nodes.list(), []);
  });
});

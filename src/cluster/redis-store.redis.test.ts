import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startRedis, type RedisProcess } from '../../test/kit/redis.ts';
import { until } from '../../test/kit/until.ts';
import type { NodeId } from '../protocol/ids.ts';
import { PlenumError } from '../lib/errors.ts';
import type { RedisStore } from './redis-store.ts';
import { RedisTestStores } from './redis-test-kit.ts';
import { contractTimings, describeStore, nodeRecord } from './store-contract-test-kit.ts';
import { NodeHeartbeat } from './store-heartbeat.ts';
import { createLog } from '../observe/log.ts';

const [alpha, beta] = ['ND_alpha', 'ND_beta'] as [NodeId, NodeId];
const { heartbeatMs, leaseMs } = contractTimings;

describeStore('RedisStore', async () => {
  const redis = await startRedis();
  const stores = new RedisTestStores({ port: redis.port });
  return {
    connect: () => stores.connect(),
    elapse: (ms) => delay(ms),
    close: async () => {
      await stores.close();
      await redis.close();
    },
  };
});

/** How long a call took to fail, and with what. */
async function failure(call: Promise<unknown>): Promise<{ error: unknown; tookMs: number }> {
  const startedMs = performance.now();
  const error = await call.then(
    () => assert.fail('it did not fail'),
    (reason: unknown) => reason,
  );
  return { error, tookMs: performance.now() - startedMs };
}

function isUnavailable(error: unknown): boolean {
  return error instanceof PlenumError && error.code === 'unavailable';
}

describe('RedisStore while Redis is away', () => {
  let redis: RedisProcess;
  let stores: RedisTestStores;
  let store: RedisStore;
  before(async () => {
    redis = await startRedis();
    stores = new RedisTestStores({ port: redis.port });
    store = await stores.connect();
  });
  after(async () => {
    await stores.close();
    await redis.close();
  });

  /** Renews one room and keeps on trying, as a node does. @returns how to stop it */
  function renewing(roomName: string, epoch: number): { stop: () => Promise<void>; lost: () => number } {
    const stop = new AbortController();
    let lost = 0;
    const run = async (): Promise<void> => {
      while (!stop.signal.aborted) {
        const renewal = await store.rooms.renew(alpha, [{ roomName, epoch }]).catch(() => undefined);
        lost += renewal?.lost.length ?? 0;
        await delay(heartbeatMs, undefined, { signal: stop.signal }).catch(() => undefined);
      }
    };
    const running = run();
    return {
      lost: () => lost,
      stop: async () => {
        stop.abort();
        await running;
      },
    };
  }

  const outages = [
    { kind: 'hangs', begin: async () => redis.pause(), end: async () => redis.resume() },
    { kind: 'is killed and restarted', begin: () => redis.kill(), end: () => redis.start() },
  ];
  for (const { kind, begin, end } of outages) {
    it(`fails in bounded time when Redis ${kind}, and works again within 2 s with all leases alive`, async () => {
      const claim = await store.rooms.claim(`room ${kind}`, alpha);
      const lease = await store.leases.acquire(`lease ${kind}`, 'a');
      assert.ok(claim.kind === 'owned' && lease.kind === 'held');
      const renewal = renewing(`room ${kind}`, claim.epoch);
      // The AOF is synced every second.
      await delay(1_200);
      assert.equal(await store.leases.renew(`lease ${kind}`, 'a', lease.epoch), true);
      const changes: string[] = [];
      const heard: number[] = [];
      const stopChanges = store.health.onChange((change) => changes.push(change));
      const stopBus = await store.bus.subscribe(`bus ${kind}`, (message) => heard.push(message[0] ?? 0));
      await begin();
      const awayMs = performance.now();
      const calls = [
        store.rooms.claim('other', beta),
        store.rooms.find('other'),
        store.leases.acquire('other', 'b'),
        store.nodes.list(),
        store.bus.publish('topic', new Uint8Array(1)),
        store.nodeStates.change(alpha, 0, { state: 'DRAINING' }),
      ];
      for (const { error, tookMs } of await Promise.all(calls.map(failure))) {
        assert.ok(isUnavailable(error), String(error));
        assert.ok(tookMs < 4_000, `${tookMs} ms`);
      }
      await until(() => (changes.includes('lost') ? '' : 'not told'));
      assert.equal(store.health.answeringSince(), undefined);
      await until(() => (performance.now() - awayMs > 5 * leaseMs ? '' : 'not away for long enough'));
      const late = await failure(store.rooms.claim('other', beta));
      assert.ok(isUnavailable(late.error) && late.tookMs < 4_000);

      await end();
      const backMs = performance.now();
      let isDone = false;
      // All that while, nobody may see the room or the lease as free.
      const watching = (async () => {
        while (!isDone) {
          const found = await store.rooms.find(`room ${kind}`).catch(() => undefined);
          assert.ok(found === undefined || found.isLive, 'the room was orphaned by the outage');
          await delay(10);
        }
      })();
      await until(async () => ((await store.rooms.claim(`new ${kind}`, beta)).kind === 'owned' ? '' : 'not owned'), {
        timeoutMs: 10_000,
      });
      const againMs = performance.now() - backMs;
      assert.ok(againMs < 2_000, `claims work again after ${againMs} ms`);
      assert.equal(await store.leases.renew(`lease ${kind}`, 'a', lease.epoch), true);
      await until(() => (changes.at(-1) === 'back' ? '' : `told ${changes.join()}`));
      await store.bus.publish(`bus ${kind}`, Uint8Array.of(7));
      await until(() => (heard.length > 0 ? '' : 'nothing heard'));
      await delay(leaseMs + 2 * heartbeatMs);
      isDone = true;
      await watching;
      assert.deepEqual(heard, [7]);
      assert.equal(renewal.lost(), 0);
      assert.deepEqual(await store.rooms.claim(`room ${kind}`, beta), { ...claim, created: false });
      await renewal.stop();
      stopBus();
      stopChanges();
    });
  }

  it('still orphans a room whose node died in the outage', async () => {
    const claim = await store.rooms.claim('deserted', alpha);
    redis.pause();
    await until(() => (store.health.answeringSince() === undefined ? '' : 'still answers'));
    redis.resume();
    await until(async () => ((await store.rooms.find('deserted'))?.isLive === false ? '' : 'still live'), {
      timeoutMs: 8_000,
    });
    assert.equal((await store.rooms.takeOver('deserted', claim.epoch, beta)).kind, 'taken');
  });

  it('counts on above all epochs when a restart loses everything, once nodes have stated their rooms', async () => {
    const claim = await store.rooms.claim('survivor', alpha);
    await redis.ask('FLUSHALL');
    const claiming = store.rooms.claim('survivor', beta);
    const renewal = await store.rooms.renew(alpha, [{ roomName: 'survivor', epoch: claim.epoch }]);
    assert.deepEqual(renewal, { lost: [], restated: ['survivor'] });
    assert.deepEqual(await claiming, { kind: 'owned', created: false, nodeId: alpha, epoch: claim.epoch });
    assert.ok((await store.rooms.claim('later', beta)).epoch > claim.epoch);
  });

  it('fences a node that cannot renew, and lets it work again afterwards', async () => {
    const events: string[] = [];
    const heartbeat = new NodeHeartbeat({
      nodes: store.nodes,
      timings: contractTimings,
      record: () => nodeRecord(beta),
      onState: () => undefined,
      onFenced: () => events.push('fenced'),
      onUnfenced: () => events.push('unfenced'),
      log: createLog({ level: 'silent', json: true }),
    });
    heartbeat.start();
    await until(() => (events.length === 1 ? '' : 'no beat'));
    redis.pause();
    await until(() => (heartbeat.isFenced ? '' : 'not fenced'));
    redis.resume();
    await until(() => (heartbeat.isFenced ? 'still fenced' : ''));
    assert.deepEqual(events, ['unfenced', 'fenced', 'unfenced']);
    await heartbeat.close(beta);
    assert.ok(!(await store.nodes.list()).some(({ record }) => record.nodeId === beta));
  });

  it('says that it is away from the start, and connects when Redis comes', async () => {
    await redis.kill();
    const early = stores.open();
    const { error } = await failure(early.rooms.find('any'));
    assert.ok(isUnavailable(error));
    await redis.start();
    await Promise.all([early.ready(5_000), store.ready(5_000)]);
    assert.equal(await early.rooms.find('any'), undefined);
  });

  it('leaves fields in its records alone that it does not know', async () => {
    const claim = await store.rooms.claim('fields', alpha);
    await redis.ask(`HSET ${stores.keyPrefix}:room:fields future 1`);
    await store.rooms.renew(alpha, [{ roomName: 'fields', epoch: claim.epoch }]);
    const moved = await store.rooms.handOver('fields', claim.epoch, beta);
    assert.equal(moved.kind, 'taken');
    assert.match(await redis.ask(`HGET ${stores.keyPrefix}:room:fields future`), /1\r\n$/);
  });

  it('gives every key a lifetime but the clock and the indexes', async () => {
    await store.nodes.beat(nodeRecord(alpha));
    const keys = (await redis.ask(`KEYS ${stores.keyPrefix}:*`)).split('\r\n').filter((key) => key.startsWith('test-'));
    const bare: string[] = [];
    for (const key of keys) {
      if ((await redis.ask(`PTTL "${key}"`)).startsWith(':-1')) bare.push(key.slice(stores.keyPrefix.length + 1));
    }
    assert.deepEqual(
      bare.filter((key) => !['clock', 'rooms', 'nodes', 'node-states'].includes(key)),
      [],
    );
    assert.ok(keys.length > 5);
  });
});

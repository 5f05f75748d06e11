import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startSentinel, type RedisProcess, type SentinelSetup } from '../../test/kit/redis.ts';
import { until } from '../../test/kit/until.ts';
import { PlenumError } from '../lib/errors.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { RedisStore } from './redis-store.ts';
import { RedisTestStores } from './redis-test-kit.ts';
import { contractTimings } from './store-contract-test-kit.ts';

const nodes = ['ND_alpha', 'ND_beta', 'ND_gamma'] as NodeId[];
const [alpha = '' as NodeId, beta = '' as NodeId] = nodes;
const { heartbeatMs } = contractTimings;

/** Everything that anybody was told about who owns what. */
class Record {
  readonly owners = new Map<string, NodeId>();
  readonly problems: string[] = [];
  readonly granted: number[] = [];
  unavailable = 0;

  told(roomName: string, epoch: number, nodeId: NodeId): void {
    const key = `${roomName} ${epoch}`;
    const before = this.owners.get(key);
    if (before !== undefined && before !== nodeId) {
      this.problems.push(`${key} belongs to ${before} and ${nodeId}`);
    }
    this.owners.set(key, nodeId);
  }
}

/** Several masters' joins and several nodes' heartbeats at once, for as long as it is not stopped. */
class Load {
  readonly record = new Record();
  readonly held = new Map<NodeId, Map<string, number>>(nodes.map((nodeId) => [nodeId, new Map()]));
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[];

  constructor(stores: RedisStore[]) {
    this.#running = [
      ...stores.map((store, index) => this.#join(store, index)),
      ...nodes.map((nodeId, index) => this.#renew(stores[index % stores.length], nodeId)),
    ];
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  /** Claims rooms, whose names soon come up again, and finishes some. */
  async #join(store: RedisStore, index: number): Promise<void> {
    let last = 0;
    for (let turn = 0; !this.#stop.signal.aborted; turn += 1) {
      const roomName = `room ${(turn * 7 + index) % 40}`;
      const nodeId = nodes[turn % nodes.length] ?? alpha;
      await this.#try(async () => {
        let claim = await store.rooms.claim(roomName, nodeId);
        if (claim.kind === 'orphaned') {
          const taken = await store.rooms.takeOver(roomName, claim.epoch, nodeId);
          if (taken.kind !== 'taken') return;
          claim = { kind: 'owned', created: true, nodeId, epoch: taken.epoch };
        }
        this.record.told(roomName, claim.epoch, claim.nodeId);
        if (!claim.created) return;
        if (claim.epoch <= last) this.record.problems.push(`epoch ${claim.epoch} was granted after ${last}`);
        last = claim.epoch;
        this.record.granted.push(claim.epoch);
        this.held.get(claim.nodeId)?.set(roomName, claim.epoch);
      });
      if (turn % 5 === 0) await this.#finish(store, nodeId);
      await delay(2);
    }
  }

  async #finish(store: RedisStore, nodeId: NodeId): Promise<void> {
    const rooms = this.held.get(nodeId);
    const [roomName, epoch] = [...(rooms ?? [])][0] ?? [];
    if (roomName === undefined || epoch === undefined) return;
    await this.#try(async () => {
      await store.rooms.release(roomName, epoch);
      if (rooms?.get(roomName) === epoch) rooms.delete(roomName);
    });
  }

  async #renew(store: RedisStore | undefined, nodeId: NodeId): Promise<void> {
    const rooms = this.held.get(nodeId) ?? new Map<string, number>();
    while (!this.#stop.signal.aborted && store !== undefined) {
      const stated = [...rooms].map(([roomName, epoch]) => ({ roomName, epoch }));
      await this.#try(async () => {
        const { lost } = await store.rooms.renew(nodeId, stated);
        for (const { roomName, owner } of lost) {
          const mine = stated.find((room) => room.roomName === roomName)?.epoch;
          if (owner !== undefined) this.record.told(roomName, owner.epoch, owner.nodeId);
          if (owner !== undefined && owner.epoch <= (mine ?? 0))
            this.record.problems.push(`${roomName} lost to a lower epoch`);
          if (rooms.get(roomName) === mine) rooms.delete(roomName);
        }
      });
      await delay(heartbeatMs);
    }
  }

  async #try(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof PlenumError) || error.code !== 'unavailable') throw error;
      this.record.unavailable += 1;
    }
  }
}

describe('RedisStore behind Sentinel', () => {
  let setup: SentinelSetup;
  let stores: RedisTestStores;
  let first: RedisStore;
  let second: RedisStore;
  before(async () => {
    setup = await startSentinel({ replicas: 3, downAfterMs: 1_000 });
    const { masterName, addresses } = setup;
    stores = new RedisTestStores({
      sentinel: { masterName, addresses, username: '', password: '' },
      minReplicas: 1,
      timings: { ...contractTimings, keepMs: 60_000 },
    });
    [first, second] = await Promise.all([stores.connect(), stores.connect()]);
  });
  after(async () => {
    await stores.close();
    await setup.close();
  });

  const claimsWork = (store: RedisStore, roomName: string, timeoutMs: number): Promise<void> =>
    until(async () => ((await store.rooms.claim(roomName, alpha)).kind === 'owned' ? '' : 'not owned'), { timeoutMs });

  it('grants nothing that no replica knows', async (test) => {
    const master = await setup.master();
    const replicas = setup.servers.filter((server) => server !== master);
    await claimsWork(first, 'replicated', 5_000);
    test.after(() => replicas.forEach((replica) => replica.resume()));
    replicas.forEach((replica) => replica.pause());
    await assert.rejects(first.rooms.claim('unsafe', alpha), { code: 'unavailable', reason: 'store-not-replicated' });
    await assert.rejects(second.leases.acquire('unsafe', 'b'), { code: 'unavailable', reason: 'store-not-replicated' });
    assert.ok(await second.rooms.find('replicated'));
    // After `min-replicas-max-lag` Redis itself takes no writes, and the store counts as away.
    await until(() => (first.health.answeringSince() === undefined ? '' : 'still takes writes'), { timeoutMs: 10_000 });
    assert.ok((await second.rooms.find('replicated')) !== undefined, 'reading goes on');
    replicas.forEach((replica) => replica.resume());
    await claimsWork(first, 'safe again', 10_000);
    await until(() => (first.health.answeringSince() === undefined ? 'does not take writes' : ''), {
      timeoutMs: 10_000,
    });
  });

  const failures: {
    kind: string;
    fail: (master: RedisProcess) => Promise<void>;
    mend: (master: RedisProcess) => Promise<void>;
  }[] = [
    {
      kind: 'the master is told to step back',
      fail: () => setup.failover(),
      mend: () => Promise.resolve(),
    },
    {
      kind: 'the master is killed',
      fail: (master) => master.kill(),
      mend: (master) => master.start(),
    },
    {
      kind: 'the master hangs and comes back',
      fail: (master) => Promise.resolve(master.pause()),
      mend: (master) => Promise.resolve(master.resume()),
    },
  ];
  for (const { kind, fail, mend } of failures) {
    it(`never tells two owners of one epoch while ${kind} under load`, async (test) => {
      // One is promoted, and another must follow it for writes to be taken.
      const master = await setup.settled(2);
      const load = new Load([first, second]);
      test.after(() => load.stop());
      await until(() => (load.record.granted.length > 50 ? '' : 'no load yet'));
      const before = Math.max(...load.record.granted);
      await fail(master);
      const failedMs = performance.now();
      await setup.untilMasterIsNot(master);
      await claimsWork(first, `after ${kind}`, 10_000);
      const gapMs = performance.now() - failedMs;
      await mend(master);
      const grants = load.record.granted.length;
      await until(() => (load.record.granted.length > grants + 50 ? '' : 'no grants after the failover'), {
        timeoutMs: 15_000,
      });
      await load.stop();
      assert.deepEqual(load.record.problems, []);
      assert.equal(new Set(load.record.granted).size, load.record.granted.length, 'an epoch was granted twice');
      assert.ok(
        Math.max(...load.record.granted) >= Math.floor(before / 2 ** 32 + 1) * 2 ** 32,
        'the config epoch is not in it',
      );
      test.diagnostic(
        `${load.record.granted.length} grants, ${load.record.unavailable} refused, claims back after ${gapMs.toFixed(0)} ms`,
      );
    });
  }

  it('takes back what nodes state when the failover lost it', async () => {
    await setup.settled(2);
    const stated = (await first.rooms.claim('base', alpha)).epoch + 5_000;
    await setup.failover();
    await until(
      async () => {
        const { restated } = await first.rooms.renew(beta, [{ roomName: 'lost in failover', epoch: stated }]);
        return restated.length === 1 ? '' : 'not restated';
      },
      { timeoutMs: 20_000 },
    );
    // Grants need a replica again, which may take the old master's return.
    let claim: unknown;
    await until(
      async () => {
        claim = await second.rooms.claim('lost in failover', alpha).catch((error: PlenumError) => error.reason);
        return claim === 'store-not-replicated' ? claim : '';
      },
      { timeoutMs: 20_000 },
    );
    assert.deepEqual(claim, { kind: 'owned', created: false, nodeId: beta, epoch: stated });
    assert.ok((await second.rooms.claim('next', alpha)).epoch > stated);
  });
});

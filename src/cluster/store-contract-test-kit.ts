/** What every implementation of the cluster's store does; run over each of them. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { NodeId } from '../protocol/ids.ts';
import type { NodeRecord, NodeStateChange } from './store-records.ts';
import { maxBusMessageBytes, maxRecordBytes, type ClusterStore, type RoomClaim, type StoreTimings } from './store.ts';

export type StoreHarness = {
  /** Another node's view of one shared, empty store. Closed by the harness. */
  connect(): Promise<ClusterStore>;
  /** Lets that much time pass for the store. */
  elapse(ms: number): Promise<void>;
  close(): Promise<void>;
};

export const contractTimings: StoreTimings = { heartbeatMs: 150, leaseMs: 600, keepMs: 1_500 };

const [alpha, beta, gamma] = ['ND_alpha', 'ND_beta', 'ND_gamma'] as [NodeId, NodeId, NodeId];
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const string = (value: Uint8Array | undefined): string => Buffer.from(value ?? []).toString();

export function nodeRecord(nodeId: NodeId, changes: Partial<NodeRecord> = {}): NodeRecord {
  return {
    nodeId,
    machineId: 'machine-1',
    roles: ['media'],
    version: '0.1.0',
    protocol: { min: 1, max: 1 },
    region: 'west',
    zone: '1',
    relay: { host: '10.0.0.1', port: 7890 },
    publicAddress: '192.0.2.1',
    state: 'SERVING',
    load: {
      cpu: 0.5,
      cores: 2,
      bitrateBps: 1_000_000,
      packetsPerSecond: 1_000,
      tracks: 3,
      rooms: 1,
      participants: 2,
      eventLoopLagMs: 1,
      workers: [{ workerIndex: 0, cpu: 0.4, bitrateBps: 1_000_000, tracks: 3 }],
    },
    uptimeMs: 1_000,
    ...changes,
  };
}

export function describeStore(name: string, createHarness: () => Promise<StoreHarness>): void {
  describe(name, () => {
    let harness: StoreHarness;
    let first: ClusterStore;
    let second: ClusterStore;
    before(async () => {
      harness = await createHarness();
      first = await harness.connect();
      second = await harness.connect();
    });
    after(() => harness.close());

    const context = {
      first: () => first,
      second: () => second,
      /** Lets time pass until the complaint is empty. */
      eventually: async (complaint: () => Promise<string> | string, atMostMs = 8_000) => {
        let last = '';
        for (let passedMs = 0; passedMs < atMostMs; passedMs += 30) {
          last = await complaint();
          if (last === '') return;
          await harness.elapse(30);
        }
        assert.fail(last);
      },
    };
    describeRooms(context);
    describeSavedRooms(context);
    describeLeases(context);
    describeRecords(context);
    describeNodes(context);
    describeNodeStates(context);
    describeBus(context);
    describeHealth(context);
  });
}

type Context = {
  first: () => ClusterStore;
  second: () => ClusterStore;
  eventually: (complaint: () => Promise<string> | string, atMostMs?: number) => Promise<void>;
};

async function claimed(store: ClusterStore, roomName: string, nodeId: NodeId): Promise<number> {
  const claim = await store.rooms.claim(roomName, nodeId);
  assert.equal(claim.kind, 'owned');
  assert.equal(claim.nodeId, nodeId);
  return claim.epoch;
}

function describeRooms({ first, second, eventually }: Context): void {
  const orphaned = (roomName: string): Promise<void> =>
    eventually(async () =>
      (await first().rooms.find(roomName))?.isLive === false ? '' : `${roomName} is not orphaned`,
    );

  it('gives a room to one of 200 parallel claims and tells all others who that is', async () => {
    const stores = [first(), second()];
    const nodes = [alpha, beta, gamma];
    const claims = await Promise.all(
      Array.from({ length: 200 }, (_, index) => {
        const store = stores[index % 2] ?? first();
        return store.rooms.claim('crowded', nodes[index % 3] ?? alpha);
      }),
    );
    const owned = claims.filter((claim): claim is RoomClaim & { kind: 'owned' } => claim.kind === 'owned');
    assert.equal(owned.length, 200);
    assert.equal(new Set(owned.map(({ nodeId, epoch }) => `${nodeId} ${epoch}`)).size, 1);
    assert.equal(owned.filter(({ created }) => created).length, 1);
  });

  it('gives each grant a higher epoch, and finds only rooms that exist', async () => {
    const epochs = [
      await claimed(first(), 'one', alpha),
      await claimed(second(), 'two', beta),
      await claimed(first(), 'three', alpha),
    ];
    assert.deepEqual(
      epochs,
      epochs.toSorted((left, right) => left - right),
    );
    assert.equal(new Set(epochs).size, 3);
    assert.ok(epochs.every(Number.isSafeInteger));
    assert.deepEqual(await second().rooms.find('one'), { nodeId: alpha, epoch: epochs[0], isLive: true });
    assert.equal(await first().rooms.find('nowhere'), undefined);
  });

  it('keeps a room with its owner while that renews, and orphans it soon after', async () => {
    const epoch = await claimed(first(), 'kept', alpha);
    let renewals = 0;
    await eventually(async () => {
      assert.deepEqual(await first().rooms.renew(alpha, [{ roomName: 'kept', epoch }]), { lost: [], restated: [] });
      assert.equal((await second().rooms.find('kept'))?.isLive, true);
      renewals += 1;
      return renewals * 30 > 3 * contractTimings.leaseMs ? '' : 'not renewed for long enough';
    });
    await orphaned('kept');
    assert.deepEqual(await second().rooms.claim('kept', beta), { kind: 'orphaned', nodeId: alpha, epoch });
  });

  it('lets a room be taken over only after its lease, by one of many, and tells the old owner', async () => {
    const epoch = await claimed(first(), 'taken', alpha);
    assert.deepEqual(await second().rooms.takeOver('taken', epoch, beta), { kind: 'refused', nodeId: alpha, epoch });
    await orphaned('taken');
    const results = await Promise.all(
      [beta, gamma, beta, gamma].map((nodeId, index) =>
        (index % 2 ? first() : second()).rooms.takeOver('taken', epoch, nodeId),
      ),
    );
    const taken = results.filter((result) => result.kind === 'taken');
    assert.equal(taken.length, 1);
    const now = await first().rooms.find('taken');
    assert.ok(now !== undefined && now.epoch > epoch && now.epoch === taken[0]?.epoch);
    const renewal = await first().rooms.renew(alpha, [{ roomName: 'taken', epoch }]);
    assert.deepEqual(renewal.lost, [{ roomName: 'taken', owner: { nodeId: now.nodeId, epoch: now.epoch } }]);
    assert.equal(await first().rooms.release('taken', epoch), false);
    assert.deepEqual(await first().rooms.takeOver('never was', 1, beta), { kind: 'missing' });
  });

  it('hands a living room over at the word of its owner', async () => {
    const epoch = await claimed(first(), 'moved', alpha);
    const moved = await first().rooms.handOver('moved', epoch, beta);
    assert.equal(moved.kind, 'taken');
    const now = await second().rooms.find('moved');
    assert.ok(now !== undefined && now.nodeId === beta && now.isLive && now.epoch > epoch);
    assert.deepEqual(await first().rooms.handOver('moved', epoch, gamma), {
      kind: 'refused',
      nodeId: beta,
      epoch: now.epoch,
    });
    assert.ok((await first().rooms.ofNode(beta)).some(({ roomName }) => roomName === 'moved'));
    assert.ok(!(await first().rooms.ofNode(alpha)).some(({ roomName }) => roomName === 'moved'));
  });

  it('frees the name of a released room, and does not let a sleeper state it again', async () => {
    const epoch = await claimed(first(), 'over', alpha);
    await first().rooms.save('over', epoch, new Map([['room', bytes('old')]]));
    assert.equal(await first().rooms.release('over', epoch), true);
    assert.equal(await first().rooms.release('over', epoch), true);
    assert.equal(await second().rooms.find('over'), undefined);
    assert.equal(await second().rooms.load('over'), undefined);
    const late = await first().rooms.renew(alpha, [{ roomName: 'over', epoch }]);
    assert.deepEqual(late, { lost: [{ roomName: 'over', owner: undefined }], restated: [] });
    assert.ok((await claimed(second(), 'over', beta)) > epoch);
    assert.equal((await second().rooms.load('over'))?.parts.size, 0);
  });

  it('takes a room that it does not know from the node that states it, and counts on from its epoch', async () => {
    const stated = (await claimed(first(), 'before', alpha)) + 1_000;
    const renewal = await first().rooms.renew(alpha, [{ roomName: 'forgotten', epoch: stated }]);
    assert.deepEqual(renewal, { lost: [], restated: ['forgotten'] });
    assert.deepEqual(await second().rooms.find('forgotten'), { nodeId: alpha, epoch: stated, isLive: true });
    assert.ok((await claimed(second(), 'after', beta)) > stated);
    const rival = await second().rooms.renew(beta, [{ roomName: 'forgotten', epoch: stated }]);
    assert.deepEqual(rival.lost, [{ roomName: 'forgotten', owner: { nodeId: alpha, epoch: stated } }]);
  });

  it('renews more rooms at once than fit into one call', async () => {
    const base = await claimed(first(), 'many', gamma);
    const rooms = Array.from({ length: 450 }, (_, index) => ({ roomName: `many ${index}`, epoch: base + 1 + index }));
    assert.equal((await first().rooms.renew(gamma, rooms)).restated.length, 450);
    assert.deepEqual(await first().rooms.renew(gamma, rooms), { lost: [], restated: [] });
    assert.ok((await second().rooms.ofNode(gamma)).length >= 450);
  });
}

function describeSavedRooms({ first, second, eventually }: Context): void {
  it('keeps saved pieces beyond the host, refuses those of an old one, and forgets them in the end', async () => {
    const epoch = await claimed(first(), 'saved', alpha);
    const pieces = new Map([
      ['room', bytes('sid')],
      ['participant ä', Uint8Array.of(0, 255, 13, 10)],
      ['gone', bytes('x')],
    ]);
    assert.equal(await first().rooms.save('saved', epoch, pieces), 'written');
    assert.equal(await first().rooms.save('saved', epoch, new Map([['gone', undefined]])), 'written');
    await eventually(async () => ((await second().rooms.find('saved'))?.isLive === false ? '' : 'still live'));
    const taken = await second().rooms.takeOver('saved', epoch, beta);
    assert.ok(taken.kind === 'taken');
    const loaded = await second().rooms.load('saved');
    assert.equal(loaded?.epoch, taken.epoch);
    assert.deepEqual([...loaded.parts.keys()].toSorted(), ['participant ä', 'room']);
    assert.deepEqual(loaded.parts.get('participant ä'), Uint8Array.of(0, 255, 13, 10));
    assert.equal(await first().rooms.save('saved', epoch, new Map([['room', bytes('late')]])), 'superseded');
    assert.equal(await first().rooms.publish('saved', epoch, bytes('late')), 'superseded');
    assert.equal(await first().rooms.save('saved', taken.epoch + 1, new Map()), 'unknown');
    assert.equal(string((await second().rooms.load('saved'))?.parts.get('room')), 'sid');
    await eventually(async () => ((await second().rooms.load('saved')) === undefined ? '' : 'still there'));
    assert.equal(await second().rooms.find('saved'), undefined);
    assert.equal((await second().rooms.claim('saved', gamma)).kind, 'owned');
  });

  it('lists what owners published, by name when asked', async () => {
    const epochs = new Map<string, number>();
    for (const roomName of ['list a', 'list b']) {
      const epoch = await claimed(first(), roomName, alpha);
      epochs.set(roomName, epoch);
      assert.equal(await first().rooms.publish(roomName, epoch, bytes(roomName)), 'written');
    }
    await claimed(first(), 'list unpublished', alpha);
    const all = (await second().rooms.list([])).map(string).filter((name) => name.startsWith('list'));
    assert.deepEqual(all.toSorted(), ['list a', 'list b']);
    const some = await second().rooms.list(['list b', 'list b', 'list unpublished', 'list none']);
    assert.deepEqual(some.map(string), ['list b']);
    await first().rooms.release('list b', epochs.get('list b') ?? 0);
    assert.deepEqual(await second().rooms.list(['list b']), []);
  });

  it('refuses what is too large', async () => {
    const epoch = await claimed(first(), 'large', alpha);
    const large = new Uint8Array(2 * 1024 * 1024);
    await assert.rejects(first().rooms.publish('large', epoch, large), { reason: 'store-too-large' });
    await assert.rejects(first().rooms.save('large', epoch, new Map([['p', large]])), { reason: 'store-too-large' });
  });
}

function describeLeases({ first, second, eventually }: Context): void {
  it('gives a lease to one holder, which keeps its epoch while it renews', async () => {
    const held = await first().leases.acquire('leader', 'a');
    assert.equal(held.kind, 'held');
    assert.deepEqual(await second().leases.acquire('leader', 'b'), { kind: 'taken', holder: 'a', epoch: held.epoch });
    assert.deepEqual(await first().leases.acquire('leader', 'a'), held);
    let renewals = 0;
    await eventually(async () => {
      assert.equal(await first().leases.renew('leader', 'a', held.epoch), true);
      assert.equal((await second().leases.acquire('leader', 'b')).kind, 'taken');
      renewals += 1;
      return renewals * 30 > 2 * contractTimings.leaseMs ? '' : 'not renewed for long enough';
    });
  });

  it('passes an expired lease on with a higher epoch, and tells the old holder', async () => {
    const held = await first().leases.acquire('expiring', 'a');
    let next = await second().leases.acquire('expiring', 'b');
    await eventually(async () => {
      next = await second().leases.acquire('expiring', 'b');
      return next.kind === 'held' ? '' : 'still held';
    });
    assert.ok(next.epoch > held.epoch);
    assert.equal(await first().leases.renew('expiring', 'a', held.epoch), false);
    await first().leases.release('expiring', 'a', held.epoch);
    assert.equal((await first().leases.acquire('expiring', 'a')).kind, 'taken');
  });

  it('frees a released lease at once', async () => {
    const held = await first().leases.acquire('released', 'a');
    await first().leases.release('released', 'a', held.epoch);
    const next = await second().leases.acquire('released', 'b');
    assert.ok(next.kind === 'held' && next.epoch > held.epoch);
    assert.equal(await first().leases.renew('released', 'a', held.epoch), false);
  });
}

function describeRecords({ first, second, eventually }: Context): void {
  it('keeps a record for all nodes, tells them of each change, and refuses who has been succeeded', async () => {
    const heard: string[] = [];
    const unsubscribe = second().records.onChange((name) => heard.push(name));
    await eventually(async () => {
      await first().records.set('paper', { value: bytes('first'), epoch: 5 });
      return heard.includes('paper') ? '' : 'nothing heard';
    });
    const found = await second().records.get('paper');
    assert.deepEqual([string(found?.value), found?.epoch], ['first', 5]);
    assert.equal(await second().records.set('paper', { value: bytes('second'), epoch: 7 }), true);
    assert.equal(await first().records.set('paper', { value: bytes('late'), epoch: 6 }), false);
    assert.equal(await first().records.remove('paper', 6), false);
    assert.equal(string((await first().records.get('paper'))?.value), 'second');
    const before = heard.length;
    assert.equal(await first().records.remove('paper', 7), true);
    assert.equal(await first().records.remove('paper', 7), true);
    assert.equal(await second().records.get('paper'), undefined);
    await eventually(() => (heard.length > before ? '' : 'nothing heard of the removal'));
    unsubscribe();
  });

  it('forgets a record after its life, unless it was written anew without one', async () => {
    await first().records.set('short', { value: bytes('1'), epoch: 1, lifeMs: 200 });
    await first().records.set('kept', { value: bytes('1'), epoch: 1, lifeMs: 200 });
    await first().records.set('kept', { value: bytes('2'), epoch: 1 });
    await eventually(async () => ((await second().records.get('short')) === undefined ? '' : 'still there'));
    assert.equal(string((await second().records.get('kept'))?.value), '2');
  });

  it('grants leases with epochs above those of the records that it keeps', async () => {
    await first().records.set('fenced', { value: bytes('1'), epoch: 500_000 });
    const held = await second().leases.acquire('fencing', 'a');
    assert.ok(held.epoch > 500_000);
  });

  it('refuses a record that is too large', async () => {
    const value = new Uint8Array(maxRecordBytes + 1);
    await assert.rejects(first().records.set('large', { value, epoch: 1 }), { reason: 'store-too-large' });
  });
}

function describeNodes({ first, second, eventually }: Context): void {
  const entry = async (nodeId: NodeId) => (await second().nodes.list()).find(({ record }) => record.nodeId === nodeId);

  it('lists what a node stated last, and knows when it is silent, and forgets it later', async () => {
    await first().nodes.beat(nodeRecord(alpha));
    await first().nodes.beat(nodeRecord(alpha, { uptimeMs: 2_000, region: 'north' }));
    const found = await entry(alpha);
    assert.ok(found !== undefined && found.isLive);
    assert.deepEqual(found.record, { ...nodeRecord(alpha, { uptimeMs: 2_000, region: 'north' }), v: 1 });
    assert.ok(found.beatAgeMs >= 0 && found.beatAgeMs < contractTimings.leaseMs);
    await eventually(async () => ((await entry(alpha))?.isLive === false ? '' : 'still live'));
    await eventually(async () => ((await entry(alpha)) === undefined ? '' : 'still listed'));
  });

  it('tells that a node came, changed and left, and is silent about its load', async () => {
    const changes: NodeId[] = [];
    const stop = second().nodes.onChange((nodeId) => changes.push(nodeId));
    const seen = (count: number) => () => (changes.length >= count ? '' : `${changes.length} of ${count} changes told`);
    // The subscription may still be on its way, so a change is repeated until it is heard, and another one ends the row.
    for (const nodeId of [beta, alpha]) {
      await eventually(async () => {
        await first().nodes.leave(nodeId);
        await first().nodes.beat(nodeRecord(nodeId));
        return changes.at(-1) === nodeId ? '' : 'nothing told';
      });
    }
    await first().nodes.beat(nodeRecord(alpha, { region: 'last' }));
    await first().nodes.leave(gamma);
    await first().nodes.beat(nodeRecord(gamma));
    await eventually(() => (changes.at(-1) === gamma ? '' : 'the last change was not told'));
    changes.length = 0;
    await first().nodes.beat(nodeRecord(beta, { uptimeMs: 5_000, load: { ...nodeRecord(beta).load, cpu: 0.9 } }));
    await first().nodes.beat(nodeRecord(beta, { state: 'DRAINING' }));
    await eventually(seen(1));
    await first().nodes.leave(beta);
    await eventually(seen(2));
    assert.deepEqual(changes, [beta, beta]);
    assert.equal(await entry(beta), undefined);
    stop();
    await first().nodes.beat(nodeRecord(beta));
    const stopAgain = second().nodes.onChange(() => changes.push(gamma));
    await eventually(async () => {
      await first().nodes.beat(nodeRecord(alpha));
      await first().nodes.leave(alpha);
      return changes.length > 2 ? '' : 'nothing told';
    });
    assert.deepEqual(changes.slice(0, 3), [beta, beta, gamma]);
    stopAgain();
  });

  it('keeps fields of a newer version in a node record', async () => {
    const newer = { ...nodeRecord(gamma), v: 7, future: { depth: 1 } };
    await first().nodes.beat(newer);
    assert.deepEqual((await entry(gamma))?.record, newer);
    await first().nodes.beat({ ...nodeRecord(gamma), state: 'HIBERNATING' as 'SERVING' });
    assert.equal((await entry(gamma))?.record.state, 'CORDONED');
  });
}

function describeNodeStates({ first, second, eventually }: Context): void {
  const drain: NodeStateChange = {
    state: 'DRAINING',
    owner: 'operator',
    reason: 'update',
    policy: 'wait',
    remainingMs: 60_000,
  };

  it('changes a record only for who saw its last epoch', async () => {
    const { nodeStates } = first();
    const results = await Promise.all(
      [first(), second(), first(), second()].map((store) => store.nodeStates.change(alpha, 0, drain)),
    );
    assert.equal(results.filter(({ kind }) => kind === 'changed').length, 1);
    const record = await nodeStates.get(alpha);
    assert.ok(record !== undefined && record.epoch > 0);
    for (const result of results) {
      assert.equal(result.record?.epoch, record.epoch);
    }
    assert.deepEqual(
      { ...record, epoch: 0, remainingMs: 0 },
      {
        v: 1,
        nodeId: alpha,
        epoch: 0,
        state: 'DRAINING',
        owner: 'operator',
        reason: 'update',
        policy: 'wait',
        remainingMs: 0,
      },
    );
    const next = await second().nodeStates.change(alpha, record.epoch, { state: 'DRAINED' });
    assert.ok(next.kind === 'changed' && next.record.epoch > record.epoch);
    assert.equal(next.record.owner, 'operator');
    assert.equal((await nodeStates.change(alpha, record.epoch, { state: 'SERVING' })).kind, 'conflict');
    assert.ok((await second().nodeStates.list()).some(({ nodeId, state }) => nodeId === alpha && state === 'DRAINED'));
    assert.equal(await nodeStates.remove(alpha, record.epoch), false);
    assert.equal(await nodeStates.remove(alpha, next.record.epoch), true);
    assert.equal(await nodeStates.get(alpha), undefined);
  });

  it('counts the time to a deadline down, and keeps or drops it as told', async () => {
    const made = await first().nodeStates.change(beta, 0, drain);
    assert.ok(made.kind === 'changed');
    await eventually(async () => {
      const remainingMs = (await second().nodeStates.get(beta))?.remainingMs ?? 0;
      return remainingMs > 0 && remainingMs <= 59_800 ? '' : `${remainingMs} ms remain`;
    });
    const kept = await first().nodeStates.change(beta, made.record.epoch, { reason: 'again' });
    assert.ok(kept.kind === 'changed' && (kept.record.remainingMs ?? 0) < 60_000);
    const dropped = await first().nodeStates.change(beta, kept.record.epoch, { remainingMs: null });
    assert.ok(dropped.kind === 'changed' && dropped.record.remainingMs === null);
    const passed = await first().nodeStates.change(beta, dropped.record.epoch, { remainingMs: -5 });
    assert.ok(passed.kind === 'changed' && (passed.record.remainingMs ?? 0) <= -5);
  });

  it('keeps fields of a newer version through a change by this one', async () => {
    const newer = { ...drain, v: 9, future: ['x'] };
    const made = await first().nodeStates.change(gamma, 0, newer as NodeStateChange);
    assert.ok(made.kind === 'changed');
    const changed = await second().nodeStates.change(gamma, made.record.epoch, { state: 'CORDONED' });
    assert.ok(changed.kind === 'changed');
    assert.deepEqual(changed.record.future, ['x']);
  });

  it('tells a node its state with the answer to a beat, and others by a notification', async () => {
    const node = 'ND_told' as NodeId;
    const told: NodeId[] = [];
    const stop = second().nodeStates.onChange((nodeId) => told.push(nodeId));
    assert.equal((await first().nodes.beat(nodeRecord(node))).state, undefined);
    await eventually(async () => {
      const epoch = (await first().nodeStates.get(node))?.epoch ?? 0;
      await first().nodeStates.change(node, epoch, { state: 'LOST' });
      return told.includes(node) ? '' : 'nothing told';
    });
    assert.equal((await first().nodes.beat(nodeRecord(node))).state?.state, 'LOST');
    stop();
  });
}

function describeBus({ first, second, eventually }: Context): void {
  it('delivers messages in order to all who listen on a topic, and to no other', async () => {
    const heard: string[] = [];
    const other: string[] = [];
    const stop = await second().bus.subscribe('topic', (message) => heard.push(string(message)));
    const stopTwin = await second().bus.subscribe('topic', (message) => other.push(string(message)));
    const stopOther = await second().bus.subscribe('topic 2', (message) => other.push(string(message)));
    for (const text of ['1', '2', '3']) {
      await first().bus.publish('topic', bytes(text));
    }
    await eventually(() =>
      heard.length === 3 && other.length === 3 ? '' : `heard ${heard.join()} and ${other.join()}`,
    );
    assert.deepEqual(heard, ['1', '2', '3']);
    assert.deepEqual(other, ['1', '2', '3']);
    stopTwin();
    stopOther();
    await first().bus.publish('topic', bytes('4'));
    await eventually(() => (heard.length === 4 ? '' : 'not heard'));
    stop();
    stop();
    const stopLast = await second().bus.subscribe('topic', (message) => other.push(string(message)));
    await first().bus.publish('topic', bytes('5'));
    await eventually(() => (other.at(-1) === '5' ? '' : 'not heard'));
    assert.equal(heard.length, 4);
    assert.equal(other.length, 4);
    stopLast();
  });

  it('refuses messages that are not small', async () => {
    const large = new Uint8Array(maxBusMessageBytes + 1);
    await assert.rejects(first().bus.publish('topic', large), { reason: 'store-too-large' });
  });
}

function describeHealth({ first, eventually }: Context): void {
  it('knows since when it answers', async () => {
    await eventually(() => (first().health.answeringSince() === undefined ? 'does not answer' : ''));
    const since = first().health.answeringSince();
    await first().rooms.find('any');
    assert.equal(first().health.answeringSince(), since);
  });
}

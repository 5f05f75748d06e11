import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { until } from '../../test/kit/until.ts';
import { serveHostSearch } from './host-search.ts';
import type { NodeId } from '../protocol/ids.ts';
import { MemoryCluster, openRoom, testTimings } from './cluster-test-kit.ts';

describe('ClusterDirectory', () => {
  let cluster: MemoryCluster;

  beforeEach(() => {
    cluster = new MemoryCluster();
  });
  afterEach(() => cluster.close());

  it('places a room on the least loaded node, once for all masters', async () => {
    await cluster.join('busy', 'media', { cpu: 0.6 });
    const idle = await cluster.join('idle', 'media');
    const one = await cluster.directory(await cluster.join('one', 'master'));
    const two = await cluster.directory(await cluster.join('two', 'master'));
    assert.equal(await one.locate('lobby'), undefined);
    const places = await Promise.all([one.place('lobby'), two.place('lobby'), one.place('lobby')]);
    for (const place of places) assert.deepEqual(place, { roomName: 'lobby', nodeId: idle.nodeId });
    assert.deepEqual(await two.locate('lobby'), { roomName: 'lobby', nodeId: idle.nodeId });
  });

  it('says why no node takes a room, and that the store is away when it is', async () => {
    const full = await cluster.join('full', 'media', { rooms: 3 });
    const directory = await cluster.directory(await cluster.join('one', 'master'));
    await assert.rejects(directory.place('lobby'), {
      code: 'unavailable',
      reason: 'no-capacity',
      message: /at-limit.*rooms 3 of 3/,
    });
    await full.store.rooms.claim('lobby', full.nodeId);
    assert.equal((await directory.place('lobby')).nodeId, full.nodeId, 'a room that exists is found all the same');
    cluster.server.stop();
    await assert.rejects(directory.place('another'), { code: 'unavailable', reason: 'store-away' });
    await assert.rejects(directory.locate('another'), { code: 'unavailable', reason: 'store-away' });
    assert.equal((await directory.place('lobby')).nodeId, full.nodeId, 'rooms that are known need no store');
  });

  it('forgets a room that ended elsewhere', async () => {
    const media = await cluster.join('media', 'media');
    const directory = await cluster.directory(await cluster.join('one', 'master'));
    const leases = cluster.leases(media);
    await directory.place('lobby');
    assert.equal((await openRoom(media, leases, 'lobby')).kind, 'owned');
    leases.release('lobby');
    await until(async () => ((await directory.locate('lobby')) === undefined ? '' : 'it is still known'));
  });

  it('gives the room of a node that is silent to another one, when its lease is over', async () => {
    const old = await cluster.join('old', 'media');
    const directory = await cluster.directory(await cluster.join('one', 'master'));
    const { nodeId } = await directory.place('lobby');
    assert.equal(nodeId, old.nodeId);
    const next = await cluster.join('next', 'media');
    const leases = cluster.leases(old);
    await openRoom(old, leases, 'lobby');
    await leases.renew();
    const epoch = leases.epochOf('lobby') ?? 0;
    const link = directory.connect(old.nodeId);
    link.onClose(() => undefined);
    cluster.kill(old.nodeId);
    const killedAtMs = performance.now();
    assert.equal((await directory.place('lobby')).nodeId, next.nodeId);
    assert.ok(performance.now() - killedAtMs > testTimings.leaseMs / 2, 'a living lease was broken');
    const found = await next.store.rooms.find('lobby');
    assert.ok(found !== undefined && found.epoch > epoch);
  });

  it('leaves a room with a node that answers, although it cannot renew its lease', async () => {
    const media = await cluster.join('media', 'media');
    await cluster.join('other', 'media');
    const directory = await cluster.directory(await cluster.join('one', 'master'));
    await media.store.rooms.claim('lobby', media.nodeId);
    cluster.stopBeating(media.nodeId);
    await until(async () => ((await media.store.rooms.find('lobby'))?.isLive === false ? '' : 'the lease lives'));
    assert.equal((await directory.place('lobby')).nodeId, media.nodeId);
  });

  it('spreads rooms that are placed or taken over at the same time', async () => {
    const old = await cluster.join('old', 'media');
    const master = await cluster.join('one', 'master');
    const directory = await cluster.directory(master);
    await Promise.all(['a', 'b', 'c', 'd'].map((room) => old.store.rooms.claim(room, old.nodeId)));
    const others = [await cluster.join('left', 'media'), await cluster.join('right', 'media')];
    cluster.kill(old.nodeId);
    await until(() => (master.nodes.isTrusted(old.nodeId) ? 'the dead node is trusted' : ''));
    const countOf = (places: { nodeId: NodeId }[]): number[] =>
      others.map(({ nodeId }) => places.filter((place) => place.nodeId === nodeId).length);
    assert.deepEqual(countOf(await Promise.all(['a', 'b', 'c', 'd'].map((room) => directory.place(room)))), [2, 2]);
    assert.deepEqual(countOf(await Promise.all(['e', 'f'].map((room) => directory.place(room)))), [1, 1]);
  });

  it('asks the nodes themselves for a room that it does not know while the store is away', async () => {
    const [first, second] = [await cluster.join('first', 'media'), await cluster.join('second', 'media')];
    const directory = await cluster.directory(await cluster.join('one', 'master'));
    const leases = cluster.leases(second);
    assert.equal((await openRoom(second, leases, 'lobby')).kind, 'owned');
    serveHostSearch(second.relay, (roomName) => leases.epochOf(roomName));
    serveHostSearch(first.relay, () => undefined);
    cluster.server.stop();
    assert.deepEqual(await directory.locate('lobby'), { roomName: 'lobby', nodeId: second.nodeId });
    assert.deepEqual(await directory.place('lobby'), { roomName: 'lobby', nodeId: second.nodeId });
    await assert.rejects(directory.locate('unknown'), { reason: 'store-away' });
    cluster.kill(second.nodeId);
    directory.forget('lobby');
    await assert.rejects(directory.locate('lobby'), { reason: 'store-away' });
  });

  it('recovers rooms that nobody asks for', async () => {
    const old = await cluster.join('old', 'media');
    const next = await cluster.join('next', 'media');
    const directory = await cluster.directory(await cluster.join('one', 'master'));
    await old.store.rooms.claim('lobby', old.nodeId);
    await directory.recover('lobby');
    assert.deepEqual(cluster.recovered, [], 'its host lives');
    cluster.kill(old.nodeId);
    await delay(testTimings.leaseMs);
    await until(async () => {
      await directory.recover('lobby');
      return cluster.recovered.length > 0 ? '' : 'not recovered';
    });
    assert.deepEqual(cluster.recovered, [`lobby ${next.nodeId}`]);
  });
});

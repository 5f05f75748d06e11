import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { until } from '../../test/kit/until.ts';
import { MemoryCluster } from './cluster-test-kit.ts';
import { tellNodeEnded } from './node-notices.ts';

describe('the notice that a node has ended', () => {
  it('keeps everybody from placing anything there, before the lease of the node is over', async (t) => {
    const cluster = new MemoryCluster();
    t.after(() => cluster.close());
    const [ended, other, master] = [
      await cluster.join('ended', 'media'),
      await cluster.join('other', 'media'),
      await cluster.join('master', 'master'),
    ];
    await Promise.all([other, master].map(({ nodes }) => nodes.refresh()));
    assert.equal(other.nodes.isTrusted(ended.nodeId), true);
    await tellNodeEnded(master.store.bus, ended.nodeId);
    await until(() => (other.nodes.isTrusted(ended.nodeId) ? 'it is trusted' : ''));
    assert.equal(other.nodes.mediaNodes().find(({ nodeId }) => nodeId === ended.nodeId)?.isLive, true);
  });

  it('takes it off the nodes that relay and are relayed to, until it is heard of again', async (t) => {
    const cluster = new MemoryCluster();
    t.after(() => cluster.close());
    const [ended, other] = [await cluster.join('ended', 'media'), await cluster.join('other', 'media')];
    const media = (): string[] => other.nodes.liveMedia().map(({ nodeId }) => nodeId);
    await other.nodes.refresh();
    assert.deepEqual(media().toSorted(), [ended.nodeId, other.nodeId].toSorted());
    await tellNodeEnded(other.store.bus, ended.nodeId);
    await until(() => (media().includes(ended.nodeId) ? 'it still counts' : ''));
    other.nodes.suspect(other.nodeId);
    assert.deepEqual(media(), [other.nodeId], 'one that cannot be reached for a moment counts');
    other.nodes.trust(ended.nodeId);
    assert.equal(media().length, 2);
  });

  it('is nothing to fear when a newer node says something else on that topic', async (t) => {
    const cluster = new MemoryCluster();
    t.after(() => cluster.close());
    const one = await cluster.join('one', 'media');
    await one.store.bus.publish('ended-nodes', new TextEncoder().encode('not known yet'));
    await tellNodeEnded(one.store.bus, one.nodeId);
    await until(() => (one.nodes.isTrusted(one.nodeId) ? 'the second notice did not come' : ''));
  });
});

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { until } from '../../test/kit/until.ts';
import { MemoryCluster, testTimings, type TestMember } from './cluster-test-kit.ts';
import { HostAffirmation } from './host-affirmation.ts';
import { HostRelations } from './host-relations.ts';

const { leaseMs, heartbeatMs } = testTimings;

describe('the word of masters', () => {
  let cluster: MemoryCluster;
  let host: TestMember;
  let relations: HostRelations;
  let affirmation: HostAffirmation;
  let superseded: string[];

  beforeEach(async () => {
    cluster = new MemoryCluster();
    const master = await cluster.join('one', 'master');
    host = await cluster.join('host', 'other');
    relations = new HostRelations({ leaseMs, affirmMs: leaseMs });
    relations.serve(master.relay);
    superseded = [];
    affirmation = new HostAffirmation({
      nodes: host.nodes,
      relay: host.relay,
      intervalMs: heartbeatMs,
      affirmed: () => undefined,
      superseded: (roomName, epoch) => superseded.push(`${roomName} ${epoch}`),
    });
    affirmation.start();
  });
  afterEach(() => {
    affirmation.close();
    cluster.close();
  });

  const isAffirmed = (): boolean => performance.now() - affirmation.affirmedAtMs() < leaseMs;
  const renew = (): void => affirmation.renewed(performance.now());
  /** Until some pings have been answered. */
  const pings = (count: number): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, count * heartbeatMs));

  it('is given to a host only after it has renewed its leases, for a master begins by doubt', async () => {
    await pings(4);
    assert.equal(affirmation.affirmedAtMs(), -Infinity);
    assert.equal(relations.affirms(host.nodeId), false);
    renew();
    await until(() => (isAffirmed() ? '' : 'not affirmed'));
    assert.equal(relations.affirms(host.nodeId), true);
    assert.equal(relations.opinion(host.nodeId), 'reaches');
    assert.equal(isAffirmed(), true);
  });

  it('is taken back by calling a host unreachable, until it has renewed after hearing so', async () => {
    assert.equal(relations.opinion(host.nodeId), 'unreachable');
    await pings(2);
    renew();
    await until(() => (isAffirmed() ? '' : 'not affirmed'));
    relations.disown(host.nodeId);
    relations.taken(host.nodeId, 'lobby', 9);
    await until(() => (superseded.includes('lobby 9') ? '' : 'it was not told of the next host'));
    await until(() => (isAffirmed() ? 'it may still act' : ''));
    assert.equal(relations.opinion(host.nodeId), 'unreachable');
    await pings(2);
    renew();
    await until(() => (isAffirmed() ? '' : 'not affirmed again'));
    superseded.length = 0;
    await pings(3);
    assert.deepEqual(superseded, [], 'it is told again what it knows');
  });

  it('is forgotten with the node', async () => {
    renew();
    await pings(1);
    renew();
    await until(() => (relations.affirms(host.nodeId) ? '' : 'not affirmed'));
    relations.keepOnly((nodeId) => nodeId === host.nodeId);
    assert.equal(relations.affirms(host.nodeId), true);
    relations.keepOnly(() => false);
    assert.equal(relations.affirms(host.nodeId), false);
  });
});

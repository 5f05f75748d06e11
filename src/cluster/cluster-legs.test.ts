import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { until } from '../../test/kit/until.ts';
import { defaultNodeLimits } from '../placement/load.ts';
import type { NodeId } from '../protocol/ids.ts';
import { ClusterLegs } from './cluster-legs.ts';
import { MemoryCluster, type TestMember } from './cluster-test-kit.ts';

const limits = { ...defaultNodeLimits, participants: 10 };
const worker = { workerIndex: 0, cpu: 0, bitrateBps: 0, tracks: 0 };
const idle = { workers: [worker] };
const full = { workers: [worker], participants: 10 };

describe('ClusterLegs', () => {
  let cluster: MemoryCluster;

  beforeEach(() => {
    cluster = new MemoryCluster();
  });
  afterEach(() => cluster.close());

  function legsOf({ nodeId, nodes, relay }: TestMember, maxLegsPerNode = 0, maxViewersPerWorker = 100): ClusterLegs {
    return new ClusterLegs({ nodeId, nodes, relay, limits, region: '', zone: '', maxLegsPerNode, maxViewersPerWorker });
  }

  function request(...room: [member: TestMember, legs: number][]) {
    return { roomName: 'lobby', identity: 'alice', room: new Map(room.map(([{ nodeId }, legs]) => [nodeId, legs])) };
  }

  const place = (legs: ClusterLegs, wanted: ReturnType<typeof request>): NodeId | undefined => {
    assert.equal(legs.complaint(wanted) === undefined, legs.choose(wanted) !== undefined);
    return legs.choose(wanted);
  };

  it('begins beside the host, and goes on to another node when that one is at a limit', async () => {
    const host = await cluster.join('host', 'media', full);
    const other = await cluster.join('other', 'media', idle);
    await Promise.all([host.nodes.refresh(), other.nodes.refresh()]);
    assert.equal(place(legsOf(other), request()), other.nodeId);
    assert.equal(place(legsOf(host), request([host, 10])), other.nodeId);
  });

  it('says which limits are reached when no node can take another participant', async () => {
    const host = await cluster.join('host', 'media', full);
    await cluster.join('other', 'media', full);
    await host.nodes.refresh();
    const legs = legsOf(host);
    assert.equal(legs.choose(request([host, 10])), undefined);
    assert.match(legs.complaint(request([host, 10])) ?? '', /another participant.*participants 10 of 10/);
  });

  it('spreads a room while a node has not its share of it, and shares the rest out after that', async () => {
    const host = await cluster.join('host', 'media', idle);
    const other = await cluster.join('other', 'media', idle);
    await host.nodes.refresh();
    const legs = legsOf(host, 2);
    assert.equal(place(legs, request([host, 2], [other, 1])), other.nodeId);
    assert.notEqual(place(legs, request([host, 2], [other, 2])), undefined);
  });

  it('goes on to the next node when each worker of one has its number of viewers, and shares them out when all have', async () => {
    const host = await cluster.join('host', 'media', { workers: [worker, { ...worker, workerIndex: 1 }] });
    const other = await cluster.join('other', 'media', idle);
    await Promise.all([host.nodes.refresh(), other.nodes.refresh()]);
    const legs = legsOf(host, 0, 3);
    assert.equal(place(legs, request([host, 5])), host.nodeId);
    assert.equal(place(legs, request([host, 6])), other.nodeId);
    assert.equal(place(legs, request([host, 6], [other, 2])), other.nodeId);
    assert.notEqual(place(legs, request([host, 6], [other, 3])), undefined);
  });

  it('keeps to its own node when the list of nodes says nothing good of it but of no limit either', async () => {
    const host = await cluster.join('host', 'media', idle);
    cluster.stopBeating(host.nodeId);
    await until(async () => {
      await host.nodes.refresh();
      return host.nodes.mediaNodes()[0]?.isLive === false ? '' : 'it counts as live';
    });
    assert.equal(place(legsOf(host), request([host, 3])), host.nodeId);
  });
});

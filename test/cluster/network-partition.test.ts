import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { LeaveRequest_Action } from '@livekit/protocol';
import { RoomServiceClient } from 'livekit-server-sdk';
import { delayFigures, tellBench } from '../kit/bench-figures.ts';
import { TestCluster, type ClusterProcess } from '../kit/cluster.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { summary } from '../kit/percentiles.ts';
import { ClusterNetwork } from '../kit/cluster-network.ts';
import { devKey, joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';
import { WebhookTarget } from '../kit/webhook-receiver.ts';

type Call = { room: string; sid: string; publisher: LightClient; listener: LightClient };

const roomCount = 6;
/** More than all leases of a node and its rooms. */
const longMs = 6_000;
const skip = ClusterNetwork.complaint() || false;

describe('a network between the machines of a cluster that breaks', { skip }, () => {
  let network: ClusterNetwork;
  let hooks: WebhookTarget;
  let cluster: TestCluster;
  let endpoint: LightEndpoint;
  let service: RoomServiceClient;

  before(async () => {
    network = await ClusterNetwork.start();
    hooks = await WebhookTarget.start(network.address);
    const config = { webhook: { api_key: devKey.apiKey, urls: [hooks.url] } };
    cluster = await TestCluster.start({ masters: 2, media: 3, config, network });
    endpoint = await LightEndpoint.start();
    service = new RoomServiceClient(cluster.url(0), devKey.apiKey, devKey.apiSecret);
  });
  after(async () => {
    await endpoint?.close();
    await cluster?.close();
    await hooks?.close();
    await network?.close();
  });

  const join = async (room: string, identity: string, publish = {}, url = cluster.url(0)): Promise<LightClient> =>
    LightClient.join({ url, token: await joinToken({ room, identity }), endpoint, publish });

  async function startCall(room: string, url = cluster.url(0)): Promise<Call> {
    const { sid } = await service.createRoom({ name: room, metadata: `about ${room}`, departureTimeout: 60 });
    const publisher = await join(room, 'publisher', { audio: true, video: true }, url);
    const listener = await join(room, 'listener', {}, url);
    for (const track of publisher.publishedTrackSids) await listener.waitForTrack(track, { contiguousMs: 200 });
    return { room, sid, publisher, listener };
  }

  /** The node is the one with most of the calls. */
  async function startCalls(prefix: string): Promise<{ node: ClusterProcess; hit: Call[]; spared: Call[] }> {
    const calls: Call[] = [];
    for (let index = 0; index < roomCount; index += 1) calls.push(await startCall(`${prefix}-${index}`));
    const byNode = Map.groupBy(calls, ({ room }) => cluster.hostOf(room));
    const [most] = [...byNode].toSorted(([, left], [, right]) => right.length - left.length);
    if (most === undefined) throw new Error('unreachable');
    const [node, hit] = most;
    return { node, hit, spared: calls.filter((call) => !hit.includes(call)) };
  }

  async function measureAnew(calls: Call[]): Promise<void> {
    for (const { publisher, listener } of calls) {
      for (const track of publisher.publishedTrackSids) await listener.stats(track, { reset: true });
    }
  }

  async function assertUninterrupted(calls: Call[]): Promise<void> {
    for (const { room, publisher, listener } of calls) {
      for (const client of [publisher, listener]) assert.equal(client.leaveReceived, undefined, room);
      for (const track of publisher.publishedTrackSids) {
        const stats = await listener.waitForTrack(track, { contiguousMs: 300 });
        assert.equal(stats.lost, 0, room);
        assert.ok(stats.maxGapMs < 1_000, `gap of ${stats.maxGapMs} ms in ${room}`);
      }
    }
  }

  async function comeBack(call: Call, url = cluster.url(0)): Promise<Call> {
    const { room } = call;
    await Promise.all([call.publisher.abandon(), call.listener.abandon()]);
    const publisher = await join(room, 'publisher', { audio: true, video: true }, url);
    const listener = await join(room, 'listener', {}, url);
    for (const track of publisher.publishedTrackSids) await listener.waitForTrack(track, { contiguousMs: 100 });
    assert.equal(listener.joinResponse.room?.sid, call.sid);
    assert.equal(listener.joinResponse.room?.metadata, `about ${room}`);
    return { ...call, publisher, listener };
  }

  async function assertNoFalseEnd(calls: Call[]): Promise<void> {
    for (const { room } of calls) {
      const names = hooks.ofRoom(room).map(({ event }) => event);
      assert.equal(names.filter((name) => name === 'room_started').length, 1, names.join());
      assert.equal(names.includes('room_finished'), false, names.join());
    }
  }

  async function endCalls(calls: Call[]): Promise<void> {
    for (const { room, publisher, listener } of calls) {
      await publisher.leave();
      await listener.leave();
      await service.deleteRoom(room);
    }
  }

  it('in front of a media node has its calls on others in less than five seconds, and nobody hears it when it is back', async (t) => {
    const { node, hit, spared } = await startCalls('silent');
    await measureAnew(spared);
    const cutAtMs = performance.now();
    await node.host?.cut();
    const leaveMs: number[] = [];
    const back = await Promise.all(
      hit.map(async (call) => {
        for (const client of [call.publisher, call.listener]) {
          assert.equal((await client.waitForLeave()).action, LeaveRequest_Action.RECONNECT);
          leaveMs.push(performance.now() - cutAtMs);
        }
        return comeBack(call);
      }),
    );
    const tookMs = performance.now() - cutAtMs;
    t.diagnostic(`RECONNECT after ${summary(leaveMs)}, all ${back.length} calls go on after ${Math.round(tookMs)} ms`);
    tellBench('a node is cut off: RECONNECT after', delayFigures(leaveMs));
    tellBench('a node is cut off: all of its calls go on after', delayFigures([tookMs]));
    assert.ok(Math.max(...leaveMs) < 5_000);
    await assertUninterrupted(spared);
    await measureAnew(back);
    await node.host?.heal();
    await until(() => {
      const left = node.log.lines.filter(({ msg }) => msg === 'room left to another node').length;
      return left === hit.length ? '' : `it has left ${left} of ${hit.length} rooms`;
    });
    await assertUninterrupted(back);
    await assertNoFalseEnd([...back, ...spared]);
    await endCalls([...back, ...spared]);
  });

  it('between a media node and Redis alone interrupts nothing', async () => {
    const { node, hit, spared } = await startCalls('no-redis');
    await measureAnew([...hit, ...spared]);
    await node.host?.cut({ tcpPort: cluster.redis.port });
    await delay(longMs);
    assert.equal(node.log.lines.filter(({ msg }) => msg === 'this node takes no new work').length, 1);
    const fresh = await startCall('placed-meanwhile');
    assert.notEqual(cluster.hostOf(fresh.room), node);
    await Promise.all(hit.flatMap(({ publisher, listener }) => [publisher.resume(), listener.resume()]));
    await node.host?.heal();
    await until(() => {
      const times = node.log.lines.filter(({ msg }) => msg === 'this node takes work').length;
      return times === 2 ? '' : `it took up work ${times} times, the first time when it started`;
    });
    await assertUninterrupted([...hit, ...spared, fresh]);
    await assertNoFalseEnd([...hit, ...spared]);
    await endCalls([...hit, ...spared, fresh]);
  });

  it('around a master costs its clients a reconnect through another, and no room its host', async (t) => {
    const room = 'cut-master';
    const call = await startCall(room, cluster.url(1));
    const other = await startCall('other-master');
    await measureAnew([other]);
    const host = cluster.hostOf(room);
    const isolated = cluster.masters[1]?.host;
    const cutAtMs = performance.now();
    const others = network.hosts.filter((one) => one !== isolated).map(({ address }) => address);
    await isolated?.cut({ addresses: others, tcpPort: cluster.redis.port });
    const back = await comeBack(call);
    t.diagnostic(`its clients are back after ${Math.round(performance.now() - cutAtMs)} ms`);
    await delay(longMs / 2);
    assert.equal(cluster.hostOf(room), host, 'the room has moved');
    await assertUninterrupted([other, back]);
    await isolated?.heal();
    await until(async () => {
      const [listed] = await new RoomServiceClient(cluster.url(1), devKey.apiKey, devKey.apiSecret).listRooms([room]);
      return listed?.sid === call.sid ? '' : 'the master does not see the room again';
    });
    const late = await join(room, 'late', {}, cluster.url(1));
    for (const track of back.publisher.publishedTrackSids) await late.waitForTrack(track, { contiguousMs: 100 });
    await late.leave();
    await assertNoFalseEnd([other, back]);
    await endCalls([other, back]);
  });
});

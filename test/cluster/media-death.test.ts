import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { LeaveRequest_Action } from '@livekit/protocol';
import { RoomServiceClient } from 'livekit-server-sdk';
import { delayFigures, tellBench } from '../kit/bench-figures.ts';
import { TestCluster, type ClusterProcess } from '../kit/cluster.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { devKey, joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';
import { WebhookTarget } from '../kit/webhook-receiver.ts';

type Call = { room: string; sid: string; publisher: LightClient; listener: LightClient };

const roomCount = 9;

describe('a media node that ends', () => {
  let hooks: WebhookTarget;
  let cluster: TestCluster;
  let endpoint: LightEndpoint;
  let service: RoomServiceClient;

  before(async () => {
    hooks = await WebhookTarget.start();
    cluster = await TestCluster.start({
      masters: 2,
      media: 3,
      config: { webhook: { api_key: devKey.apiKey, urls: [hooks.url] } },
    });
    endpoint = await LightEndpoint.start();
    service = new RoomServiceClient(cluster.url(0), devKey.apiKey, devKey.apiSecret);
  });
  after(async () => {
    await endpoint?.close();
    await cluster?.close();
    await hooks?.close();
  });

  const join = async (room: string, identity: string, publish = {}): Promise<LightClient> => {
    // Of each room the one sits at one master and the other at the other.
    const url = cluster.url(identity === 'publisher' ? 0 : 1);
    return LightClient.join({ url, token: await joinToken({ room, identity }), endpoint, publish });
  };

  async function startCall(room: string): Promise<Call> {
    await service.createRoom({ name: room, metadata: `about ${room}`, departureTimeout: 60 });
    const publisher = await join(room, 'publisher', { audio: true, video: true });
    const listener = await join(room, 'listener');
    for (const track of publisher.publishedTrackSids) await listener.waitForTrack(track, { contiguousMs: 200 });
    await service.updateParticipant(room, 'listener', {
      metadata: 'described by the server',
      attributes: { seat: '12' },
      permission: { canPublish: false, canSubscribe: true, canPublishData: true },
    });
    // The node may be frozen right after its answer, before this has left it.
    await until(async () => {
      const saved = await cluster.redis.ask(`HGET test:room-parts:${room} participant:listener`);
      return saved.includes('described by the server') ? '' : `not saved: ${saved}`;
    });
    const sid = publisher.joinResponse.room?.sid ?? '';
    return { room, sid, publisher, listener };
  }

  /** The victim is the node with most of the calls. */
  async function startCalls(prefix: string): Promise<{ victim: ClusterProcess; hit: Call[]; spared: Call[] }> {
    const calls: Call[] = [];
    for (let index = 0; index < roomCount; index += 1) calls.push(await startCall(`${prefix}-${index}`));
    await until(() => (calls.map(({ room }) => cluster.hostOf(room)).every(Boolean) ? '' : 'unreachable'));
    const byNode = Map.groupBy(calls, ({ room }) => cluster.hostOf(room));
    const [most] = [...byNode].toSorted(([, left], [, right]) => right.length - left.length);
    if (most === undefined) throw new Error('unreachable');
    const [victim, hit] = most;
    return { victim, hit, spared: calls.filter((call) => !hit.includes(call)) };
  }

  async function comeBack(call: Call, times: { leaveMs: number[]; rtpMs: number[] }, sinceMs: number): Promise<Call> {
    const back = async (client: LightClient, identity: string, publish = {}): Promise<LightClient> => {
      const leave = await client.waitForLeave();
      times.leaveMs.push(performance.now() - sinceMs);
      assert.equal(leave.action, LeaveRequest_Action.RECONNECT);
      await client.abandon();
      return join(call.room, identity, publish);
    };
    const [publisher, listener] = await Promise.all([
      back(call.publisher, 'publisher', { audio: true, video: true }),
      back(call.listener, 'listener'),
    ]);
    for (const track of publisher.publishedTrackSids) await listener.waitForTrack(track, { contiguousMs: 100 });
    times.rtpMs.push(performance.now() - sinceMs);
    return { ...call, publisher, listener };
  }

  async function assertSame({ room, sid, listener }: Call): Promise<void> {
    assert.equal(listener.joinResponse.room?.sid, sid);
    assert.equal(listener.joinResponse.room?.metadata, `about ${room}`);
    const described = await service.getParticipant(room, 'listener');
    assert.equal(described.metadata, 'described by the server');
    assert.equal(described.attributes['seat'], '12');
    assert.equal(described.permission?.canPublish, false);
    const names = hooks.ofRoom(room).map(({ event }) => event);
    assert.equal(names.filter((name) => name === 'room_started').length, 1, names.join());
    assert.equal(names.includes('room_finished'), false, names.join());
  }

  async function assertUntouched(calls: Call[]): Promise<void> {
    for (const { publisher, listener } of calls) {
      assert.equal(publisher.leaveReceived, undefined);
      assert.equal(listener.leaveReceived, undefined);
      for (const track of publisher.publishedTrackSids) {
        assert.equal((await listener.waitForTrack(track, { contiguousMs: 200 })).lost, 0);
      }
    }
  }

  async function endCalls(calls: Call[]): Promise<void> {
    for (const { room, publisher, listener } of calls) {
      await publisher.leave();
      await listener.leave();
      await service.deleteRoom(room);
    }
  }

  it('without a word has its rooms on other nodes within a moment, as they were', async (t) => {
    const { victim, hit, spared } = await startCalls('killed');
    const times = { leaveMs: [] as number[], rtpMs: [] as number[] };
    const diedAtMs = performance.now();
    void victim.kill();
    const back = await Promise.all(hit.map((call) => comeBack(call, times, diedAtMs)));
    print(t, `${hit.length} rooms of ${victim.name} killed: RECONNECT`, times.leaveMs);
    print(t, 'media again', times.rtpMs);
    assert.ok(Math.max(...times.leaveMs) < 1_000, `RECONNECT after ${Math.max(...times.leaveMs)} ms`);
    assert.ok(Math.max(...times.rtpMs) < 5_000, `media after ${Math.max(...times.rtpMs)} ms`);
    for (const call of back) await assertSame(call);
    await assertUntouched(spared);
    await endCalls([...back, ...spared]);
  });

  it('falls silent is replaced too, and keeps silent when it wakes up', async (t) => {
    const { victim, hit, spared } = await startCalls('frozen');
    const times = { leaveMs: [] as number[], rtpMs: [] as number[] };
    const frozenAtMs = performance.now();
    victim.pause();
    const back = await Promise.all(hit.map((call) => comeBack(call, times, frozenAtMs)));
    print(t, `${hit.length} rooms of ${victim.name} frozen: RECONNECT`, times.leaveMs);
    print(t, 'media again', times.rtpMs);
    assert.ok(Math.max(...times.rtpMs) < 5_000, `media after ${Math.max(...times.rtpMs)} ms`);
    victim.resume();
    await until(() => {
      const left = victim.log.lines.filter(({ msg }) => msg === 'room left to another node').length;
      return left === hit.length ? '' : `it has left ${left} of ${hit.length} rooms`;
    });
    for (const call of back) await assertSame(call);
    for (const { publisher, listener } of back) {
      assert.equal(publisher.leaveReceived, undefined);
      assert.equal(listener.leaveReceived, undefined);
    }
    await assertUntouched(spared);
    await endCalls([...back, ...spared]);
  });

  it('leaves rooms that end on another node, when nobody comes back to them', async () => {
    await cluster.addMedia();
    const room = 'deserted';
    await service.createRoom({ name: room, departureTimeout: 1 });
    const alice = await join(room, 'alice', { audio: true });
    const sid = alice.joinResponse.room?.sid;
    const host = cluster.hostOf(room);
    await host.kill();
    await alice.waitForLeave();
    await alice.abandon();
    const finished = await hooks.waitFor(room, 'room_finished');
    assert.equal(finished.room?.sid, sid);
    await until(async () => ((await service.listRooms([room])).length === 0 ? '' : 'the room is still listed'));
    const names = hooks.ofRoom(room).map(({ event }) => event);
    assert.equal(names.filter((name) => name === 'room_finished').length, 1, names.join());
  });

  it('in good order has given its rooms away before, and hears of no end either', async (t) => {
    await cluster.addMedia();
    const { victim, hit, spared } = await startCalls('stopped');
    const times = { leaveMs: [] as number[], rtpMs: [] as number[] };
    const stoppedAtMs = performance.now();
    const stopped = victim.stop();
    const back = await Promise.all(hit.map((call) => comeBack(call, times, stoppedAtMs)));
    await stopped;
    print(t, `${hit.length} rooms of ${victim.name} stopped: RECONNECT`, times.leaveMs);
    print(t, 'media again', times.rtpMs);
    assert.ok(Math.max(...times.rtpMs) < 5_000, `media after ${Math.max(...times.rtpMs)} ms`);
    for (const call of back) await assertSame(call);
    await assertUntouched(spared);
    await endCalls([...back, ...spared]);
  });
});

function print(t: TestContext, what: string, samplesMs: number[]): void {
  const sorted = samplesMs.toSorted((left, right) => left - right);
  const at = (share: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
  tellBench(what, delayFigures(samplesMs));
  t.diagnostic(`${what}: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, of ${sorted.length}`);
}

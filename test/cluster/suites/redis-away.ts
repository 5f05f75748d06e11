import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, it } from 'node:test';
import { RoomServiceClient } from 'livekit-server-sdk';
import { TestCluster } from '../../kit/cluster.ts';
import { JoinRefused } from '../../kit/light/light-signal.ts';
import { LightClient } from '../../kit/light-client.ts';
import { LightEndpoint } from '../../kit/light/light-endpoint.ts';
import type { RawConfig } from '../../kit/node.ts';
import { devKey, joinToken } from '../../kit/tokens.ts';
import { until } from '../../kit/until.ts';
import { WebhookTarget } from '../../kit/webhook-receiver.ts';

const backWithinMs = 5_000;
/** Between two looks at the call. */
const lookEveryMs = 20_000;

export type RedisAwayOptions = {
  /** Of the cluster. */
  config: RawConfig;
  /** More than five times every lease and timer of the cluster. */
  awayMs: number;
};

export function redisAwaySuite({ config, awayMs }: RedisAwayOptions): void {
  let hooks: WebhookTarget;
  let cluster: TestCluster;
  let endpoint: LightEndpoint;
  let service: RoomServiceClient;

  before(async () => {
    hooks = await WebhookTarget.start();
    cluster = await TestCluster.start({
      masters: 2,
      media: 3,
      config: { ...config, webhook: { api_key: devKey.apiKey, urls: [hooks.url] } },
    });
    endpoint = await LightEndpoint.start();
    service = new RoomServiceClient(cluster.url(0), devKey.apiKey, devKey.apiSecret);
  });
  after(async () => {
    await endpoint?.close();
    await cluster?.close();
    await hooks?.close();
  });

  const join = async (room: string, identity: string, publish = {}): Promise<LightClient> =>
    LightClient.join({ url: cluster.url(0), token: await joinToken({ room, identity }), endpoint, publish });

  it('interrupts no call, refuses new rooms clearly, and is followed by an ordinary life', async (t) => {
    const room = 'goes-on';
    const alice = await join(room, 'alice', { audio: true, video: true });
    const bob = await join(room, 'bob');
    for (const track of alice.publishedTrackSids) await bob.waitForTrack(track, { contiguousMs: 200 });
    for (const track of alice.publishedTrackSids) await bob.stats(track, { reset: true });

    cluster.redis.pause();
    const pausedAtMs = performance.now();
    await until(
      async () => {
        const refusal = await join('new', 'zoe').then(
          () => 'it was let in',
          (error: unknown) => error,
        );
        if (!(refusal instanceof JoinRefused)) return `the join to a new room ended with ${String(refusal)}`;
        assert.equal(refusal.status, 503);
        return /store does not answer/.test(refusal.body) ? '' : refusal.body;
      },
      { timeoutMs: 4_000 },
    );
    // Those that exist go on to take people, and sockets come back.
    const carol = await join(room, 'carol', { audio: true });
    await bob.resume();
    await bob.waitForTrack(carol.publishedTrackSids[0] ?? '', { contiguousMs: 200 });
    await service.updateRoomMetadata(room, 'changed meanwhile');
    let rounds = 0;
    while (performance.now() - pausedAtMs < awayMs) {
      await delay(Math.min(lookEveryMs, Math.max(0, awayMs - (performance.now() - pausedAtMs))));
      rounds += 1;
      await bob.resume();
      await alice.sendData(new TextEncoder().encode(String(rounds)), { topic: 'while it is away' });
      await bob.waitForPacket(
        ({ value }) => value.case === 'user' && Buffer.from(value.value.payload).toString() === String(rounds),
      );
      for (const client of [alice, bob, carol]) assert.equal(client.leaveReceived, undefined);
    }
    cluster.redis.resume();
    const backAtMs = performance.now();

    await until(
      async () => {
        const client = await join('new', 'zoe').catch((error: unknown) => error);
        if (!(client instanceof LightClient)) return String(client);
        await client.leave();
        return '';
      },
      { timeoutMs: backWithinMs },
    );
    t.diagnostic(`a new room is taken ${Math.round(performance.now() - backAtMs)} ms after Redis was back`);
    await until(
      async () => {
        const [listed] = await service.listRooms([room]);
        return listed?.metadata === 'changed meanwhile' && listed.numParticipants === 3 ? '' : 'the list is old';
      },
      { timeoutMs: backWithinMs },
    );
    for (const client of [alice, bob, carol]) assert.equal(client.leaveReceived, undefined);
    for (const track of alice.publishedTrackSids) {
      const stats = await bob.waitForTrack(track, { contiguousMs: 500 });
      assert.equal(stats.lost, 0);
      assert.ok(stats.maxGapMs < 1_000, `gap of ${stats.maxGapMs} ms`);
    }
    const events = hooks.ofRoom(room).map(({ event }) => event);
    assert.equal(events.filter((event) => event === 'room_started').length, 1);
    assert.equal(events.includes('room_finished'), false);
    for (const client of [alice, bob, carol]) await client.leave();
    await service.deleteRoom(room);
  });

  it('leaves the rooms of a node that dies meanwhile to be recovered after it is back', async (t) => {
    const room = 'recovered';
    await service.createRoom({ name: room, metadata: 'kept', departureTimeout: 60 });
    const alice = await join(room, 'alice');
    const sid = alice.joinResponse.room?.sid;
    cluster.redis.pause();
    await delay(1_500);
    await cluster.hostOf(room).kill();
    await alice.waitForLeave();
    await alice.abandon();
    await assert.rejects(join(room, 'alice'), (error: unknown) => error instanceof JoinRefused && error.status === 503);
    await delay(2_000);
    cluster.redis.resume();
    const backAtMs = performance.now();
    let again: LightClient | undefined;
    await until(
      async () => {
        again = await join(room, 'alice');
        return '';
      },
      { timeoutMs: backWithinMs },
    );
    t.diagnostic(`its client is back ${Math.round(performance.now() - backAtMs)} ms after Redis was back`);
    assert.equal(again?.joinResponse.room?.sid, sid);
    assert.equal(again?.joinResponse.room?.metadata, 'kept');
    await again?.leave();
  });
}

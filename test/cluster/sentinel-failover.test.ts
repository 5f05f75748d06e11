import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { RoomServiceClient } from 'livekit-server-sdk';
import { TestCluster } from '../kit/cluster.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { startSentinel, type SentinelSetup } from '../kit/redis.ts';
import { devKey, joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';

describe('a failover of Sentinel', () => {
  let sentinel: SentinelSetup;
  let cluster: TestCluster;
  let endpoint: LightEndpoint;

  before(async () => {
    sentinel = await startSentinel();
    cluster = await TestCluster.start({ masters: 2, media: 2, sentinel });
    endpoint = await LightEndpoint.start();
  });
  after(async () => {
    await endpoint?.close();
    await cluster?.close();
    await sentinel?.close();
  });

  it('interrupts no call, loses no room, and lets new rooms in within moments', async (t) => {
    const join = async (room: string, identity: string, publish = {}): Promise<LightClient> =>
      LightClient.join({ url: cluster.url(0), token: await joinToken({ room, identity }), endpoint, publish });
    const alice = await join('goes-on', 'alice', { audio: true, video: true });
    const bob = await join('goes-on', 'bob');
    for (const track of alice.publishedTrackSids) await bob.waitForTrack(track, { contiguousMs: 200 });
    for (const track of alice.publishedTrackSids) await bob.stats(track, { reset: true });
    await cluster.redis.kill();
    const killedAtMs = performance.now();
    let fresh: LightClient | undefined;
    await until(
      async () => {
        fresh = await join('new', 'zoe');
        return '';
      },
      { timeoutMs: 15_000 },
    );
    t.diagnostic(`a new room is taken ${Math.round(performance.now() - killedAtMs)} ms after the master was killed`);
    const service = new RoomServiceClient(cluster.url(1), devKey.apiKey, devKey.apiSecret);
    await until(async () => {
      const names = (await service.listRooms()).map(({ name }) => name).toSorted();
      return names.join() === 'goes-on,new' ? '' : `listed are ${names.join()}`;
    });
    const again = await join('goes-on', 'carol');
    assert.equal(again.joinResponse.room?.sid, alice.joinResponse.room?.sid);
    for (const client of [alice, bob]) assert.equal(client.leaveReceived, undefined);
    for (const track of alice.publishedTrackSids) {
      const stats = await bob.waitForTrack(track, { contiguousMs: 500 });
      assert.equal(stats.lost, 0);
      assert.ok(stats.maxGapMs < 1_000, `gap of ${stats.maxGapMs} ms`);
    }
    for (const client of [alice, bob, again, fresh]) await client?.leave();
  });
});

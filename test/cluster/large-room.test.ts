import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { LeaveRequest_Action, VideoQuality } from '@livekit/protocol';
import { TestBrowser, type BrowserClient } from '../kit/browser.ts';
import { TestCluster } from '../kit/cluster.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { disposeRtcNode, RtcClient, type SeenVideo } from '../kit/rtc-node.ts';
import { joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';

const room = 'large';
const lightCount = 56;
const workersPerNode = 2;
/** livekit-client sends three layers from a width of 960 on. */
const camera = {
  width: 960,
  height: 540,
  fps: 10,
  bitrateBps: 300_000,
  simulcast: true,
  layers: [
    { width: 240, height: 135, bitrateBps: 40_000, fps: 10 },
    { width: 480, height: 270, bitrateBps: 100_000, fps: 10 },
  ],
};
const widths = { [VideoQuality.LOW]: 240, [VideoQuality.MEDIUM]: 480, [VideoQuality.HIGH]: 960 } as const;
type Quality = keyof typeof widths;

describe('a room of one publisher and sixty subscribers over two workers on each of two nodes', () => {
  let cluster: TestCluster;
  let endpoint: LightEndpoint;
  let browser: TestBrowser;

  before(async () => {
    cluster = await TestCluster.start({
      masters: 1,
      media: 2,
      config: {
        rtc: { workers: workersPerNode, max_viewers_per_worker: 16 },
        room: { max_legs_per_node: 31 },
      },
    });
    endpoint = await LightEndpoint.start();
    browser = await TestBrowser.start();
  });
  after(async () => {
    await browser?.close();
    await disposeRtcNode();
    await endpoint?.close();
    await cluster?.close();
  });

  const url = (): string => cluster.url(0);

  /** The qualities change from one to the next, so that neighbours on a worker never take the same layer. */
  const qualityOf = (index: number): Quality =>
    ([VideoQuality.LOW, VideoQuality.MEDIUM, VideoQuality.LOW] as const)[index % 3] ?? VideoQuality.LOW;

  async function joinLight(index: number, track: string): Promise<LightClient> {
    const client = await LightClient.join({
      url: url(),
      token: await joinToken({ room, identity: `light-${index}` }),
      endpoint,
    });
    client.setTrackSettings(track, { quality: qualityOf(index) });
    return client;
  }

  async function waitForWidth(client: LightClient, track: string, width: number): Promise<void> {
    await until(
      async () => {
        const stats = await client.stats(track);
        if (stats.width === width) return '';
        client.requestKeyFrame(track);
        return `${client.identity} receives a width of ${stats.width} instead of ${width}`;
      },
      { timeoutMs: 20_000, intervalMs: 500 },
    );
  }

  it('has one copy of the track per worker, each viewer its layer, and all back when a node dies', async (t) => {
    const publisher = await browser.join({ url: url(), room, identity: 'publisher' });
    const track = await publisher.publishCamera(camera);
    const light: LightClient[] = [];
    for (let index = 0; index < lightCount; index += 1) light.push(await joinLight(index, track));
    const pages: BrowserClient[] = [];
    const natives: { client: RtcClient; seen: SeenVideo }[] = [];
    for (const identity of ['page-1', 'page-2']) pages.push(await browser.join({ url: url(), room, identity }));
    for (const identity of ['native-1', 'native-2']) {
      const client = await RtcClient.join({ url: url(), room, identity });
      await until(() => (client.subscribed.has(track) ? '' : `${identity} is not subscribed`));
      const subscribed = client.subscribed.get(track);
      assert.ok(subscribed !== undefined);
      natives.push({ client, seen: client.watchVideo(subscribed) });
    }

    for (const page of pages) await page.waitForPicture(track);
    for (const { client, seen } of natives) {
      await until(() =>
        seen.frames > 10 && seen.luma > 20 ? '' : `${client.local.identity} sees ${JSON.stringify(seen)}`,
      );
    }
    await Promise.all(light.map((client) => client.waitForTrack(track, { contiguousMs: 500, keyFrame: true })));
    const ports = new Map(light.map((client) => [client, mediaPortOf(client)]));
    const used = new Set(ports.values());
    assert.equal(used.size, 2 * workersPerNode, `the room is on ${used.size} workers`);
    await until(async () => {
      const copies = (await cluster.metrics()).sum('plenum_track_copies');
      return copies === used.size - 1 ? '' : `${copies} copies for ${used.size - 1} other workers`;
    });

    for (const [index, client] of light.entries()) await waitForWidth(client, track, widths[qualityOf(index)]);
    // Two on one worker change places; nobody else notices.
    const [first, second, third] = light;
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    first.setTrackSettings(track, { quality: VideoQuality.HIGH });
    second.setTrackSettings(track, { quality: VideoQuality.LOW });
    await waitForWidth(first, track, widths[VideoQuality.HIGH]);
    await waitForWidth(second, track, widths[VideoQuality.LOW]);
    assert.equal((await third.stats(track)).width, widths[VideoQuality.LOW]);

    const host = cluster.hostOf(room);
    const remote = cluster.media.find((node) => node !== host);
    assert.ok(remote !== undefined);
    const isRemote = (client: LightClient): boolean => {
      const port = ports.get(client) ?? 0;
      return port >= remote.mediaPortStart && port < remote.mediaPortStart + workersPerNode;
    };
    const stays = light.filter((client) => !isRemote(client));
    const hit = light.filter(isRemote);
    assert.ok(hit.length > lightCount / 4, `${hit.length} of the light clients are on the other node`);
    for (const client of stays) await client.stats(track, { reset: true });
    const diedAtMs = performance.now();
    void remote.kill();
    const back = await Promise.all(
      hit.map(async (client) => {
        assert.equal((await client.waitForLeave()).action, LeaveRequest_Action.RECONNECT);
        await client.abandon();
        return joinLight(light.indexOf(client), track);
      }),
    );
    await Promise.all(back.map((client) => client.waitForTrack(track, { contiguousMs: 100, keyFrame: true })));
    t.diagnostic(`${back.length} are back on the other node after ${Math.round(performance.now() - diedAtMs)} ms`);
    for (const client of back) {
      const port = mediaPortOf(client);
      assert.ok(
        port >= host.mediaPortStart && port < host.mediaPortStart + workersPerNode,
        'it is on the node that lives',
      );
    }
    for (const client of stays) {
      assert.equal(client.leaveReceived, undefined);
      const stats = await client.waitForTrack(track, { contiguousMs: 200 });
      assert.equal(stats.lost, 0);
    }
    for (const page of pages) {
      const { framesDecoded } = await page.waitForPicture(track);
      await page.waitForPicture(track, { frames: framesDecoded + 5 });
    }
    await Promise.all([...stays, ...back].map((client) => client.leave()));
    for (const { client } of natives) await client.close();
    for (const page of [...pages, publisher]) await page.close();
  });
});

/** Each worker has one port. */
function mediaPortOf(client: LightClient): number {
  const offer = client.messages.find((message) => message.case === 'offer');
  const line = /a=candidate:\S+ \d+ udp \d+ \S+ (\d+)/.exec(offer?.case === 'offer' ? offer.value.sdp : '');
  return Number(line?.[1]);
}

/** What a subscriber gets whose path does not carry everything. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { TestBrowser, type BrowserClient, type PageWindow } from '../kit/browser.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { startNode, type InProcessNode } from '../kit/node.ts';
import { joinToken } from '../kit/tokens.ts';
import { UdpRelay } from '../kit/udp-relay.ts';
import { until } from '../kit/until.ts';

/** Only meaningful inside functions that run in the page. */
declare const window: PageWindow;

/** 1 Mbit/s with a queue of 200 ms, and every twentieth packet lost. */
const narrow = { rateBps: 1_000_000, queueBytes: 25_000, delayMs: 20, loss: 0.05 };
const wide = { delayMs: 20, loss: 0.05 };
/** Two of these fit, four do not. */
const cameraBps = 350_000;
/** Of sound, in which there may be no gap: what is sent in six seconds. */
const watchedPackets = 300;

describe('a subscriber of four videos with 1 Mbit/s and 5 % loss', () => {
  let node: InProcessNode;
  let endpoint: LightEndpoint;
  let relay: UdpRelay;
  let browser: TestBrowser;
  let sender: LightClient;
  let viewer: BrowserClient;
  let sound: string;
  let cameras: string[];

  before(async () => {
    endpoint = await LightEndpoint.start();
    node = await startNode({
      logLevel: 'debug',
      config: { rtc: { workers: 1, congestion_control: { allow_pause: true } } },
    });
    const port = node.config.rtc.port_range_start;
    relay = await UdpRelay.start({ target: { address: '127.0.0.1', port }, down: narrow, up: { delayMs: 20 } });
    browser = await TestBrowser.start();
    const room = 'narrow';
    const token = await joinToken({ room, identity: 'sender' });
    sender = await LightClient.join({ url: node.url, token, endpoint, dynacast: false });
    sound = await sender.publishAudio();
    cameras = [];
    for (let count = 0; count < 4; count += 1) cameras.push(await sender.publishVideo({ bitrateBps: cameraBps }));
    const reroute = { from: port, to: relay.port };
    viewer = await browser.join({ url: node.url, room, identity: 'viewer', reroute });
  });

  after(async () => {
    await viewer?.close();
    await sender?.leave();
    await browser?.close();
    await node?.close();
    relay?.close();
    await endpoint?.close();
  });

  /** Sids of the cameras that it was told are stopped. */
  async function paused(): Promise<string[]> {
    const states = await viewer.evaluate(() => window.streamStates, undefined);
    return cameras.filter((sid) => states.findLast((state) => state.endsWith(sid)) === `paused ${sid}`);
  }

  async function soundPackets(): Promise<number> {
    const stats = (await viewer.evaluate((sid) => window.kit.soundStats(sid), sound)) as { packetsReceived?: number };
    return stats.packetsReceived ?? 0;
  }

  /** What the server did and why, for messages of failures. */
  function decisions(): string {
    const lines = node.log.lines.filter(({ msg }) => msg === 'videos stopped or resumed');
    return lines.map((line) => JSON.stringify(line)).join('\n');
  }

  async function untilPaused(isFine: (count: number) => boolean): Promise<void> {
    await until(
      async () => {
        const now = await paused();
        return isFine(now.length)
          ? ''
          : `paused are ${now.join()}; ${JSON.stringify(relay.counters.down)}\n${decisions()}`;
      },
      { timeoutMs: 40_000 },
    );
  }

  it('is told which ones are paused, keeps its audio without gaps, and gets them back when there is room', async () => {
    await untilPaused((count) => count >= 1);
    const packetsBefore = await soundPackets();
    await viewer.watchGaps(sound);
    await until(async () => {
      const packets = (await soundPackets()) - packetsBefore;
      return packets >= watchedPackets ? '' : `${packets} packets of sound`;
    });
    const gapMs = await viewer.gapOf(sound);
    assert.ok(gapMs < 200, `${gapMs} ms without a packet of sound\n${decisions()}`);
    relay.setDown(wide);
    await untilPaused((count) => count === 0);
  });
});

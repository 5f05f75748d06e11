/** Which layer of a video a subscriber gets, and which ones the publisher goes on sending. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { VideoCodec } from '@livekit/rtc-node';
import { TestBrowser, type BrowserClient, type PageWindow } from '../../kit/browser.ts';
import type { StartTarget, TestTarget } from '../../kit/target.ts';
import { stillness } from '../../kit/peer.ts';
import { RtcClient } from '../../kit/rtc-node.ts';
import { until } from '../../kit/until.ts';

/** Only meaningful inside functions that run in the page. */
declare const window: PageWindow;

/** LiveKit's VideoQuality. */
const low = 0;
const medium = 1;
const high = 2;

/** livekit-client sends three layers from a width of 960 on. */
const camera = {
  width: 960,
  height: 540,
  fps: 15,
  simulcast: true,
  layers: [
    { width: 240, height: 135, bitrateBps: 80_000, fps: 15 },
    { width: 480, height: 270, bitrateBps: 200_000, fps: 15 },
  ],
};

/** Chromium's encoders make no layers below 240x135 (VP9) and 256x144 (AV1). */
const twoLayers = { width: 512, height: 288, fps: 15, scalabilityMode: 'L2T3_KEY' } as const;

async function setQuality(client: BrowserClient, trackSid: string, quality: number): Promise<void> {
  await client.evaluate(({ sid, value }) => window.kit.findPublication(sid)?.setVideoQuality(value), {
    sid: trackSid,
    value: quality,
  });
}

async function setEnabled(client: BrowserClient, trackSid: string, enabled: boolean): Promise<void> {
  await client.evaluate(({ sid, value }) => window.kit.findPublication(sid)?.setEnabled(value), {
    sid: trackSid,
    value: enabled,
  });
}

async function resize(client: BrowserClient, trackSid: string, width: number): Promise<void> {
  await client.evaluate(({ sid, wide }) => window.kit.resizeElement(sid, wide, (wide * 9) / 16), {
    sid: trackSid,
    wide: width,
  });
}

async function waitForWidth(client: BrowserClient, trackSid: string, width: number): Promise<void> {
  await until(
    async () => {
      const look = await client.lookAt(trackSid);
      return look?.frameWidth === width && look.visible > 0.5
        ? ''
        : `${client.identity} sees ${JSON.stringify(look)} instead of a width of ${width}`;
    },
    { timeoutMs: 15_000, intervalMs: 50 },
  );
}

async function waitForStill(client: BrowserClient, trackSid: string): Promise<void> {
  const watch = stillness();
  await until(async () => {
    const frames = (await client.lookAt(trackSid))?.framesDecoded ?? 0;
    return watch(frames) ? '' : `${client.identity} still gets frames: ${frames}`;
  });
}

/** Waits until exactly these encodings of a published video are sent. */
async function waitForActive(client: BrowserClient, trackSid: string, rids: string): Promise<void> {
  await until(
    async () => {
      const encodings = await client.encodings(trackSid);
      const active = encodings.filter((encoding) => encoding.active).map(({ rid }) => rid);
      return active.join('') === rids ? '' : `active are ${active.join()} instead of ${rids}`;
    },
    { timeoutMs: 15_000, intervalMs: 50 },
  );
}

export function layersSuite(start: StartTarget): void {
  let node: TestTarget;
  let browser: TestBrowser;

  before(async () => {
    node = await start({ video: { dynacast_pause_delay: 1 } });
    browser = await TestBrowser.start();
  });
  after(async () => {
    await browser?.close();
    await node?.close();
  });

  describe('of a simulcast camera', () => {
    const room = 'simulcast';
    let publisher: BrowserClient;
    let watcher: BrowserClient;
    let sid: string;

    before(async () => {
      const roomOptions = { dynacast: true };
      publisher = await browser.join({ url: node.url, room, identity: 'publisher', roomOptions });
      watcher = await browser.join({ url: node.url, room, identity: 'watcher' });
      sid = await publisher.publishCamera(camera);
    });
    after(async () => {
      await publisher?.close();
      await watcher?.close();
    });

    it('follow the quality that a subscriber asks for', async () => {
      await waitForWidth(watcher, sid, 960);
      for (const [quality, width] of [
        [low, 240],
        [medium, 480],
        [high, 960],
      ] as const) {
        await setQuality(watcher, sid, quality);
        await waitForWidth(watcher, sid, width);
      }
    });

    it('that nobody watches are switched off, and on again when somebody does', async () => {
      await waitForActive(publisher, sid, 'qhf');
      await setQuality(watcher, sid, low);
      await waitForActive(publisher, sid, 'q');
      await waitForWidth(watcher, sid, 240);
      await setQuality(watcher, sid, high);
      await waitForActive(publisher, sid, 'qhf');
      await waitForWidth(watcher, sid, 960);
      await setEnabled(watcher, sid, false);
      await waitForStill(watcher, sid);
      await waitForActive(publisher, sid, '');
      await setEnabled(watcher, sid, true);
      await waitForActive(publisher, sid, 'qhf');
      await waitForWidth(watcher, sid, 960);
    });

    it('follow the size at which adaptive stream shows them', async () => {
      await setEnabled(watcher, sid, false);
      const roomOptions = { adaptiveStream: true };
      const adaptive = await browser.join({ url: node.url, room, identity: 'adaptive', roomOptions });
      await until(async () => ((await adaptive.lookAt(sid)) ? '' : 'not subscribed'));
      await resize(adaptive, sid, 200);
      await waitForWidth(adaptive, sid, 240);
      await waitForActive(publisher, sid, 'q');
      await resize(adaptive, sid, 480);
      await waitForWidth(adaptive, sid, 480);
      await waitForActive(publisher, sid, 'qh');
      await resize(adaptive, sid, 900);
      await waitForWidth(adaptive, sid, 960);
      await resize(adaptive, sid, 0);
      await waitForStill(adaptive, sid);
      await waitForActive(publisher, sid, '');
      await resize(adaptive, sid, 200);
      await waitForWidth(adaptive, sid, 240);
      await adaptive.close();
      await waitForActive(publisher, sid, '');
    });
  });

  it('of an SVC camera follow the quality that a subscriber asks for', async () => {
    const room = 'svc';
    const publisher = await browser.join({ url: node.url, room, identity: 'publisher' });
    const watcher = await browser.join({ url: node.url, room, identity: 'watcher' });
    for (const codec of ['vp9', 'av1'] as const) {
      const sid = await publisher.publishCamera({ ...twoLayers, codec });
      await waitForWidth(watcher, sid, 512);
      await setQuality(watcher, sid, low);
      await waitForWidth(watcher, sid, 256);
      await setQuality(watcher, sid, high);
      await waitForWidth(watcher, sid, 512);
      await publisher.unpublish(sid);
    }
    await publisher.close();
    await watcher.close();
  });

  it('of rtc-node follow the quality that a subscriber asks for', async () => {
    const room = 'native';
    const publisher = await RtcClient.join({ url: node.url, room, identity: 'publisher', dynacast: true });
    const watcher = await browser.join({ url: node.url, room, identity: 'watcher' });
    const video = { width: 960, height: 540, fps: 15, simulcast: true, codec: VideoCodec.VP8 };
    const { sid = '' } = await publisher.publishVideo(video);
    await waitForWidth(watcher, sid, 960);
    await setQuality(watcher, sid, low);
    await until(async () => {
      const width = (await watcher.lookAt(sid))?.frameWidth ?? 0;
      return width > 0 && width < 480 ? '' : `the low layer is ${width} wide`;
    });
    await setQuality(watcher, sid, high);
    await waitForWidth(watcher, sid, 960);
    assert.equal((await watcher.lookAt(sid))?.codec, 'video/VP8');
    await publisher.close();
    await watcher.close();
  });
}

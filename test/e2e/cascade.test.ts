/** A room over two workers: what a browser sends in any codec is seen on the other worker, in the layer that is wanted. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { VideoQuality } from '@livekit/protocol';
import { TestBrowser, type BrowserClient, type CameraOptions, type PageWindow } from '../kit/browser.ts';
import { startNode, type InProcessNode } from '../kit/node.ts';
import { until } from '../kit/until.ts';

/** Only meaningful inside functions that run in the page. */
declare const window: PageWindow;

const size = { width: 640, height: 360, fps: 15 };
const codecs: Record<string, CameraOptions> = {
  'VP8 simulcast': {
    ...size,
    codec: 'vp8',
    simulcast: true,
    layers: [{ width: 320, height: 180, bitrateBps: 150_000, fps: 15 }],
  },
  'H.264 simulcast': {
    ...size,
    codec: 'h264',
    simulcast: true,
    layers: [{ width: 320, height: 180, bitrateBps: 150_000, fps: 15 }],
  },
  'VP9 with spatial layers': { ...size, codec: 'vp9', scalabilityMode: 'L2T3_KEY' },
  'AV1 with spatial layers': { ...size, codec: 'av1', scalabilityMode: 'L2T3_KEY' },
};

describe('a room over two workers', () => {
  let browser: TestBrowser;
  let node: InProcessNode;
  let sender: BrowserClient;
  let viewer: BrowserClient;

  before(async () => {
    browser = await TestBrowser.start();
    node = await startNode({ config: { rtc: { workers: 2, max_viewers_per_worker: 1, pipe_linger: 0.1 } } });
    const join = { url: node.url, room: 'room', roomOptions: { adaptiveStream: false, dynacast: false } };
    sender = await browser.join({ ...join, identity: 'sender' });
    viewer = await browser.join({ ...join, identity: 'viewer' });
  });

  after(async () => {
    await sender?.close();
    await viewer?.close();
    await until(() => (node.debug.state().legs.rooms === 0 ? '' : 'the room is still there'));
    const { routers, transports, producers, consumers } = await node.debug.engine();
    assert.deepEqual(
      { routers, transports, producers, consumers },
      { routers: 0, transports: 0, producers: 0, consumers: 0 },
    );
    await node?.close();
    await browser?.close();
  });

  for (const [name, options] of Object.entries(codecs)) {
    it(`carries ${name}`, async () => {
      const trackSid = await sender.publishCamera(options);
      const look = await viewer.waitForPicture(trackSid, { frames: 20 });
      assert.equal(look.codec.toLowerCase(), `video/${options.codec}`);
      const { producers, consumers } = await node.debug.engine();
      // The original and its copy on the other worker; the pipe's consumer and the viewer's.
      assert.deepEqual({ producers, consumers }, { producers: 2, consumers: 2 });
      await untilWidth(trackSid, 640);
      await setQuality(trackSid, VideoQuality.LOW);
      await untilWidth(trackSid, 320);
      await setQuality(trackSid, VideoQuality.HIGH);
      await untilWidth(trackSid, 640);
      await sender.evaluate(async (sid) => {
        const track = window.kit.localPublication(sid)?.track;
        if (track) await window.room.localParticipant.unpublishTrack(track);
      }, trackSid);
      await until(async () => ((await node.debug.engine()).producers === 0 ? '' : 'producers are left'));
    });
  }

  it('carries sound', async () => {
    await viewer.waitForSound(await sender.publishMicrophone());
  });

  async function setQuality(trackSid: string, quality: VideoQuality): Promise<void> {
    await viewer.evaluate(({ sid, wanted }) => window.kit.findPublication(sid)?.setVideoQuality(wanted), {
      sid: trackSid,
      wanted: quality as number,
    });
  }

  async function untilWidth(trackSid: string, width: number): Promise<void> {
    await until(
      async () => {
        const look = await viewer.lookAt(trackSid);
        return look?.frameWidth === width ? '' : `sees ${JSON.stringify(look)}`;
      },
      { timeoutMs: 20_000, intervalMs: 100 },
    );
  }
});

/** Which codecs pass from whom to whom, and what happens where a subscriber lacks one. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { VideoCodec } from '@livekit/rtc-node';
import { AddTrackRequest, SubscriptionError, TrackType } from '@livekit/protocol';
import { TestBrowser, type BrowserClient, type CameraOptions, type PageWindow } from '../../kit/browser.ts';
import { LightClient } from '../../kit/light-client.ts';
import { LightEndpoint } from '../../kit/light/light-endpoint.ts';
import type { StartTarget, TestTarget } from '../../kit/target.ts';
import { RtcClient } from '../../kit/rtc-node.ts';
import { joinToken } from '../../kit/tokens.ts';
import { until } from '../../kit/until.ts';

/** Only meaningful inside functions that run in the page. */
declare const window: PageWindow & {
  RTCPeerConnection: { prototype: RawConnection };
  RTCRtpReceiver: { getCapabilities(kind: string): { codecs: RawCodec[] } | null };
  failures: string[];
};
type RawCodec = { mimeType: string };
type RawConnection = {
  setRemoteDescription(description: { type: string; sdp: string }): Promise<void>;
  createOffer(options: unknown): Promise<unknown>;
  getTransceivers(): {
    direction: string;
    receiver: { track: { kind: string } };
    setCodecPreferences(codecs: RawCodec[]): void;
  }[];
};

const small = { width: 320, height: 180, bitrateBps: 100_000, fps: 15 };
const tiny = { width: 160, height: 90, bitrateBps: 40_000, fps: 15 };

/** Small pictures and two layers where encoding is slow; VP8, which is quick, stands for three layers. */
const cameras: Record<string, CameraOptions & { mime: string; layersSent: number }> = {
  vp8: { mime: 'video/VP8', width: 960, height: 540, simulcast: true, layers: [tiny, small], layersSent: 3 },
  h264: { mime: 'video/H264', width: 640, height: 360, codec: 'h264', simulcast: true, layers: [small], layersSent: 2 },
  vp9: { mime: 'video/VP9', width: 512, height: 288, codec: 'vp9', scalabilityMode: 'L2T3_KEY', layersSent: 1 },
  av1: { mime: 'video/AV1', width: 512, height: 288, codec: 'av1', scalabilityMode: 'L2T3_KEY', layersSent: 1 },
};

const nativeCodecs: [VideoCodec, string][] = [
  [VideoCodec.VP8, 'video/VP8'],
  [VideoCodec.H264, 'video/H264'],
  [VideoCodec.VP9, 'video/VP9'],
  [VideoCodec.AV1, 'video/AV1'],
];

export function codecsSuite(start: StartTarget): void {
  let node: TestTarget;
  let browser: TestBrowser;
  let endpoint: LightEndpoint;

  before(async () => {
    node = await start();
    browser = await TestBrowser.start();
    endpoint = await LightEndpoint.start();
  });
  after(async () => {
    await browser?.close();
    await endpoint?.close();
    await node?.close();
  });

  describe('from Chromium', () => {
    const room = 'from chromium';
    let publisher: BrowserClient;
    let watcher: BrowserClient;
    let native: RtcClient;

    before(async () => {
      publisher = await browser.join({ url: node.url, room, identity: 'publisher' });
      watcher = await browser.join({ url: node.url, room, identity: 'watcher' });
      native = await RtcClient.join({ url: node.url, room, identity: 'native' });
    });
    after(async () => {
      await native?.close();
      await publisher?.close();
      await watcher?.close();
    });

    for (const [name, { mime, layersSent, ...camera }] of Object.entries(cameras)) {
      it(`${name} reaches Chromium and rtc-node with its full picture`, async () => {
        const sid = await publisher.publishCamera(camera);
        const look = await watcher.waitForPicture(sid);
        assert.equal(look.codec, mime);
        await until(
          async () => {
            const { frameWidth, frameHeight } = (await watcher.lookAt(sid)) ?? look;
            const full = frameWidth === camera.width && frameHeight === camera.height;
            return full ? '' : `Chromium sees ${frameWidth}x${frameHeight}`;
          },
          { timeoutMs: 15_000 },
        );
        const subscribed = native.subscribed.get(sid);
        assert.ok(subscribed);
        const seen = native.watchVideo(subscribed);
        await until(() =>
          seen.frames > 10 && seen.luma > 20 && seen.width === camera.width
            ? ''
            : `rtc-node sees ${JSON.stringify(seen)}`,
        );
        assert.equal((await publisher.encodings(sid)).length, layersSent);
        await publisher.unpublish(sid);
        await until(() => (native.subscribed.has(sid) ? 'rtc-node still has the track' : ''));
      });
    }

    it('a shared screen arrives as one', async () => {
      const sid = await publisher.publishScreen();
      await watcher.waitForPicture(sid);
      const source = await watcher.evaluate((wanted) => window.kit.findPublication(wanted)?.source as string, sid);
      assert.equal(source, 'screen_share');
    });

    it('the microphone is heard, with and without RED being wished for', async () => {
      for (const red of [true, false]) {
        const sid = await publisher.evaluate(
          async (wanted) => window.kit.publishMicrophone({ red: wanted, dtx: !wanted }),
          red,
        );
        await watcher.waitForSound(sid);
        const info = await watcher.evaluate((wanted) => {
          const { trackInfo } = window.kit.findPublication(wanted) ?? {};
          return {
            disableRed: trackInfo?.disableRed,
            disableDtx: trackInfo?.disableDtx,
            mimeType: trackInfo?.mimeType,
          };
        }, sid);
        // RED is not negotiated; both travel as opus.
        assert.deepEqual(info, { disableRed: !red, disableDtx: red, mimeType: 'audio/opus' });
        await publisher.unpublish(sid);
      }
    });
  });

  it('of rtc-node all reach Chromium', async () => {
    const room = 'from rtc-node';
    const native = await RtcClient.join({ url: node.url, room, identity: 'native' });
    const watcher = await browser.join({ url: node.url, room, identity: 'watcher' });
    for (const [codec, mime] of nativeCodecs) {
      const { sid = '' } = await native.publishVideo({ width: 320, height: 180, codec });
      const look = await watcher.waitForPicture(sid);
      assert.deepEqual([look.codec, look.frameWidth], [mime, 320]);
      await native.local.unpublishTrack(sid);
    }
    await native.close();
    await watcher.close();
  });

  describe('that a subscriber lacks', () => {
    it('are refused with a reason, and the others go on', async () => {
      const room = 'lacking';
      const publisher = await browser.join({ url: node.url, room, identity: 'publisher' });
      const able = await browser.join({ url: node.url, room, identity: 'able' });
      const unable = await browser.join({ url: node.url, room, identity: 'unable' });
      await unable.evaluate(() => {
        window.failures = [];
        window.room.on(window.LivekitClient.RoomEvent.TrackSubscriptionFailed, (sid, _who, reason) => {
          window.failures.push(`${sid} ${reason}`);
        });
        // A browser without AV1: it does not find the codec in the offer that the page hands to it.
        const { prototype } = window.RTCPeerConnection;
        const { setRemoteDescription } = prototype;
        prototype.setRemoteDescription = async function withoutAv1(description) {
          const sdp = description.sdp.replaceAll(/ AV1\/90000/g, ' UNKNOWN/90000');
          await setRemoteDescription.call(this, { type: description.type, sdp });
        };
        // On a single peer connection the page offers what it receives.
        const { createOffer } = prototype;
        prototype.createOffer = async function withoutAv1(options) {
          const { codecs = [] } = window.RTCRtpReceiver.getCapabilities('video') ?? {};
          for (const transceiver of this.getTransceivers()) {
            if (transceiver.direction === 'recvonly' && transceiver.receiver.track.kind === 'video') {
              transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType !== 'video/AV1'));
            }
          }
          return createOffer.call(this, options);
        };
      }, undefined);
      const vp8 = await publisher.publishCamera({ width: 320, height: 180 });
      await unable.waitForPicture(vp8);
      const av1 = await publisher.publishCamera({ width: 320, height: 180, codec: 'av1', scalabilityMode: 'L1T3' });
      await able.waitForPicture(av1);
      await until(async () => {
        const failures = await unable.evaluate(() => window.failures, undefined);
        return failures.includes(`${av1} ${SubscriptionError.SE_CODEC_UNSUPPORTED}`) ? '' : `told: ${failures.join()}`;
      });
      const { framesDecoded } = await unable.waitForPicture(vp8);
      await unable.waitForPicture(vp8, { frames: framesDecoded + 10 });
      const next = await publisher.publishMicrophone();
      await unable.waitForSound(next);
      for (const client of [publisher, able, unable]) await client.close();
    });
  });

  it('that nobody knows are replaced by the first enabled one', async () => {
    const room = 'unknown';
    const token = await joinToken({ room, identity: 'light' });
    const light = await LightClient.join({ url: node.url, token, endpoint });
    light.send({
      case: 'addTrack',
      value: new AddTrackRequest({
        cid: 'camera',
        type: TrackType.VIDEO,
        simulcastCodecs: [{ codec: 'theora', cid: 'camera' }],
      }),
    });
    const answer = await light.waitForMessage((message) => message.case === 'trackPublished');
    assert.ok(answer.case === 'trackPublished');
    assert.equal(answer.value.track?.codecs[0]?.mimeType, 'video/VP8');
    await light.leave();
  });
}

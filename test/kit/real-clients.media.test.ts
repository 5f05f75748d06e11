import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { TestBrowser } from './browser.ts';
import { LightClient } from './light-client.ts';
import { LightEndpoint } from './light/light-endpoint.ts';
import { startNode, type InProcessNode } from './node.ts';
import { disposeRtcNode, RtcClient } from './rtc-node.ts';
import { joinToken } from './tokens.ts';
import { until } from './until.ts';

describe('the kit side by side: Chromium, rtc-node and the light client in one room', () => {
  let node: InProcessNode;
  let endpoint: LightEndpoint;
  let browser: TestBrowser;

  before(async () => {
    node = await startNode({ logLevel: 'info' });
    endpoint = await LightEndpoint.start();
    browser = await TestBrowser.start();
  });

  after(async () => {
    await browser?.close();
    await endpoint?.close();
    await disposeRtcNode();
    await node?.close();
  });

  it('carries picture, sound and data from each to each', async () => {
    const room = 'kit';
    const chromium = await browser.join({ url: node.url, room, identity: 'chromium' });
    const native = await RtcClient.join({ url: node.url, room, identity: 'native' });
    const light = await LightClient.join({
      url: node.url,
      token: await joinToken({ room, identity: 'light' }),
      endpoint,
    });

    const camera = await chromium.publishCamera({ width: 320, height: 180 });
    const microphone = await chromium.publishMicrophone();
    const pattern = await native.publishVideo({ width: 320, height: 180 });
    const sine = await native.publishAudio();

    await light.waitForTrack(camera, { contiguousMs: 300, keyFrame: true });
    await light.waitForTrack(microphone, { contiguousMs: 300 });
    await light.waitForTrack(pattern.sid ?? '', { contiguousMs: 300, keyFrame: true });

    const look = await chromium.waitForPicture(pattern.sid ?? '');
    assert.equal(look.codec, 'video/VP8');
    await chromium.waitForSound(sine.sid ?? '');

    const seen = native.watchVideo(await native.waitForTrack('chromium', 'video'));
    const heard = native.listen(await native.waitForTrack('chromium', 'audio'));
    await until(() => (seen.frames > 10 && seen.luma > 20 ? '' : `rtc-node sees ${JSON.stringify(seen)}`));
    await until(() => (heard.peak > 500 ? '' : `rtc-node hears ${JSON.stringify(heard)}`));

    await light.sendData(Buffer.from('to all'), { topic: 'greeting' });
    await until(async () =>
      (await chromium.packets()).some(({ text, from }) => text === 'to all' && from === 'light')
        ? ''
        : 'Chromium got no data',
    );
    await native.local.publishData(Buffer.from('from native'), { reliable: true });
    await light.waitForPacket((packet) => packet.participantIdentity === 'native');

    await light.leave();
    await native.close();
    await chromium.close();
  });
});

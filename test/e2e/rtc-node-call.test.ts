import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { RoomEvent } from '@livekit/rtc-node';
import { startNode, type InProcessNode } from '../kit/node.ts';
import { disposeRtcNode, RtcClient } from '../kit/rtc-node.ts';
import { until } from '../kit/until.ts';

describe('two rtc-node clients', () => {
  let node: InProcessNode;
  before(async () => {
    node = await startNode();
  });
  after(async () => {
    await disposeRtcNode();
    await node.close();
  });

  it('exchange audio, video and data', async () => {
    const alice = await RtcClient.join({ url: node.url, room: 'slice', identity: 'alice' });
    const bob = await RtcClient.join({ url: node.url, room: 'slice', identity: 'bob' });
    await alice.publishVideo();
    await alice.publishAudio();
    const video = bob.watchVideo(await bob.waitForTrack('alice', 'video'));
    const audio = bob.listen(await bob.waitForTrack('alice', 'audio'));
    await until(() => (video.frames > 10 && video.luma > 30 ? '' : `video ${JSON.stringify(video)}`));
    await until(() => (audio.peak > 2000 ? '' : `audio ${JSON.stringify(audio)}`));
    const received: string[] = [];
    bob.room.on(RoomEvent.DataReceived, (payload) => received.push(new TextDecoder().decode(payload)));
    await alice.local.publishData(new TextEncoder().encode('hello'), { reliable: true });
    await until(() => (received.includes('hello') ? '' : `received ${received.join()}`));
    await alice.close();
    await bob.close();
    assert.ok(true);
  });
});

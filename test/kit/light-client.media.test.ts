import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { VideoQuality } from '@livekit/protocol';
import { LightClient, type LightClientOptions } from './light-client.ts';
import { LightEndpoint } from './light/light-endpoint.ts';
import { JoinRefused } from './light/light-signal.ts';
import { startNode, type InProcessNode } from './node.ts';
import { joinToken } from './tokens.ts';
import { until } from './until.ts';

describe('light client against a whole server', () => {
  let node: InProcessNode;
  let endpoint: LightEndpoint;

  before(async () => {
    node = await startNode({ logLevel: process.env['KIT_LOG'] ?? 'info' });
    endpoint = await LightEndpoint.start();
  });

  after(async () => {
    await endpoint?.close();
    await node?.close();
  });

  async function join(room: string, identity: string, options: Partial<LightClientOptions> = {}): Promise<LightClient> {
    return LightClient.join({ url: node.url, token: await joinToken({ room, identity }), endpoint, ...options });
  }

  it('hears and sees a publisher without a gap, and the late joiner too', async () => {
    const early = await join('media', 'early', { publish: { video: true } });
    const publisher = await join('media', 'publisher', { publish: { audio: true, video: { simulcast: true } } });
    const late = await join('media', 'late');
    const [audio = '', video = ''] = publisher.publishedTrackSids;
    for (const subscriber of [early, late]) {
      const heard = await subscriber.waitForTrack(audio, { contiguousMs: 500 });
      assert.equal(heard.lost, 0);
      const seen = await subscriber.waitForTrack(video, { contiguousMs: 200, keyFrame: true });
      assert.ok(seen.width > 0);
      assert.ok(subscriber.remoteTracks().length >= 2);
    }
    const [single = ''] = early.publishedTrackSids;
    await late.waitForTrack(single, { contiguousMs: 200, keyFrame: true });
    for (const client of [early, publisher, late]) await client.leave();
  });

  it('receives the layer that it asks for', async () => {
    const publisher = await join('layers', 'publisher', {
      publish: { video: { simulcast: true, width: 1280, height: 720, bitrateBps: 500_000 } },
    });
    const subscriber = await join('layers', 'subscriber');
    const [video = ''] = publisher.publishedTrackSids;
    await subscriber.waitForTrack(video, { keyFrame: true });
    for (const [quality, width] of [
      [VideoQuality.LOW, 320],
      [VideoQuality.HIGH, 1280],
      [VideoQuality.MEDIUM, 640],
    ] as const) {
      subscriber.setTrackSettings(video, { quality });
      await until(async () => {
        const stats = await subscriber.stats(video);
        return stats.width === width ? '' : `wanted a picture ${width} wide: ${JSON.stringify(stats)}`;
      });
    }
    for (const client of [publisher, subscriber]) await client.leave();
  });

  it('reads as one of a crowd what it needs of a room with others, and no more', async () => {
    const publisher = await join('crowd', 'publisher', { publish: { audio: true, video: true } });
    const member = await join('crowd', 'member', { crowd: true, countData: true, nack: true });
    for (const track of publisher.publishedTrackSids) await member.waitForTrack(track, { contiguousMs: 200 });
    assert.equal(member.joinResponse.room?.name, 'crowd');
    assert.deepEqual([...member.participants.keys()], ['member']);
    const bystander = await join('crowd', 'bystander');
    assert.ok(bystander.participants.has('member'));
    assert.ok(!member.participants.has('bystander'));
    for (const client of [publisher, member, bystander]) await client.leave();
  });

  it('exchanges reliable and lossy data', async () => {
    const alice = await join('data', 'alice');
    const bob = await join('data', 'bob');
    await Promise.all([alice.waitForChannels(), bob.waitForChannels()]);
    await alice.sendData(Buffer.alloc(15_000, 1), { topic: 'big' });
    const big = await bob.waitForPacket((packet) => packet.value.case === 'user' && packet.value.value.topic === 'big');
    assert.equal(big.participantIdentity, 'alice');
    await bob.sendData(Buffer.from('back'), { reliable: false, destinationIdentities: ['alice'] });
    const back = await alice.waitForPacket((packet) => packet.value.case === 'user');
    assert.equal(back.participantSid, bob.sid);
    for (const client of [alice, bob]) await client.leave();
  });

  it('keeps media flowing over a cut socket and resumes', async () => {
    const publisher = await join('resume', 'publisher', { publish: { audio: true } });
    const subscriber = await join('resume', 'subscriber');
    const [audio = ''] = publisher.publishedTrackSids;
    await subscriber.waitForTrack(audio, { contiguousMs: 300 });
    await subscriber.stats(audio, { reset: true });
    for (const client of [publisher, subscriber]) {
      client.cutSocket();
      await client.waitFor(() => client.socketCloseCode !== undefined, 'loss of the socket');
      await client.resume();
    }
    const stats = await subscriber.waitForTrack(audio, { contiguousMs: 500 });
    assert.equal(stats.lost, 0);
    assert.ok(stats.maxGapMs < 100, `gap of ${stats.maxGapMs} ms`);
    await publisher.sendData(Buffer.from('still here'));
    await subscriber.waitForPacket((packet) => packet.value.case === 'user');
    for (const client of [publisher, subscriber]) await client.leave();
  });

  it('takes a track away and brings one back', async () => {
    const publisher = await join('again', 'publisher', { publish: { audio: true } });
    const subscriber = await join('again', 'subscriber');
    const [first = ''] = publisher.publishedTrackSids;
    await subscriber.waitForTrack(first, { contiguousMs: 100 });
    await publisher.unpublish(first);
    await subscriber.waitFor(() => !subscriber.subscribedTrackSids.includes(first), 'end of the track');
    const second = await publisher.publishAudio();
    assert.notEqual(second, first);
    await subscriber.waitForTrack(second, { contiguousMs: 100 });
    for (const client of [publisher, subscriber]) await client.leave();
  });

  it('tells why a join is refused', async () => {
    const token = await joinToken({
      room: 'refused',
      identity: 'stranger',
      key: { apiKey: 'nobody', apiSecret: 'x'.repeat(32) },
    });
    await assert.rejects(
      LightClient.join({ url: node.url, token, endpoint }),
      (error) => error instanceof JoinRefused && error.status === 401,
    );
    await until(() => (endpoint.peerCount === 0 ? '' : `${endpoint.peerCount} peers are left`));
  });
});

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ParticipantInfo_State } from '@livekit/protocol';
import { TestCluster } from '../kit/cluster.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { joinToken } from '../kit/tokens.ts';

describe('a master that dies', () => {
  let cluster: TestCluster;
  let endpoint: LightEndpoint;

  before(async () => {
    cluster = await TestCluster.start({ masters: 2, media: 2 });
    endpoint = await LightEndpoint.start();
  });
  after(async () => {
    await endpoint?.close();
    await cluster?.close();
  });

  it('costs its clients their sockets, which come back through the other, and no media', async (t) => {
    const room = 'stays';
    const join = async (identity: string, url: string, publish = {}): Promise<LightClient> =>
      LightClient.join({ url, token: await joinToken({ room, identity }), endpoint, publish });
    const front = await cluster.frontDoor();
    const alice = await join('alice', front.url, { audio: true, video: true });
    const bob = await join('bob', front.url, { audio: true });
    const tracks = alice.publishedTrackSids;
    for (const track of tracks) await bob.waitForTrack(track, { contiguousMs: 300 });
    const [sound = ''] = bob.publishedTrackSids;
    await alice.waitForTrack(sound, { contiguousMs: 300 });
    for (const track of tracks) await bob.stats(track, { reset: true });
    await alice.stats(sound, { reset: true });

    const diedAtMs = performance.now();
    await cluster.masters[0]?.kill();
    await bob.waitFor(() => bob.socketCloseCode !== undefined, 'the end of the socket');
    await Promise.all([alice.resume(), bob.resume()]);
    t.diagnostic(`both sockets are back after ${Math.round(performance.now() - diedAtMs)} ms`);

    for (const track of tracks) {
      const stats = await bob.waitForTrack(track, { contiguousMs: 500 });
      assert.equal(stats.lost, 0);
      assert.ok(stats.maxGapMs < 1_000, `gap of ${stats.maxGapMs} ms`);
      t.diagnostic(`largest gap ${Math.round(stats.maxGapMs)} ms`);
    }
    const heard = await alice.waitForTrack(sound, { contiguousMs: 500 });
    assert.equal(heard.lost, 0);
    await alice.sendData(new TextEncoder().encode('still there'), { topic: 'after' });
    await bob.waitForPacket(({ value }) => value.case === 'user' && value.value.topic === 'after');
    const carol = await join('carol', cluster.url(1));
    await carol.waitForTrack(tracks[0] ?? '', { contiguousMs: 200 });
    for (const client of [alice, bob, carol]) await client.leave();
    await front.close();
  });

  it('closes its sockets when it is stopped, for its clients to resume through another, and ends with code 0', async (t) => {
    await cluster.addMaster();
    const leaving = cluster.masters.find((node) => node.isRunning);
    const staying = cluster.masters.findLast((node) => node.isRunning);
    assert.ok(leaving !== undefined && staying !== undefined && leaving !== staying);
    const front = await cluster.frontDoor();
    t.after(() => front.close());
    const client = await LightClient.join({
      url: front.url,
      token: await joinToken({ room: 'moves-on', identity: 'alice' }),
      endpoint,
    });
    // A client whose media does not stand yet joins anew instead.
    await client.waitForParticipant('alice', ({ state }) => state === ParticipantInfo_State.ACTIVE);
    const ended = leaving.stop();
    await client.waitFor(() => client.socketCloseCode !== undefined, 'the end of the socket');
    assert.equal(client.socketCloseCode, 1001);
    assert.equal(client.leaveReceived, undefined);
    assert.equal(await ended, 0);
    await client.resume();
    await client.leave();
  });
});

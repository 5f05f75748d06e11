import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { LeaveRequest_Action } from '@livekit/protocol';
import { RoomServiceClient } from 'livekit-server-sdk';
import { TestCluster } from '../kit/cluster.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { devKey, joinToken } from '../kit/tokens.ts';

const maxLegsPerNode = 2;

describe('a room that is larger than a media node may carry', () => {
  let cluster: TestCluster;
  let endpoint: LightEndpoint;

  before(async () => {
    cluster = await TestCluster.start({
      masters: 1,
      media: 3,
      config: { room: { max_legs_per_node: maxLegsPerNode } },
    });
    endpoint = await LightEndpoint.start();
  });
  after(async () => {
    await endpoint?.close();
    await cluster?.close();
  });

  const join = async (room: string, identity: string, publish = {}): Promise<LightClient> =>
    LightClient.join({ url: cluster.url(0), token: await joinToken({ room, identity }), endpoint, publish });

  it('has media and data in order between participants of several nodes', async () => {
    const room = 'wide';
    const alice = await join(room, 'alice', { audio: true, video: true });
    const bob = await join(room, 'bob');
    const carol = await join(room, 'carol', { audio: true });
    const dave = await join(room, 'dave');
    const everybody = [alice, bob, carol, dave];
    assert.deepEqual(mediaPorts(everybody).length, 2, 'all legs are on one node');
    for (const client of [bob, carol, dave]) {
      for (const track of alice.publishedTrackSids) {
        const stats = await client.waitForTrack(track, { contiguousMs: 500 });
        assert.equal(stats.lost, 0);
      }
    }
    for (const client of [alice, bob, dave]) {
      for (const track of carol.publishedTrackSids) await client.waitForTrack(track, { contiguousMs: 500 });
    }

    const count = 200;
    for (const [sender, topic] of [
      [alice, 'from alice'],
      [dave, 'from dave'],
    ] as const) {
      for (let index = 0; index < count; index += 1) {
        await sender.sendData(Buffer.from(String(index)), { topic });
      }
      for (const receiver of everybody.filter((client) => client !== sender)) {
        await receiver.waitFor(
          () => numbersOf(receiver, topic).length >= count,
          () => `${numbersOf(receiver, topic).length} packets ${topic}`,
        );
        assert.deepEqual(
          numbersOf(receiver, topic),
          Array.from({ length: count }, (_, index) => index),
          `${receiver.identity} of ${sender.identity}`,
        );
      }
    }
    const service = new RoomServiceClient(cluster.url(0), devKey.apiKey, devKey.apiSecret);
    await service.sendData(room, Buffer.from('7'), 0, { topic: 'from the server' });
    for (const client of everybody) {
      await client.waitFor(() => numbersOf(client, 'from the server').length === 1, 'the packet of the server');
    }
    for (const client of everybody) await client.leave();
  });

  it('loses only those participants whose node dies, and takes them back', async (t) => {
    const room = 'half';
    const alice = await join(room, 'alice', { audio: true, video: true });
    const bob = await join(room, 'bob');
    const carol = await join(room, 'carol', { audio: true });
    const dave = await join(room, 'dave');
    for (const track of alice.publishedTrackSids) {
      for (const client of [bob, carol, dave]) await client.waitForTrack(track, { contiguousMs: 200 });
    }
    for (const track of alice.publishedTrackSids) await bob.stats(track, { reset: true });
    const host = cluster.hostOf(room);
    const [, remotePort = 0] = mediaPorts([alice, carol]);
    const remote = cluster.media.find((node) => node.mediaPortStart === remotePort);
    assert.ok(remote !== undefined && remote !== host, 'the second node is not the host');

    const diedAtMs = performance.now();
    void remote.kill();
    const rejoined = await Promise.all(
      [carol, dave].map(async (client) => {
        const leave = await client.waitForLeave();
        assert.equal(leave.action, LeaveRequest_Action.RECONNECT);
        const { identity } = client;
        await client.abandon();
        return join(room, identity, identity === 'carol' ? { audio: true } : {});
      }),
    );
    for (const client of rejoined) {
      for (const track of alice.publishedTrackSids) await client.waitForTrack(track, { contiguousMs: 100 });
    }
    t.diagnostic(`both are back after ${Math.round(performance.now() - diedAtMs)} ms`);
    for (const track of alice.publishedTrackSids) {
      const stats = await bob.waitForTrack(track, { contiguousMs: 300 });
      assert.equal(stats.lost, 0);
      assert.ok(stats.maxGapMs < 1_000, `gap of ${stats.maxGapMs} ms for bob, whose node lives`);
    }
    assert.equal(alice.leaveReceived, undefined);
    assert.equal(bob.leaveReceived, undefined);
    assert.equal(rejoined[0]?.joinResponse.room?.sid, alice.joinResponse.room?.sid);
    const [sound = ''] = rejoined[0]?.publishedTrackSids ?? [];
    await alice.waitForTrack(sound, { contiguousMs: 200 });
    for (const client of [alice, bob, ...rejoined]) await client.leave();
  });
});

function numbersOf(client: LightClient, topic: string): number[] {
  return client.packets.flatMap(({ value }) =>
    value.case === 'user' && value.value.topic === topic ? Number(Buffer.from(value.value.payload).toString()) : [],
  );
}

/** Each worker, and here that is each node, has one port; in the order of the clients. */
function mediaPorts(clients: LightClient[]): number[] {
  return [
    ...new Set(
      clients.map((client) => {
        const offer = client.messages.find((message) => message.case === 'offer');
        const line = /a=candidate:\S+ \d+ udp \d+ \S+ (\d+)/.exec(offer?.case === 'offer' ? offer.value.sdp : '');
        return Number(line?.[1]);
      }),
    ),
  ];
}

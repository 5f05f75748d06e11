import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { LeaveRequest_Action, type ParticipantInfo } from '@livekit/protocol';
import { RoomEvent } from '@livekit/rtc-node';
import { WebhookReceiver, type WebhookEvent } from 'livekit-server-sdk';
import { TestBrowser } from '../kit/browser.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { startNode, type InProcessNode } from '../kit/node.ts';
import { disposeRtcNode, RtcClient, type SubscribedTrack } from '../kit/rtc-node.ts';
import { devKey, joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';

const backInMs = 5000;

describe('a media worker that dies', () => {
  let node: InProcessNode;
  let endpoint: LightEndpoint;
  let browser: TestBrowser;
  let hooks: { server: Server; url: string; events: WebhookEvent[] };

  before(async () => {
    hooks = await startWebhookSink();
    node = await startNode({
      config: {
        rtc: { workers: 2, port_range_end: 59_999 },
        webhook: { api_key: devKey.apiKey, urls: [hooks.url] },
      },
    });
    node.log.expectErrors(/media worker died|worker process died unexpectedly/);
    endpoint = await LightEndpoint.start();
    browser = await TestBrowser.start();
  });
  after(async () => {
    await browser?.close();
    await disposeRtcNode();
    await endpoint?.close();
    await node?.close();
    hooks?.server.closeAllConnections();
    hooks?.server.close();
  });

  async function joinLight(room: string, identity: string, publish = {}): Promise<LightClient> {
    return LightClient.join({ url: node.url, token: await joinToken({ room, identity }), endpoint, publish });
  }

  it('costs its clients some seconds of media and nobody else anything', async (t) => {
    // The rooms go to the worker with less on it, so they come to lie on both.
    const others = await startOtherRoom('others');
    const alice = await browser.join({ url: node.url, room: 'hit', identity: 'alice' });
    const bob = await RtcClient.join({ url: node.url, room: 'hit', identity: 'bob' });
    const carol = await joinLight('hit', 'carol', { audio: true });
    await alice.publishCamera();
    await bob.publishAudio();
    const before = await allTracks(carol, ['alice', 'bob']);
    for (const track of before) await carol.waitForTrack(track, { contiguousMs: 200 });
    const reconnected = Promise.withResolvers<void>();
    bob.room.on(RoomEvent.Reconnected, () => reconnected.resolve());
    const roomSid = carol.joinResponse.room?.sid;
    const hookCount = hooks.events.length;
    const workers = node.debug.workerPids();
    assert.equal(workers.length, 2);
    const [otherPort, hitPort] = [mediaPortOf(others.subscriber), mediaPortOf(carol)];
    assert.notEqual(otherPort, hitPort, 'both rooms are on one worker');
    await others.reset();

    const diedAtMs = performance.now();
    process.kill(workers[hitPort - node.config.rtc.port_range_start] ?? 0, 'SIGKILL');
    const leave = await carol.waitForLeave();
    assert.equal(leave.action, LeaveRequest_Action.RECONNECT);
    const rejoined = await joinLight('hit', 'carol', { audio: true });
    const after = await allTracks(rejoined, ['alice', 'bob'], before);
    const [picture = '', sound = ''] = after;
    for (const track of after) await rejoined.waitForTrack(track, { contiguousMs: 200 });
    const seen = bob.watchVideo(await subscribedTo(bob, picture));
    await until(() => (seen.frames > 2 ? '' : `bob saw ${seen.frames} frames`), { timeoutMs: backInMs });
    await alice.waitForSound(sound);
    const tookMs = performance.now() - diedAtMs;
    assert.ok(tookMs < backInMs, `everybody is back after ${tookMs} ms`);
    t.diagnostic(`everybody is back after ${Math.round(tookMs)} ms`);

    await reconnected.promise;
    await alice.waitForEvent('reconnected');
    assert.equal(rejoined.joinResponse.room?.sid, roomSid);
    await others.assertUntouched();
    await until(() => (node.debug.workerPids().length === 2 ? '' : 'the worker was not replaced'));
    const names = hooks.events.slice(hookCount).map((event) => event.event);
    assert.equal(names.includes('room_finished') || names.includes('room_started'), false, names.join());
    for (const client of [rejoined, ...others.clients]) await client.leave();
    await alice.close();
    await bob.close();
    await carol.abandon();
  });

  it('is replaced for its clients when no other worker is left either', async (t) => {
    const alice = await browser.join({ url: node.url, room: 'all', identity: 'alice' });
    const bob = await RtcClient.join({ url: node.url, room: 'all', identity: 'bob' });
    const former = (await bob.publishAudio()).sid ?? '';
    await alice.waitForSound(former);
    const diedAtMs = performance.now();
    for (const pid of node.debug.workerPids()) process.kill(pid, 'SIGKILL');
    let current = former;
    bob.room.on(RoomEvent.LocalTrackRepublished, (publication) => {
      current = publication.sid ?? '';
    });
    await until(() => (current === former ? 'bob did not publish again' : ''), { timeoutMs: backInMs });
    await alice.waitForSound(current);
    const tookMs = performance.now() - diedAtMs;
    assert.ok(tookMs < backInMs, `alice hears bob again after ${tookMs} ms`);
    t.diagnostic(`both are back after ${Math.round(tookMs)} ms`);
    await alice.close();
    await bob.close();
  });

  async function startOtherRoom(room: string) {
    const publisher = await joinLight(room, 'publisher', { audio: true, video: true });
    const subscriber = await joinLight(room, 'subscriber');
    const tracks = publisher.publishedTrackSids;
    for (const track of tracks) await subscriber.waitForTrack(track, { contiguousMs: 200 });
    return {
      subscriber,
      clients: [publisher, subscriber],
      reset: async () => {
        for (const track of tracks) await subscriber.stats(track, { reset: true });
      },
      assertUntouched: async () => {
        for (const client of [publisher, subscriber]) assert.equal(client.leaveReceived, undefined);
        for (const track of tracks) {
          const stats = await subscriber.waitForTrack(track, { contiguousMs: 300 });
          assert.equal(stats.lost, 0);
          assert.ok(stats.maxGapMs < 500, `gap of ${stats.maxGapMs} ms in an untouched room`);
        }
      },
    };
  }
});

/** The tracks of these participants once each has one that is not among `former`. */
async function allTracks(client: LightClient, identities: string[], former: string[] = []): Promise<string[]> {
  const fresh = (info: ParticipantInfo): boolean => info.tracks.some(({ sid }) => !former.includes(sid));
  const infos = await Promise.all(identities.map((identity) => client.waitForParticipant(identity, fresh)));
  return infos.flatMap((info) => info.tracks.map(({ sid }) => sid));
}

async function subscribedTo(client: RtcClient, trackSid: string): Promise<SubscribedTrack> {
  await until(() => (client.subscribed.has(trackSid) ? '' : `${client.identity} does not receive ${trackSid}`));
  const found = client.subscribed.get(trackSid);
  if (!found) throw new Error('unreachable');
  return found;
}

/** Each worker has one port. */
function mediaPortOf(client: LightClient): number {
  const offer = client.messages.find((message) => message.case === 'offer');
  const line = /a=candidate:\S+ \d+ udp \d+ \S+ (\d+)/.exec(offer?.case === 'offer' ? offer.value.sdp : '');
  return Number(line?.[1]);
}

async function startWebhookSink(): Promise<{ server: Server; url: string; events: WebhookEvent[] }> {
  const receiver = new WebhookReceiver(devKey.apiKey, devKey.apiSecret);
  const events: WebhookEvent[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      void receiver.receive(body, request.headers.authorization).then((event) => {
        events.push(event);
        response.end();
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, events };
}

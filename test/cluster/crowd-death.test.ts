import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { LeaveRequest_Action } from '@livekit/protocol';
import { RoomServiceClient } from 'livekit-server-sdk';
import { delayFigures, tellBench } from '../kit/bench-figures.ts';
import { TestBrowser, type BrowserClient, type PageWindow } from '../kit/browser.ts';
import { TestCluster } from '../kit/cluster.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { percentile, summary } from '../kit/percentiles.ts';
import { devKey, joinToken } from '../kit/tokens.ts';
import { WebhookTarget } from '../kit/webhook-receiver.ts';

/** Only meaningful inside functions that run in the page. */
declare const window: PageWindow;

const lightRooms = 18;
const rtpBoundMs = 700;
const realRooms = 2;
/** On the nodes that take over, so that they are at work like any other. */
const sparedRooms = 6;
/** Small and slow, because the clients share the machine with the cluster. */
const camera = { width: 320, height: 180, fps: 10, simulcast: false };

type LightCall = { room: string; sid: string; publisher: LightClient; listeners: LightClient[] };
/**
 * In browsers `bob` sends a sound, and `alice` a picture or, in all but one room, a sound: when two pages restart
 * Chromium's fake camera at once, it goes on without frames, and its fake microphone is silent now and then after that. `carol` is a light client.
 */
type RealCall = {
  room: string;
  sid: string;
  sends: 'picture' | 'sound';
  alice: BrowserClient;
  bob: BrowserClient;
  carol: LightClient;
};
/** From the death to RECONNECT, and from there until each client has media again. */
type Times = { leaveMs: number[]; rtpMs: number[] };

describe('a media node with twenty calls of three that dies', () => {
  let hooks: WebhookTarget;
  let cluster: TestCluster;
  let endpoint: LightEndpoint;
  let browser: TestBrowser;
  let service: RoomServiceClient;

  before(async () => {
    hooks = await WebhookTarget.start();
    const config = { webhook: { api_key: devKey.apiKey, urls: [hooks.url] } };
    cluster = await TestCluster.start({ masters: 2, media: 1, config });
    endpoint = await LightEndpoint.start();
    browser = await TestBrowser.start();
    service = new RoomServiceClient(cluster.url(0), devKey.apiKey, devKey.apiSecret);
  });
  after(async () => {
    await browser?.close();
    await endpoint?.close();
    await cluster?.close();
    await hooks?.close();
  });

  /** Of each room some sit at one master and some at the other. */
  const join = async (room: string, identity: string, publish = {}): Promise<LightClient> =>
    LightClient.join({
      url: cluster.url(identity.length % 2),
      token: await joinToken({ room, identity, metadata: 'from the token', attributes: { seat: '1' } }),
      endpoint,
      publish,
    });

  async function startRoom(room: string): Promise<string> {
    const { sid } = await service.createRoom({ name: room, metadata: `about ${room}`, departureTimeout: 60 });
    return sid;
  }

  async function startLightCall(room: string): Promise<LightCall> {
    const sid = await startRoom(room);
    const publisher = await join(room, 'publisher', { audio: true, video: true });
    const listeners = await Promise.all(['first', 'second'].map((identity) => join(room, identity)));
    for (const listener of listeners) {
      for (const track of publisher.publishedTrackSids) await listener.waitForTrack(track, { contiguousMs: 100 });
    }
    return { room, sid, publisher, listeners };
  }

  async function describeFirst({ room }: LightCall): Promise<void> {
    await service.updateParticipant(room, 'first', {
      metadata: 'described by the server',
      attributes: { seat: '12' },
      permission: { canPublish: false, canSubscribe: true, canPublishData: true },
    });
  }

  async function endLightCall({ room, publisher, listeners }: LightCall): Promise<void> {
    await Promise.all([publisher, ...listeners].map((client) => client.leave()));
    await service.deleteRoom(room);
  }

  async function startRealCall(room: string, sends: 'picture' | 'sound'): Promise<RealCall> {
    const sid = await startRoom(room);
    const alice = await browser.join({ url: cluster.url(0), room, identity: 'alice' });
    const bob = await browser.join({ url: cluster.url(1), room, identity: 'bob' });
    const carol = await join(room, 'carol');
    const sent = await (sends === 'picture' ? alice.publishCamera(camera) : publishTone(alice));
    const sound = await publishTone(bob);
    await alice.waitForSound(sound);
    await receives(bob, sent, sends);
    await carol.waitForTrack(sent, { keyFrame: sends === 'picture' });
    return { room, sid, sends, alice, bob, carol };
  }

  async function publishTone(client: BrowserClient): Promise<string> {
    return client.evaluate(async () => window.kit.publishTone(), undefined);
  }

  async function receives(client: BrowserClient, track: string, kind: 'picture' | 'sound'): Promise<void> {
    await (kind === 'picture' ? client.waitForPicture(track, { frames: 2 }) : client.waitForSound(track));
  }

  async function waitForReconnect(client: LightClient): Promise<void> {
    const leave = await client.waitForLeave();
    assert.equal(leave.action, LeaveRequest_Action.RECONNECT);
  }

  async function rejoin(client: LightClient, room: string): Promise<LightClient> {
    const { identity } = client;
    const isPublisher = client.publishedTrackSids.length > 0;
    await client.abandon();
    return join(room, identity, isPublisher ? { audio: true, video: true } : {});
  }

  /** @param begins when each of them begins */
  async function lightComesBack(
    call: LightCall,
    begins: (client: LightClient) => Promise<void>,
    times: Times,
  ): Promise<LightCall> {
    const { room } = call;
    const sinceMs = performance.now();
    const begin = async (client: LightClient): Promise<number> => {
      await begins(client);
      const nowMs = performance.now();
      times.leaveMs.push(nowMs - sinceMs);
      return nowMs;
    };
    const publishing = begin(call.publisher).then(() => rejoin(call.publisher, room));
    const listeners = await Promise.all(
      call.listeners.map(async (client) => {
        const beganAtMs = await begin(client);
        const listener = await rejoin(client, room);
        const old = new Set(call.publisher.publishedTrackSids);
        const isNew = ({ sid }: { sid: string }): boolean => !old.has(sid);
        const seen = await listener.waitForParticipant('publisher', ({ tracks }) => tracks.filter(isNew).length === 2);
        await Promise.all(seen.tracks.filter(isNew).map(({ sid }) => listener.waitForTrack(sid)));
        times.rtpMs.push(performance.now() - beganAtMs);
        return listener;
      }),
    );
    return { ...call, publisher: await publishing, listeners };
  }

  /** Alice hears bob, and bob and carol see alice, in tracks that are new. @param mediaMs gets when all of that is so */
  async function realComesBack(call: RealCall, sinceMs: number, mediaMs: number[]): Promise<void> {
    const { alice, bob, carol, room, sends } = call;
    const isNew = ({ sid }: { sid: string }): boolean => !carol.subscribedTrackSids.includes(sid);
    await waitForReconnect(carol);
    call.carol = await rejoin(carol, room);
    const newTrackOf = async (identity: string): Promise<string> =>
      (await call.carol.waitForParticipant(identity, ({ tracks }) => tracks.some(isNew))).tracks.find(isNew)?.sid ?? '';
    await Promise.all([
      newTrackOf('bob').then((sound) => alice.waitForSound(sound)),
      newTrackOf('alice').then((sent) => receives(bob, sent, sends)),
      newTrackOf('alice').then((sent) => call.carol.waitForTrack(sent, { keyFrame: sends === 'picture' })),
    ]);
    mediaMs.push(performance.now() - sinceMs);
  }

  async function assertSame({ room, sid }: { room: string; sid: string }): Promise<void> {
    const [listed] = await service.listRooms([room]);
    assert.deepEqual([listed?.sid, listed?.metadata], [sid, `about ${room}`]);
    assert.equal((await service.listParticipants(room)).length, 3);
    const names = hooks.ofRoom(room).map(({ event }) => event);
    assert.equal(names.filter((name) => name === 'room_started').length, 1, names.join());
    assert.equal(names.includes('room_finished'), false, names.join());
  }

  async function assertDescribed({ room }: LightCall): Promise<void> {
    const described = await service.getParticipant(room, 'first');
    assert.equal(described.metadata, 'described by the server');
    assert.deepEqual(described.attributes, { seat: '12' });
    assert.deepEqual([described.permission?.canPublish, described.permission?.canSubscribe], [false, true]);
    const other = await service.getParticipant(room, 'second');
    assert.deepEqual([other.metadata, other.attributes], ['from the token', { seat: '1' }]);
    assert.equal(other.permission?.canPublish, true);
  }

  it('has all of them back on other nodes within moments, as they were', async (t) => {
    const first: LightCall[] = [];
    for (let index = 0; index < lightRooms; index += 1) first.push(await startLightCall(`light-${index}`));
    const real: RealCall[] = [];
    for (let index = 0; index < realRooms; index += 1)
      real.push(await startRealCall(`real-${index}`, index === 0 ? 'picture' : 'sound'));
    // What this machine needs for so many who come at once, without anybody's death. As long as there is one node: they
    // would spread over several, and not all of them lose their media with the first.
    const calm: Times = { leaveMs: [], rtpMs: [] };
    const light = await Promise.all(first.map((call) => lightComesBack(call, () => Promise.resolve(), calm)));
    t.diagnostic(`RTP at light clients that join at once after ${summary(calm.rtpMs)}`);
    // The browsers that start anew at the same time want a core for themselves.
    const boundMs = Math.max(rtpBoundMs, 2.5 * percentile(calm.rtpMs, 0.95));

    const [victim] = cluster.media;
    await Promise.all([cluster.addMedia(), cluster.addMedia()]);
    await cluster.waitUntilJoined(3);
    // As many as the first node has, so that the others are no beginners when it dies.
    const others = await Promise.all(first.map((_, index) => startLightCall(`other-${index}`)));
    const elsewhere = others.filter(({ room }) => cluster.hostOf(room) !== victim);
    assert.ok(elsewhere.length > sparedRooms, 'new rooms go to the node that has all the others');
    const spared = elsewhere.slice(0, sparedRooms);
    await Promise.all(others.filter((call) => !spared.includes(call)).map(endLightCall));

    for (const call of light) await describeFirst(call);
    const times: Times = { leaveMs: [], rtpMs: [] };
    const mediaMs: number[] = [];
    const diedAtMs = performance.now();
    void victim?.kill();
    const [back] = await Promise.all([
      Promise.all(light.map((call) => lightComesBack(call, waitForReconnect, times))),
      Promise.all(real.map((call) => realComesBack(call, diedAtMs, mediaMs))),
    ]);
    t.diagnostic(`RECONNECT after ${summary(times.leaveMs)}`);
    t.diagnostic(`RTP at light clients after ${summary(times.rtpMs)}`);
    t.diagnostic(`media at real clients after ${summary(mediaMs)}`);
    tellBench('a node with 20 calls dies: RECONNECT after', delayFigures(times.leaveMs));
    tellBench('and from there to media, light clients', delayFigures(times.rtpMs));
    tellBench('the same without a death, for comparison', delayFigures(calm.rtpMs));
    tellBench('from the death to media, browsers', delayFigures(mediaMs));
    assert.ok(percentile(times.leaveMs, 0.95) < 300, `RECONNECT after ${summary(times.leaveMs)}`);
    assert.ok(percentile(times.rtpMs, 0.95) < boundMs, `RTP after ${summary(times.rtpMs)}`);
    assert.ok(percentile(mediaMs, 1) < 5_000, `real clients have media after ${summary(mediaMs)}`);
    for (const call of back) {
      await assertSame(call);
      await assertDescribed(call);
    }
    for (const call of real) await assertSame(call);
    const hosts = new Set(light.map(({ room }) => cluster.hostOf(room).name));
    t.diagnostic(`the rooms are on ${[...hosts].join()}`);
    assert.equal(hosts.size, 2);
    for (const { publisher, listeners } of spared) {
      for (const client of [publisher, ...listeners]) assert.equal(client.leaveReceived, undefined);
      for (const track of publisher.publishedTrackSids) {
        assert.equal((await listeners[0]?.waitForTrack(track, { contiguousMs: 200 }))?.lost, 0);
      }
    }
    await Promise.all(
      [...back, ...spared].flatMap(({ publisher, listeners }) => [publisher, ...listeners].map((c) => c.leave())),
    );
    for (const { alice, bob, carol } of real) await Promise.all([alice.close(), bob.close(), carol.leave()]);
  });
});

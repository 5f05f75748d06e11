import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  DataPacket_Kind,
  DisconnectReason,
  LeaveRequest_Action,
  ReconnectReason,
  type DataPacket,
} from '@livekit/protocol';
import { SimulateScenarioKind, RoomEvent } from '@livekit/rtc-node';
import { TestBrowser, type PageWindow } from '../../kit/browser.ts';
import { LightClient, type LightClientOptions } from '../../kit/light-client.ts';
import { LightEndpoint } from '../../kit/light/light-endpoint.ts';
import { LightSignal, type SignalMessage } from '../../kit/light/light-signal.ts';
import type { StartTarget, TestTarget } from '../../kit/target.ts';
import { RtcClient } from '../../kit/rtc-node.ts';
import { TcpProxy } from '../../kit/tcp-proxy.ts';
import { joinToken } from '../../kit/tokens.ts';
import { UdpRelay } from '../../kit/udp-relay.ts';
import { until } from '../../kit/until.ts';

declare const window: PageWindow;

const texts = { encoder: new TextEncoder(), decoder: new TextDecoder() };

export function resumeSuite(start: StartTarget): void {
  let node: TestTarget;
  let proxy: TcpProxy;
  let endpoint: LightEndpoint;
  let browser: TestBrowser;

  before(async () => {
    node = await start();
    proxy = await TcpProxy.start(() => Number(new URL(node.url).port));
    endpoint = await LightEndpoint.start();
    browser = await TestBrowser.start();
  });
  after(async () => {
    await browser?.close();
    await endpoint?.close();
    await proxy?.close();
    await node?.close();
  });

  async function joinLight(
    room: string,
    identity: string,
    options: Partial<LightClientOptions> = {},
  ): Promise<LightClient> {
    return LightClient.join({ url: node.url, token: await joinToken({ room, identity }), endpoint, ...options });
  }

  for (const ends of ['both', 'client'] as const) {
    const seen = ends === 'both' ? 'both ends saw it break' : 'the server still believes in the old socket';
    it(`gets \`reconnect\` first and at once when ${seen}, and media does not notice`, async () => {
      const room = `cut-${ends}`;
      const publisher = await joinLight(room, 'publisher', { url: proxy.url, publish: { audio: true } });
      const subscriber = await joinLight(room, 'subscriber', { url: proxy.url });
      const [track = ''] = publisher.publishedTrackSids;
      const control = await startControl(room, subscriber);
      await subscriber.waitForTrack(track, { contiguousMs: 300 });
      await subscriber.stats(track, { reset: true });
      proxy.cut(ends);
      for (const client of [publisher, subscriber]) {
        await client.waitFor(() => client.socketCloseCode !== undefined, 'loss of the socket');
        const before = client.messages.length;
        await client.resume();
        assert.equal(client.messages[before]?.case, 'reconnect');
        assert.ok(client.firstMessageDelayMs < 100, `\`reconnect\` after ${client.firstMessageDelayMs} ms`);
      }
      const stats = await subscriber.waitForTrack(track, { contiguousMs: 500 });
      assert.equal(stats.lost, 0);
      await control.assertGap(stats.maxGapMs);
      await leaveAll(publisher, subscriber, control.publisher);
    });
  }

  /** Another track to the same subscriber, whose gaps tell how busy the machine is: nothing happens to its publisher. */
  async function startControl(
    room: string,
    subscriber: LightClient,
  ): Promise<{ publisher: LightClient; assertGap: (gapMs: number) => Promise<void> }> {
    const publisher = await joinLight(room, 'control', { publish: { audio: true } });
    const [track = ''] = publisher.publishedTrackSids;
    await subscriber.waitForTrack(track, { contiguousMs: 100 });
    return {
      publisher,
      assertGap: async (gapMs) => {
        const { maxGapMs } = await subscriber.stats(track);
        assert.ok(gapMs < Math.max(100, maxGapMs + 60), `gap of ${gapMs} ms, of ${maxGapMs} ms in an untouched track`);
      },
    };
  }

  it('learns what happened in the room while it was away', async () => {
    const [alice, bob] = [await joinLight('news', 'alice'), await joinLight('news', 'bob')];
    alice.cutSocket();
    await alice.waitFor(() => alice.socketCloseCode !== undefined, 'loss of the socket');
    await bob.leave();
    const carol = await joinLight('news', 'carol', { publish: { audio: true, video: true } });
    await alice.resume();
    await alice.waitForParticipant('carol');
    for (const track of carol.publishedTrackSids) await alice.waitForTrack(track, { contiguousMs: 200 });
    assert.equal(alice.participants.has('bob'), false);
    await leaveAll(alice, carol);
  });

  it('loses no reliable packet, in order and once each, over two seconds without any network', async (t) => {
    const peer = await joinLight('lossless', 'peer');
    const target = { address: '127.0.0.1', port: node.hostOf('lossless').mediaPort };
    const relay = await UdpRelay.start({ target });
    t.after(() => relay.close());
    const reroute = () => ({ address: '127.0.0.1', port: relay.port });
    const roamer = await joinLight('lossless', 'roamer', { url: proxy.url, reroute });
    for (const client of [roamer, peer]) {
      await client.sendData(Buffer.from('hello'));
      await client.waitForChannels();
    }
    await roamer.waitForPacket((packet) => textOf(packet) === 'hello');
    await peer.waitForPacket((packet) => textOf(packet) === 'hello');

    relay.stop();
    proxy.cut('client');
    const sent: string[] = [];
    for (let index = 0; index < 40; index += 1) {
      sent.push(`n${index}`);
      await Promise.all([roamer, peer].map((client) => client.sendData(Buffer.from(`n${index}`))));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    relay.setUp({});
    relay.setDown({});
    await roamer.resume();
    for (const client of [roamer, peer]) {
      await client.waitForPacket((packet) => textOf(packet) === 'n39');
      assert.deepEqual(client.packets.map(textOf), ['hello', ...sent], `what ${client.identity} received`);
      assert.ok(client.packets.every((packet) => packet.kind === DataPacket_Kind.RELIABLE));
    }
    await leaveAll(roamer, peer);
  });

  it('sees, and is seen, from a key frame on once it is back after its media was lost, and not after a lost socket', async (t) => {
    const room = 'pictures';
    const peer = await joinLight(room, 'peer', { publish: { video: true } });
    const target = { address: '127.0.0.1', port: node.hostOf(room).mediaPort };
    const relay = await UdpRelay.start({ target });
    t.after(() => relay.close());
    const reroute = () => ({ address: '127.0.0.1', port: relay.port });
    const roamer = await joinLight(room, 'roamer', { url: proxy.url, reroute, publish: { video: true } });
    const views = [
      { client: roamer, track: peer.publishedTrackSids[0] ?? '' },
      { client: peer, track: roamer.publishedTrackSids[0] ?? '' },
    ];
    const keyFrames = (): Promise<number[]> =>
      Promise.all(views.map(async ({ client, track }) => (await client.stats(track)).keyFrames));
    const flows = (): Promise<unknown> =>
      Promise.all(views.map(({ client, track }) => client.waitForTrack(track, { contiguousMs: 300 })));
    await Promise.all(views.map(({ client, track }) => client.waitForTrack(track, { keyFrame: true })));
    await flows();
    const before = await keyFrames();
    const comeBack = async (reason: ReconnectReason): Promise<void> => {
      proxy.cut('client');
      relay.rebind();
      await roamer.resume(reason);
      await flows();
    };
    await comeBack(ReconnectReason.RR_SIGNAL_DISCONNECTED);
    assert.deepEqual(await keyFrames(), before);
    await comeBack(ReconnectReason.RR_PUBLISHER_FAILED);
    await until(async () => {
      const now = await keyFrames();
      return now.every((count, index) => count > (before[index] ?? 0)) ? '' : `${now.join()}, before ${before.join()}`;
    });
    await leaveAll(roamer, peer);
  });

  it('is sent to a new join when nobody knows its session or its room', async () => {
    const known = await joinLight('known', 'known');
    for (const [room, sid] of [
      ['known', 'PA_nobody'],
      ['unknown', known.sid],
    ]) {
      const closeCode = Promise.withResolvers<number>();
      const { signal, first } = await LightSignal.open({
        url: node.url,
        token: await joinToken({ room: room ?? '', identity: 'known' }),
        query: { reconnect: '1', sid: sid ?? '', protocol: '17', sdk: 'js' },
        timeoutMs: 5000,
        onMessage: (message: SignalMessage) => assert.fail(`a second message: ${message.case}`),
        onClose: closeCode.resolve,
      });
      signal.start(0);
      assert.ok(first.case === 'leave', `first came ${first.case}`);
      assert.equal(first.value.action, LeaveRequest_Action.RECONNECT);
      assert.equal(first.value.reason, DisconnectReason.STATE_MISMATCH);
      assert.equal(first.value.canReconnect, true);
      assert.equal(await closeCode.promise, 1000);
    }
    await known.leave();
  });

  describe('of livekit-client in Chromium', () => {
    it('is resumed without the app doing anything: media goes on and no reliable packet is lost', async () => {
      const alice = await browser.join({ url: proxy.url, room: 'browser', identity: 'alice' });
      const bob = await joinLight('browser', 'bob', { publish: { audio: true, video: true } });
      const [microphone, camera] = [await alice.publishMicrophone(), await alice.publishCamera()];
      await bob.waitForTrack(microphone, { contiguousMs: 500 });
      await bob.waitForTrack(camera, { keyFrame: true });
      await alice.evaluate(sendNumbered, { first: 0, count: 1 });
      await bob.waitForPacket((packet) => textOf(packet) === 'n0');
      const baseline = await quietGap(bob, microphone);

      proxy.cut();
      const cutAtMs = performance.now();
      const sending = alice.evaluate(sendNumbered, { first: 1, count: 60 });
      for (let index = 1; index <= 60; index += 1) {
        await bob.sendData(Buffer.from(`n${index}`));
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await alice.waitForEvent('reconnected', 5000 - (performance.now() - cutAtMs));
      await sending;
      assert.equal((await alice.events()).includes('reconnecting'), false, 'a resume is no full reconnect');
      const stats = await bob.stats(microphone);
      assert.equal(stats.lost, 0);
      assert.ok(stats.maxGapMs < Math.max(100, baseline * 2), `gap of ${stats.maxGapMs} ms, of ${baseline} ms before`);
      const expected = Array.from({ length: 60 }, (_, index) => `n${index + 1}`);
      await until(async () =>
        missing(
          expected,
          (await alice.packets()).map((packet) => packet.text),
        ),
      );
      await until(() => missing(expected, bob.packets.map(textOf).slice(1)));
      await alice.close();
      await bob.leave();
    });

    it('loses and repeats no reliable packet when the socket breaks again before the resume is over', async () => {
      const alice = await browser.join({ url: proxy.url, room: 'twice', identity: 'alice' });
      const bob = await joinLight('twice', 'bob');
      await alice.publishMicrophone();
      await alice.evaluate(sendNumbered, { first: 0, count: 1 });
      await bob.waitForPacket((packet) => textOf(packet) === 'n0');
      proxy.cut();
      const sending = alice.evaluate(sendNumbered, { first: 1, count: 100 });
      // The resume is answered, and the client holds back what it sends until the connections are up again.
      await until(
        async () => ((await alice.evaluate(isWaitingForConnections, undefined)) ? '' : 'it does not resume'),
        {
          intervalMs: 20,
        },
      );
      proxy.cut();
      await alice.waitForEvent('reconnected', 15_000);
      await sending;
      const expected = Array.from({ length: 101 }, (_, index) => `n${index}`);
      await until(() => missing(expected, bob.packets.map(textOf)));
      await alice.close();
      await bob.leave();
    });

    it('joins anew when the server asks for it, and publishes again', async () => {
      const alice = await browser.join({ url: proxy.url, room: 'anew', identity: 'alice' });
      const bob = await joinLight('anew', 'bob');
      await alice.publishMicrophone();
      const { sid } = await bob.waitForParticipant('alice', (info) => info.tracks.length === 1);
      await alice.evaluate(async () => window.room.simulateScenario('leave-full-reconnect'), undefined);
      await alice.waitForEvent('reconnected');
      const again = await bob.waitForParticipant('alice', (info) => info.sid !== sid && info.tracks.length === 1);
      await bob.waitForTrack(again.tracks[0]?.sid ?? '', { contiguousMs: 300 });
      await alice.close();
      await bob.leave();
    });

    /** In the page: livekit-client 2.23 is in `waitForPCReconnected`. */
    function isWaitingForConnections(): Promise<boolean> {
      const { engine } = window.room as unknown as { engine: { pcState: number } };
      return Promise.resolve(engine.pcState === 3);
    }

    /** In the page: reliable packets `n<first>…`, one every 50 ms. */
    async function sendNumbered({ first, count }: { first: number; count: number }): Promise<void> {
      for (let index = first; index < first + count; index += 1) {
        await window.room.localParticipant.publishData(new TextEncoder().encode(`n${index}`), { reliable: true });
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  });

  describe('of rtc-node', () => {
    it('is resumed without the app doing anything: media goes on and no reliable packet is lost', async () => {
      const alice = await RtcClient.join({ url: proxy.url, room: 'rtc', identity: 'alice' });
      const bob = await joinLight('rtc', 'bob', { publish: { audio: true } });
      const received: string[] = [];
      alice.room.on(RoomEvent.DataReceived, (payload) => received.push(texts.decoder.decode(payload)));
      const microphone = (await alice.publishAudio()).sid ?? '';
      await bob.waitForTrack(microphone, { contiguousMs: 500 });
      const heard = alice.listen(await alice.waitForTrack('bob', 'audio'));
      await alice.local.publishData(texts.encoder.encode('n0'), { reliable: true });
      await bob.waitForPacket((packet) => textOf(packet) === 'n0');
      const baseline = await quietGap(bob, microphone);
      const reconnected = Promise.withResolvers<number>();
      alice.room.on(RoomEvent.Reconnected, () => reconnected.resolve(performance.now()));

      proxy.cut();
      const cutAtMs = performance.now();
      for (let index = 1; index <= 60; index += 1) {
        await Promise.all([
          bob.sendData(Buffer.from(`n${index}`)),
          alice.local.publishData(texts.encoder.encode(`n${index}`), { reliable: true }),
        ]);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      const tookMs = (await reconnected.promise) - cutAtMs;
      assert.ok(tookMs < 5000, `reconnected after ${tookMs} ms`);
      const stats = await bob.stats(microphone);
      // On a busy machine a packet or two around the ICE restart were missing now and then, where is not known; the
      // promise is the gap below.
      assert.ok(stats.lost < 5, `${stats.lost} packets of 20 ms lost`);
      assert.ok(stats.maxGapMs < Math.max(100, baseline * 2), `gap of ${stats.maxGapMs} ms, of ${baseline} ms before`);
      const frames = heard.frames;
      await until(() => (heard.frames > frames + 20 ? '' : `${heard.frames - frames} frames after the resume`));
      const expected = Array.from({ length: 60 }, (_, index) => `n${index + 1}`);
      await until(() => missing(expected, received));
      await until(() => missing(expected, bob.packets.map(textOf).slice(1)));
      await alice.close();
      await bob.leave();
    });

    it('joins anew in a full reconnect, and publishes again', async () => {
      const alice = await RtcClient.join({ url: proxy.url, room: 'rtc-anew', identity: 'alice' });
      const bob = await joinLight('rtc-anew', 'bob');
      await alice.publishAudio();
      const { sid } = await bob.waitForParticipant('alice', (info) => info.tracks.length === 1);
      const reconnected = Promise.withResolvers<void>();
      alice.room.on(RoomEvent.Reconnected, () => reconnected.resolve());
      await alice.room.simulateScenario(SimulateScenarioKind.SIMULATE_FULL_RECONNECT);
      await reconnected.promise;
      const again = await bob.waitForParticipant('alice', (info) => info.sid !== sid && info.tracks.length === 1);
      await bob.waitForTrack(again.tracks[0]?.sid ?? '', { contiguousMs: 300 });
      await alice.close();
      await bob.leave();
    });
  });
}

/** Longest gap of a track in a quiet second, and its measurement starts anew. */
async function quietGap(client: LightClient, track: string): Promise<number> {
  await client.stats(track, { reset: true });
  const { maxGapMs } = await client.waitForTrack(track, { contiguousMs: 1000 });
  await client.stats(track, { reset: true });
  return maxGapMs;
}

function textOf(packet: DataPacket): string {
  return packet.value.case === 'user' ? texts.decoder.decode(packet.value.value.payload) : '';
}

function missing(expected: string[], received: string[]): string {
  return JSON.stringify(expected) === JSON.stringify(received) ? '' : `received ${received.join()}`;
}

async function leaveAll(...clients: LightClient[]): Promise<void> {
  await Promise.all(clients.map((client) => client.leave()));
}

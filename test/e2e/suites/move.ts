import assert from 'node:assert/strict';
import { after, before, it, type TestContext } from 'node:test';
import { RoomEvent, VideoCodec } from '@livekit/rtc-node';
import { TestBrowser, type BrowserClient, type PageWindow } from '../../kit/browser.ts';
import type { MoveCluster, Place } from '../../kit/move-cluster.ts';
import { eventsOfNoMove, recordEvents } from '../../kit/moved-clients.ts';
import { disposeRtcNode, RtcClient, type HeardAudio, type SeenVideo } from '../../kit/rtc-node.ts';
import { until } from '../../kit/until.ts';

declare const window: PageWindow;

const rounds = Number(process.env['PLENUM_MOVE_ROUNDS'] ?? 1);

/** Real clients that are moved to another node. @param start two leg nodes, `from` and `to` */
export function moveSuite(start: () => Promise<MoveCluster>): void {
  let cluster: MoveCluster;
  let browser: TestBrowser;
  const gaps = new Map<string, number[]>();

  before(async () => {
    cluster = await start();
    browser = await TestBrowser.start();
  });
  after(async () => {
    await browser?.close();
    await disposeRtcNode();
    await cluster?.close();
  });

  function places(round: number): [Place, Place] {
    const [first, second] = cluster.places;
    assert.ok(first !== undefined && second !== undefined);
    return round % 2 === 0 ? [first, second] : [second, first];
  }

  async function move(room: string, sids: string[], round: number): Promise<void> {
    const [from, to] = places(round);
    await cluster.prepare(room, sids, from, to);
    cluster.trigger(room, sids, from);
    await cluster.left(from, sids);
  }

  const sidOf = (client: BrowserClient): Promise<string> =>
    client.evaluate(() => window.room.localParticipant.sid, undefined);

  function note(what: string, gapMs: number): void {
    gaps.set(what, [...(gaps.get(what) ?? []), gapMs]);
  }

  function report(t: TestContext): void {
    for (const [what, values] of gaps) {
      const sorted = values.toSorted((a, b) => a - b);
      const at = (share: number): number => Math.round(sorted[Math.ceil(share * sorted.length) - 1] ?? 0);
      t.diagnostic(`${what}: p50 ${at(0.5)} p95 ${at(0.95)} max ${at(1)} ms of ${sorted.length}`);
      // On a machine that has much else to do, encoders of clients stall for seconds.
      assert.ok(at(0.5) < 10_000, `${what}: ${sorted.join()}`);
    }
    gaps.clear();
  }

  async function untilMoving(client: BrowserClient, video: string): Promise<void> {
    const before = (await client.lookAt(video))?.framesDecoded ?? 0;
    await until(async () => {
      const now = (await client.lookAt(video))?.framesDecoded ?? 0;
      // The counter belongs to one stream of the track, and starts again with the next.
      return now !== before && now > 5 ? '' : `${now} frames after ${before}`;
    });
  }

  it('Chromium and rtc-node, one after another and all at once', { timeout: 60_000 + 40_000 * rounds }, async (t) => {
    const room = 'real';
    const { url } = cluster;
    const alice = await browser.join({ url, room, identity: 'alice', roomOptions: { dynacast: true } });
    t.after(() => alice.close());
    const camera = await alice.publishCamera({ simulcast: true });
    const tone = await alice.evaluate(() => window.kit.publishTone(), undefined);
    const bob = await RtcClient.join({ url, room, identity: 'bob' });
    t.after(() => bob.close());
    const bobsVideo = (await bob.publishVideo({ simulcast: true })).sid ?? '';
    const bobsSound = (await bob.publishAudio()).sid ?? '';
    const carol = await browser.join({ url, room, identity: 'carol' });
    t.after(() => carol.close());
    for (const track of [camera, bobsVideo]) await carol.waitForPicture(track);
    await carol.waitForSound(tone);
    await alice.waitForPicture(bobsVideo);
    const seen: SeenVideo = bob.watchVideo(await bob.waitForTrack('alice', 'video'));
    const heard: HeardAudio = bob.listen(await bob.waitForTrack('alice', 'audio'));
    await until(() => (seen.frames > 5 && heard.peak > 1000 ? '' : 'bob neither hears nor sees alice'));

    const bobsEvents = recordEvents(bob);
    const marks = new Map<BrowserClient, number>();
    for (const page of [alice, carol]) marks.set(page, (await page.events()).length);

    // Reliable data flows in all directions all the time.
    const startSending = (page: BrowserClient): Promise<void> =>
      page.evaluate(() => {
        let count = 0;
        const state = window as unknown as { sent: number; isSending: boolean };
        state.isSending = true;
        const send = (): void => {
          if (!state.isSending) return;
          void window.room.localParticipant.publishData(new TextEncoder().encode(String(count)), { reliable: true });
          count += 1;
          state.sent = count;
          setTimeout(send, 50);
        };
        send();
      }, undefined);
    let bobSent = 0;
    const bobReceived: string[] = [];
    bob.room.on(RoomEvent.DataReceived, (payload) => void bobReceived.push(Buffer.from(payload).toString()));
    await startSending(alice);
    const bobSending = setInterval(() => {
      void bob.local.publishData(Buffer.from(String(bobSent)), { reliable: true });
      bobSent += 1;
    }, 50);
    t.after(() => clearInterval(bobSending));

    const [aliceSid, carolSid] = [await sidOf(alice), await sidOf(carol)];
    const steps = [
      { name: 'subscriber', sids: [carolSid] },
      { name: 'Chromium publisher', sids: [aliceSid] },
      { name: 'rtc-node publisher', sids: [bob.sid] },
      { name: 'all', sids: [aliceSid, bob.sid, carolSid] },
    ];
    for (let round = 0; round < rounds; round += 1) {
      for (const { name, sids } of steps) {
        for (const track of [camera, tone, bobsVideo, bobsSound]) await carol.watchGaps(track);
        for (const track of [bobsVideo, bobsSound]) await alice.watchGaps(track);
        seen.maxGapMs = 0;
        heard.maxSilenceMs = 0;
        // Everybody is on one node at the beginning of a round; "all" brings them back.
        await move(room, sids, name === 'all' ? 1 : 0);
        await untilMoving(carol, camera);
        await untilMoving(carol, bobsVideo);
        await untilMoving(alice, bobsVideo);
        const frames = seen.frames;
        await until(() => (seen.frames > frames + 3 && heard.peak > 1000 ? '' : 'bob neither hears nor sees alice'));
        note(`${name}: video in Chromium`, Math.max(await carol.gapOf(camera), await carol.gapOf(bobsVideo)));
        note(`${name}: audio in Chromium`, Math.max(await carol.gapOf(tone), await carol.gapOf(bobsSound)));
        note(`${name}: video in rtc-node`, seen.maxGapMs);
        note(`${name}: silence in rtc-node`, heard.maxSilenceMs);
      }
    }
    report(t);

    clearInterval(bobSending);
    const aliceSent = await alice.evaluate(() => {
      const state = window as unknown as { sent: number; isSending: boolean };
      state.isSending = false;
      return state.sent;
    }, undefined);
    const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));
    const missing = (received: string[], count: number): string => {
      const lost = numbers(count).filter((text) => !received.includes(text));
      return lost.length === 0 ? '' : `lost of ${count}: ${lost.join()}`;
    };
    await until(() => missing(bobReceived, aliceSent));
    assert.deepEqual(bobReceived, numbers(aliceSent));
    for (const [receiver, sender, count] of [
      [alice, 'bob', bobSent],
      [carol, 'bob', bobSent],
      [carol, 'alice', aliceSent],
    ] as const) {
      const received = async (): Promise<string[]> =>
        (await receiver.packets()).filter((packet) => packet.from === sender).map(({ text }) => text);
      await until(async () => missing(await received(), count));
      assert.deepEqual(await received(), numbers(count), `${receiver.identity} of ${sender}`);
    }

    assert.deepEqual(bobsEvents, []);
    for (const page of [alice, carol]) {
      const events = (await page.events()).slice(marks.get(page));
      assert.deepEqual(
        events.filter((event) => eventsOfNoMove.includes(event)),
        [],
        `${page.identity}: ${events.join()}`,
      );
    }
    assert.equal(await sidOf(alice), aliceSid);
    assert.equal(await sidOf(carol), carolSid);
  });

  for (const codec of ['h264', 'vp9'] as const) {
    it(`Chromium that publishes ${codec} and a screen`, { timeout: 60_000 }, async (t) => {
      const room = `codec-${codec}`;
      const { url } = cluster;
      const alice = await browser.join({ url, room, identity: 'alice' });
      t.after(() => alice.close());
      const camera = await alice.publishCamera({ codec });
      const screen = await alice.publishScreen();
      const bob = await browser.join({ url, room, identity: 'bob' });
      t.after(() => bob.close());
      for (const track of [camera, screen]) await bob.waitForPicture(track);
      for (const track of [camera, screen]) await bob.watchGaps(track);
      await move(room, [await sidOf(alice), await sidOf(bob)], 0);
      for (const track of [camera, screen]) await untilMoving(bob, track);
      note(`${codec}: video in Chromium`, await bob.gapOf(camera));
      note(`screen beside ${codec}: video in Chromium`, await bob.gapOf(screen));
      report(t);
      const look = await bob.lookAt(camera);
      assert.equal(look?.codec.toLowerCase(), `video/${codec}`);
    });
  }

  it('rtc-node that publishes VP8 without simulcast to rtc-node', { timeout: 60_000 }, async (t) => {
    const room = 'rtc-node';
    const { url } = cluster;
    const alice = await RtcClient.join({ url, room, identity: 'alice' });
    t.after(() => alice.close());
    await alice.publishVideo({ codec: VideoCodec.VP8 });
    await alice.publishAudio();
    const bob = await RtcClient.join({ url, room, identity: 'bob' });
    t.after(() => bob.close());
    const seen = bob.watchVideo(await bob.waitForTrack('alice', 'video'));
    const heard = bob.listen(await bob.waitForTrack('alice', 'audio'));
    await until(() => (seen.frames > 5 && heard.peak > 1000 ? '' : 'bob neither hears nor sees alice'));
    for (const [sids, what] of [
      [[bob.sid], 'subscriber'],
      [[alice.sid], 'publisher'],
    ] as const) {
      seen.maxGapMs = 0;
      heard.maxSilenceMs = 0;
      await move(room, [...sids], 0);
      const { frames } = seen;
      await until(() => (seen.frames > frames + 5 && heard.peak > 1000 ? '' : 'bob neither hears nor sees alice'));
      note(`${what}: video in rtc-node`, seen.maxGapMs);
      note(`${what}: silence in rtc-node`, heard.maxSilenceMs);
    }
    report(t);
  });
}

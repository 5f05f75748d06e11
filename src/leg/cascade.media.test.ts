import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { FakeHost, subscriptionTo } from '../../test/kit/fake-host.ts';
import { LegParticipant } from '../../test/kit/leg-participant.ts';
import { LightEndpoint } from '../../test/kit/light/light-endpoint.ts';
import { LogRecord } from '../../test/kit/log-record.ts';
import { startTestPool } from '../../test/kit/media-pool.ts';
import { PeerLinks } from '../../test/kit/peer-links.ts';
import { until } from '../../test/kit/until.ts';
import { configSchema } from '../config/options.ts';
import { engineCounts } from '../media/engine-counts.ts';
import type { WorkerPool } from '../media/worker-pool.ts';
import { nodeId } from '../protocol/ids.ts';
import type { ActualPublication, WantedSubscription } from '../protocol/leg-messages.ts';
import { LegNode } from './leg-node.ts';

const timings = { requestTimeoutMs: 5000, graceMs: 400, reconnectMs: 20 };
const lingerMs = 300;

type Place = { host: FakeHost; node: LegNode; pool: WorkerPool };

/** Where the second participant is, seen from the first: the same has to hold for both. */
const arrangements = ['two workers of one node', 'two nodes'] as const;

for (const arrangement of arrangements) {
  describe(`a room over ${arrangement}`, () => {
    let endpoint: LightEndpoint;
    let pools: WorkerPool[];
    let places: [Place, Place];
    let links: PeerLinks;
    let log: LogRecord;
    const isOneNode = arrangement === 'two workers of one node';

    before(async () => {
      endpoint = await LightEndpoint.start();
      pools = isOneNode
        ? [await startTestPool({ workers: 2, portRangeStart: 52_000, portRangeEnd: 52_400 })]
        : [
            await startTestPool({ portRangeStart: 52_000, portRangeEnd: 52_400 }),
            await startTestPool({ portRangeStart: 52_010, portRangeEnd: 52_400 }),
          ];
    });

    after(async () => {
      await Promise.all(pools.map((pool) => pool.close()));
      await endpoint.close();
    });

    beforeEach(() => {
      log = new LogRecord();
      links = new PeerLinks();
      const made = pools.map((pool, index) => createPlace(pool, index));
      const [first, second = first] = made;
      assert.ok(first !== undefined && second !== undefined);
      places = [first, second];
    });

    afterEach(async () => {
      await Promise.all([...new Set(places)].map(({ node }) => node.close()));
      for (const { node, pool } of places) {
        assert.deepEqual(node.counts, { legs: 0, rooms: 0, producers: 0, hosts: 0 });
        assert.deepEqual(node.pipeCounts, { outgoingPipes: 0, incomingProducers: 0 });
        await until(async () => {
          const { routers, transports, producers, consumers, handlers } = await engineCounts(pool);
          const left = routers + transports + producers + consumers;
          return left === 0 ? '' : `${left} engine objects, ${handlers} handlers left`;
        });
      }
      assert.deepEqual(log.unexpectedErrors(), []);
    });

    function createPlace(pool: WorkerPool, index: number): Place {
      const id = nodeId(`node${index}`);
      const config = configSchema.parse({
        rtc: { pipe_linger: lingerMs / 1000, max_viewers_per_worker: isOneNode ? 2 : 100 },
      });
      const node = new LegNode({
        nodeId: id,
        pool,
        config,
        log: log.logger(),
        peers: links.connector(id),
        peerTimings: timings,
      });
      links.add(id, node);
      return { host: new FakeHost(node), node, pool };
    }

    /** `a` and `b` in the first place, `c` and `d` in the second. */
    async function join(...names: ('a' | 'b' | 'c' | 'd')[]): Promise<LegParticipant[]> {
      const participants = names.map((name) => {
        const [first, second] = places;
        return new LegParticipant((name < 'c' ? first : second).host, endpoint, name);
      });
      await Promise.all(participants.map((participant) => participant.connected()));
      return participants;
    }

    async function four(): Promise<[LegParticipant, LegParticipant, LegParticipant, LegParticipant]> {
      const [a, b, c, d] = await join('a', 'b', 'c', 'd');
      assert.ok(a !== undefined && b !== undefined && c !== undefined && d !== undefined);
      return [a, b, c, d];
    }

    /** Consumers and producers of all pipes, as the workers themselves count them. */
    async function piped(): Promise<{ into: number; outOf: number }> {
      const routers = pools.flatMap((pool) => pool.workers).flatMap((worker) => [...worker.routers]);
      const dumps = await Promise.all(routers.map((router) => router.dump()));
      const own = routers.flatMap((router) => [...router.transports]);
      const sum = (counts: number[]): number => counts.reduce((total, count) => total + count, 0);
      return {
        into:
          sum(dumps.map((dump) => dump.mapConsumerIdProducerId.length)) -
          sum(own.map(({ consumers }) => consumers.size)),
        outOf:
          sum(dumps.map((dump) => dump.mapProducerIdConsumerIds.length)) -
          sum(own.map(({ producers }) => producers.size)),
      };
    }

    async function streamOf(participant: LegParticipant, trackSid: string) {
      const ssrc = participant.ssrcOf(trackSid);
      const stream = (await participant.subscriber.peer.stats()).streams.find((entry) => entry.ssrc === ssrc);
      assert.ok(stream !== undefined, `${participant.leg} has no stream of ${trackSid}`);
      return stream;
    }

    async function publishVideo(participant: LegParticipant): Promise<ActualPublication> {
      const [video] = await participant.publish([
        participant.publisher.addVideo({ simulcast: true, width: 1280, height: 720 }),
      ]);
      assert.ok(video !== undefined);
      return video;
    }

    it('carries one copy to the other side, where each subscriber gets the layer that it wants', async () => {
      const [a, b, c, d] = await four();
      const video = await publishVideo(a);
      const wish = (quality: 0 | 1 | 2) => [subscriptionTo(video, a.leg, { quality })];
      b.subscribe(wish(2));
      c.subscribe(wish(2));
      d.subscribe(wish(0));
      await Promise.all([b, c, d].map((participant) => participant.bound()));
      for (const participant of [b, c, d]) {
        await participant.subscriber.peer.watch(participant.ssrcOf(video.trackSid), {
          contiguousMs: 500,
          keyFrame: true,
        });
      }
      const widths = async (expected: string): Promise<string> => {
        const streams = await Promise.all([b, c, d].map((participant) => streamOf(participant, video.trackSid)));
        const now = streams.map(({ width }) => width).join();
        return now === expected ? '' : `widths ${now}`;
      };
      await until(() => widths('1280,1280,320'));
      assert.deepEqual(await piped(), { into: 1, outOf: 1 });
      c.subscribe(wish(1));
      d.subscribe(wish(2));
      await until(() => widths('1280,640,1280'));
    });

    it('sends the first key frame as soon as there is somebody to take it', async () => {
      const [a, , c] = await four();
      const video = await publishVideo(a);
      const startMs = performance.now();
      c.subscribe([subscriptionTo(video, a.leg)]);
      await c.wait(() => (c.ssrcOf(video.trackSid) === 0 ? 'not offered' : ''));
      await c.subscriber.peer.watch(c.ssrcOf(video.trackSid), { keyFrame: true });
      const tookMs = performance.now() - startMs;
      assert.ok(tookMs < 900, `${Math.round(tookMs)} ms`);
    });

    it('gives the first subscriber of a track that was published for long its layer within a second', async (t) => {
      const [a, b, c] = await four();
      const video = await publishVideo(a);
      b.subscribe([subscriptionTo(video, a.leg, { quality: 2 })]);
      await b.bound();
      // Each encoder answers the request for a key frame in its own time, the smallest first.
      for (const [index, { ssrc }] of (a.publisher.tracks[0]?.streams ?? []).entries()) {
        a.publisher.peer.setPublished(ssrc, { fps: [15, 8, 5][index] ?? 5 });
      }
      // The sender has reported its streams, as that of any track of a running call has.
      await b.subscriber.peer.watch(b.ssrcOf(video.trackSid), { contiguousMs: 2500, keyFrame: true });
      const startMs = performance.now();
      c.subscribe([subscriptionTo(video, a.leg, { quality: 2 })]);
      await c.wait(() => (c.ssrcOf(video.trackSid) === 0 ? 'not offered' : ''));
      await until(async () => ((await streamOf(c, video.trackSid)).width === 1280 ? '' : 'a lower layer'));
      const tookMs = performance.now() - startMs;
      t.diagnostic(`top layer through a new pipe after ${Math.round(tookMs)} ms`);
      assert.ok(tookMs < 1000, `${Math.round(tookMs)} ms`);
    });

    it('keeps the copy for a moment after its last subscriber and then closes it with its pipe', async () => {
      const [a, , c, d] = await four();
      const audio = await publishAudio(a);
      const wish = [subscriptionTo(audio, a.leg)];
      c.subscribe(wish);
      await c.bound();
      c.subscribe([]);
      await c.wait(() => (c.subscriber.tracks.size === 0 ? '' : 'not ended'));
      assert.deepEqual(await piped(), { into: 1, outOf: 1 });
      d.subscribe(wish);
      await d.bound();
      await d.subscriber.peer.watch(d.ssrcOf(audio.trackSid), { contiguousMs: lingerMs + 200 });
      const endMs = performance.now();
      d.subscribe([]);
      await until(async () => ((await piped()).into === 0 && (await piped()).outOf === 0 ? '' : 'still there'));
      assert.ok(performance.now() - endMs > lingerMs - 20);
      await until(() => (pipeEnds() === 0 ? '' : `${pipeEnds()} pipe ends left`));
    });

    it('lets nothing through while nobody takes it', async () => {
      const [a, , c] = await four();
      const video = await publishVideo(a);
      const wish = (paused: boolean) => [subscriptionTo(video, a.leg, { paused })];
      c.subscribe(wish(false));
      await c.bound();
      await c.subscriber.peer.watch(c.ssrcOf(video.trackSid), { contiguousMs: 300, keyFrame: true });
      c.subscribe(wish(true));
      await until(() => (pipesFlowing() === 0 ? '' : 'still flowing'));
      const { keyFrames } = await streamOf(c, video.trackSid);
      c.subscribe(wish(false));
      await until(async () => ((await streamOf(c, video.trackSid)).keyFrames > keyFrames ? '' : 'no key frame'));
      assert.ok(pipesFlowing() > 0);
    });

    it('stops with a mute and goes on with a key frame', async () => {
      const [a, , c] = await four();
      const video = await publishVideo(a);
      c.subscribe([subscriptionTo(video, a.leg)]);
      await c.bound();
      await c.subscriber.peer.watch(c.ssrcOf(video.trackSid), { contiguousMs: 300, keyFrame: true });
      a.setMuted(true);
      await until(async () => ((await streamOf(c, video.trackSid)).silentMs > 300 ? '' : 'still forwarded'));
      const { keyFrames } = await streamOf(c, video.trackSid);
      a.setMuted(false);
      await until(async () => ((await streamOf(c, video.trackSid)).keyFrames > keyFrames ? '' : 'no key frame'));
    });

    it('brings tracks that were muted before anybody took them, and their media when they are not any more', async () => {
      const [a, , c] = await four();
      const audio = await publishAudio(a);
      a.setMuted(true);
      c.subscribe([subscriptionTo(audio, a.leg)]);
      await c.bound();
      a.setMuted(false);
      await c.subscriber.peer.watch(c.ssrcOf(audio.trackSid), { contiguousMs: 300 });
    });

    it('ends subscriptions when the publisher is gone, and takes its next track', async () => {
      const [a, b, c] = await four();
      const audio = await publishAudio(a);
      c.subscribe([subscriptionTo(audio, a.leg)]);
      await c.bound();
      places[0].host.send({ kind: 'close', leg: a.leg, reason: 'left' });
      await places[1].host.reached(c.leg, 'ended', (actual) => actual.subscriptions[0]?.state === 'no-producer');
      await c.wait(() => (c.subscriber.tracks.size === 0 ? '' : 'still offered'));
      const other = await publishAudio(b);
      c.subscribe([subscriptionTo(other, b.leg)]);
      await c.bound();
      await c.subscriber.peer.watch(c.ssrcOf(other.trackSid), { contiguousMs: 300 });
    });

    it('carries media in both directions and reports each level once, at its source', async () => {
      const [a, , c] = await four();
      const [one, two] = await Promise.all([publishAudio(a), publishAudio(c)]);
      a.subscribe([subscriptionTo(two, c.leg)]);
      c.subscribe([subscriptionTo(one, a.leg)]);
      await Promise.all([a.bound(), c.bound()]);
      await a.subscriber.peer.watch(a.ssrcOf(two.trackSid), { contiguousMs: 600 });
      await c.subscriber.peer.watch(c.ssrcOf(one.trackSid), { contiguousMs: 300 });
      for (const { host } of new Set(places)) {
        for (const { levels } of host.of('levels')) {
          const sids = levels.map((level) => level.trackSid);
          assert.equal(new Set(sids).size, sids.length);
        }
      }
      if (!isOneNode) {
        const reported = places.map(({ host }) =>
          host.of('levels').flatMap(({ levels }) => levels.map((level) => level.trackSid)),
        );
        assert.deepEqual(
          reported.map((sids) => [...new Set(sids)]),
          [[one.trackSid], [two.trackSid]],
        );
      }
    });

    it('leaves nothing behind when subscribers and publishers come and go while pipes are being made', async () => {
      const [a, b] = await four();
      const wishes: WantedSubscription[] = [];
      for (let round = 0; round < 12; round += 1) {
        const tracks = [...(await publishAll(a)), ...(round % 4 === 0 ? await publishAll(b) : [])];
        wishes.push(...tracks);
        const { host } = places[1];
        const legs = ['x', 'y'].map((name) => host.open(`${name}${round}`, { subscriptions: wishes }));
        await delay(round % 6);
        for (const leg of legs) {
          host.send({ kind: 'close', leg, reason: 'left' });
        }
        if (round % 5 === 4) {
          host.open(`late${round}`, { subscriptions: wishes });
        }
      }
      // The end of everything meets requests of every kind under way.
    });

    async function publishAll(participant: LegParticipant): Promise<WantedSubscription[]> {
      const published = await participant.publish([participant.publisher.addAudio({})]);
      return published.slice(-1).map((publication) => subscriptionTo(publication, participant.leg));
    }

    it('survives the death of the subscribers’ worker', async () => {
      log.expectErrors(/media worker died/);
      const [a, b, c] = await four();
      const audio = await publishAudio(a);
      for (const participant of [b, c]) {
        participant.subscribe([subscriptionTo(audio, a.leg)]);
        await participant.bound();
      }
      killWorkerOf(places[1], 'c');
      await places[1].host.nth('failed', c.leg, 1);
      await b.subscriber.peer.watch(b.ssrcOf(audio.trackSid), { contiguousMs: 500 });
      await until(() => (pipeEnds() === 0 ? '' : 'still piped'));
      await untilUp();
    });

    it('survives the death of the publisher’s worker', async () => {
      log.expectErrors(/media worker died/);
      const [a, , c, d] = await four();
      const [audio, other] = await Promise.all([publishAudio(a), publishAudio(d)]);
      c.subscribe([subscriptionTo(audio, a.leg), subscriptionTo(other, d.leg)]);
      await c.bound();
      killWorkerOf(places[0], 'a');
      await places[1].host.reached(c.leg, 'ended', ({ subscriptions }) =>
        subscriptions.some(({ trackSid, state }) => trackSid === audio.trackSid && state === 'no-producer'),
      );
      await c.subscriber.peer.watch(c.ssrcOf(other.trackSid), { contiguousMs: 500 });
      await until(() => (pipeEnds() === 0 ? '' : 'still piped'));
      await untilUp();
    });

    async function publishAudio(participant: LegParticipant): Promise<ActualPublication> {
      const [audio] = await participant.publish([participant.publisher.addAudio({ levelDbov: 20 })]);
      assert.ok(audio !== undefined);
      return audio;
    }

    const allRouters = () => pools.flatMap((pool) => pool.workers).flatMap((worker) => [...worker.routers]);

    function pipeEnds(): number {
      return allRouters().reduce((sum, router) => sum + router.pipeEnds.size, 0);
    }

    function pipesFlowing(): number {
      return allRouters()
        .flatMap((router) => [...router.pipeEnds])
        .filter((end) => end.flowing > 0).length;
    }

    /** The first place is on the first worker, the second on the last. */
    function killWorkerOf({ pool }: Place, name: 'a' | 'c'): void {
      const worker = name === 'a' ? pool.workers[0] : pool.workers.at(-1);
      assert.ok(worker !== undefined && worker.routers.size > 0);
      process.kill(worker.pid, 'SIGKILL');
    }

    async function untilUp(): Promise<void> {
      await until(() => (pools.every((pool) => pool.workers.length === pool.settings.workers) ? '' : 'no new worker'));
    }
  });
}

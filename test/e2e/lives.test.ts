import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { RoomEvent } from '@livekit/rtc-node';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { startNode, type InProcessNode } from '../kit/node.ts';
import { residentBytes } from '../kit/process-memory.ts';
import { disposeRtcNode, RtcClient } from '../kit/rtc-node.ts';
import { joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';

const lives = { light: 1000, warmUp: 100, parallel: 8, rtcNode: 50 };

/** For all of them together, warm-up left out. */
const budgetMs = 120_000;

type Memory = { heapBytes: number; nodeBytes: number; workerBytes: number };

describe('rooms that come and go', () => {
  let node: InProcessNode;
  let endpoint: LightEndpoint;
  let collectGarbage: () => void;
  let spentMs = 0;

  before(async () => {
    setFlagsFromString('--expose-gc');
    collectGarbage = runInNewContext('gc') as () => void;
    node = await startNode({ logLevel: 'warn', config: { room: { departure_timeout: 0 } } });
    endpoint = await LightEndpoint.start();
  });
  after(async () => {
    await disposeRtcNode();
    await endpoint?.close();
    await node?.close();
  });

  it(`leave nothing behind after ${lives.light} lives with light clients`, async (t) => {
    await inParallel(lives.warmUp, async (index) => lightLife(`warm-${index}`));
    const before = await restingFootprint();
    const samples: Memory[] = [await memory()];
    const startMs = performance.now();
    for (let done = 0; done < lives.light; done += 100) {
      await inParallel(100, async (index) => lightLife(`life-${done + index}`));
      samples.push(await memory());
    }
    spentMs += performance.now() - startMs;
    t.diagnostic(`${lives.light} lives took ${(spentMs / 1000).toFixed(1)} s`);
    await assertSame(before);
    reportGrowth(t, samples);
  });

  it(`leave nothing behind after ${lives.rtcNode} lives with rtc-node`, async (t) => {
    await rtcNodeLife('warm');
    const before = await restingFootprint();
    const startMs = performance.now();
    // Several at a time are no faster: libwebrtc's threads are the limit.
    for (let index = 0; index < lives.rtcNode; index += 1) await rtcNodeLife(`rtc-${index}`);
    spentMs += performance.now() - startMs;
    t.diagnostic(`with ${lives.rtcNode} more lives ${(spentMs / 1000).toFixed(1)} s`);
    await assertSame(before);
    assert.ok(spentMs < budgetMs, `all lives took ${spentMs} ms`);
  });

  /** A publisher of audio and video, a subscriber that receives both, data in both directions, and both leave. */
  async function lightLife(room: string): Promise<void> {
    const join = async (identity: string, publish: boolean): Promise<LightClient> =>
      LightClient.join({
        url: node.url,
        token: await joinToken({ room, identity }),
        endpoint,
        publish: { audio: publish, video: publish },
      });
    const [publisher, subscriber] = await Promise.all([join('publisher', true), join('subscriber', false)]);
    await Promise.all(publisher.publishedTrackSids.map((track) => subscriber.waitForTrack(track)));
    await Promise.all([publisher.waitForChannels(), subscriber.waitForChannels()]);
    await Promise.all([publisher, subscriber].map((client) => client.sendData(Buffer.from(client.identity))));
    await Promise.all([publisher, subscriber].map((client) => client.waitForPacket(() => true)));
    await Promise.all([publisher.leave(), subscriber.leave()]);
  }

  async function rtcNodeLife(room: string): Promise<void> {
    const join = async (identity: string): Promise<RtcClient> => RtcClient.join({ url: node.url, room, identity });
    const [publisher, subscriber] = await Promise.all([join('publisher'), join('subscriber')]);
    await Promise.all([publisher.publishAudio(), publisher.publishVideo({ width: 160, height: 90, fps: 10 })]);
    const video = subscriber.watchVideo(await subscriber.waitForTrack('publisher', 'video'));
    const audio = subscriber.listen(await subscriber.waitForTrack('publisher', 'audio'));
    await until(() => (video.frames > 0 && audio.frames > 0 ? '' : `${room}: ${video.frames} and ${audio.frames}`));
    const arrivals = [publisher, subscriber].map(async (client) => once(client.room, RoomEvent.DataReceived));
    for (const client of [publisher, subscriber]) {
      await client.local.publishData(new TextEncoder().encode(client.identity), { reliable: true });
    }
    await Promise.all(arrivals);
    await Promise.all([publisher.close(), subscriber.close()]);
  }

  /** Everything countable that a life could leave behind. */
  async function footprint(): Promise<Record<string, unknown>> {
    const { gateway, host, legs, rooms, directoryRooms } = node.debug.state();
    const resources: Record<string, number> = {};
    for (const kind of process.getActiveResourcesInfo()) {
      // Something that runs in this very turn is not left behind.
      if (kind !== 'Immediate') resources[kind] = (resources[kind] ?? 0) + 1;
    }
    return {
      gateway,
      host,
      legs,
      rooms,
      directoryRooms,
      resources,
      engine: await node.debug.engine(),
      endpointPeers: endpoint.peerCount,
    };
  }

  /** What is there while nobody is: the connections of the warm-up's clients may take some milliseconds to end. */
  async function restingFootprint(): Promise<Record<string, unknown>> {
    await until(() => {
      const { gateway, rooms } = node.debug.state();
      const lives = { connections: gateway.connections, sessions: gateway.sessions, rooms: rooms.length };
      return Object.values(lives).every((count) => count === 0) ? '' : JSON.stringify(lives);
    });
    return footprint();
  }

  async function assertSame(before: Record<string, unknown>): Promise<void> {
    const settled = await settledFootprint(before);
    assert.deepEqual(settled, before);
  }

  /** Sockets that were closed a moment ago still count for some milliseconds. */
  async function settledFootprint(before: Record<string, unknown>): Promise<Record<string, unknown>> {
    let last: Record<string, unknown> = {};
    await until(async () => {
      last = await footprint();
      return JSON.stringify(last) === JSON.stringify(before) ? '' : 'changed';
    }).catch(() => {});
    return last;
  }

  async function memory(): Promise<Memory> {
    collectGarbage();
    const workers = await Promise.all(node.debug.workerPids().map((pid) => residentBytes(pid)));
    return {
      heapBytes: process.memoryUsage().heapUsed,
      nodeBytes: process.memoryUsage.rss(),
      workerBytes: workers.reduce((sum, bytes) => sum + bytes, 0),
    };
  }

  /** The first sample still has what the warm-up did not reach. */
  function reportGrowth(t: TestContext, samples: Memory[]): void {
    const kiB = (kind: keyof Memory): string => samples.map((sample) => Math.round(sample[kind] / 1024)).join(' ');
    t.diagnostic(`heap (KiB): ${kiB('heapBytes')}`);
    t.diagnostic(`RSS of node and clients (KiB): ${kiB('nodeBytes')}`);
    t.diagnostic(`RSS of the worker (KiB): ${kiB('workerBytes')}`);
    const perLife = (kind: keyof Memory): number => slope(samples.map((sample) => sample[kind])) / 100;
    assert.ok(perLife('heapBytes') < 1024, `the heap grows by ${perLife('heapBytes')} bytes per life`);
    assert.ok(perLife('workerBytes') < 4096, `the worker grows by ${perLife('workerBytes')} bytes per life`);
  }
});

/** Least squares, per sample. */
function slope(values: number[]): number {
  const middle = (values.length - 1) / 2;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  let above = 0;
  let below = 0;
  for (const [index, value] of values.entries()) {
    above += (index - middle) * (value - mean);
    below += (index - middle) ** 2;
  }
  return above / below;
}

async function inParallel(count: number, run: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) await run(index);
  };
  await Promise.all(Array.from({ length: lives.parallel }, lane));
}

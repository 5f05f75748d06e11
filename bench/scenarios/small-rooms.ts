import { setTimeout as delay } from 'node:timers/promises';
import { opus } from '../crowd.ts';
import type { Row } from '../results.ts';
import { newRoomName, type Bench, type Scenario, type Stage } from '../scenario.ts';
import { growthPerLife, judgeGrowth, type MemorySample } from '../memory-growth.ts';
import { percentile } from '../statistics.ts';
import { mediaFigures } from '../window.ts';

const rooms = 100;
const lives = 1000;
const soakLives = 10_000;
const parallelLives = 8;
/** A room of two takes 500 KB in the server: one of 250 that is not let go of shows. */
const flatKbPerLife = 2;
/** Over so many lives the rest of the warming-up shows less. */
const flatKbPerLifeOfSoak = 0.5;
/** In fewer, nothing but the warming-up shows. */
const livesToJudge = 500;

/** Two-party audio rooms, as voice agents have them: many at a time, then many after each other. */
export const smallRooms: Scenario = {
  name: 'small-rooms',
  title: `${rooms} two-party audio rooms at a time, then ${lives} rooms after each other`,
  byDefault: true,
  run: async (bench) =>
    bench.onStage(quickDeparture, async (stage) => {
      bench.progress('small rooms, at a time');
      const rows = [await manyAtATime(bench, stage)];
      await stage.crowd.leaveAll();
      rows.push(await manyLives(bench, stage, { count: bench.size(lives), flatKb: flatKbPerLife }));
      return rows;
    }),
};

/** For hours on a machine of its own: does anything grow? */
export const soak: Scenario = {
  name: 'soak',
  title: `${soakLives} rooms after each other`,
  byDefault: false,
  run: async (bench) =>
    bench.onStage(quickDeparture, async (stage) => [
      await manyLives(bench, stage, { count: bench.size(soakLives), flatKb: flatKbPerLifeOfSoak }),
    ]),
};

/** Rooms are deleted by the API after each life; this is for servers of ours that would keep them for a while. */
const quickDeparture = { config: { room: { departure_timeout: 0 } } };

async function manyAtATime(bench: Bench, stage: Stage): Promise<Row> {
  const { crowd, meter } = stage;
  const empty = await meter.over(0.5);
  const count = bench.size(rooms);
  await crowd.joinMany(count, 15, async () => talk(stage, newRoomName('pair')));
  await meter.over(bench.seconds(3));
  const window = await meter.over(bench.seconds(8));
  const grown = Object.entries(window.rssBytes).map(([kind, bytes]) => bytes - (empty.rssBytes[kind] ?? 0));
  const figures = mediaFigures(window);
  figures['RSS KB/room'] = grown.reduce((sum, bytes) => sum + bytes, 0) / 1000 / count;
  figures['rooms/core'] = (count * window.seconds) / window.serverCpuS;
  return { series: 'at a time', figures };
}

/** Both join at once, publish, and hear each other. @returns milliseconds until both do */
async function talk(stage: Stage, room: string): Promise<number> {
  const startMs = performance.now();
  const pair = await Promise.all(
    ['caller', 'agent'].map(async (identity) => stage.crowd.join(room, identity, { publish: { audio: opus } })),
  );
  const [caller, agent] = pair;
  if (caller === undefined || agent === undefined) {
    throw new Error('unreachable');
  }
  const [said] = caller.publishedTrackSids;
  const [answered] = agent.publishedTrackSids;
  await Promise.all([agent.waitForTrack(said ?? ''), caller.waitForTrack(answered ?? '')]);
  const tookMs = performance.now() - startMs;
  return tookMs;
}

async function manyLives(
  bench: Bench,
  stage: Stage,
  { count, flatKb }: { count: number; flatKb: number },
): Promise<Row> {
  const { target, meter } = stage;
  const tookMs: number[] = [];
  const samples: MemorySample[] = [];
  let begun = 0;
  const lane = async (): Promise<void> => {
    while (begun < count) {
      begun += 1;
      tookMs.push(await life(stage));
      if (tookMs.length % Math.max(1, Math.floor(count / 100)) === 0) {
        samples.push({ lives: tookMs.length, byKind: residentKb(stage) });
      }
      if (tookMs.length % Math.max(1, Math.floor(count / 5)) === 0) {
        bench.progress(`small rooms, ${tookMs.length} of ${count} lives${describeResident(residentKb(stage))}`);
      }
    }
  };
  const window = await meter.during(async () => Promise.all(Array.from({ length: parallelLives }, lane)));
  const left = await target.rooms.listRooms();
  bench.note(`Rooms that the server still lists after the last life: ${left.length}.`);
  const figures: Record<string, number> = {
    'lives/s': count / window.seconds,
    'CPU ms/life': (window.serverCpuS * 1000) / count,
    'join to media p50 ms': percentile(tookMs, 0.5),
    'media p95 ms': percentile(tookMs, 0.95),
    'largest ms': percentile(tookMs, 1),
    'foreign CPU %': window.foreignCores * 100,
  };
  const growthKb = growthPerLife(samples);
  for (const [kind, kb] of Object.entries(growthKb)) {
    figures[`${kind} KB/life`] = kb;
  }
  if (count >= livesToJudge && Object.keys(growthKb).length > 0) {
    judge(bench, growthKb, flatKb);
  }
  return { series: `${count} lives`, figures };
}

function judge(bench: Bench, growthKb: Record<string, number>, flatKb: number): void {
  const { isFlat, text } = judgeGrowth(growthKb, flatKb);
  bench.note(text);
  if (!isFlat && bench.isOwnServer) {
    process.exitCode = 1;
  }
}

async function life(stage: Stage): Promise<number> {
  const { crowd, target } = stage;
  const room = newRoomName('life');
  const tookMs = await talk(stage, room);
  const own = crowd.clients.filter((client) => client.joinResponse.room?.name === room);
  await Promise.all(own.map(async (client) => crowd.leave(client)));
  // It may be gone by itself.
  await target.rooms.deleteRoom(room).catch(async () => delay(0));
  return tookMs;
}

function describeResident(byKind: Record<string, number>): string {
  return Object.entries(byKind)
    .map(([kind, kb]) => `, ${kind} ${(kb / 1000).toFixed(1)} MB`)
    .join('');
}

function residentKb(stage: Stage): Record<string, number> {
  const byKind: Record<string, number> = {};
  for (const { kind, rssBytes } of stage.target.sample()) {
    byKind[kind] = (byKind[kind] ?? 0) + rssBytes / 1000;
  }
  return byKind;
}

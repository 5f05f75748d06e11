import type { LightClient } from '../../test/kit/light-client.ts';
import { joinToken } from '../../test/kit/tokens.ts';
import type { Row } from '../results.ts';
import { newRoomName, type Bench, type Scenario, type Stage } from '../scenario.ts';
import { percentile } from '../statistics.ts';
import { waitForMedia } from './webinar.ts';

const storm = 500;
const stepJoins = 100;
const atOnce = 48;
const calmPerSecond = 25;
const calmJoins = 150;

/** Many join one room as fast as the server takes them; then at a steady rate; then the cost of each step of a join. */
export const joinStorm: Scenario = {
  name: 'join-storm',
  title: `${storm} receive-only clients into one room, one publisher (180p)`,
  byDefault: true,
  run: async (bench) => {
    const rows = await bench.onStage({}, async (stage) => {
      bench.progress('join storm, as fast as possible');
      const { room, publisher } = await openRoom(stage);
      const rows = [await asFastAsPossible(bench, stage, room, publisher)];
      await stage.meter.over(bench.seconds(2));
      bench.progress('join storm, at a steady rate');
      rows.push(await atSteadyRate(bench, stage, room, publisher));
      return rows;
    });
    const steps = await bench.onStage({}, async (stage) => costOfSteps(bench, stage));
    bench.note(
      'Steps: CPU of one more step for each join, in a room that grows from 0. Forwarding to those who are there counts.',
    );
    return [...rows, ...steps];
  },
};

async function openRoom(stage: Stage): Promise<{ room: string; publisher: LightClient }> {
  const room = newRoomName('storm');
  const publisher = await stage.crowd.join(room, 'publisher', { publish: { video: stage.crowd.camera('lowest') } });
  return { room, publisher };
}

type Timing = { connectedMs: number; mediaMs: number };

async function joinTimed(stage: Stage, room: string, identity: string, publisher: LightClient): Promise<Timing> {
  const startMs = performance.now();
  const client = await stage.crowd.join(room, identity);
  const connectedMs = performance.now() - startMs;
  await waitForMedia(client, publisher);
  return { connectedMs, mediaMs: performance.now() - startMs };
}

async function asFastAsPossible(bench: Bench, stage: Stage, room: string, publisher: LightClient): Promise<Row> {
  const count = bench.size(storm);
  const timings: Timing[] = [];
  let begun = 0;
  const lane = async (): Promise<void> => {
    while (begun < count) {
      begun += 1;
      timings.push(await joinTimed(stage, room, `storm-${begun}`, publisher));
    }
  };
  const window = await stage.meter.during(async () => Promise.all(Array.from({ length: atOnce }, lane)));
  return {
    series: `${count} at full speed`,
    figures: {
      'joins/s': count / window.seconds,
      'joins/s per core': count / window.serverCpuS,
      ...cpuPerJoin(window.cpuS, count),
      ...delays(timings),
      'load CPU %': (window.loadCpuS * 100) / window.seconds,
      'foreign CPU %': window.foreignCores * 100,
    },
  };
}

async function atSteadyRate(bench: Bench, stage: Stage, room: string, publisher: LightClient): Promise<Row> {
  const count = bench.size(calmJoins);
  let timings: Timing[] = [];
  const window = await stage.meter.during(async () => {
    timings = await stage.crowd.joinMany(count, calmPerSecond, async (index) =>
      joinTimed(stage, room, `calm-${index}`, publisher),
    );
  });
  return {
    series: `${count} more, ${calmPerSecond}/s`,
    figures: {
      'joins/s': count / window.seconds,
      ...cpuPerJoin(window.cpuS, count),
      ...delays(timings),
      'load CPU %': (window.loadCpuS * 100) / window.seconds,
      'foreign CPU %': window.foreignCores * 100,
    },
  };
}

function cpuPerJoin(cpuS: Record<string, number>, count: number): Record<string, number> {
  const figures: Record<string, number> = {};
  for (const [kind, seconds] of Object.entries(cpuS)) {
    figures[`${kind} ms/join`] = (seconds * 1000) / count;
  }
  return figures;
}

function delays(timings: readonly Timing[]): Record<string, number> {
  const connected = timings.map(({ connectedMs }) => connectedMs);
  const media = timings.map(({ mediaMs }) => mediaMs);
  return {
    'connected p50 ms': percentile(connected, 0.5),
    'connected p95 ms': percentile(connected, 0.95),
    'media p50 ms': percentile(media, 0.5),
    'media p95 ms': percentile(media, 0.95),
  };
}

/** Joins that go further each time; what one costs more than the one before is the cost of its last step. */
async function costOfSteps(bench: Bench, stage: Stage): Promise<Row[]> {
  const count = bench.size(stepJoins);
  const { room: mediaRoom, publisher } = await openRoom(stage);
  const plain = newRoomName('steps');
  const steps: { name: string; join: (identity: string) => Promise<unknown> }[] = [
    { name: 'step 1: token', join: async (identity) => validate(stage, plain, identity) },
    {
      name: 'step 2: signal',
      join: async (identity) => stage.crowd.join(`${plain}-signal`, identity, { until: 'signal' }),
    },
    { name: 'step 3: ICE, DTLS, SCTP', join: async (identity) => stage.crowd.join(plain, identity) },
    { name: 'step 4: media', join: async (identity) => joinTimed(stage, mediaRoom, identity, publisher) },
  ];
  const rows: Row[] = [];
  let before: Record<string, number> = {};
  for (const step of steps) {
    bench.progress(`join storm, ${step.name}`);
    const window = await stage.meter.during(async () =>
      stage.crowd.joinMany(count, 50, async (index) => step.join(`${step.name.slice(5, 6)}-${index}`)),
    );
    const cost = cpuPerJoin(window.cpuS, count);
    const more = Object.entries(cost).map(([name, ms]) => [name, ms - (before[name] ?? 0)] as const);
    rows.push({ series: step.name, figures: Object.fromEntries(more) });
    before = cost;
    await Promise.all(
      stage.crowd.clients.filter((client) => client !== publisher).map(async (client) => stage.crowd.leave(client)),
    );
    await stage.meter.over(0.5);
  }
  return rows;
}

async function validate(stage: Stage, room: string, identity: string): Promise<void> {
  const token = await joinToken({ room, identity, key: stage.target.key });
  const response = await fetch(`${stage.target.url}/rtc/validate?access_token=${token}`);
  await response.text();
  if (!response.ok) {
    throw new Error(`/rtc/validate answers ${response.status}`);
  }
}

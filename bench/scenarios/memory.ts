import type { Row } from '../results.ts';
import { newRoomName, type Bench, type Scenario, type Stage } from '../scenario.ts';
import { fillWebinar } from './webinar.ts';

const subscribers = 200;
const people = 200;

/** What a server, a room, a participant and a subscriber take. */
export const memory: Scenario = {
  name: 'memory',
  title: `resident memory: idle, ${people} participants without media, ${subscribers} subscribers of one publisher`,
  byDefault: true,
  run: async (bench) => {
    if (!bench.isOwnServer) {
      bench.note('The server ran before: what it has kept hides a part of the growth.');
    }
    return bench
      .onStage({}, async (stage) => {
        bench.progress('memory, idle');
        await stage.meter.over(bench.seconds(3));
        const idle = resident(stage);
        const rows: Row[] = [{ series: 'idle', figures: toMb(idle) }];
        bench.progress('memory, participants');
        const room = newRoomName('memory');
        await stage.crowd.joinMany(bench.size(people), 40, async (index) => stage.crowd.join(room, `member-${index}`));
        await stage.meter.over(bench.seconds(3));
        rows.push(grown(stage, { series: 'participants without media', before: idle, count: bench.size(people) }));
        return rows;
      })
      .then(async (rows) => [...rows, await subscribersRow(bench)]);
  },
};

async function subscribersRow(bench: Bench): Promise<Row> {
  return bench.onStage({}, async (stage) => {
    bench.progress('memory, subscribers');
    await stage.meter.over(bench.seconds(2));
    const before = resident(stage);
    await fillWebinar(stage, bench.size(subscribers), 'lowest');
    await stage.meter.over(bench.seconds(3));
    return grown(stage, { series: 'subscribers', before, count: bench.size(subscribers) });
  });
}

function grown(stage: Stage, options: { series: string; before: Record<string, number>; count: number }): Row {
  const now = resident(stage);
  const figures = toMb(now);
  let all = 0;
  for (const [kind, bytes] of Object.entries(now)) {
    const each = (bytes - (options.before[kind] ?? 0)) / options.count / 1000;
    figures[`${kind} KB each`] = each;
    all += each;
  }
  figures['KB each'] = all;
  return { series: options.series, figures };
}

function resident(stage: Stage): Record<string, number> {
  const byKind: Record<string, number> = {};
  for (const { kind, rssBytes } of stage.target.sample()) {
    byKind[kind] = (byKind[kind] ?? 0) + rssBytes;
  }
  return byKind;
}

function toMb(byKind: Record<string, number>): Record<string, number> {
  const figures: Record<string, number> = {
    'MB in all': Object.values(byKind).reduce((sum, bytes) => sum + bytes, 0) / 1e6,
  };
  for (const [kind, bytes] of Object.entries(byKind)) {
    figures[`${kind} MB`] = bytes / 1e6;
  }
  return figures;
}

import type { Row } from '../results.ts';
import type { Bench, Scenario, ServerWish } from '../scenario.ts';
import { mediaFigures } from '../window.ts';
import { fillWebinar } from './webinar.ts';

const viewers = 80;
const windowS = 10;

/** The same room on one worker, on two workers of a node, and on two nodes: what spreading costs. */
export const bigRoom: Scenario = {
  name: 'big-room',
  title: `one publisher of three layers, ${viewers} viewers, spread over workers and nodes`,
  byDefault: true,
  run: async (bench) => {
    if (!bench.isOwnServer) {
      return [await series(bench, 'as started', {})];
    }
    const half = Math.ceil((bench.size(viewers) + 1) / 2);
    const rows = [
      await series(bench, 'one worker', {}),
      await series(bench, 'two workers', { config: { rtc: { workers: 2, max_viewers_per_worker: half } } }),
      await series(bench, 'two nodes', { mediaNodes: 2, config: { room: { max_legs_per_node: half } } }),
    ];
    const [alone, ...spread] = rows;
    for (const row of spread) {
      row.figures['linearity %'] = ((alone?.figures['CPU µs/packet'] ?? 0) * 100) / (row.figures['CPU µs/packet'] ?? 0);
    }
    bench.note('Linearity: cost per packet on one worker, in percent of the cost when spread.');
    return rows;
  },
};

async function series(bench: Bench, name: string, wish: ServerWish): Promise<Row> {
  return bench.onStage(wish, async (stage) => {
    bench.progress(`big room, ${name}`);
    await fillWebinar(stage, bench.size(viewers), 'all');
    await stage.meter.over(bench.seconds(3));
    const window = await stage.meter.over(bench.seconds(windowS));
    return { series: name, figures: mediaFigures(window) };
  });
}

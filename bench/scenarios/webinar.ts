import type { LightClient } from '../../test/kit/light-client.ts';
import type { RawConfig } from '../../test/kit/node.ts';
import { opus } from '../crowd.ts';
import type { Row } from '../results.ts';
import { newRoomName, type Bench, type Scenario, type ServerWish, type Stage } from '../scenario.ts';
import { mediaFigures } from '../window.ts';

const viewers = 100;
const joinsPerSecond = 50;
const settleS = 3;
const windowS = 12;

/** One camera and microphone to many viewers. */
export const webinar: Scenario = {
  name: 'webinar',
  title: `one publisher (720p30 at 1.5 Mbit/s, Opus), ${viewers} viewers, one worker`,
  byDefault: true,
  run: async (bench) => {
    const rows = [
      await series(bench, 'one layer', { layers: 'top' }),
      await series(bench, 'three layers', { layers: 'all' }),
    ];
    if (bench.isOwnServer) {
      const config: RawConfig = { rtc: { bandwidth_estimation: 'always' } };
      rows.push(await series(bench, 'one layer, equal work', { layers: 'top', config }));
      bench.note('Equal work: bandwidth is estimated for every viewer, also where nothing can be adapted.');
    }
    return rows;
  },
};

async function series(
  bench: Bench,
  name: string,
  options: { layers: 'top' | 'all'; config?: RawConfig },
): Promise<Row> {
  const wish: ServerWish = options.config === undefined ? {} : { config: options.config };
  return bench.onStage(wish, async (stage) => {
    bench.progress(`webinar, ${name}`);
    await fillWebinar(stage, bench.size(viewers), options.layers);
    await stage.meter.over(bench.seconds(settleS));
    const window = await stage.meter.over(bench.seconds(windowS));
    return { series: name, figures: mediaFigures(window) };
  });
}

/** Joins a publisher and the viewers, and waits until all of them see and hear. */
export async function fillWebinar(
  stage: Stage,
  count: number,
  layers: 'top' | 'all' | 'lowest',
): Promise<{ room: string; publisher: LightClient; viewers: LightClient[] }> {
  const { crowd } = stage;
  const room = newRoomName('webinar');
  const publisher = await crowd.join(room, 'publisher', { publish: { audio: opus, video: crowd.camera(layers) } });
  const joined = await crowd.joinMany(count, joinsPerSecond, async (index) => {
    const viewer = await crowd.join(room, `viewer-${index}`);
    await waitForMedia(viewer, publisher);
    return viewer;
  });
  return { room, publisher, viewers: joined };
}

export async function waitForMedia(viewer: LightClient, publisher: LightClient): Promise<void> {
  await Promise.all(
    publisher.publishedTracks.map(async ({ trackSid, kind }) =>
      viewer.waitForTrack(trackSid, { keyFrame: kind === 'video', timeoutMs: 30_000 }),
    ),
  );
}

import type { RawConfig } from '../../test/kit/node.ts';
import { opus } from '../crowd.ts';
import type { Row } from '../results.ts';
import { newRoomName, type Bench, type Scenario } from '../scenario.ts';
import { mediaFigures } from '../window.ts';
import { waitForMedia } from './webinar.ts';

const microphones = 10;
const talking = 3;
const listeners = 60;
const windowS = 10;

/** Many listeners, several open microphones, few of them talking. */
export const audioRoom: Scenario = {
  name: 'audio-room',
  title: `${microphones} open microphones of which ${talking} talk, ${listeners} listeners`,
  byDefault: true,
  run: async (bench) => {
    if (!bench.isOwnServer) {
      return [await series(bench, 'as started', {})];
    }
    const rows = [
      await series(bench, 'all forwarded', { audio: { loudest_forwarded: 0 } }),
      await series(bench, 'loudest forwarded', { audio: { loudest_forwarded: talking, loudest_from: 2 } }),
    ];
    const [all, loudest] = rows.map((row) => row.figures['listeners/core'] ?? Number.NaN);
    bench.note(`Forwarding only the loudest: × ${((loudest ?? 0) / (all ?? 1)).toFixed(2)} listeners per core.`);
    return rows;
  },
};

async function series(bench: Bench, name: string, config: RawConfig): Promise<Row> {
  return bench.onStage({ config }, async ({ crowd, meter }) => {
    bench.progress(`audio room, ${name}`);
    const room = newRoomName('audio');
    const speakers = await crowd.joinMany(bench.size(microphones), 20, async (index) =>
      crowd.join(room, `speaker-${index}`, {
        autoSubscribe: false,
        publish: { audio: { ...opus, levelDbov: index < talking ? 20 : 70 } },
      }),
    );
    const [loud] = speakers;
    const count = bench.size(listeners);
    await crowd.joinMany(count, 40, async (index) => {
      const listener = await crowd.join(room, `listener-${index}`);
      if (loud !== undefined) {
        await waitForMedia(listener, loud);
      }
    });
    await meter.over(bench.seconds(5));
    const window = await meter.over(bench.seconds(windowS));
    const figures = mediaFigures(window);
    figures['listeners/core'] = (count * window.seconds) / window.serverCpuS;
    return { series: name, figures };
  });
}

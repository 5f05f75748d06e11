import type { LightClient } from '../../test/kit/light-client.ts';
import { opus } from '../crowd.ts';
import { newRoomName, type Scenario, type Stage } from '../scenario.ts';
import { mediaFigures } from '../window.ts';

const rooms = 3;
const people = 8;
const windowS = 12;
const large = { width: 1280, height: 720 };
const tile = { width: 640, height: 360 };

/** Rooms in which everybody sends and sees everybody: one large picture and the rest as tiles. */
export const meeting: Scenario = {
  name: 'meeting',
  title: `${rooms} rooms of ${people}, all send 720p in three layers and Opus, each sees one at 720p and the rest at 360p`,
  byDefault: true,
  run: async (bench) => {
    return bench.onStage({}, async (stage) => {
      bench.progress('meeting');
      const inRoom = bench.size(people);
      const clients: LightClient[] = [];
      for (let index = 0; index < bench.size(rooms); index += 1) {
        clients.push(...(await fillMeeting(stage, inRoom)));
      }
      await stage.meter.over(bench.seconds(6));
      const window = await stage.meter.over(bench.seconds(windowS));
      const figures = mediaFigures(window);
      figures['participants/core'] = (clients.length * window.seconds) / window.serverCpuS;
      figures['uplink packets/s each'] = window.sentPackets / window.seconds / clients.length;
      return [{ series: `rooms of ${inRoom}`, figures }];
    });
  },
};

async function fillMeeting(stage: Stage, count: number): Promise<LightClient[]> {
  const { crowd } = stage;
  const room = newRoomName('meeting');
  const clients = await crowd.joinMany(count, 20, async (index) =>
    crowd.join(room, `person-${index}`, {
      adaptiveStream: true,
      publish: { audio: opus, video: crowd.camera('all') },
    }),
  );
  await Promise.all(clients.map(async (client, index) => arrange(client, clients, index)));
  return clients;
}

/** The first person is the speaker that all others see large; the speaker sees the second one large. */
async function arrange(client: LightClient, all: readonly LightClient[], index: number): Promise<void> {
  const speaker = index === 0 ? all[1] : all[0];
  for (const other of all.filter((candidate) => candidate !== client)) {
    for (const { trackSid, kind } of other.publishedTracks) {
      await client.waitForTrack(trackSid, { timeoutMs: 30_000 });
      if (kind === 'video') {
        client.setTrackSettings(trackSid, other === speaker ? large : tile);
      }
    }
  }
}

import { DataPacket, DataPacket_Kind, UserPacket } from '@livekit/protocol';
import type { LightClient } from '../../test/kit/light-client.ts';
import type { Flood } from '../../test/kit/light/light-peer.ts';
import { channelStreams } from '../../test/kit/light/light-publisher.ts';
import type { Row } from '../results.ts';
import { newRoomName, type Bench, type Scenario, type Stage } from '../scenario.ts';

const receivers = 100;
const group = 10;
const windowS = 6;

type Series = { name: string; bytes: number; perSecond: number; reliable: boolean; senders: 'one' | 'all' };

const allSeries: Series[] = [
  { name: '1 → N, 200 B lossy', bytes: 200, perSecond: 100, reliable: false, senders: 'one' },
  { name: '1 → N, 200 B reliable', bytes: 200, perSecond: 100, reliable: true, senders: 'one' },
  { name: '1 → N, 1 KB lossy', bytes: 1000, perSecond: 50, reliable: false, senders: 'one' },
  { name: '1 → N, 1 KB reliable', bytes: 1000, perSecond: 50, reliable: true, senders: 'one' },
  { name: 'N → N, 200 B reliable', bytes: 200, perSecond: 50, reliable: true, senders: 'all' },
];

export const dataFanOut: Scenario = {
  name: 'data',
  title: `data packets from one to ${receivers}, and among ${group}`,
  byDefault: true,
  run: async (bench) =>
    bench.onStage({}, async (stage) => {
      const rows: Row[] = [];
      const room = newRoomName('data');
      const everyone = await fill(stage, room, bench.size(receivers) + 1);
      for (const series of allSeries.filter(({ senders }) => senders === 'one')) {
        rows.push(await run(bench, stage, series, everyone));
      }
      await stage.crowd.leaveAll();
      const few = await fill(stage, newRoomName('data'), bench.size(group));
      for (const series of allSeries.filter(({ senders }) => senders === 'all')) {
        rows.push(await run(bench, stage, series, few));
      }
      return rows;
    }),
};

async function fill(stage: Stage, room: string, count: number): Promise<LightClient[]> {
  return stage.crowd.joinMany(count, 50, async (index) => {
    const client = await stage.crowd.join(room, `member-${index}`);
    await client.waitForChannels(30_000);
    return client;
  });
}

async function run(bench: Bench, stage: Stage, series: Series, members: LightClient[]): Promise<Row> {
  bench.progress(`data, ${series.name}`);
  const senders = series.senders === 'one' ? members.slice(0, 1) : members;
  await Promise.all(senders.map(async (sender) => sender.connectPublisher()));
  const flood = toFlood(series);
  for (const sender of senders) {
    sender.publisherPeer?.flood(flood);
  }
  await stage.meter.over(bench.seconds(2));
  const window = await stage.meter.over(bench.seconds(windowS));
  for (const sender of senders) {
    sender.publisherPeer?.endFlood(flood.stream);
  }
  await stage.meter.over(0.3);
  const expected = series.perSecond * senders.length * (members.length - 1) * window.seconds;
  const { dataDelay } = window.totals;
  return {
    series: series.name,
    figures: {
      'delivered/s': window.messages / window.seconds,
      'of expected %': (window.messages * 100) / expected,
      'CPU µs/message': (window.serverCpuS * 1e6) / window.messages,
      'of it worker': ((window.cpuS['worker'] ?? Number.NaN) * 1e6) / window.messages,
      'CPU %': (window.serverCpuS * 100) / window.seconds,
      'delay p50 ms': dataDelay.p50Ms,
      'p95 ms': dataDelay.p95Ms,
      'p99 ms': dataDelay.p99Ms,
      'load CPU %': (window.loadCpuS * 100) / window.seconds,
    },
  };
}

const sequenceField = 16;

/** A user packet with room for the endpoint's stamp and, as clients number reliable packets, for a running number. */
function toFlood(series: Series): Flood {
  const payload = Buffer.alloc(series.bytes);
  payload.write('PLNM');
  const packet = new DataPacket({
    kind: series.reliable ? DataPacket_Kind.RELIABLE : DataPacket_Kind.LOSSY,
    value: { case: 'user', value: new UserPacket({ payload }) },
  });
  const encoded = Buffer.from(packet.toBinary());
  const stampAt = encoded.indexOf('PLNM');
  if (!series.reliable) {
    const stream = channelStreams._lossy;
    return { stream, message: encoded, perSecond: series.perSecond, stampAt, unordered: true, maxRetransmits: 0 };
  }
  // The tag of `sequence` takes two bytes; the number is written as five.
  const tag = Buffer.from([((sequenceField << 3) & 127) | 128, sequenceField >> 4]);
  const message = Buffer.concat([encoded, tag, Buffer.alloc(5)]);
  const sequenceAt = encoded.length + tag.length;
  return { stream: channelStreams._reliable, message, perSecond: series.perSecond, stampAt, sequenceAt };
}

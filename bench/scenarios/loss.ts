import type { LightClient } from '../../test/kit/light-client.ts';
import { UdpRelay } from '../../test/kit/udp-relay.ts';
import { opus } from '../crowd.ts';
import type { Row } from '../results.ts';
import { newRoomName, type Bench, type Scenario, type Stage } from '../scenario.ts';
import type { Window } from '../window.ts';
import { waitForMedia } from './webinar.ts';

const viewers = 10;
const lossShares = [0.01, 0.05, 0.1];
const oneWayMs = 50;
const windowS = 10;

/** Viewers behind a lossy path of 100 ms round trip: what is repaired, how fast, and at which price. */
export const loss: Scenario = {
  name: 'loss',
  title: `${viewers} viewers of three layers behind a path with ${2 * oneWayMs} ms round trip that loses packets on the way to them`,
  byDefault: true,
  run: async (bench) => {
    const rows: Row[] = [];
    for (const share of lossShares) {
      rows.push(await bench.onStage({}, async (stage) => series(bench, stage, share)));
    }
    bench.note('Recovered: of the packets that did not come at first. Freezes: packets given up after a second.');
    return rows;
  },
};

async function series(bench: Bench, stage: Stage, share: number): Promise<Row> {
  const name = `${share * 100} % lost`;
  bench.progress(`loss, ${name}`);
  const { crowd } = stage;
  const room = newRoomName('loss');
  let target = { address: '', port: 0 };
  const publisher = await crowd.join(room, 'publisher', {
    publish: { audio: opus, video: crowd.camera('all') },
    // The only look at where the server receives media.
    reroute: (candidate) => (target = candidate),
  });
  const relay = await UdpRelay.start({ target, seed: 7, up: { delayMs: oneWayMs }, down: { delayMs: oneWayMs } });
  try {
    const reroute = (): { address: string; port: number } => ({ address: '127.0.0.1', port: relay.port });
    await crowd.joinMany(bench.size(viewers), 10, async (index) => {
      const viewer: LightClient = await crowd.join(room, `viewer-${index}`, { reroute, crowd: false });
      await waitForMedia(viewer, publisher);
    });
    await stage.meter.over(bench.seconds(3));
    const lossless = relay.counters.down.passed;
    relay.setDown({ delayMs: oneWayMs, loss: share });
    await stage.meter.over(bench.seconds(2));
    const window = await stage.meter.over(bench.seconds(windowS));
    const passed = relay.counters.down.passed - lossless;
    return {
      series: name,
      figures: lossFigures(
        window,
        bench.size(viewers),
        (relay.counters.down.lost * 100) / (passed + relay.counters.down.lost),
      ),
    };
  } finally {
    relay.close();
  }
}

function lossFigures(window: Window, count: number, lostPercent: number): Record<string, number> {
  const { totals } = window;
  const late = totals.repair.count;
  return {
    'lost on the way %': lostPercent,
    'recovered %': (late * 100) / (late + window.givenUp),
    'repeats %': (window.repeats * 100) / window.packets,
    'repair p50 ms': totals.repair.p50Ms,
    'p95 ms': totals.repair.p95Ms,
    'given up': window.givenUp,
    'key frames asked': totals.keyFrameRequests,
    'layer changes': window.sizeChanges,
    'Mbit/s each': (window.bytes * 8) / window.seconds / 1e6 / count,
    'delay p50 ms': totals.mediaDelay.p50Ms,
    'delay p95 ms': totals.mediaDelay.p95Ms,
    'CPU µs/packet': (window.serverCpuS * 1e6) / window.packets,
  };
}

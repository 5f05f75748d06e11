import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StreamTraffic } from '../media/transport-stats.ts';
import { TrafficMeter } from './traffic-meter.ts';

function stream(changes: Partial<StreamTraffic>): StreamTraffic {
  return {
    id: 'P:1',
    direction: 'incoming',
    packets: 0,
    retransmittedPackets: 0,
    sizeBytes: 0,
    nackedPackets: 0,
    plis: 0,
    firs: 0,
    ...changes,
  };
}

describe('traffic meter', () => {
  it('sums the differences of all streams per direction', () => {
    const meter = new TrafficMeter();
    meter.measure([
      stream({ packets: 10, sizeBytes: 1_000 }),
      stream({ id: 'C:1', direction: 'outgoing', packets: 5 }),
    ]);
    const traffic = meter.measure([
      stream({ packets: 30, sizeBytes: 3_000, plis: 1 }),
      stream({ id: 'P:2', packets: 7, sizeBytes: 70 }),
      stream({ id: 'C:1', direction: 'outgoing', packets: 9, nackedPackets: 2 }),
    ]);
    assert.deepEqual(
      traffic.map(({ direction, packets, sizeBytes, plis, nackedPackets }) => [
        direction,
        packets,
        sizeBytes,
        plis,
        nackedPackets,
      ]),
      [
        ['incoming', 27, 2_070, 1, 0],
        ['outgoing', 4, 0, 0, 2],
      ],
    );
  });

  it('says nothing when nothing moved, and never counts backwards', () => {
    const meter = new TrafficMeter();
    meter.measure([stream({ packets: 10 })]);
    assert.deepEqual(meter.measure([stream({ packets: 10 })]), []);
    assert.equal(meter.measure([stream({ packets: 3 })])[0]?.packets, 3);
  });
});

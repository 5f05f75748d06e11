/** Turns running counters of a leg's streams into what was moved since the last time. */
import type { StreamTraffic } from '../media/transport-stats.ts';
import type { MediaTraffic } from './observer.ts';

const counterNames = ['packets', 'retransmittedPackets', 'sizeBytes', 'nackedPackets', 'plis', 'firs'] as const;

export class TrafficMeter {
  #last = new Map<string, StreamTraffic>();

  /** @returns a sum for each direction in which something moved. */
  measure(streams: readonly StreamTraffic[]): MediaTraffic[] {
    const sums = { incoming: emptyTraffic('incoming'), outgoing: emptyTraffic('outgoing') };
    const seen = new Map<string, StreamTraffic>();
    for (const stream of streams) {
      const last = this.#last.get(stream.id);
      const sum = sums[stream.direction];
      for (const name of counterNames) {
        // A stream that begins anew under its id (the client changed its SSRC) counts from zero.
        const before = last?.[name] ?? 0;
        sum[name] += stream[name] >= before ? stream[name] - before : stream[name];
      }
      seen.set(stream.id, stream);
    }
    this.#last = seen;
    return Object.values(sums).filter((sum) => counterNames.some((name) => sum[name] > 0));
  }
}

function emptyTraffic(direction: MediaTraffic['direction']): MediaTraffic {
  return { direction, packets: 0, retransmittedPackets: 0, sizeBytes: 0, nackedPackets: 0, plis: 0, firs: 0 };
}

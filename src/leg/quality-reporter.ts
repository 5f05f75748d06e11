/** Turns running counters of a leg's tracks into reports over the time since the last one. */
import type { MediaConsumer } from '../media/media-consumer.ts';
import type { StreamStats, TransportStats } from '../media/transport-stats.ts';
import type { TrackSid } from '../protocol/ids.ts';
import type { TrackQualityReport } from '../protocol/leg-messages.ts';

export type PublishedTrackFacts = {
  trackSid: string;
  svc: boolean;
  /** Highest layer that anybody forwards; -1 = nobody takes the track. */
  wantedLayer: number;
};

export type SubscribedTrackFacts = { trackSid: string; wantedLayer: number; layered: boolean };

type Counters = { packets: number; packetsLost: number };

export class QualityReporter {
  #last = new Map<string, Counters>();

  /** @param published by producer id. @param subscribed by consumer id. */
  report(options: {
    publisher: TransportStats | undefined;
    subscriber: TransportStats | undefined;
    published: ReadonlyMap<string, PublishedTrackFacts>;
    subscribed: ReadonlyMap<string, SubscribedTrackFacts>;
  }): TrackQualityReport[] {
    const seen = new Map<string, Counters>();
    const reports: TrackQualityReport[] = [];
    for (const stats of options.publisher?.producers ?? []) {
      const facts = options.published.get(stats.producerId);
      if (facts === undefined) {
        continue;
      }
      const isVideo = stats.kind === 'video';
      const flowing = stats.layers.findLastIndex((layer) => layer.bitrateBps > 0);
      const wantedLayer = isVideo ? facts.wantedLayer : 0;
      reports.push({
        trackSid: facts.trackSid as TrackSid,
        direction: 'publish',
        kind: stats.kind,
        ...this.#difference(stats.producerId, stats, seen),
        currentLayer: isVideo && !facts.svc ? flowing : wantedLayer,
        wantedLayer,
        idle: stats.paused || (isVideo && facts.wantedLayer < 0),
      });
    }
    for (const stats of options.subscriber?.consumers ?? []) {
      const facts = options.subscribed.get(stats.consumerId);
      if (facts === undefined) {
        continue;
      }
      reports.push({
        trackSid: facts.trackSid as TrackSid,
        direction: 'subscribe',
        kind: stats.kind,
        ...this.#difference(stats.consumerId, stats, seen),
        currentLayer: facts.layered ? (stats.currentLayers?.spatial ?? -1) : facts.wantedLayer,
        wantedLayer: facts.wantedLayer,
        idle: stats.paused,
      });
    }
    this.#last = seen;
    return reports;
  }

  #difference(id: string, stats: StreamStats, seen: Map<string, Counters>) {
    const last = this.#last.get(id) ?? { packets: 0, packetsLost: 0 };
    seen.set(id, { packets: stats.packets, packetsLost: stats.packetsLost });
    return {
      packets: Math.max(stats.packets - last.packets, 0),
      // RTCP's count can shrink when late packets arrive after all.
      packetsLost: Math.max(stats.packetsLost - last.packetsLost, 0),
      bitrateBps: stats.bitrateBps,
      rttMs: stats.rttMs,
      jitterMs: stats.jitterMs,
    };
  }
}

/** Has layers of which congestion control may choose none. */
export function isLayered(consumer: MediaConsumer): boolean {
  return consumer.type === 'simulcast' || consumer.type === 'svc';
}

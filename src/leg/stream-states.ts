/** Notices when congestion control stops forwarding a track that everybody wants to flow. */
import type { TrackSid } from '../protocol/ids.ts';
import type { LegToHost } from '../protocol/leg-messages.ts';
import type { ProducerDirectory } from './published-producer.ts';
import { isLayered } from './quality-reporter.ts';
import type { Held } from './subscriber-sections.ts';

export type StreamState = Extract<LegToHost, { kind: 'streamState' }>['states'][number];

/** Observations in a row before a track counts as stopped: a layer switch passes through "none" for a moment. */
const neededObservations = 2;

/** @param certain it does not flow because we stopped it */
export type ObservedStream = { trackSid: string; stalled: boolean; certain?: boolean };

export class StreamStates {
  #stalled = new Map<string, number>();
  readonly #unknownCount: number;

  /** @param continues another leg may have told that a track stopped: each is told once as it is found here */
  constructor({ continues = false } = {}) {
    this.#unknownCount = continues ? neededObservations : 0;
  }

  /** To be called about once a second with all tracks. @returns what changed since the last call. */
  observe(tracks: Iterable<ObservedStream>): StreamState[] {
    const counts = new Map<string, number>();
    const states: StreamState[] = [];
    for (const { trackSid, stalled, certain = false } of tracks) {
      const before = this.#stalled.get(trackSid) ?? this.#unknownCount;
      const count = stalled ? (certain ? neededObservations : Math.min(before + 1, neededObservations)) : 0;
      counts.set(trackSid, count);
      if (count === neededObservations && before < neededObservations) {
        states.push({ trackSid: trackSid as TrackSid, paused: true });
      } else if (count === 0 && before === neededObservations) {
        states.push({ trackSid: trackSid as TrackSid, paused: false });
      }
    }
    this.#stalled = counts;
    return states;
  }
}

/** Wanted and sent by its publisher, but no layer of it is forwarded. */
export function isStalled(subscription: Held, producers: Pick<ProducerDirectory, 'producer'>): boolean {
  const { consumer, bound } = subscription;
  if (
    consumer === undefined ||
    !bound ||
    consumer.closed ||
    consumer.paused ||
    consumer.producerPaused ||
    !isLayered(consumer)
  ) {
    return false;
  }
  // Nothing arrives from the publisher (its uplink, or dynacast): that is no congestion of this path.
  const scores = producers.producer(subscription.producerId)?.producer.scores ?? [];
  return consumer.currentLayers === undefined && scores.some((score) => score > 0);
}

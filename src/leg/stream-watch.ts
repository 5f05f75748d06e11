/** Which received videos of a leg flow, and which stop because its path does not carry them. */
import type { WantedSubscription } from '../protocol/leg-messages.ts';
import { CongestionWatch, type CongestionWatchOptions } from './congestion-watch.ts';
import { isStalled, StreamStates, type StreamState } from './stream-states.ts';

export type StreamWatchOptions = CongestionWatchOptions & {
  /** See `LegIdentity`. */
  allowPause: boolean;
  /** Another leg served the client before. */
  continues: boolean;
};

export class StreamWatch {
  readonly #options: StreamWatchOptions;
  readonly #states: StreamStates;
  readonly #congestion: CongestionWatch | undefined;

  constructor(options: StreamWatchOptions) {
    this.#options = options;
    this.#states = new StreamStates({ continues: options.continues });
    this.#congestion = options.allowPause ? new CongestionWatch(options) : undefined;
  }

  /** What is wanted, with what does not fit stopped. */
  apply(subscriptions: readonly WantedSubscription[]): readonly WantedSubscription[] {
    return this.#congestion?.apply(subscriptions) ?? subscriptions;
  }

  /** To be called once a second. @returns what the client has to be told */
  observe(): StreamState[] {
    const { subscriber, producers } = this.#options;
    this.#congestion?.tick();
    const videos = [...subscriber.held.values()].filter(({ kind }) => kind === 'video');
    return this.#states.observe(
      videos.map((held) => {
        const certain = this.#congestion?.hasStopped(held.trackSid) === true;
        return { trackSid: held.trackSid, stalled: certain || isStalled(held, producers), certain };
      }),
    );
  }
}

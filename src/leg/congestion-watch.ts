/** Watches the path to one subscriber and stops videos that do not fit it. */
import type { PeerTransport } from '../media/peer-transport.ts';
import type { Logger } from '../observe/log.ts';
import type { WantedSubscription } from '../protocol/leg-messages.ts';
import { CongestionControl, type CongestedTrack } from '../quality/congestion.ts';
import type { ProducerDirectory } from './published-producer.ts';
import type { Held } from './subscriber-sections.ts';

export type CongestionWatchOptions = {
  subscriber: { readonly transport: PeerTransport | undefined; readonly held: ReadonlyMap<string, Held> };
  /** What its host wants of the leg. */
  wanted: () => readonly WantedSubscription[];
  producers: Pick<ProducerDirectory, 'producer'>;
  /** Monotonic milliseconds. */
  now: () => number;
  /** Other tracks have to stop. */
  onChanged: () => void;
  log: Logger;
};

export class CongestionWatch {
  readonly #options: CongestionWatchOptions;
  readonly #control = new CongestionControl();
  readonly #minimumBps = new Map<string, number>();
  #watched: PeerTransport | undefined;
  #availableBps: number | undefined;
  #isMeasuring = false;

  constructor(options: CongestionWatchOptions) {
    this.#options = options;
  }

  /** Whether congestion control stopped this track. */
  hasStopped(trackSid: string): boolean {
    return this.#control.paused.has(trackSid);
  }

  /** What is wanted, with what does not fit stopped. */
  apply(subscriptions: readonly WantedSubscription[]): readonly WantedSubscription[] {
    return subscriptions.map((want) => (this.hasStopped(want.trackSid) ? { ...want, paused: true } : want));
  }

  /** To be called once a second. */
  tick(): void {
    this.#watch();
    if (!this.#isMeasuring) {
      this.#isMeasuring = true;
      void this.#measure().finally(() => {
        this.#isMeasuring = false;
        this.#decide();
      });
    }
  }

  #watch(): void {
    const { transport } = this.#options.subscriber;
    if (transport === undefined || transport === this.#watched || transport.closed) {
      return;
    }
    this.#watched = transport;
    transport.on('bandwidth', (availableBps) => {
      this.#availableBps = availableBps;
      // A sudden fall is told at once and has to be answered before sound suffers.
      this.#decide();
    });
    transport.watchBandwidth().catch((error: unknown) => {
      this.#options.log.debug({ err: error }, 'the path to a subscriber is not watched');
    });
  }

  /** Only videos that are to flow: others need no room. */
  #wanted(): WantedSubscription[] {
    const { held } = this.#options.subscriber;
    return this.#options.wanted().filter(({ trackSid, kind, paused }) => {
      const { bound, consumer } = held.get(trackSid) ?? {};
      return kind === 'video' && !paused && bound === true && consumer?.producerPaused === false;
    });
  }

  async #measure(): Promise<void> {
    const { producers, now } = this.#options;
    const wanted = this.#wanted();
    const bitrates = await Promise.all(
      wanted.map(({ producerId }) => producers.producer(producerId)?.producer.minimumBitrateBps(now()) ?? 0),
    );
    this.#minimumBps.clear();
    for (const [index, { trackSid }] of wanted.entries()) {
      this.#minimumBps.set(trackSid, bitrates[index] ?? 0);
    }
  }

  #decide(): void {
    const { now, onChanged, log } = this.#options;
    const tracks: CongestedTrack[] = this.#wanted().map(({ trackSid, priority }) => ({
      trackSid,
      priority,
      minimumBps: this.#minimumBps.get(trackSid) ?? 0,
    }));
    if (this.#control.update(now(), this.#availableBps, tracks)) {
      const paused = [...this.#control.paused];
      log.debug({ availableBps: this.#availableBps, tracks, paused }, 'videos stopped or resumed');
      onChanged();
    }
  }
}

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
  #watched: PeerTransport | undefined;
  #estimateBps: number | undefined;
  #isMeasuring = false;

  constructor(options: CongestionWatchOptions) {
    this.#options = options;
  }

  /** Whether congestion control stopped this track. */
  hasStopped(trackSid: string): boolean {
    return this.#control.isPaused(trackSid);
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
      });
    }
  }

  #watch(): void {
    const { transport } = this.#options.subscriber;
    if (transport === undefined || transport === this.#watched || transport.closed) {
      return;
    }
    this.#watched = transport;
    transport.on('bandwidth', (estimateBps) => {
      this.#estimateBps = estimateBps;
      // A sudden fall is told at once and has to be answered before sound suffers.
      this.tick();
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
    const { producers, now, subscriber, onChanged, log } = this.#options;
    const tracks: CongestedTrack[] = await Promise.all(
      this.#wanted().map(async ({ trackSid, producerId, priority }) => {
        const minimumBps = await (producers.producer(producerId)?.producer.minimumBitrateBps(now()) ?? 0);
        return { trackSid, priority, minimumBps };
      }),
    );
    const flowing = tracks.filter(({ trackSid }) => !this.hasStopped(trackSid));
    const neededBps = flowing.reduce((sum, { minimumBps }) => sum + minimumBps, 0);
    let availableBps = this.#estimateBps;
    if (availableBps !== undefined && availableBps < neededBps) {
      const delivered = await Promise.all(
        flowing.map(async ({ trackSid }) => subscriber.held.get(trackSid)?.consumer?.deliveredBps() ?? 0),
      );
      availableBps = Math.max(
        availableBps,
        delivered.reduce((sum, bps) => sum + bps, 0),
      );
    }
    if (this.#control.update(now(), availableBps, tracks)) {
      const paused = [...this.#control.paused];
      log.debug({ estimateBps: this.#estimateBps, availableBps, tracks, paused }, 'videos stopped or resumed');
      onChanged();
    }
  }
}

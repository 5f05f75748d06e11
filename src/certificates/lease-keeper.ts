import type { Epoch, Leases, StoreTimings } from '../cluster/store.ts';
import type { Logger } from '../observe/log.ts';

export type LeaseKeeperOptions = {
  leases: Leases;
  timings: StoreTimings;
  name: string;
  /** Node id of this holder. */
  holder: string;
  /** Called once per gain; the epoch is higher than any that was handed out for this lease. */
  onGained: (epoch: Epoch) => void;
  onLost: () => void;
  log: Logger;
};

/** Tries to hold one lease for as long as the node lives. */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  #epoch: Epoch | undefined;
  #timer: NodeJS.Timeout | undefined;
  #asking: Promise<void> | undefined;
  #closed = false;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => this.#ask(), this.#options.timings.heartbeatMs);
    this.#ask();
  }

  /** Gives the lease back, so that the next one need not wait for its end. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#closed) {
      return;
    }
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#asking;
    const { leases, name, holder } = this.#options;
    if (this.#epoch !== undefined) {
      await leases.release(name, holder, this.#epoch).catch(() => undefined);
    }
  }

  #ask(): void {
    this.#asking ??= this.#keep().finally(() => {
      this.#asking = undefined;
    });
  }

  async #keep(): Promise<void> {
    const { leases, name, holder, log, onGained, onLost } = this.#options;
    try {
      if (this.#epoch !== undefined) {
        if (await leases.renew(name, holder, this.#epoch)) {
          return;
        }
        this.#epoch = undefined;
        onLost();
      }
      const result = await leases.acquire(name, holder);
      if (result.kind === 'held') {
        this.#epoch = result.epoch;
        if (!this.#closed) {
          onGained(result.epoch);
        }
      }
    } catch (error) {
      // Whoever takes it meanwhile gets a higher epoch, which makes what this one writes worthless.
      log.debug({ err: error, lease: name }, 'a lease could not be kept');
    }
  }
}

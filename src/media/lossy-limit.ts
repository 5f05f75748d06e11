/** Data on its way to the worker that no answer has confirmed: a burst, not a slow path. */
const burstBytes = 1_000_000;
const smallestLimitBytes = 1500;
const measureMs = 100;

/**
 * How much lossy data the worker may hold. Its queue is first in, first out, so with a standing backlog everything that
 * leaves is as old as its lifetime allows, and of messages of several packets the last expire and the others were sent
 * for nothing. The limit is what the path, as measured while there was a backlog, carries in a short time.
 */
export type LossyPatience = {
  /** Backlog that nobody should build up on a path whose rate is not known yet, and never beyond. */
  mostBytes: number;
  /** What may wait is as much as leaves in this time. */
  targetDelayMs: number;
};

/** Single messages: late ones are of no use, and a few more will come soon. */
export const patienceWithMessages: LossyPatience = { mostBytes: 65_536, targetDelayMs: 40 };

/** Frames of data tracks are many messages at once, and useless without one of them. */
export const patienceWithFrames: LossyPatience = { mostBytes: 1_000_000, targetDelayMs: 100 };

export class LossyLimit {
  readonly #patience: LossyPatience;
  readonly #now: () => number;
  #limitBytes: number | undefined;
  #observedAtMs: number;
  #drainedBytes = 0;
  #elapsedMs = 0;

  constructor(now: () => number, patience: LossyPatience) {
    this.#patience = patience;
    this.#now = now;
    this.#observedAtMs = now();
  }

  /** Bytes of unconfirmed data after which the worker should be asked again. */
  get pollAfterBytes(): number {
    return Math.min(this.#limitBytes ?? this.#patience.mostBytes, 65_536) / 2;
  }

  allows(held: { confirmedBytes: number; unconfirmedBytes: number; messageBytes: number }): boolean {
    const { confirmedBytes, unconfirmedBytes } = held;
    if (this.#limitBytes === undefined) {
      return confirmedBytes <= this.#patience.mostBytes && confirmedBytes + unconfirmedBytes <= burstBytes;
    }
    const total = confirmedBytes + unconfirmedBytes;
    return total === 0 || total + held.messageBytes <= this.#limitBytes;
  }

  /** An answer of the worker: it held `confirmedBytes` at the last one, got `sentBytes` since and holds `bufferedBytes`. */
  observe(answer: { confirmedBytes: number; sentBytes: number; bufferedBytes: number }): void {
    const nowMs = this.#now();
    const elapsedMs = nowMs - this.#observedAtMs;
    this.#observedAtMs = nowMs;
    if (answer.confirmedBytes > 0 && answer.bufferedBytes > 0) {
      this.#drainedBytes += Math.max(0, answer.confirmedBytes + answer.sentBytes - answer.bufferedBytes);
      this.#elapsedMs += elapsedMs;
      this.#measure();
    } else if (answer.bufferedBytes === 0 && this.#limitBytes !== undefined) {
      const doubled = this.#limitBytes * 2;
      this.#limitBytes = doubled > this.#patience.mostBytes ? undefined : doubled;
    }
  }

  #measure(): void {
    if (this.#elapsedMs >= measureMs) {
      const { mostBytes, targetDelayMs } = this.#patience;
      const limit = (this.#drainedBytes / this.#elapsedMs) * targetDelayMs;
      this.#limitBytes = Math.min(Math.max(limit, smallestLimitBytes), mostBytes);
      this.#drainedBytes = 0;
      this.#elapsedMs = 0;
    }
  }
}

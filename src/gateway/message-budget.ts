export type MessageBudgetOptions = {
  burstMessages: number;
  messagesPerS: number;
  burstBytes: number;
  bytesPerS: number;
};

/**
 * Far above what clients do: the worst seen are thousands of track settings at once when a large grid is laid out, and a
 * sync state plus an offer of a few hundred kB. Bytes are bounded as well, because the link to a host is shared.
 */
export const signalBudget: MessageBudgetOptions = {
  burstMessages: 4_000,
  messagesPerS: 200,
  burstBytes: 16 * 1024 * 1024,
  bytesPerS: 1024 * 1024,
};

/** A token bucket for messages and their bytes. */
export class MessageBudget {
  readonly #options: MessageBudgetOptions;
  #messages: number;
  #bytes: number;
  #filledAtMs: number;

  constructor(options: MessageBudgetOptions, nowMs: number) {
    this.#options = options;
    this.#messages = options.burstMessages;
    this.#bytes = options.burstBytes;
    this.#filledAtMs = nowMs;
  }

  /** False when the message is over the budget. */
  take(sizeBytes: number, nowMs: number): boolean {
    const elapsedS = Math.max(0, nowMs - this.#filledAtMs) / 1000;
    this.#filledAtMs = nowMs;
    this.#messages = Math.min(this.#options.burstMessages, this.#messages + elapsedS * this.#options.messagesPerS) - 1;
    this.#bytes = Math.min(this.#options.burstBytes, this.#bytes + elapsedS * this.#options.bytesPerS) - sizeBytes;
    return this.#messages >= 0 && this.#bytes >= 0;
  }
}

import { LossyLimit, patienceWithMessages, type LossyPatience } from './lossy-limit.ts';
import { maxMessageBytes } from './media-types.ts';

/** What a stream needs to know of the engine's channel for one label and one subscriber. */
export type StreamPort = {
  /** Hands one message to the worker for this subscriber only. */
  send(payload: Uint8Array): void;
  /** Bytes that the worker holds for this stream. Answers after everything sent before was taken in. */
  bufferedAmount(): Promise<number>;
};

export type OutgoingStreamOptions = {
  port: StreamPort;
  /** Milliseconds of a monotonic clock. */
  now: () => number;
  /**
   * `queue`: nothing is lost; what the worker should not hold yet waits here, up to `maxQueueBytes`.
   * `drop`: what would have to wait is thrown away.
   */
  policy: { kind: 'queue'; maxQueueBytes: number } | { kind: 'drop'; patience: LossyPatience };
  /** The queue outgrew its bound. Called once; the stream takes nothing more. */
  onStuck: () => void;
};

export type StreamCounters = { queuedBytes: number; queuedMessages: number; dropped: number };

/** The worker reports `bufferedamountlow` at this; so much is left to send while Node hands over more. */
export const lowBufferBytes = 65_536;
/**
 * Reliable data that the worker may hold per stream: the largest message always fits above the low mark. Small, as the
 * worker walks its queue on every message.
 */
const highBufferBytes = lowBufferBytes + maxMessageBytes;
const pollAfterBytes = 32_768;

/**
 * Flow control of one data channel to one subscriber, without a request per message: messages go out as notifications
 * and every 32 KB the worker is asked how much is waiting. Its answer covers all that was sent before the question, as
 * both travel on one ordered pipe, so `confirmed + sent since` never understates what the worker holds.
 */
export class OutgoingStream {
  readonly #port: StreamPort;
  readonly #policy: OutgoingStreamOptions['policy'];
  readonly #onStuck: () => void;
  readonly #lossyLimit: LossyLimit;
  #queue: Uint8Array[] = [];
  #head = 0;
  #queuedBytes = 0;
  #confirmedBytes = 0;
  #unconfirmedBytes = 0;
  #dropped = 0;
  #state: 'waiting' | 'open' | 'ended' = 'waiting';
  #polling = false;
  #pollAgain = false;

  constructor(options: OutgoingStreamOptions) {
    this.#port = options.port;
    this.#policy = options.policy;
    this.#onStuck = options.onStuck;
    const { policy } = options;
    this.#lossyLimit = new LossyLimit(options.now, policy.kind === 'drop' ? policy.patience : patienceWithMessages);
  }

  get counters(): StreamCounters {
    return { queuedBytes: this.#queuedBytes, queuedMessages: this.#queue.length - this.#head, dropped: this.#dropped };
  }

  /** True: the caller hands the message to the worker at once. False: it was queued, or dropped. */
  admit(payload: Uint8Array): boolean {
    if (this.#state === 'ended') {
      return false;
    }
    return this.#policy.kind === 'queue'
      ? this.#admitReliable(payload, this.#policy.maxQueueBytes)
      : this.#admitLossy(payload);
  }

  /** The client has the channel: what was queued for it may go. */
  open(): void {
    if (this.#state === 'waiting') {
      this.#state = 'open';
      this.#pump();
    }
  }

  /** The worker's `bufferedamountlow`. */
  bufferedAmountLow(): void {
    // An answer under way may be older than this event, and the event does not come again.
    this.#pollAgain = this.#polling;
    if (this.#queuedBytes > 0) {
      this.#poll();
    }
  }

  /** The worker threw a message away because its buffers were full. */
  countDropped(): void {
    this.#dropped += 1;
  }

  end(): void {
    this.#state = 'ended';
    this.#queue = [];
    this.#head = 0;
    this.#queuedBytes = 0;
  }

  #admitReliable(payload: Uint8Array, maxQueueBytes: number): boolean {
    if (this.#state === 'open' && this.#queuedBytes === 0 && this.#hasRoom(payload.byteLength)) {
      this.#count(payload.byteLength);
      return true;
    }
    if (this.#queuedBytes + payload.byteLength > maxQueueBytes) {
      this.end();
      this.#onStuck();
      return false;
    }
    this.#queue.push(payload);
    this.#queuedBytes += payload.byteLength;
    if (this.#state === 'open' && this.#confirmedBytes <= lowBufferBytes) {
      this.#poll();
    }
    return false;
  }

  #admitLossy(payload: Uint8Array): boolean {
    const fits = this.#lossyLimit.allows({
      confirmedBytes: this.#confirmedBytes,
      unconfirmedBytes: this.#unconfirmedBytes,
      messageBytes: payload.byteLength,
    });
    if (this.#state !== 'open' || !fits) {
      this.#dropped += 1;
      if (this.#state === 'open') {
        this.#poll();
      }
      return false;
    }
    this.#count(payload.byteLength);
    return true;
  }

  #hasRoom(bytes: number): boolean {
    const held = this.#confirmedBytes + this.#unconfirmedBytes;
    return held === 0 || held + bytes <= highBufferBytes;
  }

  #count(bytes: number): void {
    this.#unconfirmedBytes += bytes;
    if (this.#unconfirmedBytes > this.#pollAfterBytes()) {
      // After the message itself went out: the caller sends it in this same turn.
      queueMicrotask(() => this.#poll());
    }
  }

  #pollAfterBytes(): number {
    return this.#policy.kind === 'queue' ? pollAfterBytes : this.#lossyLimit.pollAfterBytes;
  }

  #pump(): void {
    while (this.#state === 'open' && this.#head < this.#queue.length) {
      const payload = this.#queue[this.#head];
      if (payload === undefined || !this.#hasRoom(payload.byteLength)) {
        break;
      }
      this.#head += 1;
      this.#queuedBytes -= payload.byteLength;
      this.#unconfirmedBytes += payload.byteLength;
      this.#port.send(payload);
    }
    this.#compact();
    if (this.#queuedBytes > 0 || this.#unconfirmedBytes > pollAfterBytes) {
      this.#poll();
    }
  }

  #compact(): void {
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
    } else if (this.#head > 1024) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
  }

  #poll(): void {
    if (this.#state !== 'open' || this.#polling) {
      return;
    }
    this.#polling = true;
    const sentBefore = this.#unconfirmedBytes;
    this.#port.bufferedAmount().then(
      (bytes) => this.#polled(bytes, sentBefore),
      () => this.#pollFailed(),
    );
  }

  #polled(bufferedBytes: number, sentBefore: number): void {
    this.#polling = false;
    this.#lossyLimit.observe({ confirmedBytes: this.#confirmedBytes, sentBytes: sentBefore, bufferedBytes });
    this.#confirmedBytes = bufferedBytes;
    this.#unconfirmedBytes -= sentBefore;
    const again = this.#pollAgain || this.#unconfirmedBytes > this.#pollAfterBytes();
    this.#pollAgain = false;
    if (bufferedBytes <= lowBufferBytes) {
      this.#pump();
    }
    if (again) {
      this.#poll();
    }
  }

  /** The worker or the channel is gone; whoever owns the stream hears of it by itself. */
  #pollFailed(): void {
    this.#polling = false;
    this.#pollAgain = false;
  }
}

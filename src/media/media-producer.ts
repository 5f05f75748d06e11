import { EventEmitter } from 'node:events';
import type { types } from 'mediasoup';
import type { MediaKind, RtpParameters } from '../sdp/rtp.ts';
import { mediaClosed } from './errors.ts';
import type { MediaCloseReason } from './media-types.ts';

export type MediaProducerEvents = {
  /** 0–10 per encoding, low to high; 0 = nothing arrives. */
  scores: [scores: number[]];
  close: [reason: MediaCloseReason];
};

/** One track from its publisher. */
export class MediaProducer extends EventEmitter<MediaProducerEvents> {
  readonly #producer: types.Producer;
  #closeReason: MediaCloseReason | undefined;

  constructor(producer: types.Producer) {
    super();
    this.#producer = producer;
    this.#producer.on('score', (scores) => this.emit('scores', byEncoding(scores)));
  }

  get id(): string {
    return this.#producer.id;
  }

  get kind(): MediaKind {
    return this.#producer.kind;
  }

  get type(): 'simple' | 'simulcast' | 'svc' {
    return this.#producer.type;
  }

  get rtpParameters(): RtpParameters {
    return this.#producer.rtpParameters as RtpParameters;
  }

  get paused(): boolean {
    return this.#producer.paused;
  }

  get scores(): number[] {
    return byEncoding(this.#producer.score);
  }

  get closed(): boolean {
    return this.#closeReason !== undefined;
  }

  get closeReason(): MediaCloseReason | undefined {
    return this.#closeReason;
  }

  async pause(): Promise<void> {
    this.#assertOpen();
    await this.#producer.pause();
  }

  async resume(): Promise<void> {
    this.#assertOpen();
    await this.#producer.resume();
  }

  /** Closes its consumers too, with `producer-closed`. */
  close(): void {
    if (this.#closeReason === undefined) {
      this.#producer.close();
      this.parentClosed('closed');
    }
  }

  parentClosed(reason: MediaCloseReason): void {
    if (this.#closeReason === undefined) {
      this.#closeReason = reason;
      this.emit('close', reason);
    }
  }

  /** For statistics of the transport only. */
  getStats(): Promise<types.ProducerStat[]> {
    return this.#producer.getStats();
  }

  #assertOpen(): void {
    if (this.#closeReason !== undefined) {
      throw mediaClosed('the producer');
    }
  }
}

function byEncoding(scores: types.ProducerScore[]): number[] {
  return scores.toSorted((a, b) => a.encodingIdx - b.encodingIdx).map((entry) => entry.score);
}

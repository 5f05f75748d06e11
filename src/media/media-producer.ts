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

const minimumLifeMs = 900;

/** One track from its publisher. */
export class MediaProducer extends EventEmitter<MediaProducerEvents> {
  readonly #producer: types.Producer;
  #closeReason: MediaCloseReason | undefined;
  /** Asked for all its subscribers together. */
  #minimum: { atMs: number; bitrateBps: Promise<number> } | undefined;

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

  /** What the lowest layer takes that arrives, or all of it without layers; 0 = nothing arrives. Asks once a second at most. */
  minimumBitrateBps(nowMs: number): Promise<number> {
    if (this.#minimum === undefined || nowMs - this.#minimum.atMs >= minimumLifeMs) {
      const bitrateBps = this.getStats().then(
        (streams) => this.#lowestOf(streams),
        () => 0,
      );
      this.#minimum = { atMs: nowMs, bitrateBps };
    }
    return this.#minimum.bitrateBps;
  }

  /** For statistics of the transport only. */
  getStats(): Promise<types.ProducerStat[]> {
    return this.#producer.getStats();
  }

  #lowestOf(streams: readonly types.ProducerStat[]): number {
    if (this.type === 'svc') {
      const layers = Object.entries(streams[0]?.bitrateByLayer ?? {}) as [layer: string, bitrateBps: number][];
      const lowest = layers.filter(([layer]) => layer.startsWith('0.')).reduce((sum, [, bitrate]) => sum + bitrate, 0);
      return lowest > 0 ? lowest : (streams[0]?.bitrate ?? 0);
    }
    const encodings = this.rtpParameters.encodings ?? [];
    const place = ({ ssrc, rid }: types.ProducerStat): number =>
      encodings.findIndex((encoding) => (encoding.rid === undefined ? encoding.ssrc === ssrc : encoding.rid === rid));
    const ascending = streams.toSorted((a, b) => place(a) - place(b));
    return ascending.find(({ bitrate }) => bitrate > 0)?.bitrate ?? 0;
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

import { EventEmitter } from 'node:events';
import type { types } from 'mediasoup';
import type { MediaKind, RtpParameters } from '../sdp/rtp.ts';
import { mediaClosed } from './errors.ts';
import type { Layers, MediaCloseReason } from './media-types.ts';

export type ConsumerScore = {
  /** 0–10, of the path to the subscriber. */
  score: number;
  /** 0–10, of the publisher's stream that is forwarded. */
  producerScore: number;
};

export type MediaConsumerEvents = {
  /** Layers that flow now; undefined = none, which on a live, wanted producer means that congestion control stopped it. */
  layers: [layers: Layers | undefined];
  score: [score: ConsumerScore];
  /** The producer was paused or resumed at its source. */
  producerPaused: [paused: boolean];
  close: [reason: MediaCloseReason];
};

/** One track on its way to one subscriber. Methods reject with `media-closed` after the close. */
export class MediaConsumer extends EventEmitter<MediaConsumerEvents> {
  readonly #consumer: types.Consumer;
  readonly #bwe: boolean;
  readonly #rtpParameters: RtpParameters;
  #closeReason: MediaCloseReason | undefined;

  /** @param options.rtpParameters as the client knows them, where it numbers codecs and extensions itself */
  constructor(options: { consumer: types.Consumer; bwe: boolean; rtpParameters?: RtpParameters }) {
    super();
    this.#consumer = options.consumer;
    this.#bwe = options.bwe;
    this.#rtpParameters = options.rtpParameters ?? (options.consumer.rtpParameters as RtpParameters);
    this.#consumer.on('layerschange', (layers) => this.emit('layers', toLayers(layers)));
    this.#consumer.on('score', (score) =>
      this.emit('score', { score: score.score, producerScore: score.producerScore }),
    );
    this.#consumer.on('producerpause', () => this.emit('producerPaused', true));
    this.#consumer.on('producerresume', () => this.emit('producerPaused', false));
    this.#consumer.on('producerclose', () => this.parentClosed('producer-closed'));
  }

  get id(): string {
    return this.#consumer.id;
  }

  get producerId(): string {
    return this.#consumer.producerId;
  }

  get kind(): MediaKind {
    return this.#consumer.kind;
  }

  get mid(): string {
    return this.#consumer.rtpParameters.mid ?? '';
  }

  /** `simulcast` and `svc` have layers to choose from. */
  get type(): 'simple' | 'simulcast' | 'svc' | 'pipe' {
    return this.#consumer.type;
  }

  get rtpParameters(): RtpParameters {
    return this.#rtpParameters;
  }

  /** Made with bandwidth estimation: its section has to announce transport-cc. */
  get bwe(): boolean {
    return this.#bwe;
  }

  get paused(): boolean {
    return this.#consumer.paused;
  }

  get producerPaused(): boolean {
    return this.#consumer.producerPaused;
  }

  get currentLayers(): Layers | undefined {
    return toLayers(this.#consumer.currentLayers);
  }

  get preferredLayers(): Layers | undefined {
    return toLayers(this.#consumer.preferredLayers);
  }

  get score(): ConsumerScore {
    return { score: this.#consumer.score.score, producerScore: this.#consumer.score.producerScore };
  }

  get closed(): boolean {
    return this.#closeReason !== undefined;
  }

  get closeReason(): MediaCloseReason | undefined {
    return this.#closeReason;
  }

  /** No effect on tracks without layers. Values above what exists mean the highest. */
  async setPreferredLayers(layers: Layers): Promise<void> {
    this.#assertOpen();
    if (this.type !== 'simulcast' && this.type !== 'svc') {
      return;
    }
    await this.#consumer.setPreferredLayers({
      spatialLayer: layers.spatial,
      ...(layers.temporal === undefined ? {} : { temporalLayer: layers.temporal }),
    });
  }

  /** @param priority 0 (default) to 254; larger ones get bandwidth first. */
  async setPriority(priority: number): Promise<void> {
    this.#assertOpen();
    await this.#consumer.setPriority(Math.min(Math.max(Math.trunc(priority), 0), 254) + 1);
  }

  async pause(): Promise<void> {
    this.#assertOpen();
    await this.#consumer.pause();
  }

  /** Also asks the publisher for a key frame. */
  async resume(): Promise<void> {
    this.#assertOpen();
    await this.#consumer.resume();
  }

  async requestKeyFrame(): Promise<void> {
    this.#assertOpen();
    await this.#consumer.requestKeyFrame();
  }

  close(): void {
    if (this.#closeReason === undefined) {
      this.#consumer.close();
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
  getStats(): Promise<(types.ConsumerStat | types.ProducerStat)[]> {
    return this.#consumer.getStats();
  }

  #assertOpen(): void {
    if (this.#closeReason !== undefined) {
      throw mediaClosed('the consumer');
    }
  }
}

function toLayers(layers: types.ConsumerLayers | undefined): Layers | undefined {
  if (layers === undefined) {
    return undefined;
  }
  return {
    spatial: layers.spatialLayer,
    ...(layers.temporalLayer === undefined ? {} : { temporal: layers.temporalLayer }),
  };
}

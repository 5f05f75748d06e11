import { EventEmitter } from 'node:events';
import type { types } from 'mediasoup';
import type { Logger } from '../observe/log.ts';
import type { TransportState } from '../protocol/leg-messages.ts';
import type {
  DtlsFingerprint,
  DtlsRole,
  LocalTransport,
  MediaKind,
  RtpCapabilities,
  RtpParameters,
} from '../sdp/rtp.ts';
import { type ClientNumbers, toClientParameters } from '../sdp/client-numbers.ts';
import { consumeByNumbers } from './consume-by-numbers.ts';
import { DataPublisher } from './data-publisher.ts';
import { type ClientChannels, DataSubscriber } from './data-subscriber.ts';
import { alreadyConnected, engineRefused, mediaClosed, noSuchProducer } from './errors.ts';
import { MediaConsumer } from './media-consumer.ts';
import { MediaProducer } from './media-producer.ts';
import type { Layers, MediaCloseReason } from './media-types.ts';
import { collectTransportStats, type TransportStats } from './transport-stats.ts';
import type { DataBus } from './data-bus.ts';

export type ProduceOptions = {
  /** Unique on its worker; the piped copies elsewhere keep it. */
  id: string;
  kind: MediaKind;
  /** Encodings low to high. */
  rtpParameters: RtpParameters;
  paused?: boolean;
  /** Least time between two key-frame requests to the publisher; 0 = no throttle. */
  keyFrameRequestDelayMs?: number;
};

export type ConsumeOptions = {
  producerId: string;
  mid: string;
  paused?: boolean;
  /**
   * Bandwidth estimation (transport-cc). It costs a third of the CPU per packet, so it is for transports on which at
   * least one consumer has layers to choose from; all video consumers of one transport should agree. Ignored for audio.
   */
  bwe: boolean;
  preferredLayers?: Layers;
  /** Of a client that numbers codecs and extensions itself. */
  numbers?: ClientNumbers;
};

export type PeerTransportEvents = {
  state: [state: TransportState];
  /** Estimate of what the path to the client carries, in bit/s. Only with a consumer made with `bwe`. */
  bandwidth: [availableBps: number];
  close: [reason: MediaCloseReason];
};

/** What a transport needs of its router; keeps the two files from importing each other. */
export type TransportHome = {
  capabilities(bwe: boolean): RtpCapabilities;
  readonly alwaysEstimatesBandwidth: boolean;
  canConsume(producerId: string): boolean;
  observe(producer: types.Producer): Promise<void>;
  dataBus(): Promise<DataBus>;
  /** All on this router that consume it, pipes included. */
  consumersOf(producerId: string): Iterable<MediaConsumer>;
  forget(transport: PeerTransport): void;
};

/** ICE, DTLS, RTP and data of one peer connection. Reached by clients on the worker's one port. */
export class PeerTransport extends EventEmitter<PeerTransportEvents> {
  readonly #transport: types.WebRtcTransport;
  readonly #home: TransportHome;
  readonly #log: Logger;
  readonly #reliableQueueBytes: number;
  readonly #producers = new Map<string, MediaProducer>();
  readonly #consumers = new Map<string, MediaConsumer>();
  #local: LocalTransport;
  #connected = false;
  #renewsPictures = false;
  #state: TransportState = 'new';
  #closeReason: MediaCloseReason | undefined;
  #publisher: DataPublisher | undefined;
  #subscriber: DataSubscriber | undefined;

  constructor(options: {
    transport: types.WebRtcTransport;
    local: LocalTransport;
    home: TransportHome;
    reliableQueueBytes: number;
    log: Logger;
  }) {
    super();
    this.#transport = options.transport;
    this.#local = options.local;
    this.#home = options.home;
    this.#reliableQueueBytes = options.reliableQueueBytes;
    this.#log = options.log;
    this.#transport.on('icestatechange', () => this.#updateState());
    this.#transport.on('dtlsstatechange', () => this.#updateState());
    this.#transport.on('iceselectedtuplechange', () => this.#pathChanged());
    this.#transport.on('trace', (trace) => {
      if (trace.type === 'bwe') {
        this.emit('bandwidth', (trace.info as { availableBitrate: number }).availableBitrate);
      }
    });
  }

  get id(): string {
    return this.#transport.id;
  }

  /** What the SDP for this transport has to say. Changes with `restartIce`. */
  get local(): LocalTransport {
    return this.#local;
  }

  /** Video is to be consumed with bandwidth estimation, whether it can be adapted or not. */
  get alwaysEstimatesBandwidth(): boolean {
    return this.#home.alwaysEstimatesBandwidth;
  }

  get state(): TransportState {
    return this.#state;
  }

  get closed(): boolean {
    return this.#closeReason !== undefined;
  }

  get closeReason(): MediaCloseReason | undefined {
    return this.#closeReason;
  }

  /** Where media goes: the client, or what relays for it. Undefined before ICE is up. */
  get remote(): { address: string; port: number } | undefined {
    const { remoteIp, remotePort } = this.#transport.iceSelectedTuple ?? {};
    return remoteIp === undefined || remotePort === undefined ? undefined : { address: remoteIp, port: remotePort };
  }

  get producers(): ReadonlyMap<string, MediaProducer> {
    return this.#producers;
  }

  get consumers(): ReadonlyMap<string, MediaConsumer> {
    return this.#consumers;
  }

  /**
   * Gives the client's DTLS end. Once per transport.
   * @param remote `role` is the client's: `client` when its description says `a=setup:active`.
   */
  async connect(remote: { role: DtlsRole; fingerprints: DtlsFingerprint[] }): Promise<void> {
    this.#assertOpen();
    if (this.#connected) {
      throw alreadyConnected();
    }
    this.#connected = true;
    await this.#transport.connect({ dtlsParameters: remote }).catch((error: unknown) => {
      throw this.#failure('the DTLS description', error);
    });
  }

  get connectCalled(): boolean {
    return this.#connected;
  }

  /** New credentials in `local`; the old ones stay valid until the client uses the new. */
  async restartIce(): Promise<void> {
    this.#assertOpen();
    const ice = await this.#transport.restartIce().catch((error: unknown) => {
      throw this.#failure('the ICE restart', error);
    });
    this.#assertOpen();
    this.#local = {
      ...this.#local,
      ice: { usernameFragment: ice.usernameFragment, password: ice.password, iceLite: true },
    };
  }

  /**
   * The client was cut off. When it is there on another path, pictures in both directions begin with key frames: decoders
   * would ask for one only after seconds of waiting for what was lost.
   */
  renewPictures(): void {
    this.#renewsPictures = true;
  }

  async produce(options: ProduceOptions): Promise<MediaProducer> {
    this.#assertOpen();
    const producer = await this.#transport
      .produce({
        id: options.id,
        kind: options.kind,
        rtpParameters: options.rtpParameters as types.RtpParameters,
        paused: options.paused ?? false,
        keyFrameRequestDelay: options.keyFrameRequestDelayMs ?? 0,
      })
      .catch((error: unknown) => {
        throw this.#failure(`producer ${options.id}`, error);
      });
    const wrapper = this.#adoptProducer(producer);
    if (producer.kind === 'audio') {
      await this.#home.observe(producer).catch((error: unknown) => {
        this.#log.debug({ err: error, producerId: producer.id }, 'levels of a producer are not observed');
      });
    }
    return wrapper;
  }

  async consume(options: ConsumeOptions): Promise<MediaConsumer> {
    this.#assertOpen();
    if (!this.#home.canConsume(options.producerId)) {
      throw noSuchProducer(options.producerId);
    }
    const { preferredLayers: layers, numbers } = options;
    const request: types.ConsumerOptions = {
      producerId: options.producerId,
      mid: options.mid,
      paused: options.paused ?? false,
      // Without it the engine strips `nack` from opus, and lost audio would never be repaired.
      enableRtx: true,
      rtpCapabilities: this.#home.capabilities(options.bwe) as types.RtpCapabilities,
      ...(layers === undefined
        ? {}
        : {
            preferredLayers: {
              spatialLayer: layers.spatial,
              ...(layers.temporal === undefined ? {} : { temporalLayer: layers.temporal }),
            },
          }),
    };
    const consuming =
      numbers === undefined ? this.#transport.consume(request) : consumeByNumbers(this.#transport, request, numbers);
    const consumer = await consuming.catch((error: unknown) => {
      throw this.#failure(`a consumer of ${options.producerId}`, error);
    });
    return this.#adoptConsumer(consumer, options);
  }

  /** Upper bound of what congestion control may send; 0 = none. */
  async setMaxOutgoingBitrate(bitrateBps: number): Promise<void> {
    this.#assertOpen();
    await this.#transport.setMaxOutgoingBitrate(bitrateBps);
  }

  /** Turns `bandwidth` events on: at most one per second. */
  async watchBandwidth(): Promise<void> {
    this.#assertOpen();
    await this.#transport.enableTraceEvent(['bwe']);
  }

  /**
   * Receives what the client sends on the channels that it opens. Call before the answer goes out; once per transport.
   * @param channels that it has from a connection that this one continues
   */
  async openDataPublisher(channels: readonly { streamId: number; label: string }[] = []): Promise<DataPublisher> {
    const bus = await this.#dataBus();
    this.#publisher ??= new DataPublisher({
      transport: this.#transport,
      bus,
      channels,
      answeringChannel: (label, streamId) => this.#subscriber?.answer(label, streamId),
      log: this.#log,
    });
    await this.#started(this.#publisher);
    return this.#publisher;
  }

  /**
   * Opens the server's channels to the client as soon as SCTP is up. Once per transport.
   * @param options.known labels of those that the client has from a connection that this one continues
   * @param options.answers sends on the channels that the client opens instead of opening any; these are there already, on
   *   a connection that this one continues. To be called before `openDataPublisher`
   */
  async openDataSubscriber({
    known = [],
    answers,
  }: { known?: readonly string[]; answers?: ClientChannels } = {}): Promise<DataSubscriber> {
    const bus = await this.#dataBus();
    this.#subscriber ??= new DataSubscriber({
      transport: this.#transport,
      bus,
      reliableQueueBytes: this.#reliableQueueBytes,
      known,
      answers,
      log: this.#log,
    });
    await this.#started(this.#subscriber);
    return this.#subscriber;
  }

  async stats(): Promise<TransportStats> {
    this.#assertOpen();
    return collectTransportStats({
      transport: this.#transport,
      producers: [...this.#producers.values()],
      consumers: [...this.#consumers.values()],
    });
  }

  close(): void {
    if (this.#closeReason === undefined) {
      this.#transport.close();
      this.#home.forget(this);
      this.parentClosed('closed');
    }
  }

  /** Told by the router: the engine's side is gone already, or goes with it. */
  parentClosed(reason: MediaCloseReason): void {
    if (this.#closeReason !== undefined) {
      return;
    }
    this.#closeReason = reason;
    const childReason = reason === 'closed' ? 'transport-closed' : reason;
    this.#publisher?.parentClosed(childReason);
    this.#subscriber?.parentClosed(childReason);
    for (const consumer of this.#consumers.values()) {
      consumer.parentClosed(childReason);
    }
    for (const producer of this.#producers.values()) {
      producer.parentClosed(childReason);
    }
    this.emit('close', reason);
  }

  async #dataBus(): Promise<DataBus> {
    this.#assertOpen();
    const bus = await this.#home.dataBus().catch((error: unknown) => {
      throw this.#failure('the data bus', error);
    });
    this.#assertOpen();
    return bus;
  }

  async #started(channels: DataPublisher | DataSubscriber): Promise<void> {
    await channels.start().catch((error: unknown) => {
      throw this.#failure('the data channels', error);
    });
    this.#assertOpen();
  }

  #pathChanged(): void {
    if (!this.#renewsPictures) {
      return;
    }
    this.#renewsPictures = false;
    const ofOthers = [...this.#producers.keys()].flatMap((id) => [...this.#home.consumersOf(id)]);
    for (const consumer of [...this.#consumers.values(), ...ofOthers]) {
      if (consumer.kind === 'video' && !consumer.closed) {
        // It may close meanwhile.
        consumer.requestKeyFrame().catch((error: unknown) => this.#log.debug({ err: error }, 'no key frame'));
      }
    }
  }

  #adoptProducer(producer: types.Producer): MediaProducer {
    const wrapper = new MediaProducer(producer);
    if (this.#closeReason !== undefined) {
      throw mediaClosed('the transport');
    }
    this.#producers.set(producer.id, wrapper);
    wrapper.once('close', () => this.#producers.delete(producer.id));
    return wrapper;
  }

  #adoptConsumer(consumer: types.Consumer, { bwe, numbers }: ConsumeOptions): MediaConsumer {
    if (this.#closeReason !== undefined) {
      throw mediaClosed('the transport');
    }
    const wrapper = new MediaConsumer({
      consumer,
      bwe: bwe && consumer.kind === 'video',
      ...(numbers === undefined
        ? {}
        : { rtpParameters: toClientParameters(consumer.rtpParameters as RtpParameters, numbers) }),
    });
    this.#consumers.set(consumer.id, wrapper);
    wrapper.once('close', () => this.#consumers.delete(consumer.id));
    if (consumer.closed) {
      // The producer went away while the answer of the worker was on its way.
      wrapper.parentClosed('producer-closed');
      throw noSuchProducer(consumer.producerId);
    }
    return wrapper;
  }

  #updateState(): void {
    const state = transportState(this.#transport.iceState, this.#transport.dtlsState);
    if (state !== this.#state && this.#closeReason === undefined) {
      this.#state = state;
      this.emit('state', state);
    }
  }

  #failure(what: string, error: unknown): Error {
    return this.#closeReason === undefined && !this.#transport.closed
      ? engineRefused(what, error)
      : mediaClosed('the transport');
  }

  #assertOpen(): void {
    if (this.#closeReason !== undefined) {
      throw mediaClosed('the transport');
    }
  }
}

function transportState(ice: types.IceState, dtls: types.DtlsState): TransportState {
  if (dtls === 'failed' || dtls === 'closed') {
    return 'failed';
  }
  if (ice === 'disconnected' || ice === 'closed') {
    return 'disconnected';
  }
  if (dtls === 'connected') {
    return 'connected';
  }
  return ice === 'new' && dtls === 'new' ? 'new' : 'connecting';
}

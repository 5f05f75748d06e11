import { EventEmitter } from 'node:events';
import type { types } from 'mediasoup';
import type { PipeEndpoint } from '../protocol/leg-peer-messages.ts';
import type { MediaKind, RtpCapabilities, RtpParameters } from '../sdp/rtp.ts';
import { consumeForPipe, pipedParameters } from './consume-for-pipe.ts';
import { engineRefused, mediaClosed, noSuchProducer } from './errors.ts';
import { MediaConsumer } from './media-consumer.ts';
import { MediaProducer } from './media-producer.ts';
import type { MediaCloseReason } from './media-types.ts';

export type PipeEndEvents = { close: [reason: MediaCloseReason] };

export type PipeEndOptions = {
  transport: types.PipeTransport;
  /** Of the router. */
  capabilities: RtpCapabilities;
  forget: (end: PipeEnd) => void;
};

/** What goes into a pipe: every stream of one producer. Starts paused. */
export type PipedOut = {
  consumer: MediaConsumer;
  /** As the far side has to produce it. */
  rtpParameters: RtpParameters;
};

/** One end of a pipe between two routers of a room: encrypted RTP with retransmission, on a port of its own. */
export class PipeEnd extends EventEmitter<PipeEndEvents> {
  readonly local: PipeEndpoint;
  readonly #transport: types.PipeTransport;
  readonly #options: PipeEndOptions;
  readonly #consumers = new Set<MediaConsumer>();
  readonly #producers = new Set<MediaProducer>();
  readonly #requests = new Set<Promise<unknown>>();
  #remote: PipeEndpoint | undefined;
  #closing: Promise<void> | undefined;
  #closeReason: MediaCloseReason | undefined;

  constructor(options: PipeEndOptions) {
    super();
    this.#options = options;
    this.#transport = options.transport;
    this.local = endpointOf(options.transport);
  }

  /** Where it sends to; undefined before `connect`. */
  get remote(): PipeEndpoint | undefined {
    return this.#remote;
  }

  get closed(): boolean {
    return this.#closing !== undefined || this.#closeReason !== undefined;
  }

  /** What it sends. */
  get consumers(): ReadonlySet<MediaConsumer> {
    return this.#consumers;
  }

  /** Producers in either direction. */
  get streams(): number {
    return this.#consumers.size + this.#producers.size;
  }

  /** Those of them through which media may pass now. */
  get flowing(): number {
    const isOff = ({ paused }: { paused: boolean }): boolean => paused;
    return this.streams - [...this.#consumers, ...this.#producers].filter(isOff).length;
  }

  /** Once per end. */
  async connect(remote: PipeEndpoint): Promise<void> {
    this.#remote = remote;
    const { address: ip, port, srtp } = remote;
    const srtpParameters = srtp as types.SrtpParameters;
    await this.#request(() => this.#transport.connect({ ip, port, srtpParameters }), 'the other end of a pipe');
  }

  /** Lets a producer of this router into the pipe. */
  async send(producerId: string): Promise<PipedOut> {
    const { capabilities } = this.#options;
    const consumer = await this.#request(
      () => consumeForPipe(this.#transport, producerId, capabilities),
      `piping ${producerId}`,
    );
    const wrapper = new MediaConsumer({ consumer, bwe: false });
    if (consumer.closed) {
      // The producer went away while the answer of the worker was on its way.
      throw noSuchProducer(producerId);
    }
    this.#consumers.add(wrapper);
    wrapper.once('close', () => this.#consumers.delete(wrapper));
    return { consumer: wrapper, rtpParameters: pipedParameters(consumer, capabilities) };
  }

  /** Makes the copy of a producer that comes through the pipe. */
  async receive(options: {
    id: string;
    kind: MediaKind;
    rtpParameters: RtpParameters;
    paused: boolean;
  }): Promise<MediaProducer> {
    const rtpParameters = options.rtpParameters as types.RtpParameters;
    const producer = await this.#request(
      () => this.#transport.produce({ ...options, rtpParameters }),
      `the piped producer ${options.id}`,
    );
    const wrapper = new MediaProducer(producer);
    this.#producers.add(wrapper);
    wrapper.once('close', () => this.#producers.delete(wrapper));
    return wrapper;
  }

  /** Waits for what is under way: an object that the engine makes while its transport closes is never told so. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#requests);
    if (this.#closeReason === undefined) {
      this.#transport.close();
      this.parentClosed('closed');
    }
  }

  /** Told by the router: the engine's side is gone already, or goes with it. */
  parentClosed(reason: MediaCloseReason): void {
    if (this.#closeReason !== undefined) {
      return;
    }
    this.#closeReason = reason;
    this.#options.forget(this);
    const childReason = reason === 'closed' ? 'transport-closed' : reason;
    for (const child of [...this.#consumers, ...this.#producers]) {
      child.parentClosed(childReason);
    }
    this.emit('close', reason);
  }

  async #request<T>(request: () => Promise<T>, what: string): Promise<T> {
    if (this.closed) {
      throw mediaClosed('the pipe');
    }
    const running = request();
    this.#requests.add(running);
    try {
      return await running;
    } catch (error) {
      throw this.closed || this.#transport.closed ? mediaClosed('the pipe') : engineRefused(what, error);
    } finally {
      this.#requests.delete(running);
    }
  }
}

function endpointOf(transport: types.PipeTransport): PipeEndpoint {
  const { tuple, srtpParameters } = transport;
  if (srtpParameters === undefined) {
    throw engineRefused('a pipe', new Error('it is not encrypted'));
  }
  const { cryptoSuite, keyBase64 } = srtpParameters;
  return { address: tuple.localAddress, port: tuple.localPort, srtp: { cryptoSuite, keyBase64 } };
}

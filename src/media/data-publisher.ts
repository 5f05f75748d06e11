import { EventEmitter } from 'node:events';
import type { types } from 'mediasoup';
import type { Logger } from '../observe/log.ts';
import type { DataBus } from './data-bus.ts';
import { encodeAck, parseDcep, ppidBinaryEmpty, ppidDcep } from './dcep.ts';
import { dictateStreamIds } from './dictate-stream-ids.ts';
import type { MediaCloseReason } from './media-types.ts';

export type PublishedMessage = {
  /** As the client named the channel; undefined while its OPEN has not arrived. */
  label: string | undefined;
  streamId: number;
  payload: Uint8Array;
};

export type DataPublisherEvents = {
  message: [message: PublishedMessage];
  /** The client opened a channel. */
  channel: [label: string, streamId: number];
  close: [reason: MediaCloseReason];
};

/** The one that sends on the client's channel, where there is one: the engine allows one consumer per stream id. */
type AnsweringChannel = (label: string, streamId: number) => Promise<types.DataConsumer> | undefined;

/**
 * The worker drops what arrives on a stream without a producer, so producers stand ready before the client opens
 * anything: on the first ids of a DTLS client (even) and of a DTLS server (odd), RFC 8832 section 6. Which label has
 * which id differs between SDKs.
 */
const awaitedStreamIds = [0, 1, 2, 3, 4, 5];

/** Receives the messages of one client. */
export class DataPublisher extends EventEmitter<DataPublisherEvents> {
  readonly #transport: types.WebRtcTransport;
  readonly #bus: DataBus;
  readonly #log: Logger;
  readonly #answeringChannel: AnsweringChannel;
  readonly #labels = new Map<number, string>();
  readonly #acknowledgers = new Map<number, Promise<types.DataConsumer>>();
  #started: Promise<void> | undefined;
  #closeReason: MediaCloseReason | undefined;

  /** @param options.channels that the client opened on a connection that this one continues; it does not open them again */
  constructor(options: {
    transport: types.WebRtcTransport;
    bus: DataBus;
    channels: readonly { streamId: number; label: string }[];
    answeringChannel: AnsweringChannel;
    log: Logger;
  }) {
    super();
    for (const { streamId, label } of options.channels) {
      this.#labels.set(streamId, label);
    }
    this.#transport = options.transport;
    this.#bus = options.bus;
    this.#answeringChannel = options.answeringChannel;
    this.#log = options.log;
  }

  get closed(): boolean {
    return this.#closeReason !== undefined;
  }

  /** Labels by stream id, of the channels that the client opened. */
  get labels(): ReadonlyMap<number, string> {
    return this.#labels;
  }

  start(): Promise<void> {
    this.#started ??= this.#start();
    return this.#started;
  }

  /** The inputs on the bus end with the transport's data producers: the engine closes them, and asking again is an error there. */
  parentClosed(reason: MediaCloseReason): void {
    if (this.#closeReason === undefined) {
      this.#closeReason = reason;
      this.emit('close', reason);
    }
  }

  async #start(): Promise<void> {
    const streamIds = new Set([...awaitedStreamIds, ...this.#labels.keys()]);
    await Promise.all([...streamIds].map((streamId) => this.#listen(streamId)));
  }

  async #listen(streamId: number): Promise<void> {
    const producer = await this.#transport.produceData({ sctpStreamParameters: { streamId, ordered: true } });
    const input = await this.#bus.direct.consumeData({ dataProducerId: producer.id });
    input.on('message', (message, ppid) => this.#receive(streamId, message, ppid));
    if (this.#closeReason !== undefined) {
      input.close();
    }
  }

  #receive(streamId: number, message: Buffer, ppid: number): void {
    if (ppid === ppidDcep) {
      this.#receiveDcep(streamId, message);
      return;
    }
    const payload = ppid === ppidBinaryEmpty ? new Uint8Array() : message;
    this.emit('message', { label: this.#labels.get(streamId), streamId, payload });
  }

  #receiveDcep(streamId: number, message: Buffer): void {
    const parsed = parseDcep(message);
    if (parsed.kind !== 'open') {
      return;
    }
    this.#labels.set(streamId, parsed.label);
    this.#acknowledge(streamId).catch((error: unknown) => {
      if (this.#closeReason === undefined) {
        this.#log.debug({ err: error, streamId, label: parsed.label }, 'a data channel could not be acknowledged');
      }
    });
    this.emit('channel', parsed.label, streamId);
  }

  /** Until it has this, libwebrtc sends even unordered channels in order. */
  async #acknowledge(streamId: number): Promise<void> {
    // What a client sent just before it was closed still arrives; the engine calls a request for what is gone an error.
    if (this.closed) {
      return;
    }
    let acknowledger = this.#acknowledgers.get(streamId);
    if (acknowledger === undefined) {
      // Stays open: closing it would reset the stream, and with it the client's channel.
      acknowledger =
        this.#answeringChannel(this.#labels.get(streamId) ?? '', streamId) ??
        dictateStreamIds(this.#transport).consumeData(streamId, {
          dataProducerId: this.#bus.controlProducerId,
          ordered: true,
        });
      this.#acknowledgers.set(streamId, acknowledger);
    }
    const consumer = await acknowledger;
    if (this.closed) {
      return;
    }
    await consumer.send(encodeAck(), ppidDcep);
  }
}

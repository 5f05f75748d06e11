import { EventEmitter } from 'node:events';
import type { types } from 'mediasoup';
import type { Logger } from '../observe/log.ts';
import type { DataBus } from './data-bus.ts';
import { encodeOpen, parseDcep, ppidDcep, type ChannelReliability } from './dcep.ts';
import { dictateStreamIds, type StreamIdDictate } from './dictate-stream-ids.ts';
import { mediaClosed } from './errors.ts';
import { patienceWithFrames, patienceWithMessages } from './lossy-limit.ts';
import { dataChannelLabels, maxMessageBytes, type DataChannelLabel, type MediaCloseReason } from './media-types.ts';
import { OutgoingStream, type StreamCounters } from './outgoing-stream.ts';

/** Why reliable delivery to this subscriber ended; its transport should be closed. */
export type StuckReason = 'queue-full' | 'send-buffer-full' | 'association-closed';

export type DataSubscriberEvents = {
  /** The client has the channel. */
  open: [label: DataChannelLabel];
  /** Reliable data can no longer be delivered without loss. Emitted once. */
  stuck: [reason: StuckReason];
  close: [reason: MediaCloseReason];
};

type Delivery = {
  streamId: number;
  reliability: ChannelReliability;
  consumer: Pick<types.DataConsumerOptions, 'ordered' | 'maxPacketLifeTime'>;
};

/**
 * Stream ids are odd: the client is the DTLS client, which numbers its own channels evenly (RFC 8832 section 6).
 * With a lifetime the worker's SCTP stack also sets zero retransmits, as LiveKit's lossy channels have: a message that
 * was not put on the wire within 100 ms, or got lost, is gone.
 */
const deliveries: Record<DataChannelLabel, Delivery> = {
  _reliable: { streamId: 1, reliability: 'reliable-ordered', consumer: { ordered: true } },
  _lossy: {
    streamId: 3,
    reliability: 'no-retransmits-unordered',
    consumer: { ordered: false, maxPacketLifeTime: 100 },
  },
  _data_track: {
    streamId: 5,
    reliability: 'no-retransmits-unordered',
    consumer: { ordered: false, maxPacketLifeTime: 100 },
  },
};

const openRetryMs = 250;
const openRetryMaxMs = 2000;

type Channel = {
  label: DataChannelLabel;
  stream: OutgoingStream;
  consumer: types.DataConsumer;
  /** Until the channel is open: for most of its life the client has nothing to acknowledge. */
  acks: types.DataConsumer | undefined;
  open: boolean;
};

export type ClientChannels = readonly { label: string; streamId: number }[];

export type DataSubscriberOptions = {
  transport: types.WebRtcTransport;
  bus: DataBus;
  reliableQueueBytes: number;
  /** Labels of channels that the client has from a connection that this one continues. */
  known: readonly string[];
  /**
   * Sends on the channels that the client opens (single peer connection) instead of opening any; these are there already.
   * Undefined: it opens its own.
   */
  answers: ClientChannels | undefined;
  log: Logger;
};

/** The server's channels to one subscriber. */
export class DataSubscriber extends EventEmitter<DataSubscriberEvents> {
  readonly #transport: types.WebRtcTransport;
  readonly #bus: DataBus;
  readonly #log: Logger;
  readonly #streams: ReadonlyMap<DataChannelLabel, OutgoingStream>;
  readonly #channels = new Map<DataChannelLabel, Channel>();
  /** The client would not answer to an OPEN for one of these. */
  readonly #known: ReadonlySet<string>;
  readonly #answers: ClientChannels | undefined;
  #subchannel = 0;
  #subchannels: number[] = [];
  #started: Promise<void> | undefined;
  #stuck = false;
  #closeReason: MediaCloseReason | undefined;
  #retryTimer: NodeJS.Timeout | undefined;

  constructor(options: DataSubscriberOptions) {
    super();
    this.#transport = options.transport;
    this.#bus = options.bus;
    this.#known = new Set(options.known);
    this.#answers = options.answers;
    this.#log = options.log;
    this.#streams = new Map(
      dataChannelLabels.map((label) => [label, this.#createStream(label, options.reliableQueueBytes)]),
    );
  }

  get closed(): boolean {
    return this.#closeReason !== undefined;
  }

  isOpen(label: DataChannelLabel): boolean {
    return this.#channels.get(label)?.open ?? false;
  }

  counters(label: DataChannelLabel): StreamCounters {
    return this.#stream(label).counters;
  }

  /** Whether nothing reliable waits to be put on the wire, here or in the worker. What is on its way counts as sent. */
  async isDrained(): Promise<boolean> {
    const channel = this.#channels.get('_reliable');
    if (channel === undefined || this.#closeReason !== undefined) {
      return this.#stream('_reliable').counters.queuedBytes === 0;
    }
    this.#bus.flush();
    const bufferedBytes = await channel.consumer.getBufferedAmount().catch(() => 0);
    return bufferedBytes === 0 && channel.stream.counters.queuedBytes === 0;
  }

  /** Makes the channels; they open when SCTP is up. Reliable messages sent before are kept. */
  start(): Promise<void> {
    this.#started ??= this.#start();
    return this.#started;
  }

  /**
   * Never fails: without a path, reliable messages wait (`stuck` at the bound) and lossy ones are dropped. The payload
   * must not be changed afterwards; sending the same object to several subscribers in a row costs one message.
   */
  send(label: DataChannelLabel, payload: Uint8Array): void {
    if (payload.byteLength > maxMessageBytes) {
      this.#bus.refuseOversized(payload.byteLength);
      return;
    }
    if (this.#closeReason === undefined && !this.#stuck && this.#stream(label).admit(payload)) {
      this.#bus.add(label, payload, this.#subchannel);
    }
  }

  /**
   * The client opened a channel. @returns the consumer of its stream, which is the only one that there may be, so that
   * whatever else has to be said on the stream goes through it; undefined for channels that are not sent on
   */
  answer(label: string, streamId: number): Promise<types.DataConsumer> | undefined {
    const known = dataChannelLabels.find((each) => each === label);
    if (
      this.#answers === undefined ||
      known === undefined ||
      this.#channels.has(known) ||
      this.#closeReason !== undefined
    ) {
      return undefined;
    }
    return this.#answer(known, streamId);
  }

  async #answer(label: DataChannelLabel, streamId: number): Promise<types.DataConsumer> {
    const dictate = dictateStreamIds(this.#transport);
    const subchannels = this.#subchannels;
    const channel = await this.#createChannel({ label, streamId, dictate, subchannels, acks: undefined });
    this.#channels.set(label, channel);
    this.#opened(label);
    return channel.consumer;
  }

  /** What is sent before the association is up waits in the worker. */
  async #startAnswering(channels: ClientChannels): Promise<void> {
    const { subchannel, subchannels } = this.#bus.join();
    this.#subchannel = subchannel;
    this.#subchannels = subchannels;
    this.#transport.on('sctpstatechange', (state) => this.#sctpState(state));
    const dictate = dictateStreamIds(this.#transport);
    const known = channels.flatMap(({ label, streamId }) => {
      const found = dataChannelLabels.find((each) => each === label);
      return found === undefined ? [] : [{ label: found, streamId }];
    });
    const made = await Promise.all(
      known.map((each) => this.#createChannel({ ...each, dictate, subchannels, acks: undefined })),
    );
    for (const channel of made) {
      this.#channels.set(channel.label, channel);
    }
    this.#sctpState(this.#transport.sctpState);
  }

  parentClosed(reason: MediaCloseReason): void {
    if (this.#closeReason !== undefined) {
      return;
    }
    this.#closeReason = reason;
    clearTimeout(this.#retryTimer);
    if (this.#subchannel !== 0) {
      this.#bus.leave(this.#subchannel);
    }
    for (const stream of this.#streams.values()) {
      stream.end();
    }
    this.#closeAcks();
    this.emit('close', reason);
  }

  async #start(): Promise<void> {
    if (this.#answers !== undefined) {
      return this.#startAnswering(this.#answers);
    }
    const dictate = dictateStreamIds(this.#transport);
    const acks = await Promise.all(dataChannelLabels.map((label) => this.#receiveAcks(label)));
    if (this.#closeReason !== undefined) {
      throw mediaClosed('the transport');
    }
    // From `join` to the three requests there must be no await, see there.
    const { subchannel, subchannels } = this.#bus.join();
    this.#subchannel = subchannel;
    const channels = await Promise.all(
      dataChannelLabels.map((label, index) => {
        const { streamId } = deliveries[label];
        return this.#createChannel({ label, streamId, dictate, subchannels, acks: acks[index] });
      }),
    );
    if (this.#closeReason !== undefined) {
      this.#closeAcks();
      throw mediaClosed('the transport');
    }
    for (const channel of channels) {
      this.#channels.set(channel.label, channel);
    }
    this.#transport.on('sctpstatechange', (state) => this.#sctpState(state));
    this.#sctpState(this.#transport.sctpState);
  }

  /** The client acknowledges each channel on its stream id; without a producer there the worker would not pass it on. */
  async #receiveAcks(label: DataChannelLabel): Promise<types.DataConsumer> {
    const producer = await this.#transport.produceData({
      sctpStreamParameters: { streamId: deliveries[label].streamId, ordered: true },
      label,
    });
    const acks = await this.#bus.direct.consumeData({ dataProducerId: producer.id });
    acks.on('message', (message, ppid) => {
      if (ppid !== ppidDcep || parseDcep(message).kind === 'ack') {
        this.#opened(label);
      }
    });
    return acks;
  }

  async #createChannel(options: {
    label: DataChannelLabel;
    streamId: number;
    dictate: StreamIdDictate;
    subchannels: number[];
    acks: types.DataConsumer | undefined;
  }): Promise<Channel> {
    const { label, acks } = options;
    const consumer = await options.dictate.consumeData(options.streamId, {
      dataProducerId: this.#bus.producerId(label),
      subchannels: options.subchannels,
      ...deliveries[label].consumer,
    });
    const stream = this.#stream(label);
    consumer.on('bufferedamountlow', () => stream.bufferedAmountLow());
    consumer.on('sctpsendbufferfull', () => {
      stream.countDropped();
      if (label === '_reliable') {
        this.#becomeStuck('send-buffer-full');
      }
    });
    return { label, stream, consumer, acks, open: false };
  }

  #createStream(label: DataChannelLabel, reliableQueueBytes: number): OutgoingStream {
    return new OutgoingStream({
      now: () => performance.now(),
      policy:
        label === '_reliable'
          ? { kind: 'queue', maxQueueBytes: reliableQueueBytes }
          : { kind: 'drop', patience: label === '_lossy' ? patienceWithMessages : patienceWithFrames },
      port: {
        send: (payload) => {
          this.#bus.flush();
          this.#bus.add(label, payload, this.#subchannel);
        },
        bufferedAmount: async () => {
          this.#bus.flush();
          const channel = this.#channels.get(label);
          if (channel === undefined) {
            throw mediaClosed('the channel');
          }
          return channel.consumer.getBufferedAmount();
        },
      },
      onStuck: () => this.#becomeStuck('queue-full'),
    });
  }

  #sctpState(state: types.SctpState | undefined): void {
    if (state === 'connected' && this.#answers !== undefined) {
      // The client has them from the connection that this one continues.
      for (const label of this.#channels.keys()) {
        this.#opened(label);
      }
    } else if (state === 'connected') {
      for (const label of dataChannelLabels.filter((name) => this.#known.has(name))) {
        this.#opened(label);
      }
      this.#offerChannels(openRetryMs);
    } else if (state === 'failed' || state === 'closed') {
      this.#becomeStuck('association-closed');
    }
  }

  /**
   * The engine allows one consumer per stream id, so OPEN travels with the reliability of its channel: on a lossy one it
   * is sent again until the client acknowledges. Clients ignore an OPEN for a channel that they have.
   */
  #offerChannels(retryMs: number): void {
    clearTimeout(this.#retryTimer);
    const waiting = [...this.#channels.values()].filter((channel) => !channel.open);
    if (this.#closeReason !== undefined || this.#stuck || waiting.length === 0) {
      return;
    }
    for (const channel of waiting) {
      const { reliability } = deliveries[channel.label];
      if (reliability === 'no-retransmits-unordered' || retryMs === openRetryMs) {
        channel.consumer.send(encodeOpen(channel.label, reliability), ppidDcep).catch((error: unknown) => {
          this.#log.debug({ err: error, label: channel.label }, 'a data channel could not be offered yet');
        });
      }
    }
    this.#retryTimer = setTimeout(() => this.#offerChannels(Math.min(retryMs * 2, openRetryMaxMs)), retryMs);
    this.#retryTimer.unref();
  }

  #opened(label: DataChannelLabel): void {
    const channel = this.#channels.get(label);
    if (channel === undefined || channel.open || this.#closeReason !== undefined) {
      return;
    }
    channel.open = true;
    // Only this end is closed: a producer's end would reset the stream, and with it the client's channel.
    channel.acks?.close();
    channel.acks = undefined;
    channel.stream.open();
    this.emit('open', label);
  }

  #becomeStuck(reason: StuckReason): void {
    if (this.#stuck || this.#closeReason !== undefined) {
      return;
    }
    this.#stuck = true;
    for (const stream of this.#streams.values()) {
      stream.end();
    }
    this.emit('stuck', reason);
  }

  #closeAcks(): void {
    for (const channel of this.#channels.values()) {
      channel.acks?.close();
    }
  }

  #stream(label: DataChannelLabel): OutgoingStream {
    const stream = this.#streams.get(label);
    if (stream === undefined) {
      throw mediaClosed(`the channel ${label}`);
    }
    return stream;
  }
}

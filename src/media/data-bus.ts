import type { types } from 'mediasoup';
import type { Logger } from '../observe/log.ts';
import { adoptTransport } from './adopt-transport.ts';
import type { DataSubscriber } from './data-subscriber.ts';
import { ppidBinary, ppidBinaryEmpty } from './dcep.ts';
import { mediaClosed } from './errors.ts';
import { dataChannelLabels, maxMessageBytes, type DataChannelLabel } from './media-types.ts';

/** Every subscriber's channels listen to this one besides their own number. */
const everybody = 0;
const maxSubchannel = 65_535;

type Pending = { label: DataChannelLabel; payload: Uint8Array; subchannels: number[] };

export type BusSendOptions = {
  label: DataChannelLabel;
  /** Must not be changed afterwards. */
  payload: Uint8Array;
  /** Each at most once. */
  receivers: readonly DataSubscriber[];
};

/**
 * Sends data from Node to many subscribers of one router with one message to the worker, which fans it out. Calls that
 * follow each other with the same payload object are one message too, so callers may simply loop over receivers.
 */
export class DataBus {
  readonly #direct: types.DirectTransport;
  readonly #producers: ReadonlyMap<DataChannelLabel, types.DataProducer>;
  readonly #control: types.DataProducer;
  readonly #log: Logger;
  readonly #members = new Set<number>();
  #memberSum = 0;
  #nextSubchannel = 1;
  #pending: Pending | undefined;
  #oversized = 0;

  private constructor(options: {
    direct: types.DirectTransport;
    producers: ReadonlyMap<DataChannelLabel, types.DataProducer>;
    control: types.DataProducer;
    log: Logger;
  }) {
    this.#direct = options.direct;
    this.#producers = options.producers;
    this.#control = options.control;
    this.#log = options.log;
  }

  static async create(options: { router: types.Router; log: Logger }): Promise<DataBus> {
    const { router } = options;
    const direct = await router.createDirectTransport({
      maxSendMessageSize: maxMessageBytes,
      maxReceiveMessageSize: maxMessageBytes,
    });
    adoptTransport(router, direct);
    const control = await direct.produceData({ label: 'control' });
    const producers = await Promise.all(
      dataChannelLabels.map(async (label) => [label, await direct.produceData({ label })] as const),
    );
    return new DataBus({ direct, control, producers: new Map(producers), log: options.log });
  }

  /** Messages that were thrown away because they are larger than a channel carries. */
  get oversized(): number {
    return this.#oversized;
  }

  /** The transport that brings messages of clients to Node. */
  get direct(): types.DirectTransport {
    return this.#direct;
  }

  producerId(label: DataChannelLabel): string {
    return this.#producer(label).id;
  }

  /** A producer that never sends: for channels on which only protocol messages go out. */
  get controlProducerId(): string {
    return this.#control.id;
  }

  send(options: BusSendOptions): void {
    for (const receiver of options.receivers) {
      receiver.send(options.label, options.payload);
    }
  }

  /** For `DataSubscriber`: adds one receiver to the message under way. */
  add(label: DataChannelLabel, payload: Uint8Array, subchannel: number): void {
    if (this.#pending !== undefined && this.#pending.payload === payload && this.#pending.label === label) {
      this.#pending.subchannels.push(subchannel);
      return;
    }
    this.flush();
    this.#pending = { label, payload, subchannels: [subchannel] };
    queueMicrotask(() => this.flush());
  }

  /** Puts the message under way on the wire, so that what follows comes after it. */
  flush(): void {
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined && !this.#direct.closed) {
      this.#transmit(pending);
    }
  }

  /** Counts a message that no channel can carry. */
  refuseOversized(sizeBytes: number): void {
    this.#oversized += 1;
    if (this.#oversized === 1) {
      this.#log.warn({ sizeBytes }, 'a data message is too large for a data channel and was dropped');
    }
  }

  /**
   * A number for a new subscriber. From here on it counts as a member, so its channels have to be made in the same turn:
   * `everybody` is only used when its members in the worker are known exactly.
   */
  join(): { subchannel: number; subchannels: number[] } {
    if (this.#members.size >= maxSubchannel) {
      throw mediaClosed('the data bus (no number is left)');
    }
    while (this.#members.has(this.#nextSubchannel)) {
      this.#advance();
    }
    const subchannel = this.#nextSubchannel;
    this.#advance();
    this.#members.add(subchannel);
    this.#memberSum += subchannel;
    return { subchannel, subchannels: [everybody, subchannel] };
  }

  leave(subchannel: number): void {
    this.flush();
    if (this.#members.delete(subchannel)) {
      this.#memberSum -= subchannel;
    }
  }

  #advance(): void {
    this.#nextSubchannel = this.#nextSubchannel === maxSubchannel ? 1 : this.#nextSubchannel + 1;
  }

  #transmit(pending: Pending): void {
    const { payload, subchannels } = pending;
    const message = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    const ppid = message.length > 0 ? ppidBinary : ppidBinaryEmpty;
    const producer = this.#producer(pending.label);
    // The worker matches lists number by number for each consumer; the common cases (all, all but the sender) need no list.
    const missing = this.#members.size - subchannels.length;
    if (missing === 0 && subchannels.length > 1) {
      producer.send(message, ppid, [everybody]);
    } else if (missing === 1 && subchannels.length > 1) {
      const left = subchannels.reduce((sum, subchannel) => sum - subchannel, this.#memberSum);
      producer.send(message, ppid, [everybody], undefined, left);
    } else {
      producer.send(message, ppid, subchannels);
    }
  }

  #producer(label: DataChannelLabel): types.DataProducer {
    const producer = this.#producers.get(label);
    if (producer === undefined) {
      throw mediaClosed(`the channel ${label}`);
    }
    return producer;
  }
}

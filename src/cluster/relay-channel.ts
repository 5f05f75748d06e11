import type { Logger } from '../observe/log.ts';
import type { LinkCloseReason } from './link.ts';
import { badFrame } from './relay-errors.ts';
import { Fifo } from './relay-fifo.ts';
import { closeFrame, dataHead, maxChunkBytes, type Frame } from './relay-frame.ts';
import type { KindMessage, RelayLink, RelaySettings } from './relay-network.ts';
import { decodeMessage, EncodedMessage, encodeMessage } from './wire-codec.ts';
import type { MessageTable } from './wire-table.ts';

/** What a channel needs of the connection that it runs over. */
export interface ChannelCarrier {
  /** Bytes that wait on all channels. */
  readonly queuedBytes: number;
  /** The channel has something to write. */
  wake(channel: RelayChannel): void;
  queued(deltaBytes: number): void;
  giveCredit(channelId: number, bytes: number): void;
  /** The channel ends without writing what waits. */
  abort(channel: RelayChannel, reason: LinkCloseReason): void;
  /** Nothing will be read from or written to this channel any more. */
  forget(channel: RelayChannel): void;
  unknownMessage(kind: string): void;
}

export type RelayChannelOptions = {
  id: number;
  incoming: MessageTable<KindMessage>;
  settings: RelaySettings;
  carrier: ChannelCarrier;
  log: Logger;
};

type Outgoing = { bytes: Uint8Array; sentBytes: number; epoch: number | undefined };
type Incoming = { message: KindMessage; epoch: number | undefined; sizeBytes: number };
type Receive = (message: KindMessage, epoch: number | undefined) => void;

/** One end of a channel on a connection between nodes. Its own queues, window and end; it never holds up another. */
export class RelayChannel implements RelayLink<KindMessage, KindMessage> {
  readonly id: number;
  readonly #options: RelayChannelOptions;
  readonly #outgoing = new Fifo<Outgoing>();
  #queuedBytes = 0;
  /** What the peer is still willing to take. */
  #creditBytes = 0;
  #peerMaxMessageBytes = Infinity;

  readonly #incoming = new Fifo<Incoming>();
  #incomingBytes = 0;
  #partial: Uint8Array[] = [];
  #partialBytes = 0;
  #partialEpoch: number | undefined;
  /** What came and was not returned to the peer as credit. */
  #uncreditedBytes = 0;

  #receive: Receive | undefined;
  #closed: ((reason: LinkCloseReason) => void) | undefined;
  #closeReason: LinkCloseReason | undefined;
  /** Our end is closed; its last messages, and then word of that, still have to be written. */
  #flushing = false;
  #peerClosed = false;
  #paused = false;
  #delivering = false;

  constructor(options: RelayChannelOptions) {
    this.id = options.id;
    this.#options = options;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  send(message: KindMessage | EncodedMessage<KindMessage>, epoch?: number): void {
    if (this.#closeReason !== undefined || this.#peerClosed) {
      return;
    }
    const bytes = message instanceof EncodedMessage ? message.bytes : encodeMessage(message);
    if (!this.#fits(bytes.length)) {
      this.#options.log.warn(
        { channelId: this.id, queuedBytes: this.#queuedBytes, messageBytes: bytes.length },
        'a channel to a node is full',
      );
      this.#overflow();
      return;
    }
    this.#outgoing.push({ bytes, sentBytes: 0, epoch });
    this.#countQueued(bytes.length);
    this.#options.carrier.wake(this);
  }

  onMessage(receive: Receive): void {
    this.#receive = receive;
    this.#deliver();
  }

  onClose(closed: (reason: LinkCloseReason) => void): void {
    this.#closed = closed;
    if (this.#closeReason !== undefined) {
      closed(this.#closeReason);
    }
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#deliver();
  }

  /** What was sent before is still written, as far as the peer takes it. */
  close(): void {
    if (this.#closeReason !== undefined) {
      return;
    }
    this.#flushing = !this.#peerClosed;
    this.#end('closed');
    if (this.#flushing) {
      this.#options.carrier.wake(this);
    } else {
      this.#options.carrier.forget(this);
    }
  }

  /** The connection is gone. */
  connectionLost(): void {
    this.#flushing = false;
    this.#dropOutgoing();
    this.#end('lost');
  }

  /** The peer's first credit, from its hello. */
  peerReady(windowBytes: number, maxMessageBytes: number): void {
    this.#peerMaxMessageBytes = maxMessageBytes;
    this.creditReceived(windowBytes);
  }

  creditReceived(bytes: number): void {
    this.#creditBytes += bytes;
    this.#options.carrier.wake(this);
  }

  closeReceived(reason: LinkCloseReason): void {
    this.#peerClosed = true;
    this.#flushing = false;
    this.#dropOutgoing();
    if (reason !== 'closed' || this.#incoming.length === 0 || this.#closeReason !== undefined) {
      this.#options.carrier.forget(this);
      this.#end(reason);
    }
  }

  /** @throws PlenumError when the peer breaks the rules; the connection must end then. */
  dataReceived(frame: Extract<Frame, { type: 'data' }>): void {
    const { settings } = this.#options;
    this.#uncreditedBytes += frame.chunk.length;
    if (this.#uncreditedBytes > settings.windowBytes) {
      throw badFrame('it goes past the window of its channel');
    }
    if (frame.first !== (this.#partial.length === 0)) {
      throw badFrame('it is no continuation of the one before');
    }
    if (frame.first) {
      this.#partialEpoch = frame.epoch;
    }
    this.#partial.push(frame.chunk);
    this.#partialBytes += frame.chunk.length;
    if (this.#partialBytes > settings.maxMessageBytes) {
      throw badFrame('its message is too large');
    }
    if (frame.last) {
      this.#messageReceived();
    }
    this.#deliver();
  }

  get hasWork(): boolean {
    return this.#outgoing.length > 0 ? this.#creditBytes > 0 : this.#flushing;
  }

  /** Writes frames with `budgetBytes` of payload at most. */
  writeFrames(budgetBytes: number, write: (bytes: Uint8Array) => void): void {
    let left = Math.min(budgetBytes, this.#creditBytes);
    for (let next = this.#outgoing.peek(); next !== undefined && left > 0; next = this.#outgoing.peek()) {
      if (next.bytes.length > this.#peerMaxMessageBytes) {
        this.#overflow();
        return;
      }
      const chunkBytes = Math.min(next.bytes.length - next.sentBytes, left, maxChunkBytes);
      const endBytes = next.sentBytes + chunkBytes;
      const last = endBytes === next.bytes.length;
      write(dataHead({ channelId: this.id, first: next.sentBytes === 0, last, epoch: next.epoch, chunkBytes }));
      write(next.bytes.subarray(next.sentBytes, endBytes));
      next.sentBytes = endBytes;
      left -= chunkBytes;
      this.#creditBytes -= chunkBytes;
      this.#countQueued(-chunkBytes);
      if (last) {
        this.#outgoing.shift();
      }
    }
    if (this.#flushing && this.#outgoing.length === 0) {
      this.#flushing = false;
      write(closeFrame(this.id, 'closed'));
      this.#options.carrier.forget(this);
    }
  }

  #fits(sizeBytes: number): boolean {
    const { settings, carrier } = this.#options;
    return (
      sizeBytes <= settings.maxMessageBytes &&
      this.#outgoing.length < settings.maxQueuedMessages &&
      this.#queuedBytes + sizeBytes <= settings.maxQueuedBytes &&
      carrier.queuedBytes + sizeBytes <= settings.maxConnectionQueuedBytes
    );
  }

  #overflow(): void {
    this.#flushing = false;
    this.#dropOutgoing();
    this.#options.carrier.abort(this, 'overflow');
    this.#end('overflow');
  }

  #dropOutgoing(): void {
    this.#outgoing.clear();
    this.#countQueued(-this.#queuedBytes);
  }

  #countQueued(deltaBytes: number): void {
    this.#queuedBytes += deltaBytes;
    this.#options.carrier.queued(deltaBytes);
  }

  #messageReceived(): void {
    const sizeBytes = this.#partialBytes;
    // Whoever keeps a part of the message keeps this copy of it, and not the buffers of the socket.
    const bytes = join(this.#partial, sizeBytes);
    this.#partial = [];
    this.#partialBytes = 0;
    if (this.#closeReason !== undefined) {
      return;
    }
    const value = decodeMessage(bytes);
    const message = this.#options.incoming.read(value);
    if (message === undefined) {
      this.#options.carrier.unknownMessage((value as KindMessage).kind);
      return;
    }
    this.#incoming.push({ message, epoch: this.#partialEpoch, sizeBytes });
    this.#incomingBytes += sizeBytes;
  }

  #deliver(): void {
    if (this.#delivering) {
      return;
    }
    this.#delivering = true;
    while (this.#receive !== undefined && !this.#paused && this.#closeReason === undefined) {
      const next = this.#incoming.shift();
      if (next === undefined) {
        break;
      }
      this.#incomingBytes -= next.sizeBytes;
      this.#guard('a message from a node failed', () => this.#receive?.(next.message, next.epoch));
    }
    this.#delivering = false;
    this.#returnCredit();
    if (this.#peerClosed && this.#incoming.length === 0 && this.#closeReason === undefined) {
      this.#options.carrier.forget(this);
      this.#end('closed');
    }
  }

  /**
   * Parts of a message that is not whole yet are credited as they come, or one larger than the window could never arrive;
   * but not while others wait for the receiver, so that a paused one holds a window and one message at most.
   */
  #returnCredit(): void {
    const heldBytes = this.#incomingBytes === 0 ? 0 : this.#incomingBytes + this.#partialBytes;
    const dueBytes = this.#uncreditedBytes - heldBytes;
    if (dueBytes * 2 >= this.#options.settings.windowBytes && !this.#peerClosed) {
      this.#uncreditedBytes -= dueBytes;
      this.#options.carrier.giveCredit(this.id, dueBytes);
    }
  }

  #end(reason: LinkCloseReason): void {
    if (this.#closeReason !== undefined) {
      return;
    }
    this.#closeReason = reason;
    this.#incoming.clear();
    this.#incomingBytes = 0;
    this.#guard('the end of a channel could not be handled', () => this.#closed?.(reason));
  }

  /** A fault of one channel's user must not reach the others on the connection. */
  #guard(what: string, run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#options.log.error({ err: error, channelId: this.id }, what);
    }
  }
}

function join(parts: readonly Uint8Array[], totalBytes: number): Uint8Array {
  const whole = new Uint8Array(totalBytes);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

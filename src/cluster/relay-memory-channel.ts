import type { Logger } from '../observe/log.ts';
import type { Link, LinkCloseReason } from './link.ts';
import { Fifo } from './relay-fifo.ts';
import type { KindMessage, RelayLink } from './relay-network.ts';
import { EncodedMessage } from './wire-codec.ts';
import type { MessageTable } from './wire-table.ts';

export type Envelope = { message: KindMessage; epoch: number | undefined };

export type MemoryChannelOptions = {
  link: Link<Envelope, Envelope>;
  incoming: MessageTable<KindMessage>;
  maxQueuedMessages: number;
  log: Logger;
  onUnknownMessage: () => void;
  onEnd: (channel: MemoryChannel) => void;
};

/** One end of a channel between two nodes of one process: a memory link that can also be paused and lost. */
export class MemoryChannel implements RelayLink<KindMessage, KindMessage> {
  readonly queuedBytes = 0;
  readonly #options: MemoryChannelOptions;
  readonly #incoming = new Fifo<Envelope>();
  #other: MemoryChannel | undefined;
  #receive: ((message: KindMessage, epoch: number | undefined) => void) | undefined;
  #closed: ((reason: LinkCloseReason) => void) | undefined;
  #closeReason: LinkCloseReason | undefined;
  #peerClosed = false;
  #paused = false;
  #frozen = false;
  #delivering = false;

  constructor(options: MemoryChannelOptions) {
    this.#options = options;
  }

  /** Joins the two ends; before this nothing can be sent. */
  join(other: MemoryChannel): void {
    this.#other = other;
    this.#options.link.onMessage((envelope) => this.#arrived(envelope));
    this.#options.link.onClose((reason) => this.#linkClosed(reason));
  }

  send(message: KindMessage | EncodedMessage<KindMessage>, epoch?: number): void {
    if (this.#closeReason === undefined) {
      this.#options.link.send({ message: message instanceof EncodedMessage ? message.message : message, epoch });
    }
  }

  onMessage(receive: (message: KindMessage, epoch: number | undefined) => void): void {
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

  close(): void {
    this.#end('closed');
    this.#options.link.close();
  }

  /** Both ends lose each other, as by a broken connection: what is under way is gone. */
  lose(): void {
    this.#endBoth('lost');
  }

  /** This end's process stands still, or goes on. */
  freeze(frozen: boolean): void {
    this.#frozen = frozen;
    this.#deliver();
  }

  #arrived(envelope: Envelope): void {
    if (this.#closeReason !== undefined) {
      return;
    }
    if (this.#incoming.length >= this.#options.maxQueuedMessages) {
      this.#endBoth('overflow');
      return;
    }
    this.#incoming.push(envelope);
    this.#deliver();
  }

  #deliver(): void {
    if (this.#delivering) {
      return;
    }
    this.#delivering = true;
    while (this.#receive !== undefined && !this.#paused && !this.#frozen && this.#closeReason === undefined) {
      const next = this.#incoming.shift();
      if (next === undefined) {
        break;
      }
      this.#hand(next);
    }
    this.#delivering = false;
    if (this.#peerClosed && this.#incoming.length === 0) {
      this.#end('closed');
    }
  }

  #hand({ message, epoch }: Envelope): void {
    switch (this.#judge(message)) {
      case 'good':
        return this.#guard('a message from a node failed', () => this.#receive?.(message, epoch));
      case 'unknown':
        return this.#options.onUnknownMessage();
      case 'bad':
        return this.lose();
    }
  }

  #judge(message: KindMessage): 'good' | 'unknown' | 'bad' {
    try {
      return this.#options.incoming.read(message) === undefined ? 'unknown' : 'good';
    } catch (error) {
      this.#options.log.error({ err: error }, 'a bad message from a node');
      return 'bad';
    }
  }

  #linkClosed(reason: LinkCloseReason): void {
    if (reason !== 'closed') {
      this.#end(reason);
      return;
    }
    this.#peerClosed = true;
    this.#deliver();
  }

  #endBoth(reason: LinkCloseReason): void {
    this.#end(reason);
    if (this.#other !== undefined) {
      this.#other.#end(reason);
    }
    this.#options.link.close();
  }

  #end(reason: LinkCloseReason): void {
    if (this.#closeReason !== undefined) {
      return;
    }
    this.#closeReason = reason;
    this.#incoming.clear();
    this.#options.onEnd(this);
    this.#guard('the end of a channel could not be handled', () => this.#closed?.(reason));
  }

  #guard(what: string, run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#options.log.error({ err: error }, what);
    }
  }
}

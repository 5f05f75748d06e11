/** A link inside one process: ordered, bounded, asynchronous, so that both ends behave as they would across nodes. */
import type { Link, LinkCloseReason } from './link.ts';

export type MemoryLinkOptions = {
  /** Messages that may wait in one direction before the link is closed with `overflow`. */
  maxQueued?: number;
  /** Applied to each message on its way, e.g. `structuredClone` to prove that messages are plain data. */
  transfer?: <Message>(message: Message) => Message;
};

class End<Out, In> implements Link<Out, In> {
  readonly #maxQueued: number;
  readonly #transfer: <Message>(message: Message) => Message;
  #peer: End<In, Out> | undefined;
  #queue: { message: In; epoch: number | undefined }[] = [];
  #receive: ((message: In, epoch?: number) => void) | undefined;
  #closed: ((reason: LinkCloseReason) => void) | undefined;
  #closeReason: LinkCloseReason | undefined;
  #draining = false;

  constructor(options: MemoryLinkOptions) {
    this.#maxQueued = options.maxQueued ?? 100_000;
    this.#transfer = options.transfer ?? ((message) => message);
  }

  join(peer: End<In, Out>): void {
    this.#peer = peer;
  }

  send(message: Out, epoch?: number): void {
    const peer = this.#peer;
    if (this.#closeReason !== undefined || peer === undefined) {
      return;
    }
    if (peer.#queue.length >= this.#maxQueued) {
      this.#shut('overflow');
      peer.#shut('overflow');
      return;
    }
    peer.#queue.push({ message: this.#transfer(message), epoch });
    peer.#schedule();
  }

  onMessage(receive: (message: In, epoch?: number) => void): void {
    this.#receive = receive;
    this.#schedule();
  }

  onClose(closed: (reason: LinkCloseReason) => void): void {
    this.#closed = closed;
    if (this.#closeReason !== undefined) {
      closed(this.#closeReason);
    }
  }

  close(): void {
    this.#shut('closed');
    const peer = this.#peer;
    if (peer !== undefined) {
      peer.#shut('closed');
    }
  }

  #shut(reason: LinkCloseReason): void {
    if (this.#closeReason !== undefined) {
      return;
    }
    // What was sent before the close is still delivered: the queue is drained by the scheduled turn.
    this.#closeReason = reason;
    if (!this.#draining) {
      this.#closed?.(reason);
    }
  }

  #schedule(): void {
    if (this.#draining || this.#receive === undefined || this.#queue.length === 0) {
      return;
    }
    this.#draining = true;
    queueMicrotask(() => this.#drain());
  }

  #drain(): void {
    const batch = this.#queue;
    this.#queue = [];
    let delivered = 0;
    try {
      for (const { message, epoch } of batch) {
        delivered += 1;
        this.#receive?.(message, epoch);
      }
    } finally {
      // A receiver that throws loses its own message only; the rest keeps its order.
      this.#queue.unshift(...batch.slice(delivered));
      this.#draining = false;
      if (this.#queue.length > 0) {
        this.#schedule();
      } else if (this.#closeReason !== undefined) {
        this.#closed?.(this.#closeReason);
      }
    }
  }
}

/** Two joined ends. */
export function memoryLink<Out, In>(options: MemoryLinkOptions = {}): [Link<Out, In>, Link<In, Out>] {
  const left = new End<Out, In>(options);
  const right = new End<In, Out>(options);
  left.join(right);
  right.join(left);
  return [left, right];
}

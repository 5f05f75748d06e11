import type { RelayChannel } from './relay-channel.ts';

/** What one channel may write before it is another's turn. */
const turnBytes = 16 * 1024;

/** What a connection has to write: its own small frames first, then each channel with work in turn. */
export class RelayOutbox {
  #control: Uint8Array[] = [];
  /** In the order of their turns. */
  readonly #ready = new Set<RelayChannel>();

  get empty(): boolean {
    return this.#control.length === 0 && this.#ready.size === 0;
  }

  addControl(frame: Uint8Array): void {
    this.#control.push(frame);
  }

  wake(channel: RelayChannel): void {
    if (channel.hasWork) {
      this.#ready.add(channel);
    }
  }

  forget(channel: RelayChannel): void {
    this.#ready.delete(channel);
  }

  /** The next bytes for the socket, about `batchBytes`; undefined when there is nothing. */
  next(batchBytes: number): Uint8Array | undefined {
    const parts = this.#control;
    this.#control = [];
    let totalBytes = parts.reduce((sum, part) => sum + part.length, 0);
    const write = (bytes: Uint8Array): void => {
      parts.push(bytes);
      totalBytes += bytes.length;
    };
    for (const channel of this.#ready) {
      if (totalBytes >= batchBytes) {
        break;
      }
      this.#ready.delete(channel);
      channel.writeFrames(turnBytes, write);
      this.wake(channel);
    }
    return totalBytes === 0 ? undefined : Buffer.concat(parts, totalBytes);
  }
}

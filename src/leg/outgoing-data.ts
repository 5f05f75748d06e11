/** Data packets for one other node: reliable ones are kept until they have arrived, across links, within a bound. */
import type { LegPeerRequest, PeerPacket } from '../protocol/leg-peer-messages.ts';

type DataMessage = Extract<LegPeerRequest, { kind: 'data' }>;

export class OutgoingData {
  readonly #maxBytes: number;
  #kept: DataMessage[] = [];
  #bytes = 0;
  #lastNumber = 0;
  #waiting: { number: number; resolve: () => void }[] = [];

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get keptBytes(): number {
    return this.#bytes;
  }

  /** Numbers a packet and keeps it if it is reliable. @returns undefined when there is no room for it. */
  add(packet: PeerPacket): DataMessage | undefined {
    if (!packet.reliable) {
      return { kind: 'data', number: 0, packet };
    }
    if (this.#bytes + packet.packet.byteLength > this.#maxBytes) {
      return undefined;
    }
    this.#lastNumber += 1;
    const message: DataMessage = { kind: 'data', number: this.#lastNumber, packet };
    this.#kept.push(message);
    this.#bytes += packet.packet.byteLength;
    return message;
  }

  arrived(number: number): void {
    const left = this.#kept.findIndex((message) => message.number > number);
    const gone = this.#kept.splice(0, left === -1 ? this.#kept.length : left);
    for (const { packet } of gone) {
      this.#bytes -= packet.packet.byteLength;
    }
    this.#tell(number);
  }

  /** Resolves when everything added so far has arrived, or is given up. */
  whenArrived(): Promise<void> {
    const last = this.#kept.at(-1);
    if (last === undefined) {
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#waiting.push({ number: last.number, resolve }));
  }

  /** What has not arrived yet, oldest first. */
  kept(): readonly DataMessage[] {
    return this.#kept;
  }

  /** The other node is gone, and its numbering with it. @returns how many packets are lost. */
  restart(): number {
    const lost = this.#kept.length;
    this.#kept = [];
    this.#bytes = 0;
    this.#lastNumber = 0;
    this.#tell(Infinity);
    return lost;
  }

  #tell(arrivedNumber: number): void {
    const done = this.#waiting.filter(({ number }) => number <= arrivedNumber);
    this.#waiting = this.#waiting.filter(({ number }) => number > arrivedNumber);
    for (const { resolve } of done) {
      resolve();
    }
  }
}

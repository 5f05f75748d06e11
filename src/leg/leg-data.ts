/** Reliable and lossy data to one participant: on its channels, or kept while another leg of it is the one that delivers. */
import type { DataSubscriber } from '../media/data-subscriber.ts';
import type { HeldData } from '../protocol/leg-snapshot.ts';
import { DataReserve } from './data-reserve.ts';
import type { DataKind } from './data-rules.ts';
import type { DeliveredPacket } from './room-data.ts';

export type LegDataOptions = {
  /** Starts as the leg that does not deliver. */
  waits: boolean;
  /** Reliable data that may wait while the subscriber's channels are being made, or another leg delivers. */
  maxQueueBytes: number;
  /** The client drops packets that it has. */
  dropsRepeats: boolean;
  /** Monotonic milliseconds. */
  now: () => number;
  /** Reliable data was lost. */
  onOverflow: (detail: string) => void;
  onStuck: (reason: string) => void;
};

/** What the other leg of a participant has not delivered after this time it never will. */
const reserveMs = 5000;
/** Packets that cannot be sent twice get this time to arrive before their connection ends. */
const arrivalMs = 250;
const lookMs = 20;

export class LegData {
  readonly #options: LegDataOptions;
  #channels: DataSubscriber | undefined;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #reserve: DataReserve | undefined;
  #lastUniqueMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(options: LegDataOptions) {
    this.#options = options;
    this.#reserve = options.waits ? this.#createReserve(reserveMs) : undefined;
  }

  /** This leg is the one that delivers. */
  get isDelivering(): boolean {
    return this.#reserve === undefined;
  }

  get queuedBytes(): number {
    return this.#channels?.counters('_reliable').queuedBytes ?? this.#waitingBytes;
  }

  get droppedLossy(): number {
    const [lossy, frames] = [this.#channels?.counters('_lossy'), this.#channels?.counters('_data_track')];
    return (lossy?.dropped ?? 0) + (frames?.dropped ?? 0);
  }

  attach(channels: DataSubscriber): void {
    this.#channels = channels;
    channels.on('stuck', (reason) => this.#options.onStuck(reason));
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const bytes of waiting) {
      channels.send('_reliable', bytes);
    }
  }

  deliver(kind: DataKind, packet: DeliveredPacket): void {
    if (this.#closed) {
      return;
    }
    if (kind === 'lossy') {
      this.#channels?.send('_lossy', packet.bytes);
    } else if (this.#reserve === undefined) {
      this.#send(packet);
    } else if (!this.#reserve.add(packet)) {
      this.#options.onOverflow('too much data came during a move');
    }
  }

  deliverFrame(bytes: Uint8Array): void {
    this.#channels?.send('_data_track', bytes);
  }

  /** Keeps reliable data from now on. @returns false when what was sent before cannot be put on the wire in time */
  async hold(timeoutMs: number): Promise<boolean> {
    const { now } = this.#options;
    this.#reserve ??= this.#createReserve(Infinity);
    const deadlineMs = now() + timeoutMs;
    while (!this.#closed && now() < deadlineMs) {
      const hasArrived = now() - this.#lastUniqueMs >= arrivalMs;
      if (hasArrived && this.#waiting.length === 0 && (await this.#isDrained())) {
        return true;
      }
      await new Promise((resolve) => setTimeout(resolve, lookMs).unref());
    }
    return false;
  }

  /** How far it has delivered, when `delivered` is what its node has had. */
  progress(delivered: HeldData['delivered']): HeldData['delivered'] {
    return this.#reserve?.without(delivered) ?? delivered;
  }

  /** It delivers again, after `hold`. */
  release(): void {
    const packets = this.#reserve?.takeAll() ?? [];
    this.#reserve = undefined;
    this.#sendAll(packets);
  }

  /** Packets of the server that came so far are the other leg's. */
  cut(): void {
    this.#reserve?.cut();
  }

  /** It delivers from now on. @param seen what the client itself has stated, by sender */
  takeOver(delivered: HeldData['delivered'], seen: ReadonlyMap<string, number>): void {
    const packets = this.#reserve?.takeAfter(delivered, seen) ?? [];
    this.#reserve = undefined;
    this.#sendAll(packets);
  }

  close(): void {
    this.#closed = true;
    this.#channels = undefined;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#reserve = undefined;
  }

  async #isDrained(): Promise<boolean> {
    return this.#channels === undefined || (await this.#channels.isDrained());
  }

  #sendAll(packets: readonly DeliveredPacket[]): void {
    for (const packet of packets) {
      this.#send(packet);
    }
  }

  #send({ bytes, sequence }: DeliveredPacket): void {
    if (sequence === 0 || !this.#options.dropsRepeats) {
      this.#lastUniqueMs = this.#options.now();
    }
    if (this.#channels !== undefined) {
      this.#channels.send('_reliable', bytes);
      return;
    }
    this.#waitingBytes += bytes.byteLength;
    if (this.#waitingBytes > this.#options.maxQueueBytes) {
      this.#waiting = [];
      this.#waitingBytes = 0;
      this.#options.onOverflow('the data channels were not made in time');
      return;
    }
    this.#waiting.push(bytes);
  }

  #createReserve(maxAgeMs: number): DataReserve {
    const { maxQueueBytes, dropsRepeats, now } = this.#options;
    return new DataReserve({ maxBytes: maxQueueBytes, maxAgeMs, dropsRepeats, now });
  }
}

/** Reliable packets that two legs of one participant share: what the old one may not have delivered, the new one does. */
import type { HeldData } from '../protocol/leg-snapshot.ts';
import type { CachedPacket } from './replay-cache.ts';

export type ReservedPacket = Pick<CachedPacket, 'bytes' | 'senderSid' | 'sequence' | 'order'>;

export type DataReserveOptions = {
  maxBytes: number;
  /** What is older is of no use: the other leg has it long since. */
  maxAgeMs: number;
  /** The client drops packets that it has. */
  dropsRepeats: boolean;
  now: () => number;
};

/**
 * What the old leg put on the wire last may be lost with its association. Numbered packets of this time are delivered
 * again to clients that drop what they have (livekit-client compares numbers per sender).
 */
const doubtMs = 3000;

export class DataReserve {
  readonly #options: DataReserveOptions;
  #entries: { atMs: number; packet: ReservedPacket }[] = [];
  #bytes = 0;

  constructor(options: DataReserveOptions) {
    this.#options = options;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** What was delivered, when of what the node has had the packets here were not. */
  without(delivered: HeldData['delivered']): HeldData['delivered'] {
    const first = new Map<string, number>();
    for (const { packet } of this.#entries) {
      if (packet.order > 0 && !first.has(packet.senderSid)) {
        first.set(packet.senderSid, packet.order);
      }
    }
    return delivered.map(({ senderSid, order }) => {
      const reserved = first.get(senderSid);
      return { senderSid, order: reserved === undefined ? order : Math.min(order, reserved - 1) };
    });
  }

  /** @returns false when there is no room */
  add(packet: ReservedPacket): boolean {
    const nowMs = this.#options.now();
    const isOld = this.#entries.findIndex(({ atMs }) => atMs >= nowMs - this.#options.maxAgeMs);
    this.#drop(isOld === -1 ? this.#entries.length : isOld);
    if (this.#bytes + packet.bytes.byteLength > this.#options.maxBytes) {
      return false;
    }
    this.#entries.push({ atMs: nowMs, packet });
    this.#bytes += packet.bytes.byteLength;
    return true;
  }

  /** Packets of the server so far are the other leg's. */
  cut(): void {
    this.#entries = this.#entries.filter(({ packet }) => packet.senderSid !== '');
    this.#bytes = this.#entries.reduce((sum, { packet }) => sum + packet.bytes.byteLength, 0);
  }

  /** Everything, oldest first. */
  takeAll(): ReservedPacket[] {
    const packets = this.#entries.map(({ packet }) => packet);
    this.#drop(this.#entries.length);
    return packets;
  }

  /**
   * What the other leg did not deliver, or perhaps did not, oldest first.
   * @param seen numbers that the client itself stated, by sender
   */
  takeAfter(delivered: HeldData['delivered'], seen: ReadonlyMap<string, number>): ReservedPacket[] {
    const orders = new Map(delivered.map(({ senderSid, order }) => [senderSid, order]));
    const doubtfulMs = this.#options.now() - doubtMs;
    const isDue = ({ atMs, packet }: { atMs: number; packet: ReservedPacket }): boolean => {
      const { senderSid, sequence, order } = packet;
      const seenSequence = seen.get(senderSid);
      if (sequence > 0 && seenSequence !== undefined) {
        return sequence > seenSequence;
      }
      const isNew = senderSid === '' || order > (orders.get(senderSid) ?? 0);
      return isNew || (this.#options.dropsRepeats && sequence > 0 && atMs >= doubtfulMs);
    };
    const packets = this.#entries.filter(isDue).map(({ packet }) => packet);
    this.#drop(this.#entries.length);
    return packets;
  }

  #drop(count: number): void {
    for (const { packet } of this.#entries.splice(0, count)) {
      this.#bytes -= packet.bytes.byteLength;
    }
  }
}

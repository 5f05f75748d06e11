/** The last moments of a room's reliable data, for participants that join right after it was sent. */
import type { LegIdentity } from '../protocol/leg-messages.ts';
import type { PeerPacket } from '../protocol/leg-peer-messages.ts';

export type CachedPacket = {
  bytes: Uint8Array;
  senderSid: string;
  /** The sender's own numbering; 0 = unnumbered. */
  sequence: number;
  /** `PeerPacket.order`; 0 for packets of the server. */
  order: number;
  /** May this participant have it? */
  accepts: (recipient: LegIdentity) => boolean;
  /** As it goes to other nodes, when its sender is on this one. */
  own?: PeerPacket;
};

export type ReplayCacheOptions = { maxAgeMs: number; maxBytes: number; now: () => number };

export class ReplayCache {
  readonly #maxAgeMs: number;
  readonly #maxBytes: number;
  readonly #now: () => number;
  #entries: { atMs: number; packet: CachedPacket }[] = [];
  #bytes = 0;

  constructor(options: ReplayCacheOptions) {
    this.#maxAgeMs = options.maxAgeMs;
    this.#maxBytes = options.maxBytes;
    this.#now = options.now;
  }

  add(packet: CachedPacket): void {
    this.#entries.push({ atMs: this.#now(), packet });
    this.#bytes += packet.bytes.byteLength;
    this.#trim();
  }

  /** Oldest first. */
  recent(): CachedPacket[] {
    this.#trim();
    return this.#entries.map((entry) => entry.packet);
  }

  #trim(): void {
    const oldestMs = this.#now() - this.#maxAgeMs;
    let drop = 0;
    let bytes = this.#bytes;
    for (const { atMs, packet } of this.#entries) {
      if (atMs >= oldestMs && bytes <= this.#maxBytes) {
        break;
      }
      bytes -= packet.bytes.byteLength;
      drop += 1;
    }
    if (drop > 0) {
      this.#entries = this.#entries.slice(drop);
      this.#bytes = bytes;
    }
  }
}

/**
 * Puts the numbered packets of one publisher into their order. Clients number reliable packets one by one and, after a
 * resume, send again what the server does not have. A client whose socket is lost again before its resume is over sends new
 * packets before those that it has held back (livekit-client 2.23): without a wait for these they would never be sent.
 * Whoever was refused a packet by its own SDK has a hole that nothing fills, so that every wait ends.
 */

/** How much of what came early is kept. One that sends more while a hole stays open is not waited for any longer. */
const maxPackets = 1000;
const maxBytes = 1 << 20;

/** With its socket there, and no resume lately: nothing is going to fill a hole that stays open. */
const attachedMs = 1000;
/** livekit-client sends again once its connections are up, for which it takes 15 s at most. */
const resumedMs = 15_000;
/** It has no socket, and may try for a while to get one. */
const awayMs = 30_000;

export type NumberedPacket = { sequence: number; bytes: Uint8Array };

export type Arrival<Packet> = { kind: 'repeated' } | { kind: 'early' } | { kind: 'due'; packets: Packet[] };

export class ReliableOrder<Packet extends NumberedPacket> {
  #last = 0;
  #early = new Map<number, Packet>();
  #earlyBytes = 0;
  #waitsSinceMs = 0;
  #resumedAtMs = Number.NEGATIVE_INFINITY;
  #isAway = false;

  /** Up to this number nothing is missing any more; 0 = nothing came. What is kept for later does not count. */
  get last(): number {
    return this.#last;
  }

  /** @returns what can be passed on now, in order */
  add(packet: Packet, nowMs: number): Arrival<Packet> {
    const { sequence } = packet;
    if (sequence <= this.#last || this.#early.has(sequence)) {
      return { kind: 'repeated' };
    }
    // The first number of a session is whatever it is.
    if (this.#last === 0 || sequence === this.#last + 1) {
      this.#last = sequence;
      return { kind: 'due', packets: [packet, ...this.#takeNext(nowMs)] };
    }
    if (this.#early.size === 0) {
      this.#waitsSinceMs = nowMs;
    }
    this.#early.set(sequence, packet);
    this.#earlyBytes += packet.bytes.byteLength;
    if (this.#early.size > maxPackets || this.#earlyBytes > maxBytes) {
      return { kind: 'due', packets: this.#takeAll() };
    }
    return { kind: 'early' };
  }

  /** What has waited long enough for packets that do not come. */
  overdue(nowMs: number): Packet[] {
    return this.#early.size > 0 && nowMs >= this.#deadlineMs() ? this.#takeAll() : [];
  }

  /** The client was told `last`, and is about to send again what comes after it. */
  resumed(nowMs: number): void {
    this.#resumedAtMs = nowMs;
    this.#isAway = false;
  }

  /** The client has no socket, until it resumes. */
  away(): void {
    this.#isAway = true;
  }

  /** What came early, in order, for whoever goes on from here. */
  early(): Packet[] {
    return [...this.#early.values()].toSorted((a, b) => a.sequence - b.sequence);
  }

  /** Goes on where another one was, after a resume or in the middle of a connection. */
  continueAt(last: number, early: readonly Packet[], nowMs: number): void {
    this.#last = last;
    this.#early = new Map(early.map((packet) => [packet.sequence, packet]));
    this.#earlyBytes = early.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
    this.#waitsSinceMs = nowMs;
  }

  #deadlineMs(): number {
    const waitMs = this.#isAway ? awayMs : attachedMs;
    return Math.max(this.#waitsSinceMs + waitMs, this.#resumedAtMs + resumedMs);
  }

  #takeNext(nowMs: number): Packet[] {
    const packets: Packet[] = [];
    for (;;) {
      const next = this.#early.get(this.#last + 1);
      if (next === undefined) {
        break;
      }
      this.#early.delete(next.sequence);
      this.#earlyBytes -= next.bytes.byteLength;
      this.#last = next.sequence;
      packets.push(next);
    }
    if (packets.length > 0) {
      this.#waitsSinceMs = nowMs;
    }
    return packets;
  }

  #takeAll(): Packet[] {
    const packets = this.early();
    this.#last = packets.at(-1)?.sequence ?? this.#last;
    this.#early = new Map();
    this.#earlyBytes = 0;
    return packets;
  }
}

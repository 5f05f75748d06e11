/**
 * Which section of the subscriber's description carries which track. Sections keep their order for ever; one whose track
 * ended is offered inactive and then serves the next track of its kind, or is retired.
 */
import type { MediaKind } from '../protocol/leg-messages.ts';
import type { SlotSnapshot } from '../protocol/leg-snapshot.ts';

/**
 * `taken`: carries a track; `draining`: its track is gone, the client has not agreed to that yet; `free`: may be taken;
 * `dead`: the section was rejected with port 0, which stops its transceiver for good (JSEP 5.3.1).
 */
export type SlotPhase = 'taken' | 'draining' | 'free' | 'dead';

export type Slot = { mid: string; kind: MediaKind; phase: SlotPhase; trackSid: string | undefined };

type Entry = Slot & {
  /** Mid of the dead slot whose place this one took. */
  replaces?: string;
  /** The client was offered a track in this section since it last agreed to its being inactive. */
  exposed: boolean;
  /** Inactive in the offer that is under way. */
  offeredInactive: boolean;
};

/**
 * Slot table of one subscriber connection. A slot is reused only after the client answered an offer in which it was
 * inactive: browsers fire no `track` event when only the msid of a section changes that was receiving before.
 */
export class SlotTable {
  #entries: Entry[] = [];
  readonly #retires: boolean;
  readonly #offeredByClient: boolean;
  #nextMid: number;

  /**
   * @param options.firstMid number of the first section's mid; lower ones belong to other sections (`0`: data channels).
   * @param options.retires a section serves one track only: once that ended it is rejected, and the place in the
   *   description goes to a new section with a mid of its own (RFC 9429 section 5.2.2).
   * @param options.offeredByClient the client says which sections there are (see `follow`).
   */
  constructor(options: { firstMid: number; retires: boolean; offeredByClient?: boolean }) {
    this.#nextMid = options.firstMid;
    this.#retires = options.retires;
    this.#offeredByClient = options.offeredByClient ?? false;
  }

  /**
   * Sections that the client offers. New ones may be taken, and those that it offers no more are forgotten.
   * @returns mids of forgotten sections that carried a track
   */
  follow(offered: readonly { mid: string; kind: MediaKind }[]): string[] {
    const kinds = new Map(offered.map(({ mid, kind }) => [mid, kind]));
    const gone = this.#entries.filter(({ mid, kind }) => kinds.get(mid) !== kind);
    this.#entries = this.#entries.filter(({ mid, kind }) => kinds.get(mid) === kind);
    const known = new Set(this.#entries.map(({ mid }) => mid));
    for (const { mid, kind } of offered) {
      if (!known.has(mid)) {
        this.#entries.push({ mid, kind, phase: 'free', trackSid: undefined, exposed: false, offeredInactive: false });
      }
    }
    return gone.filter(({ phase }) => phase === 'taken').map(({ mid }) => mid);
  }

  snapshot(): { nextMid: number; slots: SlotSnapshot[] } {
    const slots = this.#entries.map(({ mid, kind, phase, trackSid, replaces, exposed }) => ({
      mid,
      kind,
      phase,
      exposed,
      ...(trackSid === undefined ? {} : { trackSid }),
      ...(replaces === undefined ? {} : { replaces }),
    }));
    return { nextMid: this.#nextMid, slots };
  }

  /** Continues another table. An offer that was under way there counts as lost. */
  restore(snapshot: { nextMid: number; slots: readonly SlotSnapshot[] }): void {
    this.#nextMid = snapshot.nextMid;
    this.#entries = snapshot.slots.map((slot) => ({ ...slot, trackSid: slot.trackSid, offeredInactive: false }));
  }

  /** All slots in the order of their sections. */
  list(): readonly Readonly<Slot>[] {
    return this.#entries;
  }

  /** Takes the first free slot of the kind, or the place of a dead one, or appends one. @returns undefined: there is none */
  take(kind: MediaKind, trackSid: string): string | undefined {
    const free = this.#entries.find((entry) => entry.phase === 'free' && entry.kind === kind);
    if (free !== undefined) {
      free.phase = 'taken';
      free.trackSid = trackSid;
      return free.mid;
    }
    if (this.#offeredByClient) {
      return undefined;
    }
    const mid = String(this.#nextMid++);
    const entry: Entry = { mid, kind, phase: 'taken', trackSid, exposed: false, offeredInactive: false };
    const dead = this.#retires ? this.#entries.findIndex(({ phase }) => phase === 'dead') : -1;
    const former = this.#entries[dead];
    if (former === undefined) {
      this.#entries.push(entry);
    } else {
      this.#entries[dead] = { ...entry, replaces: former.mid };
    }
    return mid;
  }

  /** The mid whose place in the description a section took. */
  replacedBy(mid: string): string | undefined {
    return this.#find(mid)?.replaces;
  }

  /** The track of this slot ended. */
  release(mid: string): void {
    const entry = this.#find(mid);
    if (entry?.phase !== 'taken') {
      return;
    }
    entry.trackSid = undefined;
    entry.phase = entry.exposed ? 'draining' : 'free';
  }

  /** The client rejected the section with port 0. */
  kill(mid: string): void {
    const entry = this.#find(mid);
    if (entry !== undefined) {
      entry.trackSid = undefined;
      entry.phase = 'dead';
    }
  }

  /** An offer with the present state of all slots goes out. */
  offered(): void {
    for (const entry of this.#entries) {
      entry.offeredInactive = entry.phase === 'draining';
      entry.exposed ||= entry.phase === 'taken';
    }
  }

  /** The client answered that offer. */
  answered(): void {
    for (const entry of this.#entries) {
      if (entry.offeredInactive && entry.phase === 'draining') {
        entry.phase = this.#retires ? 'dead' : 'free';
        entry.exposed = false;
      }
      entry.offeredInactive = false;
    }
  }

  /** The offer under way is lost: whether the client applied it is unknown. */
  dropped(): void {
    for (const entry of this.#entries) {
      entry.offeredInactive = false;
    }
  }

  #find(mid: string): Entry | undefined {
    return this.#entries.find((entry) => entry.mid === mid);
  }
}

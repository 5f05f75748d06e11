/** When the server may send its next offer, under which id, and which answers belong to it. */

export type NegotiationTiming = {
  /** How long changes are collected before the offer that carries them. */
  collectMs: number;
  /** Least time between two offers in the long run; a burst of `quickOffers` need not keep it. */
  spacingMs: number;
  /** A join is a few changes in quick succession, and each offer that waits is time without media. */
  quickOffers: number;
  /** How long the client may take to answer. */
  answerTimeoutMs: number;
};

export type AnswerVerdict = 'accepted' | 'stale';

type Outstanding = { id: number; deadlineMs: number };

/** One outstanding offer at a time; changes made meanwhile wait for its answer and then go out together. */
export class Negotiation {
  readonly #timing: NegotiationTiming;
  #nextId: number;
  #outstanding: Outstanding | undefined;
  #dirtySinceMs: number | undefined;
  #urgent = false;
  /** When offers at the pace of `spacingMs` would have caught up with those sent. */
  #pacedUntilMs = Number.NEGATIVE_INFINITY;

  /** @param firstId small random number: a client that met an earlier leg must not take our first answer for an old one. */
  constructor(timing: NegotiationTiming, firstId: number) {
    this.#timing = timing;
    this.#nextId = firstId;
  }

  /** Something changed that the client has to be offered. Urgent changes are not collected. */
  change(nowMs: number, options: { urgent?: boolean } = {}): void {
    this.#dirtySinceMs ??= nowMs;
    this.#urgent ||= options.urgent === true;
  }

  /** When the next offer is due; undefined while nothing changed or an offer is outstanding. */
  offerDueMs(): number | undefined {
    if (this.#dirtySinceMs === undefined || this.#outstanding !== undefined) {
      return undefined;
    }
    if (this.#urgent) {
      return this.#dirtySinceMs;
    }
    const collected = this.#dirtySinceMs + this.#timing.collectMs;
    const { spacingMs, quickOffers } = this.#timing;
    return Math.max(collected, this.#pacedUntilMs - spacingMs * (quickOffers - 1));
  }

  /** Of the next offer. */
  get nextId(): number {
    return this.#nextId;
  }

  /** When the outstanding offer counts as never answered. */
  answerDeadlineMs(): number | undefined {
    return this.#outstanding?.deadlineMs;
  }

  /** Earliest time at which there is something to do. */
  wakeMs(): number | undefined {
    return this.offerDueMs() ?? this.answerDeadlineMs();
  }

  /** Takes the id of the offer that carries all changes made so far. */
  offer(nowMs: number): number {
    const id = this.#nextId;
    this.#nextId += 1;
    this.#outstanding = { id, deadlineMs: nowMs + this.#timing.answerTimeoutMs };
    this.#dirtySinceMs = undefined;
    this.#urgent = false;
    this.#pacedUntilMs = Math.max(this.#pacedUntilMs, nowMs) + this.#timing.spacingMs;
    return id;
  }

  /** The offer is sent once more. @returns false when it is not outstanding */
  repeat(id: number, nowMs: number): boolean {
    if (this.#outstanding?.id !== id) {
      return false;
    }
    this.#outstanding.deadlineMs = nowMs + this.#timing.answerTimeoutMs;
    return true;
  }

  /** @param id as the client echoed it; 0 = it does not echo ids (rtc-node), never stale while an offer is outstanding. */
  answer(id: number): AnswerVerdict {
    if (this.#outstanding === undefined || (id !== 0 && id !== this.#outstanding.id)) {
      return 'stale';
    }
    this.#outstanding = undefined;
    return 'accepted';
  }

  /**
   * The client offered by itself, and the answer says all that was to be said.
   * @param options.isAwaited it has yet to offer what it was asked for
   */
  settle(options: { isAwaited: boolean }): void {
    this.#dirtySinceMs = undefined;
    this.#urgent = false;
    if (!options.isAwaited) {
      this.#outstanding = undefined;
    }
  }

  /** The client has a new socket: an offer that it did not answer counts as never sent, and the next one is urgent. */
  restart(nowMs: number): void {
    this.#outstanding = undefined;
    this.change(nowMs, { urgent: true });
  }
}

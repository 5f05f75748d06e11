/** Which layers of one video track somebody wants, per codec, so that the publisher can switch the others off. */
import type { ParticipantSid } from '../protocol/ids.ts';
import type { Quality } from '../protocol/leg-messages.ts';

/** -1 = nobody wants this codec. */
export type WantedMaximum = -1 | Quality;

type Counts = [number, number, number];

type CodecState = {
  counts: Counts;
  /** What the publisher was told last. */
  reported: WantedMaximum;
  /** When a lower maximum is due to be told. */
  lowerAtMs: number | undefined;
};

export class Dynacast {
  readonly #pauseDelayMs: number;
  readonly #codecs = new Map<string, CodecState>();
  readonly #wishes = new Map<ParticipantSid, { codec: string; quality: Quality }>();

  /**
   * A publisher starts with all layers of its first codec on and its backup codecs off, so that is what counts as told.
   * @param codecs bare lower-case names, first the one that is published
   * @param told what the publisher was told by an earlier host of the room, as `reported` said it there
   */
  constructor(codecs: string[], pauseDelayMs: number, told: readonly { codec: string; maximum: WantedMaximum }[] = []) {
    this.#pauseDelayMs = pauseDelayMs;
    for (const [index, codec] of codecs.entries()) {
      const reported = told.find((entry) => entry.codec === codec)?.maximum ?? (index === 0 ? 2 : -1);
      this.#codecs.set(codec, { counts: [0, 0, 0], reported, lowerAtMs: undefined });
    }
  }

  /** A codec that was not announced before; nobody wants it yet. */
  declare(codec: string): void {
    if (!this.#codecs.has(codec)) {
      this.#codecs.set(codec, { counts: [0, 0, 0], reported: -1, lowerAtMs: undefined });
    }
  }

  /** @param quality undefined = this subscriber wants nothing of the track (any more). */
  setWish(subscriber: ParticipantSid, codec: string, quality: Quality | undefined): void {
    const old = this.#wishes.get(subscriber);
    if (old !== undefined) {
      this.#count(old.codec, old.quality, -1);
      this.#wishes.delete(subscriber);
    }
    if (quality !== undefined && this.#codecs.has(codec)) {
      this.#wishes.set(subscriber, { codec, quality });
      this.#count(codec, quality, 1);
    }
  }

  /** Brings what is reported up to date: increases at once, decreases after the delay. True when the publisher has to be told. */
  settle(nowMs: number): boolean {
    let changed = false;
    for (const state of this.#codecs.values()) {
      changed = this.#settleCodec(state, nowMs) || changed;
    }
    return changed;
  }

  /** When `settle` has to be called next, at the latest. */
  deadlineMs(): number | undefined {
    const due = [...this.#codecs.values()].flatMap((state) => state.lowerAtMs ?? []);
    return due.length === 0 ? undefined : Math.min(...due);
  }

  /** Codec by codec, in declared order. */
  reported(): { codec: string; maximum: WantedMaximum }[] {
    return [...this.#codecs].map(([codec, state]) => ({ codec, maximum: state.reported }));
  }

  #count(codec: string, quality: Quality, change: 1 | -1): void {
    const state = this.#codecs.get(codec);
    if (state !== undefined) {
      state.counts[quality] += change;
    }
  }

  #settleCodec(state: CodecState, nowMs: number): boolean {
    const wanted = maximum(state.counts);
    if (wanted >= state.reported) {
      const raised = wanted > state.reported;
      state.reported = wanted;
      state.lowerAtMs = undefined;
      return raised;
    }
    state.lowerAtMs ??= nowMs + this.#pauseDelayMs;
    if (nowMs < state.lowerAtMs) {
      return false;
    }
    state.reported = wanted;
    state.lowerAtMs = undefined;
    return true;
  }
}

function maximum(counts: Counts): WantedMaximum {
  if (counts[2] > 0) {
    return 2;
  }
  if (counts[1] > 0) {
    return 1;
  }
  return counts[0] > 0 ? 0 : -1;
}

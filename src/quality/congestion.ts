/** Which video tracks have to wait while the path to a subscriber does not carry all of them. */

export type CongestedTrack = {
  trackSid: string;
  /** Larger ones get bandwidth first; among equals the one that flows already, then the older one. */
  priority: number;
  /** What the least of it takes: its lowest layer, or all of it where there are none. 0 = not known yet. */
  minimumBps: number;
};

/** How sure one has to be of a lack of bandwidth, and of its end. */
const pauseAfterMs = 500;
const resumeAfterMs = 3000;
const longestResumeAfterMs = 60_000;
/** Estimates stand still under loss, however wide the path has become: after so many times its wait a track is tried. */
const trialFactor = 2;
/** What arrives of a track that was resumed shows only after a while; nothing is paused before. */
const graceMs = 3000;
/** A track that has to stop again so soon was resumed in vain; it then waits twice as long. */
const trialMs = 15_000;
/** What the last ones gave back shows only after a while, in the estimate and in what arrives. */
const pauseSpacingMs = 2000;
/** One after the other: each changes what is left for the next. */
const resumeSpacingMs = 1500;
/** What flows may take a little more than the estimate, which lags behind and moves about. */
const toleratedShare = 1.1;
/** What is to flow again needs room to spare. */
const resumeShare = 1.2;

type TrackState = {
  paused: boolean;
  minimumBps: number;
  /** Since when it has not fitted while it flows, or has fitted while it is paused. */
  sinceMs: number | undefined;
  pausedAtMs: number | undefined;
  resumedAtMs: number | undefined;
  waitMs: number;
};

/**
 * Of one subscriber. Nothing is paused that is known to arrive, however low the estimate: heavy loss makes it fall far
 * below what the path carries. Audio is not counted: it is never paused, and as the estimate is made from video packets, it is what
 * audio leaves over.
 */
export class CongestionControl {
  #tracks = new Map<string, TrackState>();
  #lastResumeMs = Number.NEGATIVE_INFINITY;
  #lastPauseMs = Number.NEGATIVE_INFINITY;

  /** Tracks that have to wait. */
  get paused(): ReadonlySet<string> {
    return new Set([...this.#tracks].filter(([, { paused }]) => paused).map(([trackSid]) => trackSid));
  }

  isPaused(trackSid: string): boolean {
    return this.#tracks.get(trackSid)?.paused === true;
  }

  /**
   * To be called about once a second, and when the estimate falls at once.
   * @param availableBps the estimate, or what arrives when that is more; undefined = not known (yet): nothing changes
   * @param tracks videos that the subscriber wants and that are not muted, oldest first; others are forgotten
   * @returns whether `paused` changed
   */
  update(nowMs: number, availableBps: number | undefined, tracks: readonly CongestedTrack[]): boolean {
    const before = [...this.paused].toSorted().join(' ');
    this.#follow(tracks);
    if (availableBps !== undefined) {
      this.#share(nowMs, availableBps, tracks);
    }
    return before !== [...this.paused].toSorted().join(' ');
  }

  #follow(tracks: readonly CongestedTrack[]): void {
    const states = new Map<string, TrackState>();
    for (const { trackSid, minimumBps } of tracks) {
      const state = this.#tracks.get(trackSid) ?? {
        paused: false,
        minimumBps: 0,
        sinceMs: undefined,
        pausedAtMs: undefined,
        resumedAtMs: undefined,
        waitMs: resumeAfterMs,
      };
      // What is paused may not be brought here at all, and measures nothing.
      state.minimumBps = minimumBps > 0 ? minimumBps : state.minimumBps;
      states.set(trackSid, state);
    }
    this.#tracks = states;
  }

  #share(nowMs: number, availableBps: number, tracks: readonly CongestedTrack[]): void {
    let flowingBps = 0;
    let reservedBps = 0;
    const order = this.#inOrder(tracks);
    for (const state of order) {
      const fits = state.paused
        ? (flowingBps + reservedBps + state.minimumBps) * resumeShare <= availableBps
        : flowingBps + state.minimumBps <= availableBps * toleratedShare;
      if (fits === state.paused) {
        state.sinceMs ??= nowMs;
        this.#change(state, nowMs);
      } else {
        state.sinceMs = undefined;
      }
      if (fits && state.paused) {
        // Its place is kept for it, so that no less important one comes back before.
        reservedBps += state.minimumBps;
      } else if (fits) {
        flowingBps += state.minimumBps;
      }
    }
    this.#tryAgain(order, nowMs);
  }

  /** What is paused longest in vain is tried: where no video flows nothing at all measures the path. */
  #tryAgain(order: readonly TrackState[], nowMs: number): void {
    const first = order.find(({ paused }) => paused);
    if (first?.pausedAtMs === undefined) {
      return;
    }
    const flowsNothing = order.every(({ paused }) => paused);
    const waitMs = Math.min(flowsNothing ? first.waitMs : first.waitMs * trialFactor, longestResumeAfterMs);
    if (nowMs - Math.max(first.pausedAtMs, this.#lastResumeMs) >= waitMs) {
      this.#resume(first, nowMs);
    }
  }

  #inOrder(tracks: readonly CongestedTrack[]): TrackState[] {
    return tracks
      .flatMap(({ trackSid, priority }) => {
        const state = this.#tracks.get(trackSid);
        return state === undefined ? [] : [{ state, priority }];
      })
      .toSorted((a, b) => b.priority - a.priority || Number(a.state.paused) - Number(b.state.paused))
      .map(({ state }) => state);
  }

  /** The track does not fit although it flows, or fits although it is paused. */
  #change(state: TrackState, nowMs: number): void {
    const lastedMs = nowMs - (state.sinceMs ?? nowMs);
    const isLate = nowMs - this.#lastPauseMs >= pauseSpacingMs || nowMs === this.#lastPauseMs;
    if (!state.paused && lastedMs >= pauseAfterMs && isLate && nowMs - this.#lastResumeMs >= graceMs) {
      this.#pause(state, nowMs);
    } else if (state.paused && lastedMs >= state.waitMs && nowMs - this.#lastResumeMs >= resumeSpacingMs) {
      this.#resume(state, nowMs);
    }
  }

  #pause(state: TrackState, nowMs: number): void {
    const isInVain = state.resumedAtMs !== undefined && nowMs - state.resumedAtMs < trialMs;
    state.waitMs = isInVain ? Math.min(state.waitMs * 2, longestResumeAfterMs) : resumeAfterMs;
    state.paused = true;
    state.pausedAtMs = nowMs;
    this.#lastPauseMs = nowMs;
    state.sinceMs = undefined;
  }

  #resume(state: TrackState, nowMs: number): void {
    state.paused = false;
    state.sinceMs = undefined;
    state.resumedAtMs = nowMs;
    this.#lastResumeMs = nowMs;
  }
}

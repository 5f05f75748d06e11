/** Wanted against actual tracks of one pipe, seen from the receiving end: what has to be done, correct from any state. */

export type WantedTrack = {
  /** Somebody takes it at the moment. */
  flows: boolean;
};

export type ReceivedTrack = {
  /** What the sending end was told last. */
  flows: boolean;
  /** The producer is paused at its source. */
  sourcePaused: boolean;
  /** Its copy here is paused. */
  paused: boolean;
  /** The sending end was not asked since the link to it was made anew. */
  unconfirmed: boolean;
};

export type PipeAction =
  | { kind: 'drop'; producerId: string }
  | { kind: 'request'; producerId: string }
  | { kind: 'tellFlow'; producerId: string; flows: boolean }
  | { kind: 'setPaused'; producerId: string; paused: boolean };

export type PipeView = {
  wanted: ReadonlyMap<string, WantedTrack>;
  received: ReadonlyMap<string, ReceivedTrack>;
  /** Earliest time of the next try for those that were refused or got no answer. */
  retryAtMs: ReadonlyMap<string, number>;
  nowMs: number;
};

/** In the order in which they are to be begun; `wakeMs` is when to plan again, if nothing happens before. */
export function planPipe(view: PipeView): { actions: PipeAction[]; wakeMs: number | undefined } {
  const actions: PipeAction[] = [];
  let wakeMs: number | undefined;
  for (const producerId of view.received.keys()) {
    if (!view.wanted.has(producerId)) {
      actions.push({ kind: 'drop', producerId });
    }
  }
  for (const [producerId, { flows }] of view.wanted) {
    const track = view.received.get(producerId);
    if (track !== undefined) {
      actions.push(...adjust(producerId, track, flows));
    }
    const retryMs = view.retryAtMs.get(producerId) ?? 0;
    if (track !== undefined && !track.unconfirmed) {
      continue;
    }
    if (retryMs <= view.nowMs) {
      actions.push({ kind: 'request', producerId });
    } else {
      wakeMs = Math.min(wakeMs ?? retryMs, retryMs);
    }
  }
  return { actions, wakeMs };
}

/** A copy that gets nothing is paused, so that nobody waits for it or counts its silence as a fault. */
function adjust(producerId: string, track: ReceivedTrack, flows: boolean): PipeAction[] {
  const actions: PipeAction[] = [];
  const paused = track.sourcePaused || !flows;
  if (paused !== track.paused) {
    actions.push({ kind: 'setPaused', producerId, paused });
  }
  if (flows !== track.flows) {
    actions.push({ kind: 'tellFlow', producerId, flows });
  }
  return actions;
}

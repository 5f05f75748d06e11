/**
 * The states of a node from boot to deletion, as one function from a record and an event to a change or a refusal.
 * Whoever applies a change compares and sets it against `expectedEpoch`, so that of two leaders that decide at once one
 * is told to look again. Every event may be repeated: it then changes nothing.
 *
 *   BOOTING ──ready──▶ SERVING ◀──undrain── CORDONED, DRAINING
 *                         │ cordon, drain        │ emptied
 *                         ▼                      ▼
 *                  CORDONED ──drain──▶ DRAINING ──▶ DRAINED ──delete──▶ DELETING ──deleted──▶ GONE
 *
 * Any of them but the last three becomes LOST when it is silent and FAILED when it says that it cannot work. A node that
 * is heard again goes on where it was, also after a reboot: who drained it still wants it drained.
 */

export type NodeState =
  | 'BOOTING'
  | 'SERVING'
  | 'CORDONED'
  | 'DRAINING'
  | 'DRAINED'
  | 'DELETING'
  | 'GONE'
  | 'FAILED'
  | 'LOST';

export type DrainPolicy = 'wait' | 'migrate';

/** The durable record of one node. */
export type NodeLifecycle = {
  /** Grows with each change. */
  epoch: number;
  state: NodeState;
  /** Who brought it into this state: an operator, the capacity controller, the platform, the node itself. */
  owner: string;
  reason: string;
  policy: DrainPolicy;
  /** Milliseconds until the deadline as of the moment of reading, null without one. */
  remainingMs: number | null;
  /** The platform takes the machine at the deadline, whatever still runs. */
  deadlineIsHard?: boolean;
  /** Where a LOST or FAILED node was before. */
  stateBefore?: NodeState;
};

type Meta = {
  owner: string;
  reason: string;
  /** Refuse the event unless the record still has this epoch. Needed where the decision rests on an older look. */
  ifEpoch?: number;
};

export type NodeEvent = Meta &
  (
    | { kind: 'booted' }
    | { kind: 'ready' }
    | { kind: 'cordon' }
    | { kind: 'drain'; policy: DrainPolicy; deadlineMs: number | null; deadlineIsHard?: boolean }
    | { kind: 'undrain' }
    /** Nothing runs on it any more. */
    | { kind: 'emptied' }
    | { kind: 'delete' }
    | { kind: 'deleted' }
    | { kind: 'failed' }
    /** It missed its beats, and no master reaches it. */
    | { kind: 'lost' }
    /** It is heard again, the same process as before. */
    | { kind: 'returned' }
  );

/** What to write; fields that are left out stay. */
export type LifecycleChange = Partial<Omit<NodeLifecycle, 'epoch'>> & { state: NodeState };

export type Refusal =
  | 'stale-epoch'
  /** There is no such node, or it never got that far. */
  | 'unknown-node'
  | 'not-possible-from-state'
  /** It is too late to bring it back. */
  | 'already-drained'
  /** Work would be cut off: drain it first. */
  | 'not-drained';

export type Transition =
  | { kind: 'changed'; expectedEpoch: number; change: LifecycleChange }
  /** It is there already. */
  | { kind: 'unchanged' }
  | { kind: 'refused'; refusal: Refusal; message: string };

/** States in which a node may be given new rooms, participants or jobs. */
export function admitsWork(state: NodeState): boolean {
  return state === 'SERVING';
}

/** States in which a node may still carry calls. */
export function mayCarryWork(state: NodeState): boolean {
  return state !== 'DRAINED' && state !== 'DELETING' && state !== 'GONE';
}

/** @param current undefined for a node that nobody wrote about yet */
export function nextLifecycle(current: NodeLifecycle | undefined, event: NodeEvent): Transition {
  if (current === undefined) {
    return event.kind === 'booted'
      ? { kind: 'changed', expectedEpoch: 0, change: { ...said(event), state: 'BOOTING', remainingMs: null } }
      : refused('unknown-node', `there is no record of this node to ${event.kind}`);
  }
  if (event.ifEpoch !== undefined && event.ifEpoch !== current.epoch) {
    return refused('stale-epoch', `the node's record has changed since (epoch ${current.epoch}, not ${event.ifEpoch})`);
  }
  switch (event.kind) {
    case 'booted':
      return reboot(current, event);
    case 'ready':
      return ready(current, event);
    case 'cordon':
      return cordon(current, event);
    case 'drain':
      return drain(current, event);
    case 'undrain':
      return undrain(current, event);
    case 'emptied':
      return follow(current, event, { DRAINING: 'DRAINED' }, 'DRAINED');
    case 'delete':
      return startDeletion(current, event);
    case 'deleted':
      return follow(current, event, { DRAINED: 'GONE', DELETING: 'GONE', LOST: 'GONE', FAILED: 'GONE' }, 'GONE');
    case 'failed':
      return leave(current, event, 'FAILED');
    case 'lost':
      return leave(current, event, 'LOST');
    case 'returned':
      return comeBack(current, event);
  }
}

function said(event: NodeEvent): { owner: string; reason: string } {
  return { owner: event.owner, reason: event.reason };
}

function refused(refusal: Refusal, message: string): Transition {
  return { kind: 'refused', refusal, message };
}

function changed(current: NodeLifecycle, change: LifecycleChange): Transition {
  return { kind: 'changed', expectedEpoch: current.epoch, change };
}

function impossible(current: NodeLifecycle, event: NodeEvent): Transition {
  return refused('not-possible-from-state', `a node that is ${current.state} cannot take the step "${event.kind}"`);
}

type Steps = { [From in NodeState]?: NodeState };

/** A step that only depends on where the node is; `arrived` is where a repetition finds it. */
function follow(current: NodeLifecycle, event: NodeEvent, steps: Steps, arrived: NodeState): Transition {
  if (current.state === arrived) {
    return { kind: 'unchanged' };
  }
  const state = steps[current.state];
  return state === undefined ? impossible(current, event) : changed(current, { ...said(event), state });
}

/** A process start. Wishes about the node outlive its process; what it had finished before does not. */
function reboot(current: NodeLifecycle, event: NodeEvent): Transition {
  const before = current.stateBefore !== undefined && isAway(current.state) ? current.stateBefore : current.state;
  switch (before) {
    case 'BOOTING':
      return current.state === 'BOOTING'
        ? { kind: 'unchanged' }
        : changed(current, { ...said(event), state: 'BOOTING' });
    case 'SERVING':
    case 'FAILED':
    case 'LOST':
      return changed(current, { ...said(event), state: 'BOOTING', remainingMs: null });
    case 'CORDONED':
    case 'DRAINING':
    case 'DRAINED':
      // Owner, reason, policy and deadline stay: they say who wanted it out of service and why.
      return current.state === before ? { kind: 'unchanged' } : changed(current, { state: before });
    case 'DELETING':
    case 'GONE':
      return impossible(current, event);
  }
}

/** A node may be cordoned or drained before it is ready; being ready does not undo that. */
function ready(current: NodeLifecycle, event: NodeEvent): Transition {
  if (current.state === 'CORDONED' || current.state === 'DRAINING' || current.state === 'DRAINED') {
    return { kind: 'unchanged' };
  }
  return follow(current, event, { BOOTING: 'SERVING' }, 'SERVING');
}

function cordon(current: NodeLifecycle, event: NodeEvent): Transition {
  if (current.state === 'LOST' && isUsable(current.stateBefore)) {
    return changed(current, { ...said(event), state: 'LOST', stateBefore: 'CORDONED' });
  }
  return follow(current, event, { BOOTING: 'CORDONED', SERVING: 'CORDONED' }, 'CORDONED');
}

function drain(current: NodeLifecycle, event: NodeEvent & { kind: 'drain' }): Transition {
  const { policy, deadlineMs, deadlineIsHard = false } = event;
  const terms = { ...said(event), policy, remainingMs: deadlineMs, deadlineIsHard };
  switch (current.state) {
    case 'BOOTING':
    case 'SERVING':
    case 'CORDONED':
      return changed(current, { ...terms, state: 'DRAINING' });
    case 'DRAINING':
      return redrain(current, terms);
    case 'LOST':
      return isUsable(current.stateBefore) || current.stateBefore === 'CORDONED'
        ? changed(current, { ...terms, state: 'LOST', stateBefore: 'DRAINING' })
        : impossible(current, event);
    case 'DRAINED':
      return { kind: 'unchanged' };
    case 'DELETING':
    case 'GONE':
    case 'FAILED':
      return impossible(current, event);
  }
}

type DrainTerms = {
  owner: string;
  reason: string;
  policy: DrainPolicy;
  remainingMs: number | null;
  deadlineIsHard: boolean;
};

/**
 * Other terms for a drain that is under way. A platform that takes the machine is not talked out of it: its deadline can
 * only be brought forward. The same request again changes nothing, so that its deadline does not run from the start again.
 */
function redrain(current: NodeLifecycle, terms: DrainTerms): Transition {
  const isRepeated =
    terms.owner === current.owner &&
    terms.reason === current.reason &&
    terms.policy === current.policy &&
    terms.deadlineIsHard === (current.deadlineIsHard ?? false) &&
    (terms.remainingMs === null) === (current.remainingMs === null);
  if (isRepeated) {
    return { kind: 'unchanged' };
  }
  if (current.deadlineIsHard !== true || terms.deadlineIsHard) {
    return changed(current, { ...terms, state: 'DRAINING' });
  }
  const remainingMs = Math.min(current.remainingMs ?? Infinity, terms.remainingMs ?? Infinity);
  return changed(current, { ...terms, state: 'DRAINING', remainingMs, deadlineIsHard: true });
}

function undrain(current: NodeLifecycle, event: NodeEvent): Transition {
  const served = { ...said(event), state: 'SERVING', remainingMs: null, deadlineIsHard: false } as const;
  switch (current.state) {
    case 'SERVING':
    case 'BOOTING':
      return { kind: 'unchanged' };
    case 'CORDONED':
    case 'DRAINING':
      return changed(current, served);
    case 'LOST':
      return current.stateBefore === 'CORDONED' || current.stateBefore === 'DRAINING'
        ? changed(current, { ...served, state: 'LOST', stateBefore: 'SERVING' })
        : impossible(current, event);
    case 'DRAINED':
    case 'DELETING':
    case 'GONE':
      return refused('already-drained', `the node is ${current.state}: start another one instead`);
    case 'FAILED':
      return impossible(current, event);
  }
}

function startDeletion(current: NodeLifecycle, event: NodeEvent): Transition {
  switch (current.state) {
    case 'DRAINED':
    case 'LOST':
    case 'FAILED':
      return changed(current, { ...said(event), state: 'DELETING' });
    case 'DELETING':
    case 'GONE':
      return { kind: 'unchanged' };
    case 'BOOTING':
    case 'SERVING':
    case 'CORDONED':
    case 'DRAINING':
      return refused('not-drained', `the node is ${current.state}: drain it before it is deleted`);
  }
}

/** From the moment that nothing runs on a node, its silence is what everybody expects. */
function leave(current: NodeLifecycle, event: NodeEvent, state: 'LOST' | 'FAILED'): Transition {
  if (!mayCarryWork(current.state) || current.state === state || current.state === 'FAILED') {
    return { kind: 'unchanged' };
  }
  const stateBefore = isAway(current.state) ? (current.stateBefore ?? 'SERVING') : current.state;
  // Owner and reason of a drain stay: they belong to the wish, which goes on when the node is back.
  const keeps = stateBefore === 'DRAINING' || stateBefore === 'CORDONED';
  return changed(current, keeps ? { state, stateBefore } : { ...said(event), state, stateBefore });
}

function comeBack(current: NodeLifecycle, event: NodeEvent): Transition {
  if (current.state !== 'LOST') {
    return current.state === 'GONE' || current.state === 'DELETING' || current.state === 'FAILED'
      ? impossible(current, event)
      : { kind: 'unchanged' };
  }
  const state = current.stateBefore ?? 'SERVING';
  return changed(current, isUsable(state) ? { ...said(event), state } : { state });
}

function isAway(state: NodeState): boolean {
  return state === 'LOST' || state === 'FAILED';
}

function isUsable(state: NodeState | undefined): boolean {
  return state === undefined || state === 'SERVING' || state === 'BOOTING';
}

/** The participants' part of a drain plan: watch what is under way, prepare more, tell the next batch of clients. */
import type { AbortReason, DrainLeg, DrainRoom, DrainView, LegMove, Plan, ReconnectReason } from './drain-plan.ts';
import type { DrainTargets } from './drain-targets.ts';

export type LegOptions = {
  /** Undefined: nobody is to move. */
  targets: DrainTargets | undefined;
  /** The deadline is so near that whoever has not heard of a move is told to reconnect. */
  isLastCall: boolean;
};

export function planLegs(view: DrainView, plan: Plan, options: LegOptions): void {
  const told = new Set<DrainLeg>();
  for (const leg of view.legs) {
    watch(view, plan, { leg, options, told });
  }
  const { targets } = options;
  if (targets !== undefined) {
    if (!options.isLastCall) {
      prepare(view, plan, targets);
    }
    const waitMs = view.sinceLastBatchMs === null ? 0 : view.pacing.batchIntervalMs - view.sinceLastBatchMs;
    if (waitMs <= 0) {
      tellBatch(view, plan, { targets, isLastCall: options.isLastCall, told });
    } else if (view.legs.some(isWaiting)) {
      plan.wakesInMs.push(waitMs);
    }
  }
}

type Watched = { leg: DrainLeg; options: LegOptions; told: Set<DrainLeg> };

/** Ends what takes too long or has lost its purpose. */
function watch(view: DrainView, plan: Plan, { leg, options, told }: Watched): void {
  const { pacing } = view;
  const { move, roomName, participantSid } = leg;
  switch (move.kind) {
    case 'staying':
      if (options.targets !== undefined && move.retryInMs > 0) {
        plan.wakesInMs.push(move.retryInMs);
      }
      return;
    case 'preparing':
    case 'prepared':
      watchPreparation(view, plan, { leg, move, options, told });
      return;
    case 'triggered':
      if (!wakeBefore(plan, pacing.connectTimeoutMs - move.ageMs)) {
        plan.actions.push({ kind: 'reconnectClient', roomName, participantSid, why: 'not-connected' });
      }
      return;
    case 'reconnecting':
      if (!wakeBefore(plan, pacing.reconnectTimeoutMs - move.ageMs)) {
        plan.actions.push({ kind: 'closeLeg', roomName, participantSid });
      }
      return;
  }
}

type InPreparation = Watched & { move: LegMove & { kind: 'preparing' | 'prepared' } };

function watchPreparation(view: DrainView, plan: Plan, { leg, move, options, told }: InPreparation): void {
  const { roomName, participantSid } = leg;
  const { targets } = options;
  const { prepareTimeoutMs, preparedLifeMs } = view.pacing;
  const leftMs = (move.kind === 'preparing' ? prepareTimeoutMs : preparedLifeMs) - move.ageMs;
  const why = targets === undefined ? 'drain-ended' : abortReason(targets.isUsable(move.target), leftMs);
  if (why !== undefined) {
    plan.actions.push({ kind: 'abortPreparation', roomName, participantSid, why });
    told.add(leg);
  } else {
    plan.wakesInMs.push(leftMs);
  }
}

function abortReason(isTargetUsable: boolean, leftMs: number): AbortReason | undefined {
  if (!isTargetUsable) {
    return 'target-lost';
  }
  return leftMs <= 0 ? 'timeout' : undefined;
}

function wakeBefore(plan: Plan, leftMs: number): boolean {
  if (leftMs > 0) {
    plan.wakesInMs.push(leftMs);
  }
  return leftMs > 0;
}

function prepare(view: DrainView, plan: Plan, targets: DrainTargets): void {
  let free = view.pacing.maxInFlight - view.legs.filter(({ move }) => 'target' in move).length;
  for (const leg of inOrder(view)) {
    if (free <= 0) {
      return;
    }
    const isDue = leg.move.kind === 'staying' && leg.move.retryInMs <= 0 && !mustReconnect(view, leg);
    const target = isDue ? targets.ofLeg(leg.roomName) : undefined;
    if (target !== undefined) {
      const { roomName, participantSid } = leg;
      plan.actions.push({ kind: 'prepareLeg', roomName, participantSid, target });
      free -= 1;
    }
  }
}

type Telling = { targets: DrainTargets; isLastCall: boolean; told: ReadonlySet<DrainLeg> };

/** Clients told at once come room by room, so that a subscriber who sees several of them move negotiates once. */
function tellBatch(view: DrainView, plan: Plan, telling: Telling): void {
  let free = view.pacing.batchSize;
  for (const [roomName, legs] of Map.groupBy(inOrder(view), (leg) => leg.roomName)) {
    if (free <= 0) {
      plan.wakesInMs.push(view.pacing.batchIntervalMs);
      return;
    }
    const open = legs.filter((leg) => !telling.told.has(leg));
    const reconnecting = open
      .flatMap((leg) => {
        const why = reconnectReason(view, leg, telling);
        return why === undefined ? [] : [{ leg, why }];
      })
      .slice(0, free);
    for (const { leg, why } of reconnecting) {
      plan.actions.push({ kind: 'reconnectClient', roomName, participantSid: leg.participantSid, why });
    }
    free -= reconnecting.length;
    const moving = telling.isLastCall ? [] : readyToMove(view, plan, open).slice(0, free);
    if (moving.length > 0) {
      plan.actions.push({ kind: 'triggerLegs', roomName, legs: moving.map(toTrigger) });
      free -= moving.length;
    }
  }
}

function toTrigger({
  participantSid,
  publishes,
}: DrainLeg): Pick<DrainLeg, 'participantSid'> & { how: 'in-place' | 'resume' } {
  return { participantSid, how: publishes ? 'resume' : 'in-place' };
}

/** Reconnecting is of use only when there is somewhere to go; until then the call goes on here. */
function reconnectReason(view: DrainView, leg: DrainLeg, telling: Telling): ReconnectReason | undefined {
  const isUntold = leg.move.kind === 'staying' || leg.move.kind === 'preparing' || leg.move.kind === 'prepared';
  if (!isUntold || !(telling.isLastCall || mustReconnect(view, leg)) || !telling.targets.canTake(leg.roomName)) {
    return undefined;
  }
  if (telling.isLastCall) {
    return 'deadline';
  }
  return leg.acceptsMove ? 'preparation-failed' : 'cannot-move';
}

function mustReconnect(view: DrainView, { acceptsMove, move }: DrainLeg): boolean {
  return !acceptsMove || (move.kind === 'staying' && move.failures >= view.pacing.maxFailures);
}

/** Legs of one room that can go now. A room that fits a batch goes as a whole as soon as all of it is prepared. */
function readyToMove(view: DrainView, plan: Plan, legs: readonly DrainLeg[]): DrainLeg[] {
  const prepared = legs.filter((leg) => leg.move.kind === 'prepared');
  const isGathering = prepared.length < view.pacing.batchSize && legs.some((leg) => leg.move.kind === 'preparing');
  if (isGathering) {
    return [];
  }
  if (legs.filter(({ publishes }) => publishes).length <= view.pacing.maxPublishersInTurn) {
    return nextInTurn(view, plan, { legs, prepared });
  }
  const lastAgeMs = Math.min(
    ...legs.flatMap(({ publishes, move }) => (publishes && move.kind === 'triggered' ? [move.ageMs] : [])),
  );
  if (lastAgeMs >= view.pacing.renegotiationIntervalMs) {
    return prepared;
  }
  if (prepared.some((leg) => leg.publishes)) {
    plan.wakesInMs.push(view.pacing.renegotiationIntervalMs - lastAgeMs);
  }
  return prepared.filter((leg) => !leg.publishes);
}

type Turn = { legs: readonly DrainLeg[]; prepared: readonly DrainLeg[] };

/**
 * One publisher after another, then the others: whose connection restarts together with that of somebody it hears is
 * without sound for the sum of both.
 */
function nextInTurn({ pacing }: DrainView, plan: Plan, { legs, prepared }: Turn): DrainLeg[] {
  if (prepared.length > 0 && legs.some(({ publishes, move }) => publishes && move.kind === 'triggered')) {
    plan.wakesInMs.push(pacing.batchIntervalMs);
    return [];
  }
  const publisher = prepared.find(({ publishes }) => publishes);
  return publisher === undefined ? [...prepared] : [publisher];
}

function isWaiting({ move }: DrainLeg): boolean {
  return move.kind === 'prepared' || move.kind === 'staying';
}

/**
 * Legs of rooms whose host is elsewhere by now, room by room, publishers first: a viewer that sees its publisher through a
 * pipe has its key frame sooner than one beside the publisher, and the viewers follow after.
 */
function inOrder(view: DrainView): DrainLeg[] {
  const settled = new Set(view.rooms.filter((room) => isSettled(view, room)).map((room) => room.roomName));
  const rank = new Map([...settled].map((roomName, index) => [roomName, index]));
  return view.legs
    .filter((leg) => settled.has(leg.roomName))
    .sort(
      (left, right) =>
        (rank.get(left.roomName) ?? 0) - (rank.get(right.roomName) ?? 0) ||
        Number(right.publishes) - Number(left.publishes),
    );
}

function isSettled(view: DrainView, room: DrainRoom): boolean {
  return room.hostNodeId !== view.nodeId;
}

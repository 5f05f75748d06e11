/**
 * What to do next with a node that is to become empty. The plan is made anew from what is observed, so it is correct from
 * any state: after a step failed, after another leader took over half-way, after the operator changed his mind.
 *
 * Rooms' hosts leave first, which no client notices. Then the participants leave in batches, each prepared on its target
 * before its client hears of it. Whoever only subscribes gets an ordinary new offer in place; whoever publishes comes
 * back by a resume, because on a publisher connection that is restarted in place Chromium closes data channels that are
 * being written to. Clients that cannot take a new fingerprint, or do not come up on the target, are told to reconnect.
 *
 * Ages instead of points of time: they are measured where things happen, so that no two clocks are compared.
 */
import type { NodeId, ParticipantSid } from '../protocol/ids.ts';
import { planLegs } from './drain-legs.ts';
import { DrainTargets } from './drain-targets.ts';
import type { DrainPolicy } from './node-lifecycle.ts';
import type { HostRequest, Rejection } from './select-node.ts';

export type DrainTerms = {
  policy: DrainPolicy;
  remainingMs: number | null;
  /** The platform takes the machine then. */
  deadlineIsHard: boolean;
};

/** A room whose host is here, or that has legs here. */
export type DrainRoom = {
  roomName: string;
  hostNodeId: NodeId;
  /** Of a host that is here: how far its move is. */
  hostMove:
    | { kind: 'staying'; failures: number; retryInMs: number }
    | { kind: 'moving'; target: NodeId; ageMs: number };
};

export type LegMove =
  | { kind: 'staying'; failures: number; retryInMs: number }
  | { kind: 'preparing'; target: NodeId; ageMs: number }
  | { kind: 'prepared'; target: NodeId; ageMs: number }
  /** Its client has been told; the old transports live until the new ones are connected. */
  | { kind: 'triggered'; how: 'in-place' | 'resume'; target: NodeId; ageMs: number }
  | { kind: 'reconnecting'; ageMs: number };

export type DrainLeg = {
  participantSid: ParticipantSid;
  roomName: string;
  /** It has a publisher connection, or is about to get one. */
  publishes: boolean;
  /** False for clients known not to accept new transport parameters on a connection. */
  acceptsMove: boolean;
  move: LegMove;
};

/** Recordings, inputs and agents cannot move. */
export type DrainJob = { jobId: string; kind: 'egress' | 'ingress' | 'agent'; roomName: string; isStopping: boolean };

export type DrainPacing = {
  /** Participants whose clients are told at once. */
  batchSize: number;
  batchIntervalMs: number;
  /** Participants between the start of their preparation and their arrival. */
  maxInFlight: number;
  /** Host moves under way at once. */
  maxHostMoves: number;
  /** Between two batches of publishers of one room: each makes every subscriber negotiate once. */
  renegotiationIntervalMs: number;
  /** Up to so many publishers of a room go one after another; of more, each turn would make too many negotiate. */
  maxPublishersInTurn: number;
  prepareTimeoutMs: number;
  /**
   * What was prepared and not used by then is taken back. A target drops it a little later by itself: nobody may be left
   * to tell it.
   */
  preparedLifeMs: number;
  hostMoveTimeoutMs: number;
  /** No DTLS on the new transport by then: the client does not take it. */
  connectTimeoutMs: number;
  /** How long a client that was told to reconnect may take to let go. */
  reconnectTimeoutMs: number;
  /** Preparations that may fail before a client is told to reconnect instead. */
  maxFailures: number;
  /** Before the deadline, what has not moved is told to reconnect. */
  lastCallMs: number;
  /** Time that jobs get to end in good order before the platform takes the machine, e.g. to upload a recording. */
  jobStopMs: number;
  /** Others may place work by what they knew before the drain for so long: longer than a report may be old. */
  settleMs: number;
};

export const defaultDrainPacing: DrainPacing = {
  batchSize: 15,
  batchIntervalMs: 200,
  maxInFlight: 60,
  maxHostMoves: 20,
  renegotiationIntervalMs: 500,
  maxPublishersInTurn: 4,
  prepareTimeoutMs: 5_000,
  preparedLifeMs: 15_000,
  hostMoveTimeoutMs: 5_000,
  connectTimeoutMs: 5_000,
  reconnectTimeoutMs: 5_000,
  maxFailures: 3,
  lastCallMs: 5_000,
  jobStopMs: 30_000,
  settleMs: 2_500,
};

export type DrainView = {
  nodeId: NodeId;
  /** Undefined when the node is not, or no longer, to be drained: what was begun is taken back or brought to its end. */
  drain: DrainTerms | undefined;
  /** Since this leader knows of it; 0 when it has just become leader. */
  drainingForMs: number;
  /** Also those that Redis says are hosted here and that the node does not know yet. */
  rooms: readonly DrainRoom[];
  legs: readonly DrainLeg[];
  jobs: readonly DrainJob[];
  /** Since clients were last told to move; null when none has been. */
  sinceLastBatchMs: number | null;
  /** Nodes to move to. */
  placement: Omit<HostRequest, 'key'>;
  pacing: DrainPacing;
};

export type DrainAction =
  | { kind: 'moveHost'; roomName: string; target: NodeId }
  | { kind: 'abortHostMove'; roomName: string; why: AbortReason }
  | { kind: 'prepareLeg'; roomName: string; participantSid: ParticipantSid; target: NodeId }
  /** Takes back what was prepared; the client has not heard of it. */
  | { kind: 'abortPreparation'; roomName: string; participantSid: ParticipantSid; why: AbortReason }
  /** Tells these clients, in one step of the room: each subscriber then negotiates once for all of them. */
  | { kind: 'triggerLegs'; roomName: string; legs: { participantSid: ParticipantSid; how: 'in-place' | 'resume' }[] }
  | { kind: 'reconnectClient'; roomName: string; participantSid: ParticipantSid; why: ReconnectReason }
  /** The client was told to go and did not. */
  | { kind: 'closeLeg'; roomName: string; participantSid: ParticipantSid }
  | { kind: 'stopJob'; jobId: string }
  | { kind: 'markDrained' }
  /** The machine goes now: whatever is left ends. */
  | { kind: 'giveUp'; rooms: number; legs: number; jobs: number };

export type AbortReason = 'timeout' | 'target-lost' | 'drain-ended';
export type ReconnectReason = 'cannot-move' | 'preparation-failed' | 'not-connected' | 'deadline';

/** What the node still waits for; shown to operators. */
export type DrainWait =
  | { kind: 'room'; roomName: string }
  | { kind: 'job'; jobId: string; job: DrainJob['kind']; roomName: string }
  | { kind: 'no-target'; roomName: string; rejections: Rejection[] }
  | { kind: 'moving'; hosts: number; legs: number };

export type DrainPlan = {
  actions: DrainAction[];
  waitingFor: DrainWait[];
  /** Plan again after this time, or earlier when something changed; undefined: only when something changes. */
  againInMs: number | undefined;
};

export function planDrain(view: DrainView): DrainPlan {
  const { drain } = view;
  if (drain === undefined) {
    return finish(view, takeBack(view));
  }
  if (drain.deadlineIsHard && drain.remainingMs !== null && drain.remainingMs <= 0) {
    return giveUp(view);
  }
  if (isEmpty(view)) {
    const leftMs = view.pacing.settleMs - view.drainingForMs;
    return leftMs <= 0
      ? { actions: [{ kind: 'markDrained' }], waitingFor: [], againInMs: undefined }
      : { actions: [], waitingFor: [], againInMs: leftMs };
  }
  const plan = policyNow(drain, view) === 'wait' ? takeBack(view) : migrate(view, drain);
  if (drain.deadlineIsHard && drain.remainingMs !== null) {
    planHardDeadline(view, plan, drain.remainingMs);
  }
  return finish(view, plan);
}

function isEmpty(view: DrainView): boolean {
  return (
    view.rooms.every((room) => room.hostNodeId !== view.nodeId) && view.legs.length === 0 && view.jobs.length === 0
  );
}

function planHardDeadline(view: DrainView, plan: Plan, remainingMs: number): void {
  plan.wakesInMs.push(remainingMs);
  const running = view.jobs.filter((job) => !job.isStopping);
  if (remainingMs <= view.pacing.jobStopMs) {
    plan.actions.push(...running.map(({ jobId }): DrainAction => ({ kind: 'stopJob', jobId })));
  } else if (running.length > 0) {
    plan.wakesInMs.push(remainingMs - view.pacing.jobStopMs);
  }
}

/** How long moving everything may take; a `wait` that the platform ends begins to migrate so long before. */
function migrationEstimateMs(view: Pick<DrainView, 'legs' | 'pacing'>): number {
  const { pacing, legs } = view;
  const perBatchMs = Math.max(pacing.batchIntervalMs, 1_000 * (pacing.batchSize / pacing.maxInFlight));
  const batches = Math.ceil(legs.length / pacing.batchSize);
  const attemptMs = pacing.hostMoveTimeoutMs + pacing.prepareTimeoutMs + pacing.connectTimeoutMs;
  return batches * perBatchMs + attemptMs + pacing.reconnectTimeoutMs + pacing.lastCallMs;
}

function policyNow(drain: DrainTerms, view: DrainView): DrainPolicy {
  const isEnding = drain.deadlineIsHard && drain.remainingMs !== null && drain.remainingMs <= migrationEstimateMs(view);
  return isEnding ? 'migrate' : drain.policy;
}

function giveUp(view: DrainView): DrainPlan {
  const rooms = view.rooms.filter((room) => room.hostNodeId === view.nodeId).length;
  return {
    actions: [{ kind: 'giveUp', rooms, legs: view.legs.length, jobs: view.jobs.length }, { kind: 'markDrained' }],
    waitingFor: [],
    againInMs: undefined,
  };
}

export type Plan = { actions: DrainAction[]; waits: DrainWait[]; wakesInMs: number[] };

/** Nothing is to move (any more). Clients that have heard of their move complete it; there is no way back for them. */
function takeBack(view: DrainView): Plan {
  const plan: Plan = { actions: [], waits: [], wakesInMs: [] };
  for (const { roomName, hostMove } of view.rooms) {
    if (hostMove.kind === 'moving') {
      plan.actions.push({ kind: 'abortHostMove', roomName, why: 'drain-ended' });
    }
  }
  planLegs(view, plan, { targets: undefined, isLastCall: false });
  return plan;
}

function migrate(view: DrainView, drain: DrainTerms): Plan {
  const plan: Plan = { actions: [], waits: [], wakesInMs: [] };
  const targets = new DrainTargets(view);
  planHosts(view, plan, targets);
  const lastCallInMs = drain.remainingMs === null ? Infinity : drain.remainingMs - view.pacing.lastCallMs;
  planLegs(view, plan, { targets, isLastCall: lastCallInMs <= 0 });
  plan.waits.push(...targets.missing());
  if (lastCallInMs > 0 && lastCallInMs < Infinity) {
    plan.wakesInMs.push(lastCallInMs);
  }
  if (targets.missing().length > 0) {
    plan.wakesInMs.push(1_000);
  }
  return plan;
}

function planHosts(view: DrainView, plan: Plan, targets: DrainTargets): void {
  const here = view.rooms.filter((room) => room.hostNodeId === view.nodeId);
  let free = view.pacing.maxHostMoves - here.filter(({ hostMove }) => hostMove.kind === 'moving').length;
  for (const { roomName, hostMove } of here) {
    if (hostMove.kind === 'moving') {
      watchHostMove(view, plan, { roomName, hostMove, targets });
    } else if (hostMove.retryInMs > 0) {
      plan.wakesInMs.push(hostMove.retryInMs);
    } else if (free > 0) {
      const target = targets.ofHost(roomName);
      if (target !== undefined) {
        plan.actions.push({ kind: 'moveHost', roomName, target });
        free -= 1;
      }
    }
  }
}

type MovingHost = { roomName: string; hostMove: { target: NodeId; ageMs: number }; targets: DrainTargets };

function watchHostMove(view: DrainView, plan: Plan, { roomName, hostMove, targets }: MovingHost): void {
  const leftMs = view.pacing.hostMoveTimeoutMs - hostMove.ageMs;
  if (!targets.isUsable(hostMove.target)) {
    plan.actions.push({ kind: 'abortHostMove', roomName, why: 'target-lost' });
  } else if (leftMs <= 0) {
    plan.actions.push({ kind: 'abortHostMove', roomName, why: 'timeout' });
  } else {
    plan.wakesInMs.push(leftMs);
  }
}

function finish(view: DrainView, plan: Plan): DrainPlan {
  const { drain, rooms, legs, jobs } = view;
  const waitingFor = [...plan.waits];
  if (drain !== undefined) {
    if (policyNow(drain, view) === 'wait') {
      waitingFor.push(...rooms.map(({ roomName }): DrainWait => ({ kind: 'room', roomName })));
      if (drain.deadlineIsHard && drain.remainingMs !== null) {
        plan.wakesInMs.push(drain.remainingMs - migrationEstimateMs(view));
      }
    } else {
      const hosts = rooms.filter((room) => room.hostNodeId === view.nodeId).length;
      if (hosts + legs.length > 0) {
        waitingFor.push({ kind: 'moving', hosts, legs: legs.length });
      }
    }
    waitingFor.push(
      ...jobs.map(({ jobId, kind, roomName }): DrainWait => ({ kind: 'job', jobId, job: kind, roomName })),
    );
  }
  const againInMs = plan.wakesInMs.length === 0 ? undefined : Math.max(0, Math.min(...plan.wakesInMs));
  return { actions: plan.actions, waitingFor, againInMs };
}

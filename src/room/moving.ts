/**
 * Moves of participants to other legs, make-before-break: the new leg is made ready with all that depends on it, then the
 * client is told, by an ordinary offer or by a closed socket after which it resumes, and the old leg goes when nobody needs
 * it any more. Whatever fails before the client was told leaves the call as it was; after that the client joins anew.
 */
import { LeaveRequest_Action } from '@livekit/protocol';
import type { DrainLeg } from '../placement/drain-plan.ts';
import { legId, type LegId, type ParticipantSid } from '../protocol/ids.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';
import { acceptsMove } from './accepts-move.ts';
import { changeTimedOut, enteringLegReported, leavingLegReported } from './change-room.ts';
import { leaveRules, socketClose } from './close-reason.ts';
import { openedLeg } from './join.ts';
import { closeSocket, encodeLeave, removeParticipant } from './leave.ts';
import {
  moveTimers,
  nextLegOf,
  type LegMoveAction,
  type Prepared,
  type Preparing,
  type Triggered,
} from './move-state.ts';
import { dropSuccessors, announceSuccessors, areSuccessorsReady } from './move-tracks.ts';
import type { Participant } from './participant.ts';
import type { RoomState } from './room-state.ts';

/**
 * Bounds of the steps. Whoever plans moves watches most of them too, with shorter ones; these hold when nobody is left to
 * do so.
 */
const bounds = {
  prepareMs: 8_000,
  /** Subscribers of a publisher that moves get so long to make consumers in advance; the others do so later. */
  successorsMs: 2_000,
  preparedMs: 18_000,
  holdMs: 3_000,
  connectMs: 7_000,
  reconnectMs: 10_000,
  notReadyMs: 500,
  /** livekit-client waits for two seconds before it calls a resume done. */
  resumeMs: 4_000,
  firstRetryMs: 1_000,
  maxRetryMs: 8_000,
} as const;

/** Harmless when it is repeated, or when its participant is gone or elsewhere on its way. */
export function performMove(room: RoomState, action: LegMoveAction): void {
  if (action.kind === 'triggerLegs') {
    for (const { participantSid, how } of action.legs) {
      const participant = room.participants.get(participantSid);
      if (participant?.move.kind === 'prepared' && !isComingBack(room, participant)) {
        trigger(room, participant, { move: participant.move, how });
      }
    }
    return;
  }
  const participant = room.participants.get(action.participantSid);
  if (participant === undefined) {
    return;
  }
  switch (action.kind) {
    case 'prepareLeg':
      return prepare(room, participant, action.target);
    case 'abortPreparation':
      if (participant.move.kind === 'preparing' || participant.move.kind === 'prepared') {
        abortMove(room, participant, action.why === 'drain-ended' ? {} : { failure: action.why });
      }
      return;
    case 'reconnectClient':
      return reconnectClient(room, participant, action.why);
    case 'closeLeg':
      return removeParticipant(room, participant, 'moved');
  }
}

function prepare(room: RoomState, participant: Participant, target: Preparing['target']): void {
  const { move } = participant;
  if (move.kind !== 'staying' || move.retryAtMs > room.nowMs) {
    return;
  }
  if (!participant.isActive || participant.iceLost || participant.resuming !== undefined) {
    participant.move = { ...move, retryAtMs: room.nowMs + bounds.notReadyMs };
    return;
  }
  const { failures } = move;
  participant.move = {
    kind: 'preparing',
    target,
    sinceMs: room.nowMs,
    failures,
    leg: undefined,
    publications: undefined,
  };
  room.timers.set(`move:${participant.sid}`, room.nowMs + bounds.prepareMs);
  room.outbox.toLeg({ kind: 'export', leg: participant.leg });
}

/** What one leg says, about itself. */
type MessageOfLeg = Exclude<Extract<LegToHost, { leg: LegId }>, { kind: 'restated' | 'late' }>;

/** What a leg of this participant says about a move, or any leg that is not the one in charge. */
export function moveReported(room: RoomState, participant: Participant, message: MessageOfLeg): void {
  const { move } = participant;
  if (message.leg === participant.leg) {
    return activeLegReported(room, participant, message);
  }
  if (message.leg !== nextLegOf(move)) {
    // Its connections end when the client goes over to the new ones; what others still get from it goes on.
    if (message.kind === 'closed' || (message.kind === 'failed' && message.failure === 'worker-died')) {
      dropRetiring(room, participant, message.leg);
    }
    return;
  }
  if (message.kind === 'prepared' && move.kind === 'preparing') {
    move.publications = message.publications;
    announceSuccessors(room, participant, message.publications);
    room.timers.set(`moveReady:${participant.sid}`, room.nowMs + bounds.successorsMs);
    successorsChanged(room, participant);
  } else if (message.kind === 'failed' || message.kind === 'closed') {
    abortMove(room, participant, { failure: 'detail' in message ? message.detail : 'the leg was closed' });
  }
}

function activeLegReported(room: RoomState, participant: Participant, message: MessageOfLeg): void {
  const { move } = participant;
  if (move.kind === 'leaving') {
    return leavingLegReported(room, participant, message);
  }
  if (move.kind === 'entering') {
    return enteringLegReported(room, participant, message);
  }
  const isHolding = move.kind === 'triggered' && move.step === 'holding';
  if (message.kind === 'exported' && move.kind === 'preparing' && move.leg === undefined) {
    participant.legs += 1;
    const leg = legId(participant.sid, participant.legs);
    move.leg = leg;
    const opened = openedLeg(room, participant, { leg, moved: message.snapshot });
    room.outbox.push({ kind: 'toLeg', message: opened, target: move.target });
    for (const requestId of room.rpcs.keys()) {
      room.outbox.toLeg({ kind: 'interceptRpc', roomName: room.name, requestId, active: true });
    }
  } else if (message.kind === 'held' && isHolding) {
    activate(room, participant, { move, held: message });
  } else if (message.kind === 'notHeld' && isHolding) {
    abortMove(room, participant, { failure: message.detail });
  }
}

/** A subscriber's leg may have become ready for the next producers of this publisher. */
export function successorsChanged(room: RoomState, publisher: Participant): void {
  const { move } = publisher;
  if (move.kind === 'preparing' && move.leg !== undefined && areSuccessorsReady(room, publisher)) {
    becomePrepared(room, publisher, move);
  }
}

function becomePrepared(room: RoomState, participant: Participant, move: Preparing): void {
  const { target, failures, leg, publications } = move;
  if (leg === undefined || publications === undefined) {
    return;
  }
  participant.move = { kind: 'prepared', target, failures, leg, publications, sinceMs: room.nowMs };
  room.timers.clear(`moveReady:${participant.sid}`);
  room.timers.set(`move:${participant.sid}`, room.nowMs + bounds.preparedMs);
}

/** Whoever publishes is moved by a resume: on a publisher connection that is restarted in place data channels may close. */
function trigger(
  room: RoomState,
  participant: Participant,
  { move, how }: { move: Prepared; how: Triggered['how'] },
): void {
  const { target, failures, leg } = move;
  const { connectionId } = participant;
  const isInPlace = how === 'in-place' && !publishes(participant) && connectionId !== undefined;
  const triggered: Triggered = {
    kind: 'triggered',
    how: isInPlace ? 'in-place' : 'resume',
    target,
    failures,
    leg,
    sinceMs: room.nowMs,
    step: 'calling',
    queued: [],
    needs: {
      publisher: participant.transports.publisher === 'connected',
      subscriber: participant.transports.subscriber === 'connected',
    },
    pending: undefined,
    isSwitched: false,
    arrivedMs: undefined,
  };
  participant.move = triggered;
  room.timers.set(`move:${participant.sid}`, room.nowMs + bounds.connectMs);
  if (isInPlace) {
    hold(room, participant, triggered);
  } else if (connectionId !== undefined) {
    // Without a `leave`: the Rust core would answer it by a full reconnect at the next opportunity.
    closeSocket(room, connectionId, socketClose.moved);
    participant.connectionId = undefined;
    participant.detachedAtMs = room.nowMs;
    room.outbox.toLeg({ kind: 'away', leg: participant.leg });
  }
}

/**
 * The client is back.
 * @returns how long it may take until the next leg, with which its session goes on, has what it needs; undefined: it goes
 * on with the present one
 */
export function resumesOnNextLeg(room: RoomState, participant: Participant): number | undefined {
  const { move } = participant;
  if (move.kind !== 'triggered') {
    return undefined;
  }
  if (move.step === 'calling') {
    hold(room, participant, move);
    return bounds.holdMs;
  }
  if (move.step === 'holding') {
    // Its socket broke at the very moment of an in-place move.
    move.how = 'resume';
    return bounds.holdMs;
  }
  return undefined;
}

/** Each step has its time, so that a client that is slow to come back is not told to go when it has just arrived. */
function enter(room: RoomState, participant: Participant, move: Triggered, step: 'holding' | 'arriving'): void {
  move.step = step;
  move.sinceMs = room.nowMs;
  room.timers.set(`move:${participant.sid}`, room.nowMs + bounds.connectMs);
}

function hold(room: RoomState, participant: Participant, move: Triggered): void {
  enter(room, participant, move, 'holding');
  room.timers.set(`moveHold:${participant.sid}`, room.nowMs + bounds.holdMs);
  room.outbox.toLeg({ kind: 'hold', leg: participant.leg, how: move.how });
  room.outbox.toLeg({ kind: 'cut', leg: move.leg });
}

function activate(
  room: RoomState,
  participant: Participant,
  { move, held }: { move: Triggered; held: Extract<LegToHost, { kind: 'held' }> },
): void {
  const { snapshot, data } = held;
  enter(room, participant, move, 'arriving');
  room.timers.clear(`moveHold:${participant.sid}`);
  participant.retiring.push(participant.leg);
  participant.leg = move.leg;
  participant.transports = { publisher: 'new', subscriber: 'new' };
  room.outbox.toLeg({ kind: 'activate', leg: move.leg, how: move.how, snapshot, data });
  for (const offer of move.queued.splice(0)) {
    room.outbox.toLeg({ ...offer, leg: move.leg });
  }
  // The next host is told by this one.
  room.dueKeepsakes.add(participant);
}

/** A description of the client, for the leg that is going to answer it. */
export function passDescription(
  room: RoomState,
  from: Participant,
  message: Extract<HostToLeg, { kind: 'clientOffer' | 'clientAnswer' }>,
): void {
  const { move } = from;
  if (move.kind === 'triggered' && move.step === 'holding' && message.kind === 'clientOffer') {
    move.queued = [message];
  } else {
    room.outbox.toLeg(message);
  }
}

/** Nothing has changed for the client; it may be tried again. @param options.failure undefined: it is not to move any more */
function abortMove(room: RoomState, participant: Participant, { failure }: { failure?: string }): void {
  const { move } = participant;
  if (move.kind !== 'preparing' && move.kind !== 'prepared' && move.kind !== 'triggered') {
    return;
  }
  const isFailure = failure !== undefined;
  if (isFailure) {
    room.outbox.push({
      kind: 'log',
      level: 'info',
      message: 'a move came to nothing',
      fields: { room: room.name, participant: participant.sid, step: move.kind, detail: failure },
    });
  }
  const leg = nextLegOf(move);
  const failures = move.failures + (isFailure ? 1 : 0);
  const waitMs = isFailure ? Math.min(bounds.firstRetryMs * 2 ** (failures - 1), bounds.maxRetryMs) : 0;
  participant.move = { kind: 'staying', failures, retryAtMs: room.nowMs + waitMs };
  clearMoveTimers(room, participant);
  dropSuccessors(room, participant);
  if (leg !== undefined) {
    room.outbox.toLeg({ kind: 'close', leg, reason: 'move-aborted' });
  }
  if (move.kind !== 'triggered') {
    return;
  }
  if (move.step === 'holding') {
    room.outbox.toLeg({ kind: 'unhold', leg: participant.leg });
    for (const offer of move.queued) {
      room.outbox.toLeg({ ...offer, leg: participant.leg });
    }
    if (participant.resuming !== undefined) {
      room.outbox.toLeg({ kind: 'resume', leg: participant.leg, mediaLost: participant.iceLost });
    }
  }
}

/**
 * The client is told to join anew. Its session lives on until it does, or lets go of its connections, so that the others
 * hear and see it as long as possible.
 */
function reconnectClient(
  room: RoomState,
  participant: Participant,
  why: Extract<LegMoveAction, { kind: 'reconnectClient' }>['why'],
): void {
  if (participant.move.kind === 'reconnecting') {
    return;
  }
  const { connectionId } = participant;
  const leg = nextLegOf(participant.move);
  if (leg !== undefined) {
    room.outbox.toLeg({ kind: 'close', leg, reason: 'move-aborted' });
  }
  dropSuccessors(room, participant);
  clearMoveTimers(room, participant);
  participant.move = { kind: 'reconnecting', sinceMs: room.nowMs };
  room.timers.set(`move:${participant.sid}`, room.nowMs + bounds.reconnectMs);
  room.outbox.push({
    kind: 'log',
    level: 'info',
    message: 'a client is told to reconnect instead of being moved',
    fields: { room: room.name, participant: participant.sid, why, ...participant.transports },
  });
  if (connectionId !== undefined) {
    const message = encodeLeave(leaveRules.moved.reason, LeaveRequest_Action.RECONNECT);
    room.outbox.toGateway({ kind: 'send', connectionIds: [connectionId], message });
    closeSocket(room, connectionId, socketClose.left);
    participant.connectionId = undefined;
    participant.detachedAtMs = room.nowMs;
  }
}

/** What was begun takes too long, and whoever watched over it does so no more. */
export function moveTimedOut(room: RoomState, participant: Participant): void {
  switch (participant.move.kind) {
    case 'staying':
      return;
    case 'preparing':
    case 'prepared':
      return abortMove(room, participant, { failure: 'nobody went on with it' });
    case 'triggered':
      return participant.move.step === 'settling' ? undefined : reconnectClient(room, participant, 'not-connected');
    case 'reconnecting':
      return removeParticipant(room, participant, 'moved');
    case 'leaving':
    case 'entering':
      return changeTimedOut(room, participant);
  }
}

export function holdTimedOut(room: RoomState, participant: Participant): void {
  if (participant.move.kind === 'triggered' && participant.move.step === 'holding') {
    abortMove(room, participant, { failure: 'the old leg does not answer' });
  }
}

/** Some subscribers are not ready for its next producers; they will switch a little later than the others. */
export function successorsTimedOut(room: RoomState, participant: Participant): void {
  if (participant.move.kind === 'preparing') {
    becomePrepared(room, participant, participant.move);
  }
}

/**
 * A client that loses its socket again before its resume is over may forget what it has held back meanwhile (livekit-client),
 * or join anew (the Rust core). It is told once it is through, when the move is asked for again.
 */
function isComingBack(room: RoomState, { resuming, resumedAtMs }: Participant): boolean {
  return resuming !== undefined || (resumedAtMs !== undefined && room.nowMs - resumedAtMs < bounds.resumeMs);
}

/** It has a publisher connection, or is about to get one. */
function publishes({ transports, tracks }: Participant): boolean {
  return transports.publisher !== 'new' || tracks.size > 0;
}

function clearMoveTimers(room: RoomState, { sid }: Participant): void {
  for (const timer of moveTimers) {
    room.timers.clear(`${timer}:${sid}`);
  }
}

function dropRetiring(room: RoomState, participant: Participant, leg: LegId): void {
  if (participant.retiring.includes(leg)) {
    participant.retiring = participant.retiring.filter((other) => other !== leg);
    room.outbox.toLeg({ kind: 'close', leg, reason: 'moved' });
  }
}

/** A participant as the planner of moves sees it. */
export type MovableLeg = Omit<DrainLeg, 'roomName'> & {
  participantSid: ParticipantSid;
  /** The leg that has to go; a former one while its successor arrives. */
  leg: LegId;
};

export function movableLegs(room: RoomState): MovableLeg[] {
  return [...room.participants.values()].map((participant) => ({
    participantSid: participant.sid,
    leg: participant.retiring[0] ?? participant.leg,
    publishes: publishes(participant),
    acceptsMove: acceptsMove(participant.client),
    move: moveSeen(room, participant),
  }));
}

function moveSeen({ nowMs }: RoomState, { move }: Participant): DrainLeg['move'] {
  switch (move.kind) {
    case 'staying':
      return { kind: 'staying', failures: move.failures, retryInMs: Math.max(move.retryAtMs - nowMs, 0) };
    case 'preparing':
    case 'prepared':
      return { kind: move.kind, target: move.target, ageMs: nowMs - move.sinceMs };
    case 'triggered':
      // Once its transports are up there is nothing to be impatient about.
      return { kind: 'triggered', how: move.how, target: move.target, ageMs: nowMs - (move.arrivedMs ?? move.sinceMs) };
    case 'reconnecting':
      return { kind: 'reconnecting', ageMs: nowMs - move.sinceMs };
    case 'leaving':
    case 'entering':
      return { kind: 'staying', failures: 0, retryInMs: bounds.notReadyMs };
  }
}

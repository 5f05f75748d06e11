/**
 * MoveParticipant: a participant goes over to another room with the connections that it has. Its leg is held, and what it
 * is goes to the other room, which makes a leg ready from it; then the client is told, and resumes there. Clients that
 * cannot be moved to other connections are told to join the other room anew. Between the steps is whoever called: one that
 * is lost leaves the participant where it is.
 */
import {
  LeaveRequest_Action,
  MoveParticipantResponse,
  ParticipantInfo_State,
  RoomMovedResponse,
  type MoveParticipantRequest,
} from '@livekit/protocol';
import { legId } from '../protocol/ids.ts';
import type { LegToHost } from '../protocol/leg-messages.ts';
import type { HeldData, LegSnapshot } from '../protocol/leg-snapshot.ts';
import type { CommandResult } from '../protocol/session-messages.ts';
import { acceptsMove } from './accepts-move.ts';
import { leaveRules, socketClose } from './close-reason.ts';
import { openedLeg, refreshTokenOf } from './join.ts';
import { decodeKeepsake, encodeKeepsake } from './keepsake.ts';
import { encodeLeave, removeParticipant } from './leave.ts';
import { notMoving } from './move-state.ts';
import type { Participant } from './participant.ts';
import type { RoomState } from './room-state.ts';
import { computeWanted } from './subscriptions.ts';
import { countersChanged, flushUrgentUpdates } from './updates.ts';

type Failure = Extract<CommandResult, { ok: false }>;

const bounds = {
  holdMs: 3_000,
  /** For the other room to make its leg ready, and the caller to say so. */
  leaveMs: 12_000,
  prepareMs: 8_000,
  /** For the client to come. */
  enterMs: 15_000,
} as const;

/** A participant on its way, as one room gives it to the other; `rejoin`: without its connections. */
type Transfer =
  | { kind: 'rejoin' }
  | {
      kind: 'moved';
      keepsake: string;
      snapshot: LegSnapshot;
      data: Omit<HeldData, 'early'> & { early: string[] };
      legs: number;
    };

/** How the caller ends a move in the room that the participant is to leave. */
type Ending = { identity: string; destinationRoom: string } & (
  | { how: 'stays' | 'rejoins' }
  /** @param told a protobuf `RoomMovedResponse` without its token */
  | { how: 'moves'; told: string }
);

/** First step, in the room that the participant is in. */
export function exportParticipant(
  room: RoomState,
  requestId: number,
  request: MoveParticipantRequest,
): CommandResult | 'later' {
  const participant = room.identities.get(request.identity);
  if (participant === undefined) {
    return { ok: false, code: 'not_found', message: 'participant does not exist' };
  }
  if (participant.connectionId === undefined || participant.move.kind !== 'staying' || !participant.isActive) {
    return failed('the participant cannot be moved at the moment');
  }
  // On a single peer connection that went to another room, data of the client was seen to get lost.
  if (!acceptsMove(participant.client) || participant.singlePeerConnection) {
    return succeeded({ kind: 'rejoin' });
  }
  participant.move = { kind: 'leaving', requestId, sinceMs: room.nowMs, isHeld: false };
  room.timers.set(`move:${participant.sid}`, room.nowMs + bounds.holdMs);
  room.outbox.toLeg({ kind: 'hold', leg: participant.leg, how: 'resume' });
  return 'later';
}

/** What the leg says that was told to hold. */
export function leavingLegReported(room: RoomState, participant: Participant, message: LegToHost): void {
  const { move } = participant;
  if (move.kind !== 'leaving' || move.isHeld) {
    return;
  }
  if (message.kind === 'notHeld') {
    participant.move = notMoving;
    room.timers.clear(`move:${participant.sid}`);
    reply(room, move.requestId, failed(message.detail));
  } else if (message.kind === 'held') {
    const { snapshot, data } = message;
    move.isHeld = true;
    room.timers.set(`move:${participant.sid}`, room.nowMs + bounds.leaveMs);
    const keepsake = Buffer.from(encodeKeepsake(room, participant)).toString('base64');
    const early = (data.early ?? []).map((bytes) => Buffer.from(bytes).toString('base64'));
    const { legs } = participant;
    reply(room, move.requestId, succeeded({ kind: 'moved', keepsake, snapshot, data: { ...data, early }, legs }));
  }
}

/** Second step, in the other room. */
export function importParticipant(room: RoomState, requestId: number, bytes: Uint8Array): CommandResult | 'later' {
  const transfer = decode<Transfer>(bytes);
  const kept =
    transfer?.kind === 'moved'
      ? decodeKeepsake(room, new Uint8Array(Buffer.from(transfer.keepsake, 'base64')))
      : undefined;
  if (transfer?.kind !== 'moved' || kept === undefined) {
    return { ok: false, code: 'malformed', message: 'not a participant of this version' };
  }
  const { participant } = kept;
  const former = room.identities.get(participant.identity);
  const isFull =
    room.maxParticipants > 0 && room.countParticipants() - (former === undefined ? 0 : 1) >= room.maxParticipants;
  if (isFull && !participant.isDependent) {
    return failed('the destination room is full');
  }
  if (former !== undefined) {
    removeParticipant(room, former, 'duplicate-identity');
    flushUrgentUpdates(room);
  }
  const { snapshot, legs } = transfer;
  const early = transfer.data.early.map((text) => new Uint8Array(Buffer.from(text, 'base64')));
  participant.legs = legs + 1;
  participant.leg = legId(participant.sid, participant.legs);
  participant.grants = { ...participant.grants, room: room.name };
  participant.move = { kind: 'entering', requestId, snapshot, data: { ...transfer.data, early } };
  participant.state = ParticipantInfo_State.JOINED;
  for (const track of participant.tracks.values()) {
    track.lose();
  }
  participant.touch();
  room.participants.set(participant.sid, participant);
  room.identities.set(participant.identity, participant);
  room.wasJoined ||= !participant.isDependent;
  room.dirtySaves.add(participant);
  room.timers.clear('empty');
  countersChanged(room);
  room.timers.set(`move:${participant.sid}`, room.nowMs + bounds.prepareMs);
  participant.wanted = computeWanted(room, participant, 1);
  room.outbox.toLeg(openedLeg(room, participant, { leg: participant.leg, moved: snapshot }));
  return 'later';
}

/** What the leg says that is to take over. */
export function enteringLegReported(room: RoomState, participant: Participant, message: LegToHost): void {
  const { move } = participant;
  if (move.kind !== 'entering' || move.requestId === undefined) {
    return;
  }
  const { requestId } = move;
  if (message.kind === 'prepared') {
    move.requestId = undefined;
    room.timers.set(`move:${participant.sid}`, room.nowMs + bounds.enterMs);
    const others = [...room.participants.values()].filter((other) => other !== participant && !other.hidden);
    const told = new RoomMovedResponse({
      room: room.toVersionedMessage(),
      participant: participant.toInfo(),
      otherParticipants: others.map((other) => other.toInfo()),
    });
    reply(room, requestId, { ok: true, response: told.toBinary() });
  } else if (message.kind === 'failed' || message.kind === 'closed') {
    giveUpEntering(room, participant, 'detail' in message ? message.detail : 'the leg was closed');
  }
}

/** The client has come: the leg that was made ready is its leg. @returns false when it is not on its way here */
export function entersByResume(room: RoomState, participant: Participant): boolean {
  const { move } = participant;
  if (move.kind !== 'entering') {
    return false;
  }
  const { snapshot, data } = move;
  participant.move = notMoving;
  room.dueKeepsakes.add(participant);
  room.timers.clear(`move:${participant.sid}`);
  room.timers.set(`join:${participant.sid}`, room.nowMs + bounds.enterMs);
  room.outbox.toLeg({ kind: 'activate', leg: participant.leg, how: 'resume', snapshot, data });
  return true;
}

/** Third step, in the room that the participant is in. */
export function endMove(room: RoomState, bytes: Uint8Array): CommandResult {
  const ending = decode<Ending>(bytes);
  const participant = room.identities.get(ending?.identity ?? '');
  if (ending === undefined || participant === undefined) {
    return { ok: false, code: 'not_found', message: 'participant does not exist' };
  }
  const { connectionId } = participant;
  if (ending.how === 'stays') {
    stay(room, participant);
  } else if (connectionId === undefined || (ending.how === 'moves' && participant.move.kind !== 'leaving')) {
    stay(room, participant);
    return failed('the participant has lost its connection');
  } else {
    const { destinationRoom } = ending;
    const token = refreshTokenOf(participant, destinationRoom);
    const isMoved = ending.how === 'moves';
    room.outbox.push({
      kind: 'sendAway',
      connectionId,
      token,
      ...(isMoved ? { told: new Uint8Array(Buffer.from(ending.told, 'base64')) } : {}),
      ...(isMoved ? {} : { farewell: encodeLeave(leaveRules.moved.reason, LeaveRequest_Action.RECONNECT) }),
      close: isMoved ? socketClose.moved : socketClose.left,
    });
    room.connections.delete(connectionId);
    participant.connectionId = undefined;
    removeParticipant(room, participant, 'other-room');
  }
  return { ok: true, response: new MoveParticipantResponse().toBinary() };
}

/** Whoever moves the participant does not go on. */
export function changeTimedOut(room: RoomState, participant: Participant): void {
  const { move } = participant;
  if (move.kind === 'leaving') {
    stay(room, participant);
    if (!move.isHeld) {
      reply(room, move.requestId, failed('the leg does not answer'));
    }
  } else if (move.kind === 'entering') {
    giveUpEntering(room, participant, 'nobody came');
  }
}

function stay(room: RoomState, participant: Participant): void {
  if (participant.move.kind === 'leaving') {
    participant.move = notMoving;
    room.timers.clear(`move:${participant.sid}`);
    room.outbox.toLeg({ kind: 'unhold', leg: participant.leg });
  }
}

function giveUpEntering(room: RoomState, participant: Participant, why: string): void {
  const { move } = participant;
  removeParticipant(room, participant, 'signal-lost');
  if (move.kind === 'entering' && move.requestId !== undefined) {
    reply(room, move.requestId, { ok: false, code: 'unavailable', message: why });
  }
}

function failed(message: string): Failure {
  return { ok: false, code: 'failed_precondition', message };
}

function succeeded(transfer: Transfer): CommandResult {
  return { ok: true, response: new TextEncoder().encode(JSON.stringify(transfer)) };
}

function reply(room: RoomState, requestId: number, result: CommandResult): void {
  room.outbox.toGateway({ kind: 'commandResult', requestId, result });
}

function decode<Value>(bytes: Uint8Array): Value | undefined {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as Value;
  } catch {
    return undefined;
  }
}

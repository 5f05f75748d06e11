/** Ends of sessions. */
import { LeaveRequest, LeaveRequest_Action, ParticipantInfo_State, type DisconnectReason } from '@livekit/protocol';
import type { ConnectionId } from '../protocol/ids.ts';
import { leaveRules, socketClose, type LeaveCause } from './close-reason.ts';
import { dropDataSubscriber, endDataTrack } from './data-tracks.ts';
import { scheduleEmptyRoom } from './lifetime.ts';
import { legsOf, moveTimers } from './move-state.ts';
import type { Participant } from './participant.ts';
import { endTrack } from './publishing.ts';
import { speakerSilenced } from './quality-reports.ts';
import { keepDescription } from './saved-room.ts';
import type { RoomState } from './room-state.ts';
import { failRpcsOf } from './rpc.ts';
import { timing } from './settings.ts';
import { dropSubscriber } from './subscriptions.ts';
import { countersChanged, participantLeft } from './updates.ts';
import { participantWebhook } from './webhooks.ts';
import { encodeSignal } from './wire.ts';

export function encodeLeave(reason: DisconnectReason, action: LeaveRequest_Action): Uint8Array {
  // Clients up to protocol 12 read `canReconnect` only.
  const canReconnect = action !== LeaveRequest_Action.DISCONNECT;
  return encodeSignal({ case: 'leave', value: new LeaveRequest({ reason, action, canReconnect }) });
}

/** @param stated the client's own reason, in place of the cause's */
export function removeParticipant(
  room: RoomState,
  participant: Participant,
  cause: LeaveCause,
  stated?: DisconnectReason,
): void {
  if (participant.isGone) {
    return;
  }
  const rule = leaveRules[cause];
  const wasActive = participant.isActive;
  closeSockets(room, participant, rule.action === undefined ? undefined : encodeLeave(rule.reason, rule.action));
  // The tracks end while their publisher is still a member, so that listeners learn of its silence.
  for (const track of participant.tracks.values()) {
    endTrack(room, track);
  }
  for (const track of participant.dataTracks.values()) {
    endDataTrack(room, track);
  }
  dropDataSubscriber(room, participant);
  speakerSilenced(room, participant.sid);
  dropSubscriber(room, participant);
  participant.queued.length = 0;
  participant.state = ParticipantInfo_State.DISCONNECTED;
  participant.disconnectReason = stated ?? rule.reason;
  participant.touch();
  forget(room, participant);
  if (rule.action === LeaveRequest_Action.RECONNECT && cause !== 'room-failed') {
    keepDescription(room, participant);
  }
  for (const leg of legsOf(participant)) {
    if (cause === 'other-room') {
      // Its client learns of the next one by a resume; a connection that ends before would make it join anew.
      room.leftLegs.set(leg, room.nowMs + timing.leftLegMs);
      room.timers.set('leftLegs', room.nowMs + timing.leftLegMs);
      continue;
    }
    room.outbox.toLeg({ kind: 'close', leg, reason: rule.legReason });
  }
  participantWebhook(room, wasActive ? 'participant_left' : 'participant_connection_aborted', participant);
  participantLeft(room, participant, cause === 'duplicate-identity');
  failRpcsOf(room, participant);
  room.roomChange = participant.grants.recorder ? 'metadata' : room.roomChange;
  countersChanged(room);
  scheduleEmptyRoom(room);
}

function forget(room: RoomState, participant: Participant): void {
  room.participants.delete(participant.sid);
  if (room.identities.get(participant.identity) === participant) {
    room.identities.delete(participant.identity);
  }
  room.dirtyLegs.delete(participant);
  room.dirtySaves.add(participant);
  for (const timer of ['join', 'media', 'resumeAnswer', 'refresh', 'fakeSpeaker', ...moveTimers]) {
    room.timers.clear(`${timer}:${participant.sid}`);
  }
}

/** Says the last word on the socket, if there is one, and lets go of it. */
function closeSockets(room: RoomState, participant: Participant, leave: Uint8Array | undefined): void {
  const { connectionId, resuming } = participant;
  if (connectionId !== undefined) {
    if (leave !== undefined) {
      room.outbox.toGateway({ kind: 'send', connectionIds: [connectionId], message: leave });
    }
    closeSocket(room, connectionId, socketClose.left);
  }
  if (resuming !== undefined) {
    if (leave === undefined) {
      room.outbox.toGateway({ kind: 'refused', connectionId: resuming, status: 503, body: 'session ended' });
    } else {
      refuseWithLeave(room, resuming, leave);
    }
    room.connections.delete(resuming);
  }
  participant.connectionId = undefined;
  participant.resuming = undefined;
}

export function closeSocket(room: RoomState, connectionId: ConnectionId, how: { code: number; reason: string }): void {
  room.connections.delete(connectionId);
  room.outbox.toGateway({ kind: 'closeSocket', connectionId, code: how.code, reason: how.reason });
}

/** A `leave` as the first and only message. */
export function refuseWithLeave(room: RoomState, connectionId: ConnectionId, leave: Uint8Array): void {
  room.outbox.toGateway({ kind: 'accepted', connectionId, message: leave });
  room.outbox.toGateway({ kind: 'closeSocket', connectionId, ...socketClose.left });
}

/** The socket is gone. Media that works keeps the participant in the room; without it nothing does. */
export function socketLost(room: RoomState, participant: Participant): void {
  participant.connectionId = undefined;
  participant.detachedAtMs = room.nowMs;
  if (participant.isActive) {
    room.outbox.toLeg({ kind: 'away', leg: participant.leg });
  } else {
    removeParticipant(room, participant, 'signal-lost');
  }
}

/** The media connection is gone: the client is asked to resume, and has some seconds to do so. */
export function mediaLost(room: RoomState, participant: Participant): void {
  if (participant.iceLost) {
    // Its time is running already, before a resume or after it.
    return;
  }
  const livedMs = participant.connectedAtMs === undefined ? 0 : room.nowMs - participant.connectedAtMs;
  room.relayFallback.failed(participant.identity, livedMs, room.nowMs);
  if (!participant.isActive) {
    removeParticipant(room, participant, 'media-failed');
    return;
  }
  participant.iceLost = true;
  room.timers.set(`media:${participant.sid}`, room.nowMs + room.settings.resumeTimeoutMs);
  askToResume(room, participant);
}

/** Says goodbye to the socket, if there is one, so that the client opens another. */
export function askToResume(room: RoomState, participant: Participant): void {
  const { connectionId } = participant;
  if (connectionId === undefined) {
    return;
  }
  // A `leave` that asks for a resume would end the call of a client before protocol 13; the closed socket says enough to it.
  if (participant.protocol > 12) {
    const reason = leaveRules['connection-lost'].reason;
    const message = encodeLeave(reason, LeaveRequest_Action.RESUME);
    room.outbox.toGateway({ kind: 'send', connectionIds: [connectionId], message });
  }
  closeSocket(room, connectionId, socketClose.resume);
  participant.connectionId = undefined;
  participant.detachedAtMs = room.nowMs;
  room.outbox.toLeg({ kind: 'away', leg: participant.leg });
}

/** Legs of those who went to other rooms are not needed any more. @param all whether or not their time has come */
export function closeLeftLegs(room: RoomState, all: boolean): void {
  for (const [leg, atMs] of room.leftLegs) {
    if (all || atMs <= room.nowMs) {
      room.leftLegs.delete(leg);
      room.outbox.toLeg({ kind: 'close', leg, reason: 'moved' });
    }
  }
  const next = Math.min(...room.leftLegs.values());
  if (Number.isFinite(next)) {
    room.timers.set('leftLegs', next);
  }
}

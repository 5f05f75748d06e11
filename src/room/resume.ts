/** How a client whose socket was lost gets its session back. */
import {
  DisconnectReason,
  LeaveRequest_Action,
  ReconnectReason,
  ReconnectResponse,
  RoomUpdate,
  type SyncState,
} from '@livekit/protocol';
import type { ConnectionId, ParticipantSid, TrackSid } from '../protocol/ids.ts';
import type { HostToGateway, JoinParameters } from '../protocol/session-messages.ts';
import { entersByResume } from './change-room.ts';
import { clientConfiguration, knowsReconnect } from './client-configuration.ts';
import { socketClose } from './close-reason.ts';
import { applyDataSyncState, tellDataHandles } from './data-tracks.ts';
import { iceServers, mustRelay, refreshToken, serverInfo } from './join.ts';
import { closeSocket, encodeLeave, removeParticipant, socketLost } from './leave.ts';
import { resumesOnNextLeg } from './moving.ts';
import type { Participant } from './participant.ts';
import { sendSubscribedQuality } from './quality-reports.ts';
import type { RoomState } from './room-state.ts';
import { bound, timing } from './settings.ts';
import { disableTracks, isReceived, sendPermission, tellSubscribed, wishTracks } from './subscriptions.ts';
import { sendInfoBytes } from './updates.ts';
import { encodeSignal, encodeUpdate } from './wire.ts';

const mediaFailures = [ReconnectReason.RR_PUBLISHER_FAILED, ReconnectReason.RR_SUBSCRIBER_FAILED];

/** A resume of a session that nobody knows: the client has to join anew. Never answered with `join`. */
export function refuseResume(connectionId: ConnectionId): HostToGateway[] {
  return [
    {
      kind: 'accepted',
      connectionId,
      message: encodeLeave(DisconnectReason.STATE_MISMATCH, LeaveRequest_Action.RECONNECT),
    },
    { kind: 'closeSocket', connectionId, ...socketClose.left },
  ];
}

export function startResume(room: RoomState, connectionId: ConnectionId, join: JoinParameters): void {
  const participant = room.participants.get((join.resume?.participantSid ?? '') as ParticipantSid);
  // A full list of departures no longer tells a client all that it missed.
  const missedTooMuch = room.departures.length >= bound.departures;
  const isReconnecting = participant?.move.kind === 'reconnecting';
  if (participant?.identity !== join.identity || participant.wanted === undefined || missedTooMuch || isReconnecting) {
    for (const message of refuseResume(connectionId)) {
      room.outbox.toGateway(message);
    }
    return;
  }
  detachFormerSockets(room, participant);
  if (participant.simulate === 'disconnect-on-resume-no-messages') {
    participant.simulate = undefined;
    room.outbox.toGateway({ kind: 'refused', connectionId, status: 503, body: 'simulated' });
    return;
  }
  participant.resuming = connectionId;
  room.connections.set(connectionId, participant);
  const isEntering = entersByResume(room, participant);
  const handOverMs = resumesOnNextLeg(room, participant);
  if (handOverMs === undefined && !isEntering) {
    room.outbox.toLeg({ kind: 'resume', leg: participant.leg, mediaLost: hasLostMedia(participant, join) });
  }
  const answeredWithinMs = timing.resumeAnswerTimeoutMs + (handOverMs ?? 0);
  room.timers.set(`resumeAnswer:${participant.sid}`, room.nowMs + answeredWithinMs);
}

/** Whether the server has noticed that it lost its media, or it says so itself. */
function hasLostMedia({ iceLost }: Participant, { resume }: JoinParameters): boolean {
  return iceLost || mediaFailures.some((reason) => reason === resume?.reason);
}

/** The newest socket is the right one; a client that roams opens it before the server sees the old one die. */
function detachFormerSockets(room: RoomState, participant: Participant): void {
  if (participant.connectionId !== undefined) {
    closeSocket(room, participant.connectionId, socketClose.replaced);
    participant.connectionId = undefined;
    participant.detachedAtMs = room.nowMs;
  }
  if (participant.resuming !== undefined) {
    room.connections.delete(participant.resuming);
    room.outbox.toGateway({ kind: 'refused', connectionId: participant.resuming, status: 503, body: 'replaced' });
    participant.resuming = undefined;
  }
}

/** The leg is alive and said what it last received: the client may have its session. */
export function finishResume(room: RoomState, participant: Participant, lastReliableSequence: number): void {
  const connectionId = participant.resuming;
  if (connectionId === undefined) {
    return;
  }
  participant.resuming = undefined;
  participant.resumedAtMs = room.nowMs;
  participant.connectionId = connectionId;
  delete participant.unsent.answer;
  delete participant.unsent.offer;
  room.timers.clear(`resumeAnswer:${participant.sid}`);
  room.timers.clear(`media:${participant.sid}`);
  if (participant.iceLost) {
    room.timers.set(`media:${participant.sid}`, room.nowMs + timing.resumeMediaTimeoutMs);
  }
  const everybody = [...room.participants.values()].filter((other) => other === participant || !other.hidden);
  const infos = everybody.map((other) => other.infoBytes());
  const first = knowsReconnect(participant.client)
    ? encodeReconnect(room, participant, lastReliableSequence)
    : encodeUpdate(infos);
  const { sid: participantSid } = participant;
  room.outbox.toGateway({ kind: 'accepted', connectionId, message: first, participantSid });
  tellMissed(room, participant, infos);
  participant.detachedAtMs = undefined;
  refreshToken(room, participant);
  room.dirtyLegs.add(participant);
  if (participant.simulate === 'disconnect-on-resume') {
    participant.simulate = undefined;
    closeSocket(room, connectionId, socketClose.simulated);
    socketLost(room, participant);
  }
}

function encodeReconnect(room: RoomState, participant: Participant, lastMessageSeq: number): Uint8Array {
  const configuration = clientConfiguration(participant.client, mustRelay(room, participant));
  const reconnect = new ReconnectResponse({
    iceServers: iceServers(room, participant),
    serverInfo: serverInfo(room),
    lastMessageSeq,
    ...(configuration === undefined ? {} : { clientConfiguration: configuration }),
  });
  return encodeSignal({ case: 'reconnect', value: reconnect });
}

/** Everything that may have been sent to the dead socket. */
export function tellMissed(room: RoomState, participant: Participant, infos: Uint8Array[]): void {
  if (participant.protocol > 8) {
    sendInfoBytes(room, [participant], missedDepartures(room, participant));
  }
  sendInfoBytes(room, [participant], infos);
  room.outbox.sendTo(participant, { case: 'roomUpdate', value: new RoomUpdate({ room: room.toVersionedMessage() }) });
  for (const track of participant.publicTracks()) {
    if (track.dynacast !== undefined) {
      sendSubscribedQuality(room, track);
    }
    if (isReceived(room, track)) {
      tellSubscribed(room, track);
    }
  }
  if (participant.toldDataTracks.size > 0) {
    tellDataHandles(room, participant);
  }
  for (const [sid, subscription] of participant.subscriptions) {
    const track = room.tracks.get(sid);
    if (track !== undefined && !subscription.toldAllowed) {
      sendPermission(room, participant, track, false);
    }
  }
}

function missedDepartures(room: RoomState, participant: Participant): Uint8Array[] {
  const sinceMs = (participant.detachedAtMs ?? room.nowMs) - timing.missedSignalMs;
  return (
    room.departures
      .filter((departure) => departure.atMs >= sinceMs)
      // Clients since protocol 12 know participants by identity; one that is back must not be ended by its former session.
      .filter((departure) => participant.protocol <= 11 || !room.identities.has(departure.identity))
      .map((departure) => departure.info)
  );
}

/** Forgets departures that nobody can have missed. */
export function pruneDepartures(room: RoomState): void {
  let sinceMs = room.nowMs;
  for (const participant of room.participants.values()) {
    sinceMs = Math.min(sinceMs, participant.detachedAtMs ?? room.nowMs);
  }
  room.departures = room.departures.filter((departure) => departure.atMs > sinceMs - timing.missedSignalMs);
  if (room.departures.length > 0) {
    room.timers.set('departures', room.nowMs + timing.missedSignalMs);
  }
}

/** The client states what it believes; what the server does not know of its publications cannot be mended. */
export function applySyncState(room: RoomState, participant: Participant, state: SyncState): void {
  const unknown = state.publishTracks.some((published) => {
    const sid = published.track?.sid ?? '';
    return sid !== '' && !participant.tracks.has(sid as TrackSid);
  });
  if (unknown || !applyDataSyncState(room, participant, state)) {
    removeParticipant(room, participant, 'state-mismatch');
    return;
  }
  if (state.subscription !== undefined) {
    const { trackSids, participantTracks, subscribe } = state.subscription;
    wishTracks(
      room,
      participant,
      new Set([...trackSids, ...participantTracks.flatMap((entry) => entry.trackSids)]),
      subscribe,
    );
  }
  disableTracks(room, participant, state.trackSidsDisabled);
  // A leg that took over waits for it, even when nothing was received.
  room.outbox.toLeg({
    kind: 'receivedUpTo',
    leg: participant.leg,
    states: state.datachannelReceiveStates.map((entry) => ({
      publisherSid: entry.publisherSid,
      sequence: entry.lastSeq,
    })),
  });
}

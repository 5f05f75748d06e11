/**
 * How a room goes on under a new host: its participants come from their legs, as the former host described them there,
 * and nobody is told that they came. Who was in the room and has no leg any more has left.
 */
import { DisconnectReason, LeaveRequest_Action } from '@livekit/protocol';
import { legNumber, participantOfLeg, type ConnectionId, type ParticipantSid } from '../protocol/ids.ts';
import type { RestatedLeg } from '../protocol/leg-messages.ts';
import { socketClose } from './close-reason.ts';
import { refreshToken } from './join.ts';
import { decodeKeepsake, encodeKeepsake, type Kept } from './keepsake.ts';
import { askToResume, closeSocket, encodeLeave, mediaLost } from './leave.ts';
import { applyActual } from './leg-handlers.ts';
import { scheduleEmptyRoom } from './lifetime.ts';
import type { Participant } from './participant.ts';
import { tellMissed } from './resume.ts';
import type { RoomState } from './room-state.ts';
import { loseSavedParticipants } from './saved-room.ts';
import { timing } from './settings.ts';
import { subscriptionTo } from './subscriptions.ts';
import { countersChanged } from './updates.ts';

/** Up to this size a room tells everything again to a socket that comes back, whether or not it may have missed it. */
const smallRoom = 50;

/** @param isComplete all nodes that may have legs of the room have answered, or cannot any more */
export function restoreLegs(room: RoomState, legs: readonly RestatedLeg[], isComplete: boolean): void {
  const adopted: { participant: Participant; restated: RestatedLeg }[] = [];
  const newestFirst = legs.toSorted((left, right) => legNumber(right.leg) - legNumber(left.leg));
  for (const restated of newestFirst) {
    const participant = adopt(room, restated);
    if (participant !== undefined) {
      adopted.push({ participant, restated });
    }
  }
  for (const { participant, restated } of adopted) {
    bringBackWishes(room, participant, restated);
  }
  for (const { participant, restated } of adopted) {
    applyActual(room, participant, restated.actual);
    if (restated.actual.publisher === 'disconnected' || restated.actual.subscriber === 'disconnected') {
      mediaLost(room, participant);
    }
  }
  room.markAllLegsDirty();
  if (adopted.length > 0) {
    countersChanged(room);
  }
  for (const { participant } of adopted) {
    attachEarlySocket(room, participant.sid);
  }
  if (isComplete) {
    legsCollected(room);
  }
  scheduleEmptyRoom(room);
}

/** No more legs of the former host are waited for. */
export function legsCollected(room: RoomState): void {
  room.isCollecting = false;
  room.timers.clear('collected');
  loseSavedParticipants(room);
  for (const sid of room.earlySockets.keys()) {
    attachEarlySocket(room, sid);
  }
  room.markAllLegsDirty();
  for (const track of room.tracks.values()) {
    room.dirtyDynacast.add(track);
  }
}

function adopt(room: RoomState, { leg, keepsake, wanted }: RestatedLeg): Participant | undefined {
  const sid = participantOfLeg(leg);
  const known = room.participants.get(sid);
  if (known !== undefined) {
    takeBetterLeg(room, known, { leg, wanted });
    return undefined;
  }
  const kept = decodeKeepsake(room, keepsake);
  // Who has joined again is there already; what cannot be read, or was given up, has to join again.
  if (kept?.participant.sid !== sid || room.identities.has(kept.participant.identity) || room.lostSessions.has(sid)) {
    room.outbox.toLeg({ kind: 'close', leg, reason: kept === undefined ? 'state-mismatch' : 'host-lost' });
    return undefined;
  }
  const { participant } = kept;
  participant.useLeg(leg);
  participant.wanted = wanted;
  participant.detachedAtMs = room.nowMs;
  room.participants.set(participant.sid, participant);
  room.identities.set(participant.identity, participant);
  room.savedParticipants.delete(participant.identity);
  room.wasJoined ||= !participant.isDependent;
  room.dirtySaves.add(participant);
  room.dueKeepsakes.add(participant);
  for (const track of participant.publicTracks()) {
    room.tracks.set(track.sid, track);
  }
  for (const track of participant.dataTracks.values()) {
    room.dataTracks.set(track.info.sid, track);
    room.lastDataHandle = Math.max(room.lastDataHandle, track.handle);
  }
  if (participant.isActive) {
    room.timers.set('quality', room.nowMs + timing.connectionQualityMs);
  } else {
    room.timers.set(`join:${participant.sid}`, room.nowMs + timing.joinTimeoutMs);
  }
  room.timers.set(`refresh:${participant.sid}`, room.nowMs + timing.refreshTokenIntervalMs);
  restoreWishes(room, kept);
  return participant;
}

/** The former host was lost while it moved the participant: the leg that came later has its client. */
function takeBetterLeg(room: RoomState, participant: Participant, other: Pick<RestatedLeg, 'leg' | 'wanted'>): void {
  if (other.leg === participant.leg) {
    return;
  }
  const isBetter = legNumber(other.leg) > legNumber(participant.leg);
  room.outbox.toLeg({ kind: 'close', leg: isBetter ? participant.leg : other.leg, reason: 'moved' });
  if (isBetter) {
    participant.useLeg(other.leg);
    participant.wanted = other.wanted;
    room.dirtyLegs.add(participant);
  }
}

/** Also of tracks whose publisher is still to come. */
function restoreWishes(room: RoomState, { participant, wishes, unknownWishes }: Kept): void {
  for (const { trackSid, wish, settings, toldAllowed, generation = 0, lacks = [] } of wishes) {
    participant.subscriptions.set(trackSid, {
      wish,
      generation,
      settings,
      toldAllowed,
      wanted: undefined,
      bound: false,
      successorId: undefined,
      lacks: new Set(lacks),
      refusedProducerId: undefined,
    });
  }
  for (const sid of unknownWishes) {
    participant.unknownWishes.add(sid);
    room.timers.set(`wish:${participant.sid}:${sid}`, room.nowMs + timing.unknownTrackTimeoutMs);
  }
}

/** What the leg does for it already counts as wanted, so that nothing is done twice. */
function bringBackWishes(room: RoomState, participant: Participant, { wanted, actual }: RestatedLeg): void {
  const states = new Map(actual.subscriptions.map((subscription) => [subscription.trackSid, subscription]));
  for (const wantedNow of wanted.subscriptions) {
    const track = room.tracks.get(wantedNow.trackSid);
    if (track !== undefined) {
      const subscription = subscriptionTo(participant, track);
      const state = states.get(wantedNow.trackSid);
      subscription.wanted = wantedNow;
      subscription.bound = state?.state === 'bound' && state.producerId === wantedNow.producerId;
      subscription.refusedProducerId = state?.state === 'codec-unsupported' ? state.producerId : undefined;
    }
  }
}

/** A socket that has outlived the former host takes its place again. */
export function attachSocket(room: RoomState, connectionId: ConnectionId, sid: ParticipantSid): void {
  const participant = room.participants.get(sid);
  if (participant === undefined && room.isCollecting && !room.lostSessions.has(sid)) {
    room.earlySockets.set(sid, connectionId);
    return;
  }
  if (participant === undefined) {
    const message = encodeLeave(DisconnectReason.MIGRATION, LeaveRequest_Action.RECONNECT);
    room.outbox.toGateway({ kind: 'send', connectionIds: [connectionId], message });
    room.outbox.toGateway({ kind: 'closeSocket', connectionId, ...socketClose.left });
    return;
  }
  if (participant.connectionId === connectionId) {
    room.outbox.toGateway({ kind: 'attached', connectionId });
    return;
  }
  if (participant.connectionId !== undefined || participant.resuming !== undefined) {
    // The client has opened another one since.
    closeSocket(room, connectionId, socketClose.replaced);
    return;
  }
  participant.connectionId = connectionId;
  room.connections.set(connectionId, participant);
  room.outbox.toGateway({ kind: 'attached', connectionId });
  tellMissed(room, participant, infosFor(room, participant));
  const { answer, offer } = participant.unsent;
  if (answer !== undefined) {
    room.outbox.sendTo(participant, { case: 'answer', value: answer });
  }
  if (offer !== undefined) {
    room.outbox.sendTo(participant, { case: 'offer', value: offer });
  }
  delete participant.unsent.answer;
  delete participant.unsent.offer;
  participant.detachedAtMs = undefined;
  refreshToken(room, participant);
  room.dirtyLegs.add(participant);
  if (participant.iceLost) {
    askToResume(room, participant);
  }
}

function attachEarlySocket(room: RoomState, sid: ParticipantSid): void {
  const connectionId = room.earlySockets.get(sid);
  room.earlySockets.delete(sid);
  if (connectionId !== undefined) {
    attachSocket(room, connectionId, sid);
  }
}

function infosFor(room: RoomState, receiver: Participant): Uint8Array[] {
  const others = [...room.participants.values()].filter((other) => other === receiver || !other.hidden);
  const missed =
    others.length <= smallRoom
      ? others
      : others.filter(({ joinedAtMs, restoredVersion, version }) =>
          restoredVersion === undefined
            ? joinedAtMs >= (receiver.detachedAtMs ?? room.nowMs)
            : restoredVersion !== version,
        );
  return missed.map((participant) => participant.infoBytes());
}

/** Sends the legs what the next host has to know. */
export function giveKeepsakes(room: RoomState): void {
  if (!room.settings.givesKeepsakes) {
    room.dueKeepsakes.clear();
    room.laterKeepsakes.clear();
    return;
  }
  for (const participant of room.dueKeepsakes) {
    room.laterKeepsakes.delete(participant);
    if (room.participants.get(participant.sid) === participant && participant.wanted !== undefined) {
      room.outbox.toLeg({ kind: 'keep', leg: participant.leg, keepsake: encodeKeepsake(room, participant) });
    }
  }
  room.dueKeepsakes.clear();
  if (room.laterKeepsakes.size > 0 && !room.timers.has('keepsakes')) {
    room.timers.set('keepsakes', room.nowMs + timing.keepsakeDelayMs);
  }
}

/** Those that were to wait are due now. */
export function keepsakesDue(room: RoomState): void {
  for (const participant of room.laterKeepsakes) {
    room.dueKeepsakes.add(participant);
  }
  room.laterKeepsakes.clear();
}

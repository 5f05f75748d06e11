/** How a participant gets in. */
import {
  DisconnectReason,
  ICEServer,
  JoinResponse,
  LeaveRequest_Action,
  ParticipantInfo_State,
  RoomConfiguration,
  ServerInfo,
  ServerInfo_Edition,
} from '@livekit/protocol';
import { participantSid, type ConnectionId, type LegId } from '../protocol/ids.ts';
import type { HostToLeg } from '../protocol/leg-messages.ts';
import type { LegSnapshot } from '../protocol/leg-snapshot.ts';
import type { JoinParameters } from '../protocol/session-messages.ts';
import { clientConfiguration, unpublishableCodecs } from './client-configuration.ts';
import type { RefreshToken } from './events.ts';
import { encodeLeave, refuseWithLeave, removeParticipant } from './leave.ts';
import { scheduleEmptyRoom } from './lifetime.ts';
import { brokenLimit } from './limits.ts';
import { Participant } from './participant.ts';
import { toCodecs, type RoomState } from './room-state.ts';
import { applySavedParticipant } from './saved-room.ts';
import { announcedServer, timing } from './settings.ts';
import { computeWanted } from './subscriptions.ts';
import { countersChanged, flushUrgentUpdates, participantChanged } from './updates.ts';
import { participantWebhook, trackWebhook } from './webhooks.ts';
import { encodeJoin } from './wire.ts';

export function joinRoom(room: RoomState, connectionId: ConnectionId, join: JoinParameters): void {
  endReconnecting(room, room.identities.get(join.identity));
  const former = room.identities.get(join.identity);
  const participant = new Participant(participantSid(room.random()), join, room.nowMs);
  applySavedParticipant(room, participant);
  if (isFull(room, participant, former)) {
    room.outbox.debug('join refused: the room is full', { room: room.name, identity: join.identity });
    refuseWithLeave(room, connectionId, encodeLeave(DisconnectReason.JOIN_FAILURE, LeaveRequest_Action.DISCONNECT));
    return;
  }
  if (former !== undefined) {
    removeParticipant(room, former, 'duplicate-identity');
    // Told before the newcomer is a member: it must not hear of a session that it never saw.
    flushUrgentUpdates(room);
  }
  admit(room, participant, connectionId);
}

/** It was told to join anew and does; its next session begins as this one was described. */
function endReconnecting(room: RoomState, former: Participant | undefined): void {
  if (former?.move.kind === 'reconnecting') {
    removeParticipant(room, former, 'moved');
    flushUrgentUpdates(room);
  }
}

/** Helpers always get in, and whoever comes again takes its own place. */
function isFull(room: RoomState, participant: Participant, former: Participant | undefined): boolean {
  if (room.maxParticipants === 0 || participant.isDependent) {
    return false;
  }
  const isReplacement = former !== undefined && !former.isDependent && !former.hidden;
  return room.countParticipants() - (isReplacement ? 1 : 0) >= room.maxParticipants;
}

function admit(room: RoomState, participant: Participant, connectionId: ConnectionId): void {
  const others = [...room.participants.values()].filter((other) => !other.hidden).map((other) => other.infoBytes());
  participant.connectionId = connectionId;
  participant.state = ParticipantInfo_State.JOINED;
  participant.touch();
  room.connections.set(connectionId, participant);
  room.participants.set(participant.sid, participant);
  room.identities.set(participant.identity, participant);
  room.wasJoined ||= !participant.isDependent;
  room.dirtySaves.add(participant);
  room.dueKeepsakes.add(participant);
  scheduleEmptyRoom(room);
  countersChanged(room);
  if (participant.grants.recorder) {
    room.roomChange = 'metadata';
  }
  const join = toJoinResponse(room, participant).toBinary();
  room.outbox.toGateway({
    kind: 'accepted',
    connectionId,
    message: encodeJoin(join, others),
    participantSid: participant.sid,
  });
  openLeg(room, participant);
  room.timers.set(`join:${participant.sid}`, room.nowMs + timing.joinTimeoutMs);
  refreshToken(room, participant);
}

function openLeg(room: RoomState, participant: Participant): void {
  participant.wanted = computeWanted(room, participant, 1);
  room.outbox.toLeg(openedLeg(room, participant, { leg: participant.leg }));
}

/** A leg that is to do what is wanted of the participant's. @param about.moved what its present leg is like */
export function openedLeg(
  room: RoomState,
  participant: Participant,
  about: { leg: LegId; moved?: LegSnapshot },
): Extract<HostToLeg, { kind: 'open' }> {
  return {
    kind: 'open',
    ...about,
    identity: {
      roomName: room.name,
      participantSid: participant.sid,
      identity: participant.identity,
      hidden: participant.hidden,
      participantKind: participant.kind,
      canSubscribeMetrics: participant.grants.canSubscribeMetrics,
      client: participant.client,
      ...(participant.singlePeerConnection ? { singlePeerConnection: true } : {}),
    },
    wanted: participant.wanted ?? computeWanted(room, participant, 1),
  };
}

function toJoinResponse(room: RoomState, participant: Participant): JoinResponse {
  const configuration = clientConfiguration(participant.client, room.settings.forceRelay);
  const unpublishable = unpublishableCodecs(participant.client);
  return new JoinResponse({
    room: room.toVersionedMessage(),
    participant: participant.toInfo(),
    serverVersion: announcedServer.version,
    serverRegion: room.settings.region,
    serverInfo: serverInfo(room),
    iceServers: iceServers(room, participant),
    subscriberPrimary: participant.subscriberPrimary,
    pingTimeout: timing.pingTimeoutS,
    pingInterval: timing.pingIntervalS,
    sifTrailer: room.sifTrailer,
    enabledPublishCodecs: toCodecs(room.settings.enabledCodecs).filter((codec) => !unpublishable.includes(codec.mime)),
    fastPublish: participant.grants.canPublish,
    ...(configuration === undefined ? {} : { clientConfiguration: configuration }),
  });
}

export function serverInfo(room: RoomState): ServerInfo {
  return new ServerInfo({
    edition: ServerInfo_Edition.Standard,
    version: announcedServer.version,
    protocol: announcedServer.protocol,
    agentProtocol: announcedServer.agentProtocol,
    region: room.settings.region,
    nodeId: room.settings.nodeId,
  });
}

export function iceServers(room: RoomState, participant: Participant): ICEServer[] {
  return room.settings.iceServersOf(participant.sid).map((server) => new ICEServer(server));
}

/** A fresh token now and every five minutes, so that the end of the first one does not end a call. */
export function refreshToken(room: RoomState, participant: Participant): void {
  room.timers.set(`refresh:${participant.sid}`, room.nowMs + timing.refreshTokenIntervalMs);
  if (participant.connectionId === undefined) {
    return;
  }
  const token = refreshTokenOf(participant, room.name);
  room.outbox.push({ kind: 'refreshToken', connectionId: participant.connectionId, token });
}

export function refreshTokenOf(participant: Participant, roomName: string): RefreshToken {
  const { identity, name, metadata, attributes, kind, kindDetails, grants, apiKey, tokenExpiresAtS } = participant;
  const { roomConfiguration } = participant;
  return {
    roomName,
    identity,
    name,
    metadata,
    attributes,
    kind,
    kindDetails,
    grants: { ...grants, room: roomName },
    apiKey,
    tokenExpiresAtS,
    ...(roomConfiguration === undefined ? {} : { roomConfiguration }),
  };
}

/** Its primary connection is up: from now on it is there for everybody. */
export function activate(room: RoomState, participant: Participant): void {
  participant.state = ParticipantInfo_State.ACTIVE;
  room.timers.clear(`join:${participant.sid}`);
  participantChanged(room, participant, 'coming');
  room.dirtyLegs.add(participant);
  if (!room.timers.has('quality')) {
    room.timers.set('quality', room.nowMs + timing.connectionQualityMs);
  }
  participantWebhook(room, 'participant_joined', participant);
  for (const track of participant.publicTracks()) {
    trackWebhook(room, 'track_published', track);
  }
}

/** The room's part of a token's `roomConfig`; counts only for the join that creates the room. */
export function applyRoomConfiguration(room: RoomState, bytes: Uint8Array): void {
  let configuration: RoomConfiguration;
  try {
    configuration = RoomConfiguration.fromBinary(bytes);
  } catch {
    room.outbox.debug('room configuration of the token is unreadable', { room: room.name });
    return;
  }
  room.emptyTimeoutS = configuration.emptyTimeout || room.emptyTimeoutS;
  room.departureTimeoutS = configuration.departureTimeout || room.departureTimeoutS;
  room.maxParticipants = configuration.maxParticipants || room.maxParticipants;
  const tooLong = brokenLimit({ metadata: configuration.metadata }, room.settings);
  room.metadata = tooLong === undefined ? configuration.metadata : '';
  if (configuration.egress !== undefined || configuration.agents.length > 0 || tooLong !== undefined) {
    room.outbox.debug('parts of the room configuration are not applied', {
      room: room.name,
      agents: configuration.agents.length,
      metadata: tooLong ?? 'applied',
    });
  }
}

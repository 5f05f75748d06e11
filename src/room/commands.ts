/** The server API's requests to a room (RoomService), one function per method. */
import {
  CreateRoomRequest,
  DataPacket,
  DataPacket_Kind,
  DeleteRoomRequest,
  DeleteRoomResponse,
  ListParticipantsRequest,
  ListParticipantsResponse,
  MoveParticipantRequest,
  MuteRoomTrackRequest,
  MuteRoomTrackResponse,
  PerformRpcRequest,
  RemoveParticipantResponse,
  RoomParticipantIdentity,
  SendDataRequest,
  SendDataResponse,
  UpdateParticipantRequest,
  UpdateRoomMetadataRequest,
  UpdateSubscriptionsRequest,
  UpdateSubscriptionsResponse,
  UserPacket,
} from '@livekit/protocol';
import type { ParticipantSid, TrackSid } from '../protocol/ids.ts';
import type { CommandResult, RoomCommand, RoomMethod } from '../protocol/session-messages.ts';
import { endMove, exportParticipant, importParticipant } from './change-room.ts';
import { closeRoom } from './close-room.ts';
import { withdrawDataTracks } from './data-tracks.ts';
import { removeParticipant } from './leave.ts';
import { scheduleEmptyRoom } from './lifetime.ts';
import { brokenLimit, mergeAttributes } from './limits.ts';
import type { Participant } from './participant.ts';
import { withPermission } from './permissions.ts';
import { sendMute, setMuted, withdrawForbiddenTracks } from './publishing.ts';
import { revokeTokens } from './revocations.ts';
import type { RoomState } from './room-state.ts';
import { startRpc } from './rpc.ts';
import { bound } from './settings.ts';
import { describeParticipant, updateSubscription } from './signal-handlers.ts';

type Failure = Extract<CommandResult, { ok: false }>;
type Message = { toBinary(): Uint8Array };

const participantNotFound: Failure = { ok: false, code: 'not_found', message: 'participant does not exist' };
const trackNotFound: Failure = { ok: false, code: 'not_found', message: 'track is not found' };

export function handleCommand(room: RoomState, requestId: number, command: RoomCommand): void {
  const result = run(room, requestId, command);
  if (result !== 'later') {
    room.outbox.toGateway({ kind: 'commandResult', requestId, result });
  }
}

function run(room: RoomState, requestId: number, command: RoomCommand): CommandResult | 'later' {
  switch (command.method) {
    case 'CreateRoom':
      return answer(room, command, CreateRoomRequest, createRoom);
    case 'DeleteRoom':
      return answer(room, command, DeleteRoomRequest, deleteRoom);
    case 'ListParticipants':
      return answer(room, command, ListParticipantsRequest, listParticipants);
    case 'GetParticipant':
      return answer(room, command, RoomParticipantIdentity, getParticipant);
    case 'RemoveParticipant':
      return answer(room, command, RoomParticipantIdentity, kickParticipant);
    case 'MutePublishedTrack':
      return answer(room, command, MuteRoomTrackRequest, mutePublishedTrack);
    case 'UpdateParticipant':
      return answer(room, command, UpdateParticipantRequest, updateParticipant);
    case 'UpdateSubscriptions':
      return answer(room, command, UpdateSubscriptionsRequest, updateSubscriptions);
    case 'SendData':
      return answer(room, command, SendDataRequest, sendData);
    case 'UpdateRoomMetadata':
      return answer(room, command, UpdateRoomMetadataRequest, updateRoomMetadata);
    case 'ExportParticipant': {
      const request = decode(command, MoveParticipantRequest);
      return 'ok' in request ? request : exportParticipant(room, requestId, request);
    }
    case 'ImportParticipant':
      return importParticipant(room, requestId, command.request);
    case 'EndMove':
      return endMove(room, command.request);
    case 'PerformRpc': {
      const request = decode(command, PerformRpcRequest);
      if ('ok' in request) {
        return request;
      }
      startRpc(room, requestId, request);
      return 'later';
    }
  }
}

type RequestType<Request> = { fromBinary(bytes: Uint8Array): Request };

function answer<Request extends object>(
  room: RoomState,
  command: RoomCommand,
  type: RequestType<Request>,
  handle: (room: RoomState, request: Request) => Message | Failure,
): CommandResult {
  const request = decode(command, type);
  if ('ok' in request) {
    return request;
  }
  const result = handle(room, request);
  return 'ok' in result ? result : { ok: true, response: result.toBinary() };
}

function decode<Request extends object>(command: RoomCommand, type: RequestType<Request>): Request | Failure {
  try {
    return type.fromBinary(command.request);
  } catch {
    return { ok: false, code: 'malformed', message: `not a request of ${command.method}` };
  }
}

function invalid(message: string): Failure {
  return { ok: false, code: 'invalid_argument', message };
}

/** An existing room takes over what is given; zero and empty mean: as it was. */
function createRoom(room: RoomState, request: CreateRoomRequest): Message | Failure {
  const broken = brokenLimit({ metadata: request.metadata }, room.settings);
  if (broken !== undefined) {
    return invalid(broken);
  }
  room.emptyTimeoutS = request.emptyTimeout || room.emptyTimeoutS;
  room.departureTimeoutS = request.departureTimeout || room.departureTimeoutS;
  room.maxParticipants = request.maxParticipants || room.maxParticipants;
  room.syncStreams ||= request.syncStreams;
  room.metadata = request.metadata || room.metadata;
  room.roomChange = 'metadata';
  room.timers.clear('empty');
  scheduleEmptyRoom(room);
  if (request.egress !== undefined || request.agents.length > 0) {
    room.outbox.debug('egress and agents of CreateRoom are not applied', {
      room: room.name,
      agents: request.agents.length,
    });
  }
  return room.toMessage();
}

function deleteRoom(room: RoomState): Message {
  closeRoom(room, 'deleted', 'room-deleted');
  return new DeleteRoomResponse();
}

function listParticipants(room: RoomState): Message {
  return new ListParticipantsResponse({
    participants: [...room.participants.values()].map((participant) => participant.toInfo()),
  });
}

function getParticipant(room: RoomState, request: RoomParticipantIdentity): Message | Failure {
  return room.identities.get(request.identity)?.toInfo() ?? participantNotFound;
}

function kickParticipant(room: RoomState, request: RoomParticipantIdentity): Message | Failure {
  // Also of one who is gone already, and would be back with it.
  revokeTokens(room, request.identity, request.revokeTokenTs);
  const participant = room.identities.get(request.identity);
  if (participant === undefined) {
    return participantNotFound;
  }
  removeParticipant(room, participant, 'removed');
  return new RemoveParticipantResponse();
}

function mutePublishedTrack(room: RoomState, request: MuteRoomTrackRequest): Message | Failure {
  const participant = room.identities.get(request.identity);
  if (participant === undefined) {
    return participantNotFound;
  }
  const track = participant.tracks.get(request.trackSid as TrackSid);
  if (track === undefined) {
    return trackNotFound;
  }
  if (!request.muted && track.muted && !room.settings.enableRemoteUnmute) {
    return { ok: false, code: 'failed_precondition', message: 'remote unmute not enabled' };
  }
  if (setMuted(room, track, request.muted)) {
    sendMute(room, track, request.muted);
  }
  return new MuteRoomTrackResponse({ track: track.info });
}

function updateParticipant(room: RoomState, request: UpdateParticipantRequest): Message | Failure {
  const participant = room.identities.get(request.identity);
  if (participant === undefined) {
    return participantNotFound;
  }
  const attributes = mergeAttributes(participant.attributes, request.attributes);
  const broken = brokenLimit({ name: request.name, metadata: request.metadata, attributes }, room.settings);
  if (broken !== undefined) {
    return invalid(broken);
  }
  if (request.permission !== undefined) {
    participant.grants = withPermission(participant.grants, request.permission);
    room.dirtyLegs.add(participant);
    withdrawForbiddenTracks(room, participant);
    withdrawDataTracks(room, participant);
  }
  describeParticipant(room, participant, { name: request.name, metadata: request.metadata, attributes });
  return participant.toInfo();
}

function updateSubscriptions(room: RoomState, request: UpdateSubscriptionsRequest): Message | Failure {
  const participant = room.identities.get(request.identity);
  if (participant === undefined) {
    return participantNotFound;
  }
  updateSubscription(room, participant, request);
  return new UpdateSubscriptionsResponse();
}

function updateRoomMetadata(room: RoomState, request: UpdateRoomMetadataRequest): Message | Failure {
  const broken = brokenLimit({ metadata: request.metadata }, room.settings);
  if (broken !== undefined) {
    return invalid(broken);
  }
  room.metadata = request.metadata;
  room.roomChange = 'metadata';
  return room.toMessage();
}

/** From the server itself: no sender, and no sequence even when reliable. */
function sendData(room: RoomState, request: SendDataRequest): Message {
  const recipients = findRecipients(room, request);
  if (recipients === 'nobody' || isRepeated(room, request.nonce)) {
    return new SendDataResponse();
  }
  const packet = new DataPacket({
    kind: request.kind,
    destinationIdentities: request.destinationIdentities,
    value: {
      case: 'user',
      value: new UserPacket({
        payload: request.data,
        destinationSids: request.destinationSids,
        destinationIdentities: request.destinationIdentities,
        nonce: request.nonce,
        ...(request.topic === undefined ? {} : { topic: request.topic }),
      }),
    },
  });
  room.outbox.toLeg({
    kind: 'serverPacket',
    roomName: room.name,
    packet: packet.toBinary(),
    reliable: request.kind === DataPacket_Kind.RELIABLE,
    recipients,
  });
  return new SendDataResponse();
}

/** An empty list means everybody, so a request whose every recipient is unknown must not become one. */
function findRecipients(room: RoomState, request: SendDataRequest): ParticipantSid[] | 'nobody' {
  if (request.destinationIdentities.length === 0 && request.destinationSids.length === 0) {
    return room.participants.size === 0 ? 'nobody' : [];
  }
  const found = new Set<Participant>();
  for (const identity of request.destinationIdentities) {
    const participant = room.identities.get(identity);
    if (participant !== undefined) {
      found.add(participant);
    }
  }
  for (const sid of request.destinationSids) {
    const participant = room.participants.get(sid as ParticipantSid);
    if (participant !== undefined) {
      found.add(participant);
    }
  }
  return found.size === 0 ? 'nobody' : [...found].map((participant) => participant.sid);
}

const nonceLifeMs = 60_000;

/** SDKs retry SendData with the same nonce when they got no answer. */
function isRepeated(room: RoomState, nonce: Uint8Array): boolean {
  if (nonce.length === 0) {
    return false;
  }
  const key = nonce.toString();
  const seenAtMs = room.nonces.get(key);
  room.nonces.delete(key);
  room.nonces.set(key, room.nowMs);
  const oldest = room.nonces.keys().next().value;
  if (room.nonces.size > bound.nonces && oldest !== undefined) {
    room.nonces.delete(oldest);
  }
  return seenAtMs !== undefined && room.nowMs - seenAtMs < nonceLifeMs;
}

/** The answer to a command for a room that does not exist; undefined = the command creates it. */
export function answerWithoutRoom(method: RoomMethod): CommandResult | undefined {
  switch (method) {
    case 'CreateRoom':
      return undefined;
    case 'ListParticipants':
      return { ok: true, response: new ListParticipantsResponse().toBinary() };
    case 'GetParticipant':
    case 'RemoveParticipant':
    case 'MutePublishedTrack':
    case 'UpdateParticipant':
    case 'UpdateSubscriptions':
      return participantNotFound;
    case 'DeleteRoom':
    case 'SendData':
    case 'UpdateRoomMetadata':
    case 'PerformRpc':
    case 'ExportParticipant':
    case 'ImportParticipant':
    case 'EndMove':
      return { ok: false, code: 'not_found', message: 'requested room does not exist' };
  }
}

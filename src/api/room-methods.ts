/** The table of RoomService: for each method its messages, the grant it needs, what it accepts and who carries it out. */
import type { Message, MessageType } from '@bufbuild/protobuf';
import {
  CreateRoomRequest,
  DeleteRoomRequest,
  DeleteRoomResponse,
  ForwardParticipantRequest,
  ForwardParticipantResponse,
  ListParticipantsRequest,
  ListParticipantsResponse,
  ListRoomsRequest,
  ListRoomsResponse,
  MoveParticipantRequest,
  MoveParticipantResponse,
  MuteRoomTrackRequest,
  MuteRoomTrackResponse,
  ParticipantInfo,
  PerformRpcRequest,
  PerformRpcResponse,
  RemoveParticipantResponse,
  Room,
  RoomParticipantIdentity,
  SendDataRequest,
  SendDataResponse,
  UpdateParticipantRequest,
  UpdateRoomMetadataRequest,
  UpdateSubscriptionsRequest,
  UpdateSubscriptionsResponse,
} from '@livekit/protocol';
import type { RoomMethod, VideoGrants } from '../protocol/session-messages.ts';
import {
  checkCreateRoom,
  checkDestinationRoom,
  checkIdentity,
  checkPerformRpc,
  checkSendData,
  checkUpdateParticipant,
  checkUpdateRoomMetadata,
  type RequestLimits,
} from './room-requests.ts';

/** Who carries a method out, when the request is allowed and well formed. */
export type Carrier =
  | { kind: 'directory' }
  /** The room's host, which is chosen when the room has none. */
  | { kind: 'placedHost'; method: RoomMethod; roomName: string }
  /** The room's host; `missing` says what an unknown room means. */
  | HostCarrier
  /** The hosts of both rooms, one after the other. */
  | { kind: 'twoHosts'; identity: string; roomName: string; destinationRoom: string }
  | { kind: 'nobody' };

export type HostCarrier = {
  kind: 'host';
  method: RoomMethod;
  roomName: string;
  missing: 'error' | 'empty';
  timeoutMs: number;
};

/** A request that was decoded and is still to be judged. */
export type RoomCallPlan = {
  allowed: boolean;
  /** Throws `invalid_argument`. */
  check: (limits: RequestLimits) => void;
  carrier: Carrier;
};

export type RoomMethodEntry = {
  request: MessageType;
  response: MessageType;
  plan: (message: Message, grants: VideoGrants) => RoomCallPlan;
};

export const commandTimeoutMs = 10_000;
/** What a PerformRpc call takes beyond the participant's own time: the acknowledgement and the way there. */
const rpcSlackMs = 5_000;
const defaultRpcTimeoutMs = 10_000;

type Definition<Request extends Message<Request>, Response extends Message<Response>> = {
  request: MessageType<Request>;
  response: MessageType<Response>;
  allowed: (request: Request, grants: VideoGrants) => boolean;
  check?: (request: Request, limits: RequestLimits) => void;
  carrier: (request: Request) => Carrier;
};

function define<Request extends Message<Request>, Response extends Message<Response>>(
  definition: Definition<Request, Response>,
): RoomMethodEntry {
  return {
    request: definition.request as unknown as MessageType,
    response: definition.response as unknown as MessageType,
    plan: (message, grants) => {
      const request = message as unknown as Request;
      return {
        allowed: definition.allowed(request, grants),
        check: (limits) => definition.check?.(request, limits),
        carrier: definition.carrier(request),
      };
    },
  };
}

function isRoomAdmin(request: { room: string }, grants: VideoGrants): boolean {
  return grants.roomAdmin && grants.room === request.room;
}

function mayMoveTo(request: { room: string; destinationRoom: string }, grants: VideoGrants): boolean {
  return isRoomAdmin(request, grants) && grants.destinationRoom === request.destinationRoom;
}

function hostOf(method: RoomMethod, roomName: string): HostCarrier {
  return { kind: 'host', method, roomName, missing: 'error', timeoutMs: commandTimeoutMs };
}

function rpcTimeoutMs(request: PerformRpcRequest): number {
  return (request.responseTimeoutMs === 0 ? defaultRpcTimeoutMs : request.responseTimeoutMs) + rpcSlackMs;
}

const entries: Record<string, RoomMethodEntry> = {
  CreateRoom: define({
    request: CreateRoomRequest,
    response: Room,
    allowed: (_request, grants) => grants.roomCreate,
    check: checkCreateRoom,
    carrier: (request) => ({ kind: 'placedHost', method: 'CreateRoom', roomName: request.name }),
  }),
  ListRooms: define({
    request: ListRoomsRequest,
    response: ListRoomsResponse,
    allowed: (_request, grants) => grants.roomList,
    carrier: () => ({ kind: 'directory' }),
  }),
  DeleteRoom: define({
    request: DeleteRoomRequest,
    response: DeleteRoomResponse,
    allowed: (_request, grants) => grants.roomCreate,
    carrier: (request) => hostOf('DeleteRoom', request.room),
  }),
  ListParticipants: define({
    request: ListParticipantsRequest,
    response: ListParticipantsResponse,
    allowed: isRoomAdmin,
    carrier: (request) => ({ ...hostOf('ListParticipants', request.room), missing: 'empty' }),
  }),
  GetParticipant: define({
    request: RoomParticipantIdentity,
    response: ParticipantInfo,
    allowed: isRoomAdmin,
    check: checkIdentity,
    carrier: (request) => hostOf('GetParticipant', request.room),
  }),
  RemoveParticipant: define({
    request: RoomParticipantIdentity,
    response: RemoveParticipantResponse,
    allowed: isRoomAdmin,
    check: checkIdentity,
    carrier: (request) => hostOf('RemoveParticipant', request.room),
  }),
  MutePublishedTrack: define({
    request: MuteRoomTrackRequest,
    response: MuteRoomTrackResponse,
    allowed: isRoomAdmin,
    check: checkIdentity,
    carrier: (request) => hostOf('MutePublishedTrack', request.room),
  }),
  UpdateParticipant: define({
    request: UpdateParticipantRequest,
    response: ParticipantInfo,
    allowed: isRoomAdmin,
    check: (request, limits) => {
      checkIdentity(request, limits);
      checkUpdateParticipant(request, limits);
    },
    carrier: (request) => hostOf('UpdateParticipant', request.room),
  }),
  UpdateSubscriptions: define({
    request: UpdateSubscriptionsRequest,
    response: UpdateSubscriptionsResponse,
    allowed: isRoomAdmin,
    check: checkIdentity,
    carrier: (request) => hostOf('UpdateSubscriptions', request.room),
  }),
  SendData: define({
    request: SendDataRequest,
    response: SendDataResponse,
    allowed: isRoomAdmin,
    check: checkSendData,
    carrier: (request) => hostOf('SendData', request.room),
  }),
  UpdateRoomMetadata: define({
    request: UpdateRoomMetadataRequest,
    response: Room,
    allowed: isRoomAdmin,
    check: checkUpdateRoomMetadata,
    carrier: (request) => hostOf('UpdateRoomMetadata', request.room),
  }),
  PerformRpc: define({
    request: PerformRpcRequest,
    response: PerformRpcResponse,
    allowed: isRoomAdmin,
    check: checkPerformRpc,
    carrier: (request) => ({ ...hostOf('PerformRpc', request.room), timeoutMs: rpcTimeoutMs(request) }),
  }),
  ForwardParticipant: define({
    request: ForwardParticipantRequest,
    response: ForwardParticipantResponse,
    allowed: mayMoveTo,
    check: checkDestinationRoom,
    carrier: () => ({ kind: 'nobody' }),
  }),
  MoveParticipant: define({
    request: MoveParticipantRequest,
    response: MoveParticipantResponse,
    allowed: mayMoveTo,
    check: (request, limits) => {
      checkDestinationRoom(request);
      checkIdentity(request, limits);
    },
    carrier: ({ identity, room, destinationRoom }) => ({ kind: 'twoHosts', identity, roomName: room, destinationRoom }),
  }),
};

export const roomMethods: ReadonlyMap<string, RoomMethodEntry> = new Map(Object.entries(entries));

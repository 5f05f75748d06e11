/**
 * What a gateway (which keeps the client's socket) and a room host say to each other.
 * Plain serialisable data only: these messages survive `structuredClone` and cross nodes unchanged.
 * Order is kept per link; the leg's side of the conversation is in `leg-messages.ts`.
 */
import type { ConnectionId, NodeId, ParticipantSid } from './ids.ts';
import type { TwirpCode } from './twirp.ts';

/** What a client told about itself (LiveKit `ClientInfo` plus the address that the gateway saw). */
export type ClientFacts = {
  /** LiveKit `ClientInfo.SDK` number. */
  sdk: number;
  version: string;
  /** Signal protocol number; decides which messages the client understands. */
  protocol: number;
  clientProtocol: number;
  os: string;
  osVersion: string;
  deviceModel: string;
  browser: string;
  browserVersion: string;
  network: string;
  address: string;
  /** LiveKit `ClientInfo.Capability` numbers. */
  capabilities: number[];
};

/** The `video` claim of an access token, defaults resolved (LiveKit contract 2.2). */
export type VideoGrants = {
  roomCreate: boolean;
  roomList: boolean;
  roomRecord: boolean;
  roomAdmin: boolean;
  roomJoin: boolean;
  room: string;
  destinationRoom: string;
  canPublish: boolean;
  canSubscribe: boolean;
  canPublishData: boolean;
  /** LiveKit `TrackSource` numbers; empty means every source. */
  canPublishSources: number[];
  canUpdateOwnMetadata: boolean;
  canSubscribeMetrics: boolean;
  canManageAgentSession: boolean;
  hidden: boolean;
  recorder: boolean;
  agent: boolean;
};

/** A join or a resume, already validated by the gateway. */
export type JoinParameters = {
  roomName: string;
  identity: string;
  name: string;
  metadata: string;
  attributes: Record<string, string>;
  /** LiveKit `ParticipantInfo.Kind` number. */
  kind: number;
  /** LiveKit `ParticipantInfo.KindDetail` numbers. */
  kindDetails: number[];
  grants: VideoGrants;
  /** Protobuf `RoomConfiguration` of the token, applied only when this join creates the room. */
  roomConfiguration?: Uint8Array;
  client: ClientFacts;
  autoSubscribe: boolean;
  adaptiveStream: boolean;
  /** It sends and receives on one connection, on which it alone offers (`/rtc/v1`). */
  singlePeerConnection?: boolean;
  /** Protobuf `SignalRequest`s that came with the join, as if they were the first ones after it. */
  earlyMessages?: Uint8Array[];
  /** Absent: no. */
  autoSubscribeDataTracks?: boolean;
  /** API key that signed the token, and when the token ends (Unix seconds); refresh tokens keep both in mind. */
  apiKey: string;
  tokenExpiresAtS: number;
  /** `nbf` of the token (Unix seconds); absent when it has none. */
  tokenNotBeforeS?: number;
  /** Present when the client resumes a session (`reconnect=1`). */
  resume?: { participantSid: string; reason: number };
};

export type SocketCloseCause =
  | 'client-closed'
  | 'ping-timeout'
  | 'slow-client'
  | 'message-too-large'
  | 'bad-message'
  | 'gateway-shutdown';

export type GatewayToHost =
  | { kind: 'join'; connectionId: ConnectionId; join: JoinParameters }
  /** A protobuf `SignalRequest`; pings are answered by the gateway and never come here. */
  | { kind: 'signal'; connectionId: ConnectionId; message: Uint8Array }
  | { kind: 'socketClosed'; connectionId: ConnectionId; cause: SocketCloseCause }
  | { kind: 'command'; requestId: number; roomName: string; command: RoomCommand }
  /** The socket of a session whose room has another host now; answered with `attached`, `notHere` or `closeSocket`. */
  | { kind: 'attach'; connectionId: ConnectionId; roomName: string; participantSid: ParticipantSid }
  /** What was sent came from a host that the gateway knows a later one of. */
  | { kind: 'superseded'; roomName: string; epoch: number };

export type HostToGateway =
  /** The first message of the session (`join`, `reconnect` or `leave`): upgrade the socket and send it. */
  /** @param participantSid of the session that the socket belongs to from now on; absent when there is none */
  | { kind: 'accepted'; connectionId: ConnectionId; message: Uint8Array; participantSid?: ParticipantSid }
  /** Answer to `attach`: the session goes on. */
  | { kind: 'attached'; connectionId: ConnectionId }
  /** Where the session's media is, so that a gateway knows whose media is lost with a node. */
  | { kind: 'legHome'; connectionId: ConnectionId; nodeId: NodeId }
  /** What came for a room that was given away meanwhile; it is to be sent to the next host. */
  | { kind: 'returned'; connectionId: ConnectionId; message: Uint8Array }
  /** Answer the upgrade request with this HTTP status and text body. */
  | { kind: 'refused'; connectionId: ConnectionId; status: number; body: string }
  /** A protobuf `SignalResponse`, encoded once for all these sockets. */
  | { kind: 'send'; connectionIds: ConnectionId[]; message: Uint8Array }
  /** Close the socket once all that was sent before is flushed. */
  | { kind: 'closeSocket'; connectionId: ConnectionId; code: number; reason: string }
  /** Answer to a `join`: the room is not (or no longer) hosted here. Nothing is kept of the connection. */
  | { kind: 'notHere'; connectionId: ConnectionId }
  /**
   * The node hosts this room no longer, without its end: the sessions of the room go on at the next host.
   * @param nodeId the next host, where it is known
   */
  | { kind: 'roomLost'; roomName: string; nodeId?: NodeId }
  | { kind: 'commandResult'; requestId: number; result: CommandResult };

/** RoomService methods that the host of the room carries out; the request is its protobuf. */
export type RoomMethod =
  | 'CreateRoom'
  | 'DeleteRoom'
  | 'ListParticipants'
  | 'GetParticipant'
  | 'RemoveParticipant'
  | 'MutePublishedTrack'
  | 'UpdateParticipant'
  | 'UpdateSubscriptions'
  | 'SendData'
  | 'UpdateRoomMetadata'
  | 'PerformRpc'
  /** The steps of MoveParticipant: `change-room.ts` of the room says what they carry. */
  | 'ExportParticipant'
  | 'ImportParticipant'
  | 'EndMove';

export type RoomCommand = { method: RoomMethod; request: Uint8Array };

export type CommandResult =
  | { ok: true; response: Uint8Array }
  | { ok: false; code: TwirpCode; message: string; meta?: Record<string, string> };

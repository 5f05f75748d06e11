/** What a room is told and what it wants done. Plain data, in order; the shell carries the effects out one by one. */
import type { WebhookEvent } from '@livekit/protocol';
import type { ConnectionId, NodeId } from '../protocol/ids.ts';
import type { HostToLeg, LegToHost, RestatedLeg } from '../protocol/leg-messages.ts';
import type { GatewayToHost, HostToGateway, VideoGrants } from '../protocol/session-messages.ts';
import type { LegMoveAction } from './move-state.ts';
import type { LogLevel } from '../lib/errors.ts';

/**
 * Request ids of commands are unique in one host: the shell numbers them anew,
 * because two gateways may use the same number.
 */
export type RoomEvent =
  | { kind: 'gateway'; message: GatewayToHost }
  | { kind: 'leg'; message: LegToHost }
  /** The node of all the room's legs is gone. */
  | { kind: 'legsLost' }
  /** The node stops: everybody is told to go, or to come back (elsewhere) at once. */
  | { kind: 'shutdown'; action: 'disconnect' | 'reconnect' }
  /** A step of moving participants to other legs. */
  | { kind: 'move'; action: LegMoveAction }
  /** Time has passed; due timers fire. Any other event fires them too. */
  | { kind: 'deadline' }
  /**
   * To a room that an earlier host left: legs of its participants, as they state themselves.
   * @param isComplete no more of them are to come
   */
  | { kind: 'restated'; legs: RestatedLeg[]; isComplete: boolean }
  /** Another node is about to host the room: what the next host has to know leaves now. */
  | { kind: 'moving' };

/** Everything that a refresh token states; the shell signs it. */
export type RefreshToken = {
  roomName: string;
  identity: string;
  name: string;
  metadata: string;
  attributes: Record<string, string>;
  kind: number;
  kindDetails: number[];
  grants: VideoGrants;
  roomConfiguration?: Uint8Array;
  apiKey: string;
  /** When the original token ends, Unix seconds; a refresh token lives at least ten minutes. */
  tokenExpiresAtS: number;
};

export type RoomCloseReason =
  /** Nobody joined within `empty_timeout`, or the last participant left `departure_timeout` ago. */
  | 'idle'
  | 'deleted'
  | 'shutdown'
  /** The room's own code failed; nothing of it can be trusted any more. */
  | 'internal';

/** A piece of a room that outlives its host; undefined: it is gone. */
export type RoomPart = { name: string; bytes: Uint8Array | undefined };

export type RoomEffect =
  | { kind: 'toGateway'; message: HostToGateway }
  /** @param target node for a leg that is to be opened there and nowhere else */
  | { kind: 'toLeg'; message: HostToLeg; target?: NodeId }
  /** Nobody changes it any more; log, metrics and receivers read the same one. */
  | { kind: 'webhook'; event: WebhookEvent }
  /** Protobuf `Room`, for the directory. */
  | { kind: 'publishRoom'; room: Uint8Array }
  /** For the host that comes after this one. */
  | { kind: 'save'; parts: RoomPart[] }
  /** Sign and send as `refresh_token` to this socket. */
  | { kind: 'refreshToken'; connectionId: ConnectionId; token: RefreshToken }
  /**
   * To a client that goes to another room, for which the token is: `room_moved` (a protobuf `RoomMovedResponse` without its
   * token), or `refresh_token`; then `farewell`, if there is one; then its socket is closed.
   */
  | {
      kind: 'sendAway';
      connectionId: ConnectionId;
      token: RefreshToken;
      told?: Uint8Array;
      farewell?: Uint8Array;
      close: { code: number; reason: string };
    }
  | { kind: 'log'; level: LogLevel; message: string; fields: Record<string, string | number> }
  /** The last effect of a room. */
  | { kind: 'closed'; reason: RoomCloseReason };

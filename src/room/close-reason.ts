/** Why a session ends, and what that means to its client, to the others and to its leg. */
import { DisconnectReason, LeaveRequest_Action } from '@livekit/protocol';
import type { LegCloseReason, LegFailure } from '../protocol/leg-messages.ts';

export type LeaveCause =
  | 'client-left'
  | 'duplicate-identity'
  | 'removed'
  | 'room-deleted'
  | 'room-idle'
  | 'room-failed'
  | 'join-timeout'
  /** The socket was lost before media ever flowed. */
  | 'signal-lost'
  /** The media connection was lost and the client did not come back in time. */
  | 'connection-lost'
  /** Client and server disagree; a new session puts that right. */
  | 'state-mismatch'
  /** The server's media failed; a new session gets it back. */
  | 'media-failed'
  | 'slow-reader'
  | 'shutdown'
  | 'moved'
  /** MoveParticipant took it there. */
  | 'other-room'
  | 'simulated-node-failure';

export type LeaveRule = {
  reason: DisconnectReason;
  legReason: LegCloseReason;
  /** What the client is told; undefined = nothing. */
  action: LeaveRequest_Action | undefined;
};

const { DISCONNECT, RECONNECT } = LeaveRequest_Action;

export const leaveRules: Record<LeaveCause, LeaveRule> = {
  'client-left': { reason: DisconnectReason.CLIENT_INITIATED, legReason: 'left', action: undefined },
  'duplicate-identity': {
    reason: DisconnectReason.DUPLICATE_IDENTITY,
    legReason: 'duplicate-identity',
    action: DISCONNECT,
  },
  removed: { reason: DisconnectReason.PARTICIPANT_REMOVED, legReason: 'removed', action: DISCONNECT },
  'room-deleted': { reason: DisconnectReason.ROOM_DELETED, legReason: 'room-closed', action: DISCONNECT },
  'room-idle': { reason: DisconnectReason.ROOM_CLOSED, legReason: 'room-closed', action: DISCONNECT },
  'room-failed': { reason: DisconnectReason.STATE_MISMATCH, legReason: 'room-closed', action: RECONNECT },
  'join-timeout': { reason: DisconnectReason.JOIN_FAILURE, legReason: 'join-timeout', action: DISCONNECT },
  'signal-lost': { reason: DisconnectReason.SIGNAL_CLOSE, legReason: 'connection-lost', action: undefined },
  'connection-lost': { reason: DisconnectReason.CONNECTION_TIMEOUT, legReason: 'connection-lost', action: RECONNECT },
  'state-mismatch': { reason: DisconnectReason.STATE_MISMATCH, legReason: 'state-mismatch', action: RECONNECT },
  'media-failed': { reason: DisconnectReason.MEDIA_FAILURE, legReason: 'connection-lost', action: RECONNECT },
  'slow-reader': { reason: DisconnectReason.STATE_MISMATCH, legReason: 'slow-reader', action: RECONNECT },
  shutdown: { reason: DisconnectReason.SERVER_SHUTDOWN, legReason: 'server-shutdown', action: DISCONNECT },
  moved: { reason: DisconnectReason.MIGRATION, legReason: 'server-shutdown', action: RECONNECT },
  'other-room': { reason: DisconnectReason.MIGRATION, legReason: 'moved', action: undefined },
  'simulated-node-failure': {
    reason: DisconnectReason.SERVER_SHUTDOWN,
    legReason: 'connection-lost',
    action: undefined,
  },
};

/** Undefined: the client may resume its session. */
export function causeOfFailure(failure: LegFailure): LeaveCause | undefined {
  switch (failure) {
    case 'ice-lost':
      return undefined;
    case 'worker-died':
    case 'dtls-failed':
    case 'internal':
    case 'move-failed':
      return 'media-failed';
    case 'data-channel-stuck':
      return 'slow-reader';
    case 'negotiation-failed':
    case 'negotiation-timeout':
    case 'bad-description':
      return 'state-mismatch';
  }
}

/** Reasons that a client may state for its own leaving; anything else counts as its plain wish. */
export function reasonOfClient(stated: DisconnectReason): DisconnectReason {
  const accepted = [DisconnectReason.USER_UNAVAILABLE, DisconnectReason.USER_REJECTED, DisconnectReason.AGENT_ERROR];
  return accepted.includes(stated) ? stated : DisconnectReason.CLIENT_INITIATED;
}

/** WebSocket close codes (RFC 6455 section 7.4.1) and texts that clients and logs see. */
export const socketClose = {
  left: { code: 1000, reason: 'left' },
  /** Another socket took over the session. */
  replaced: { code: 1000, reason: 'replaced' },
  /** The client should resume. */
  resume: { code: 1000, reason: 'resume' },
  /** The client should resume on another node. */
  moved: { code: 1000, reason: 'moved' },
  /** What came is no SignalRequest. */
  malformed: { code: 1007, reason: 'malformed-message' },
  simulated: { code: 1001, reason: 'simulated' },
} as const;

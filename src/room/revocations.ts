/** Tokens that a moderator took back: RemoveParticipant with `revoke_token_ts`. It holds as long as the room is open. */
import { DisconnectReason, LeaveRequest_Action } from '@livekit/protocol';
import type { ConnectionId } from '../protocol/ids.ts';
import type { JoinParameters } from '../protocol/session-messages.ts';
import { encodeLeave, refuseWithLeave } from './leave.ts';
import type { RoomState } from './room-state.ts';
import { bound } from './settings.ts';

/** @param beforeS tokens whose `nbf` is earlier are void; Unix seconds, 0 = none */
export function revokeTokens(room: RoomState, identity: string, beforeS: bigint): void {
  if (beforeS <= 0n) {
    return;
  }
  const latestS = Math.max(Number(beforeS), room.revocations.get(identity) ?? 0);
  room.revocations.delete(identity);
  room.revocations.set(identity, latestS);
  const oldest = room.revocations.keys().next().value;
  if (room.revocations.size > bound.revocations && oldest !== undefined) {
    room.revocations.delete(oldest);
  }
  // So that the next host of the room knows it too.
  room.roomChange = room.roomChange === 'none' ? 'counters' : room.roomChange;
}

/** A token without `nbf` counts as old as can be. */
export function isRevoked(room: RoomState, join: Pick<JoinParameters, 'identity' | 'tokenNotBeforeS'>): boolean {
  const revokedBeforeS = room.revocations.get(join.identity);
  return revokedBeforeS !== undefined && (join.tokenNotBeforeS ?? 0) < revokedBeforeS;
}

/**
 * As the one who was removed heard it. A status would be lost on browsers, which cannot read it from a refused socket and
 * find nothing wrong with the token when they ask `/rtc/validate`.
 */
export function refuseRevoked(room: RoomState, connectionId: ConnectionId): void {
  const message = encodeLeave(DisconnectReason.PARTICIPANT_REMOVED, LeaveRequest_Action.DISCONNECT);
  refuseWithLeave(room, connectionId, message);
}

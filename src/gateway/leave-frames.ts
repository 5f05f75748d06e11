import { type DisconnectReason, LeaveRequest, LeaveRequest_Action, SignalResponse } from '@livekit/protocol';

/**
 * `leave` with which clients make a full reconnect, i.e. a new join. `canReconnect` says the same to clients with
 * protocol 12 and older, which do not know `action`.
 */
export function reconnectLeave(reason: DisconnectReason): Uint8Array {
  const value = new LeaveRequest({ canReconnect: true, reason, action: LeaveRequest_Action.RECONNECT });
  return new SignalResponse({ message: { case: 'leave', value } }).toBinary();
}

/** What members of a room that failed are told, without asking the room. */
import { LeaveRequest_Action } from '@livekit/protocol';
import type { HostToLeg } from '../protocol/leg-messages.ts';
import type { HostToGateway } from '../protocol/session-messages.ts';
import { leaveRules, socketClose } from '../room/close-reason.ts';
import { encodeLeave } from '../room/leave.ts';
import type { RoomRemains } from './room-driver.ts';

/** Clients join anew at once: the next room of that name starts with a clean state. */
export function endRemains(remains: RoomRemains): { toGateway: HostToGateway[]; toLegs: HostToLeg[] } {
  const rule = leaveRules['room-failed'];
  const leave = encodeLeave(rule.reason, rule.action ?? LeaveRequest_Action.RECONNECT);
  const toGateway: HostToGateway[] = [];
  for (const connectionId of remains.waiting) {
    toGateway.push({ kind: 'refused', connectionId, status: 503, body: 'room failed' });
  }
  if (remains.connections.length > 0) {
    toGateway.push({ kind: 'send', connectionIds: remains.connections, message: leave });
  }
  for (const connectionId of remains.connections) {
    toGateway.push({ kind: 'closeSocket', connectionId, ...socketClose.left });
  }
  for (const requestId of remains.commands) {
    const result = { ok: false, code: 'internal', message: 'room failed' } as const;
    toGateway.push({ kind: 'commandResult', requestId, result });
  }
  return { toGateway, toLegs: remains.legs.map((leg) => ({ kind: 'close', leg, reason: rule.legReason })) };
}

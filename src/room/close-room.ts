/** The end of a room. */
import type { LeaveCause } from './close-reason.ts';
import type { RoomCloseReason } from './events.ts';
import { closeLeftLegs, removeParticipant } from './leave.ts';
import type { RoomState } from './room-state.ts';
import { failAllRpcs } from './rpc.ts';
import { roomWebhook } from './webhooks.ts';

/** Ends every session and the room itself; nothing happens in it afterwards. */
export function closeRoom(room: RoomState, reason: RoomCloseReason, cause: LeaveCause): void {
  if (room.closed !== undefined) {
    return;
  }
  room.closed = reason;
  for (const participant of room.participants.values()) {
    removeParticipant(room, participant, cause);
  }
  closeLeftLegs(room, true);
  failAllRpcs(room);
  roomWebhook(room, 'room_finished');
  room.updates.takeUrgent();
  room.updates.takeBatched();
  room.dirtyLegs.clear();
  room.dirtyDynacast.clear();
  room.departures = [];
  room.nonces.clear();
  room.timers.clearAll();
}

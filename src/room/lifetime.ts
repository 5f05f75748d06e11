/** How long a room without participants stays. */
import type { RoomState } from './room-state.ts';
import { timing } from './settings.ts';

/** Starts or stops the countdown, whichever the members call for. Helpers do not keep a room open. */
export function scheduleEmptyRoom(room: RoomState): void {
  for (const participant of room.participants.values()) {
    if (!participant.isDependent) {
      room.timers.clear('empty');
      return;
    }
  }
  if (!room.timers.has('empty')) {
    const timeoutMs = 1000 * (room.wasJoined ? room.departureTimeoutS : room.emptyTimeoutS);
    // Under a new host the room is not empty before its legs had time to state themselves.
    const leastMs = room.isCollecting ? timing.collectLegsMs : 0;
    room.timers.set('empty', room.nowMs + Math.max(timeoutMs, leastMs));
  }
}

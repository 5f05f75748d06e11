/** How long a room without participants stays. */
import type { RoomState } from './room-state.ts';

/** Starts or stops the countdown, whichever the members call for. Helpers do not keep a room open. */
export function scheduleEmptyRoom(room: RoomState): void {
  for (const participant of room.participants.values()) {
    if (!participant.isDependent) {
      room.timers.clear('empty');
      return;
    }
  }
  if (!room.timers.has('empty')) {
    const timeoutS = room.wasJoined ? room.departureTimeoutS : room.emptyTimeoutS;
    room.timers.set('empty', room.nowMs + timeoutS * 1000);
  }
}

import { PlenumError } from '../lib/errors.ts';

/** The node of the room is gone, and it is not settled yet who hosts it now: worth another try. */
export function roomHostLost(roomName: string, cause?: unknown): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'room-host-lost',
    message: 'the node of the room was lost and another one is not ready yet',
    logLevel: 'warn',
    details: { room: roomName },
    cause,
  });
}

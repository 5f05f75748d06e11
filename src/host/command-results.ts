/** Answers to commands that no room gives. */
import { PlenumError } from '../lib/errors.ts';
import type { CommandResult } from '../protocol/session-messages.ts';

/** The caller asks the directory again. */
export const notHere: CommandResult = {
  ok: false,
  code: 'unavailable',
  message: 'the room is between two nodes',
  meta: { reason: 'not-here' },
};

/** It had begun here, and it is not known how far it came. */
export const roomMoved: CommandResult = {
  ok: false,
  code: 'unavailable',
  message: 'the room has moved to another node',
};

export const shuttingDown: CommandResult = { ok: false, code: 'unavailable', message: 'server is shutting down' };

export function toFailure(error: unknown): CommandResult {
  return error instanceof PlenumError
    ? { ok: false, code: error.code, message: error.message, meta: { reason: error.reason } }
    : { ok: false, code: 'internal', message: 'the room could not be opened' };
}

/** How failures inside the gateway are told to clients. */
import { PlenumError } from '../lib/errors.ts';
import { type HttpRefusal, joinRefusal } from '../protocol/http-errors.ts';
import { twirpStatus } from '../protocol/twirp.ts';

/** A PlenumError keeps its text, which is written for clients; anything else is our fault and stays in the log. */
export function toRefusal(error: unknown): HttpRefusal {
  if (!(error instanceof PlenumError)) {
    return joinRefusal.internal;
  }
  // A 404 is final for clients, and only the check for the room itself may say so.
  const status = twirpStatus[error.code] === 404 ? 503 : twirpStatus[error.code];
  return { status, body: error.message };
}

/** @param bindAddress as configured, with the port it was to be opened on. */
export function listenFailed(bindAddress: string, port: number, cause: unknown): PlenumError {
  const isTaken = cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE';
  const detail = cause instanceof Error ? cause.message : String(cause);
  const why = isTaken ? 'another program uses it. Stop that one, or choose another port with --port.' : detail;
  return new PlenumError({
    code: 'unavailable',
    reason: 'listen-failed',
    message: `cannot listen on ${bindAddress} port ${port}: ${why}`,
    logLevel: 'error',
    cause,
  });
}

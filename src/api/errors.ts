/** What the API answers when it cannot do what was asked; the messages are those that users of LiveKit's SDKs match on. */
import { PlenumError } from '../lib/errors.ts';

export function permissionDenied(): PlenumError {
  // LiveKit answers every missing grant with 401, also a token for another room; SDK users rely on it.
  return new PlenumError({ code: 'unauthenticated', reason: 'missing-grant', message: 'permissions denied' });
}

export function badRoute(message: string, path: string): PlenumError {
  return new PlenumError({
    code: 'bad_route',
    reason: 'bad-route',
    message,
    details: { twirp_invalid_route: `POST ${path}` },
  });
}

export function malformedRequest(format: 'json' | 'protobuf', cause: unknown): PlenumError {
  return new PlenumError({
    code: 'malformed',
    reason: 'malformed-request',
    message: `the ${format} request could not be decoded`,
    cause,
  });
}

export function unimplemented(what: string): PlenumError {
  return new PlenumError({
    code: 'unimplemented',
    reason: 'not-offered',
    message: `${what} is not offered by this server`,
  });
}

export function invalidArgument(message: string, argument: string): PlenumError {
  return new PlenumError({ code: 'invalid_argument', reason: 'invalid-argument', message, details: { argument } });
}

export function roomNotFound(): PlenumError {
  return new PlenumError({ code: 'not_found', reason: 'room-not-found', message: 'requested room does not exist' });
}

export function hostUnreachable(): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'room-host-unreachable',
    message: 'the node that hosts the room does not answer',
    logLevel: 'warn',
  });
}

export function hostTooSlow(): PlenumError {
  return new PlenumError({
    code: 'deadline_exceeded',
    reason: 'room-host-too-slow',
    message: 'the room did not answer in time',
    logLevel: 'warn',
  });
}

export function tooManyRequests(): PlenumError {
  return new PlenumError({
    code: 'resource_exhausted',
    reason: 'too-many-requests',
    message: 'too many requests wait for their rooms, try again later',
    logLevel: 'warn',
  });
}

/** Why nobody waits for the answer any more: the caller went away, or the gateway's own time limit is over. */
export function requestAborted(signal: AbortSignal): PlenumError {
  if (signal.reason instanceof DOMException && signal.reason.name === 'TimeoutError') {
    return hostTooSlow();
  }
  return new PlenumError({
    code: 'canceled',
    reason: 'request-canceled',
    message: 'the request was canceled',
    logLevel: 'debug',
  });
}

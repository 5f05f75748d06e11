import { PlenumError } from '../lib/errors.ts';

/** The object was closed, by us or with its parent, before or while it was used. */
export function mediaClosed(what: string): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'media-closed',
    message: `${what} is closed`,
    logLevel: 'debug',
  });
}

export function noWorkerAlive(): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'no-media-worker',
    message: 'no media worker is running',
    logLevel: 'error',
  });
}

export function workerNotStarted(binary: string, cause: unknown): PlenumError {
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new PlenumError({
    code: 'unavailable',
    reason: 'media-worker-not-started',
    message: `the media worker ${binary} did not start: ${detail}`,
    logLevel: 'error',
    cause,
  });
}

export function noFreePort(firstPort: number, lastPort: number): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'no-free-media-port',
    message: `no media port could be bound between ${firstPort} and ${lastPort}`,
    logLevel: 'error',
  });
}

/** A DTLS role and fingerprint can be given to a transport only once. */
export function alreadyConnected(): PlenumError {
  return new PlenumError({
    code: 'failed_precondition',
    reason: 'transport-already-connected',
    message: 'the transport was connected before',
  });
}

/** The engine refused parameters that came from a client's description. */
export function engineRefused(what: string, cause: unknown): PlenumError {
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new PlenumError({
    code: 'invalid_argument',
    reason: 'media-engine-refused',
    message: `${what} was refused: ${detail}`,
    cause,
  });
}

export function noSuchProducer(producerId: string): PlenumError {
  return new PlenumError({
    code: 'not_found',
    reason: 'no-such-producer',
    message: `no producer ${producerId} on this router`,
    logLevel: 'debug',
  });
}

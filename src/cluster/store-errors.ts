import { PlenumError } from '../lib/errors.ts';

/** The store does not answer: it is unreachable, hung, starting, or no longer the one that may be written to. */
export function storeAway(cause?: unknown): PlenumError {
  return unavailable('store-away', 'the cluster store does not answer; running calls go on', cause);
}

/** Whether the store can say nothing now, but may later. */
export function isStoreUnavailable(error: unknown): boolean {
  return error instanceof PlenumError && error.code === 'unavailable' && error.reason.startsWith('store-');
}

/** It answers, but with too few replicas: what it granted now could be lost with it. */
export function storeNotReplicated(cause?: unknown): PlenumError {
  return unavailable('store-not-replicated', 'the cluster store has too few replicas to grant anything', cause);
}

/** It has just restarted or failed over, and the nodes have not yet stated again what they hold. */
export function storeSettling(): PlenumError {
  return unavailable('store-settling', 'the cluster store was restarted and is being told the rooms again');
}

export function storeOverloaded(): PlenumError {
  return unavailable('store-overloaded', 'too many requests wait for the cluster store');
}

export function storeClosed(): PlenumError {
  return unavailable('store-closed', 'the cluster store is closed');
}

export function storeTooLarge(what: string, sizeBytes: number, maxBytes: number): PlenumError {
  return new PlenumError({
    code: 'invalid_argument',
    reason: 'store-too-large',
    message: `${what} has ${sizeBytes} bytes, at most ${maxBytes} can be stored`,
  });
}

/** Somebody wrote what cannot be read, or the store's script is broken. */
export function badRecord(what: string, cause: unknown): PlenumError {
  return new PlenumError({
    code: 'data_loss',
    reason: 'bad-store-record',
    message: `${what} in the cluster store cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
    logLevel: 'error',
    cause,
  });
}

function unavailable(reason: string, message: string, cause?: unknown): PlenumError {
  return new PlenumError({ code: 'unavailable', reason, message, logLevel: 'warn', cause });
}

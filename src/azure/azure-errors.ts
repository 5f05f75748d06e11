/** What the Azure SDKs reject with, as far as it changes what we do. */
import { PlenumError } from '../lib/errors.ts';

function statusOf(error: unknown): number {
  const status: unknown = error instanceof Error && 'statusCode' in error ? error.statusCode : undefined;
  return typeof status === 'number' ? status : 0;
}

/** There is no such thing, any more or yet. */
export function isGone(error: unknown): boolean {
  return statusOf(error) === 404;
}

/** Another operation is under way, the request is one too many, or somebody changed the resource meanwhile. */
export function isToBeAskedLater(error: unknown): boolean {
  return [409, 412, 429].includes(statusOf(error));
}

/** Rights take minutes to reach every part of Azure. */
export function isNotAllowed(error: unknown): boolean {
  return [401, 403].includes(statusOf(error));
}

export function isTaken(error: unknown): boolean {
  return [409, 412].includes(statusOf(error));
}

export function metadataFailed(what: string, cause: unknown): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'metadata-service',
    message: `the metadata service of this machine does not tell ${what}`,
    cause,
  });
}

import { PlenumError } from '../lib/errors.ts';
import type { NodeReport } from '../protocol/node-report.ts';

export function serverUnreachable(url: string, why: string): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'server-unreachable',
    message: `no server answers at ${url} (${why}). Start one with ./plenum dev, or name another with --url or LIVEKIT_URL.`,
  });
}

export function notAServer(url: string, status: number): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'not-a-server',
    message: `what answers at ${url} is no Plenum or LiveKit server (HTTP status ${status}). Check --url or LIVEKIT_URL.`,
  });
}

export function keyRefused(url: string, why: string): PlenumError {
  return new PlenumError({
    code: 'unauthenticated',
    reason: 'key-refused',
    message: `the server at ${url} refuses the API key or secret (${why}). Set --api-key and --api-secret, or LIVEKIT_API_KEY and LIVEKIT_API_SECRET.`,
  });
}

export function serverRefused(code: string, message: string): PlenumError {
  return new PlenumError({
    code: 'unknown',
    reason: 'server-refused',
    message: `the server says: ${message} (${code})`,
  });
}

export function nothingToMute(identity: string): PlenumError {
  return new PlenumError({
    code: 'not_found',
    reason: 'no-track',
    message: `${JSON.stringify(identity)} publishes no track`,
  });
}

export function verificationFailed(count: number, why = ''): PlenumError {
  return new PlenumError({
    code: 'failed_precondition',
    reason: 'verification-failed',
    message: why === '' ? `${count} of the checks failed; the table says which` : why,
  });
}

/** What to do about refusals whose text does not say it. */
const adminHints: Record<string, string> = {
  'unknown-node': './plenum node list shows all there are.',
  'already-drained':
    'Start its process again: it comes back cordoned, and ./plenum node undrain takes it into service.',
  'not-possible-from-state': './plenum node show tells what it waits for.',
  'store-away': 'Drains that were begun go on when Redis answers.',
};

export function adminRefused(status: number, reason: string, message: string): PlenumError {
  const hint = adminHints[reason];
  return new PlenumError({
    code: status === 503 ? 'unavailable' : status === 404 ? 'not_found' : 'failed_precondition',
    reason,
    message: hint === undefined ? message : `${message}. ${hint}`,
  });
}

/** Somebody who waits for an empty node has to know that it is not. */
export function drainEndedOtherwise({ id, state, owner, reason }: NodeReport): PlenumError {
  const why = reason === '' ? '' : ` (${reason})`;
  return new PlenumError({
    code: 'failed_precondition',
    reason: 'drain-ended-otherwise',
    message: `${id} was not drained: it is ${state} by ${owner || 'nobody'}${why}`,
  });
}

import { PlenumError } from '../lib/errors.ts';

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

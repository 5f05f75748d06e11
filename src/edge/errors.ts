import { PlenumError } from '../lib/errors.ts';

/** @param option names the port */
export function edgeListenFailed(bindAddress: string, port: number, option: string, cause: unknown): PlenumError {
  const isForbidden = cause instanceof Error && 'code' in cause && cause.code === 'EACCES';
  const detail = cause instanceof Error ? cause.message : String(cause);
  const why = isForbidden ? 'ports below 1024 need the right to bind them (CAP_NET_BIND_SERVICE)' : detail;
  return new PlenumError({
    code: 'unavailable',
    reason: 'listen-failed',
    message: `cannot listen on ${bindAddress} port ${port} (\`${option}\`): ${why}`,
    logLevel: 'error',
    cause,
  });
}

import { PlenumError } from '../lib/errors.ts';

export function metricsListenFailed(bindAddress: string, port: number, cause: unknown): PlenumError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new PlenumError({
    code: 'unavailable',
    reason: 'metrics-listen-failed',
    message: `cannot serve metrics on ${bindAddress} port ${port} (\`prometheus_port\`): ${why}`,
    logLevel: 'error',
    cause,
  });
}

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

export function healthListenFailed(bindAddress: string, port: number, cause: unknown): PlenumError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new PlenumError({
    code: 'unavailable',
    reason: 'health-listen-failed',
    message: `cannot answer health checks on ${bindAddress} port ${port} (\`port\`): ${why}`,
    logLevel: 'error',
    cause,
  });
}

/** Pieces that several roles are made of. */
import { randomBytes } from 'node:crypto';
import type { Config } from '../config/options.ts';
import type { WorkerPool } from '../media/worker-pool.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { startMetricsServer } from '../observe/metrics-server.ts';
import { addProcessMetrics } from '../observe/process-metrics.ts';
import { toSuffix } from '../protocol/ids.ts';
import { refreshToken } from '../protocol/token.ts';
import type { RefreshToken } from '../room/events.ts';

export type RoleOptions = { config: Config; log: Logger };

/** A role that runs. */
export type RunningRole = {
  /** The HTTP port, which matters when the configured one is 0. */
  port: number;
  /**
   * Takes no new work and waits until nothing runs here any more, or until its deadline. Never rejects. Absent where
   * there is nothing to wait for.
   */
  drain?: () => Promise<void>;
  /** Resolves when the node has ended by itself what it was there for; it is to be closed then. */
  finished?: Promise<void>;
  /** Tells clients, closes everything in order. Safe to call twice. */
  close(): Promise<void>;
};

/** For webhooks that are still to be sent when a node ends. */
export const webhookDrainMs = 3_000;

/** Starts parts on a stack. Rejects, with everything it started closed again, when one of them cannot start. */
export async function startOnStack<Running>(
  start: (stack: AsyncDisposableStack) => Promise<Running>,
): Promise<{ running: Running; close: () => Promise<void> }> {
  const stack = new AsyncDisposableStack();
  try {
    const running = await start(stack);
    let closing: Promise<void> | undefined;
    return { running, close: () => (closing ??= stack.disposeAsync()) };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

export function observeWorkers(pool: WorkerPool, metrics: Metrics): void {
  pool.on('died', () => metrics.workers.workerDied());
  metrics.workers.sampleWith(async () => {
    const usages = await pool.usage();
    return usages.map((usage) => ({
      worker: String(usage.index),
      cpuSeconds: usage.cpuMs / 1000,
      residentBytes: usage.rssBytes,
    }));
  });
}

type MetricsParts = { config: Config; log: Logger; metrics: Metrics; stack: AsyncDisposableStack };

export async function serveMetrics({ config, log, metrics, stack }: MetricsParts): Promise<void> {
  if (config.prometheus_port === 0) {
    return;
  }
  addProcessMetrics(metrics.registry);
  const [bindAddress = '127.0.0.1'] = config.bind_addresses;
  const server = await startMetricsServer({
    registry: metrics.registry,
    port: config.prometheus_port,
    bindAddress,
    credentials: config.prometheus,
    log,
  });
  stack.defer(() => server.close());
}

/** With the key that the participant joined with, or with the first one when that was taken out of the configuration. */
export function signRefresh(config: Config, token: RefreshToken): string {
  const [firstKey = ''] = Object.keys(config.keys);
  const apiKey = Object.hasOwn(config.keys, token.apiKey) ? token.apiKey : firstKey;
  const secret = config.keys[apiKey] ?? '';
  return refreshToken(token, { apiKey, secret, nowS: Date.now() / 1000, tokenExpiresAtS: token.tokenExpiresAtS });
}

export function randomSuffix(): string {
  return toSuffix(randomBytes(12));
}

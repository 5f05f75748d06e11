/** Composition root of role `all`: gateway, room host and legs in one process, joined by in-memory links. */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { createMeetTokenHandler } from '../api/meet-token.ts';
import { RoomClient } from '../api/room-client.ts';
import { createTwirpHandler } from '../api/twirp-handler.ts';
import { MemoryDirectory } from '../cluster/memory-directory.ts';
import { memoryLink, type MemoryLinkOptions } from '../cluster/memory-link.ts';
import type { Config } from '../config/options.ts';
import { Gateway, type GatewayLoad } from '../gateway/gateway.ts';
import { createTokenVerifier } from '../gateway/token-verifier.ts';
import { RoomHostNode, type RoomHostStats } from '../host/room-host-node.ts';
import { toRoomSettings } from '../host/room-settings.ts';
import { LegNode, type LegCounts } from '../leg/leg-node.ts';
import { engineCounts } from '../media/engine-counts.ts';
import { mediaSettings } from '../media/media-settings.ts';
import { WorkerPool } from '../media/worker-pool.ts';
import type { Logger } from '../observe/log.ts';
import { Metrics } from '../observe/metrics.ts';
import { startMetricsServer } from '../observe/metrics-server.ts';
import { addProcessMetrics } from '../observe/process-metrics.ts';
import { RoomEvents } from '../observe/room-events.ts';
import { nodeId as toNodeId, toSuffix } from '../protocol/ids.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';
import { refreshToken } from '../protocol/token.ts';
import type { RefreshToken } from '../room/events.ts';
import type { RoomSnapshot } from '../room/room.ts';
import { WebhookSender } from '../webhook/webhook-sender.ts';

export type StartOptions = {
  config: Config;
  log: Logger;
  /** Applied to every message between the parts; tests pass `structuredClone`. */
  transfer?: MemoryLinkOptions['transfer'];
};

export type DebugState = {
  gateway: GatewayLoad;
  host: RoomHostStats;
  legs: LegCounts;
  rooms: RoomSnapshot[];
  directoryRooms: number;
};

export type RunningServer = {
  /** The HTTP port, which matters when the configured one is 0. */
  port: number;
  debug: {
    state(): DebugState;
    engine(): ReturnType<typeof engineCounts>;
    /** Process ids of the media workers. */
    workerPids(): number[];
  };
  /** Tells clients, closes everything in order. Safe to call twice. */
  close(): Promise<void>;
};

const webhookDrainMs = 3_000;

/** Resolves when the node can take calls. Rejects, with everything it started closed again, when it cannot. */
export async function startAll(options: StartOptions): Promise<RunningServer> {
  const stack = new AsyncDisposableStack();
  try {
    return await startParts(options, stack);
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

async function startParts(options: StartOptions, stack: AsyncDisposableStack): Promise<RunningServer> {
  const { config, log } = options;
  const nodeId = toNodeId(randomSuffix());
  const link: MemoryLinkOptions = options.transfer === undefined ? {} : { transfer: options.transfer };
  const metrics = stack.adopt(new Metrics({ nodeId, nodeType: 'SERVER' }), (value) => value.close());

  const pool = stack.adopt(await WorkerPool.start({ settings: mediaSettings(config), log }), (value) => value.close());
  observeWorkers(pool, metrics);
  await serveMetrics({ config, log, metrics, stack });

  const webhooks = stack.adopt(
    new WebhookSender({ config: config.webhook, keys: config.keys, observer: metrics.webhook, log }),
    (value) => value.close(AbortSignal.timeout(webhookDrainMs)),
  );
  const legs = stack.adopt(new LegNode({ nodeId, pool, config, log, observer: metrics.legs }), (value) =>
    value.close(),
  );
  const directory = new MemoryDirectory({ nodeId, now: () => performance.now(), link });
  const host = new RoomHostNode({
    settings: toRoomSettings({ config, nodeId, now: Date.now }),
    registrar: directory,
    webhooks: new RoomEvents({ log, metrics: metrics.rooms, webhooks, now: Date.now }),
    signRefreshToken: (token) => Promise.resolve(signRefresh(config, token)),
    random: randomSuffix,
    log,
  });
  metrics.watchCalls(() => ({
    rooms: host.stats().rooms,
    participants: host.stats().participants,
    carried: legs.carried(),
  }));
  directory.attachHost((end) => host.acceptGateway(end));
  const [hostEnd, legEnd] = memoryLink<HostToLeg, LegToHost>(link);
  legs.addHost(legEnd);
  host.attachLegs(hostEnd);

  const client = stack.adopt(new RoomClient({ connector: directory }), (value) => value.close());
  const gateway = stack.adopt(createGateway({ options, directory, client, metrics, pool }), (value) => value.close());
  await gateway.start();
  // Last in, first out: before anything is taken apart, no new room is placed and clients are told to go.
  stack.defer(() => {
    directory.stopAdmitting();
    host.close('disconnect');
  });
  log.info({ port: gateway.port, nodeId, workers: pool.workers.length }, 'node is ready');

  const debug: RunningServer['debug'] = {
    state: () => ({
      gateway: gateway.load,
      host: host.stats(),
      legs: legs.counts,
      rooms: host.snapshot(),
      directoryRooms: directory.size,
    }),
    engine: () => engineCounts(pool),
    workerPids: () => pool.workers.map((worker) => worker.pid),
  };
  let closing: Promise<void> | undefined;
  return { port: gateway.port, debug, close: () => (closing ??= stack.disposeAsync()) };
}

type GatewayParts = {
  options: StartOptions;
  directory: MemoryDirectory;
  client: RoomClient;
  metrics: Metrics;
  pool: WorkerPool;
};

function createGateway({ options, directory, client, metrics, pool }: GatewayParts): Gateway {
  const { config, log } = options;
  const meetToken = createMeetTokenHandler(config);
  return new Gateway({
    config,
    log,
    directory,
    connector: directory,
    twirp: createTwirpHandler({ directory, client, limits: config.limit, observer: metrics.twirp, log }),
    health: () =>
      pool.workers.length > 0 ? { ready: true } : { ready: false, body: 'Not Ready\nno media worker is running' },
    observer: metrics.gateway,
    verifier: createTokenVerifier(config.keys),
    ...(config.meet.enabled ? { staticDir: path.join(import.meta.dirname, '../../web/meet/dist') } : {}),
    ...(meetToken === undefined ? {} : { meetToken }),
  });
}

function observeWorkers(pool: WorkerPool, metrics: Metrics): void {
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

async function serveMetrics({ config, log, metrics, stack }: MetricsParts): Promise<void> {
  if (config.prometheus_port === 0) {
    return;
  }
  addProcessMetrics(metrics.registry);
  const [bindAddress = '127.0.0.1'] = config.bind_addresses;
  const server = await startMetricsServer({
    registry: metrics.registry,
    port: config.prometheus_port,
    bindAddress,
    log,
  });
  stack.defer(() => server.close());
}

/** With the key that the participant joined with, or with the first one when that was taken out of the configuration. */
function signRefresh(config: Config, token: RefreshToken): string {
  const [firstKey = ''] = Object.keys(config.keys);
  const apiKey = Object.hasOwn(config.keys, token.apiKey) ? token.apiKey : firstKey;
  const secret = config.keys[apiKey] ?? '';
  return refreshToken(token, { apiKey, secret, nowS: Date.now() / 1000, tokenExpiresAtS: token.tokenExpiresAtS });
}

function randomSuffix(): string {
  return toSuffix(randomBytes(12));
}

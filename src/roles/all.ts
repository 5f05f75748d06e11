/** Composition root of role `all`: gateway, room host and legs in one process, joined by in-memory links. */
import { hostname } from 'node:os';
import { RoomClient } from '../api/room-client.ts';
import { MemoryDirectory } from '../cluster/memory-directory.ts';
import { memoryLink, type MemoryLinkOptions } from '../cluster/memory-link.ts';
import type { Config } from '../config/options.ts';
import { AloneNode, type AloneNodeOptions } from '../drain/alone-node.ts';
import type { TurnBackend } from '../edge/turn-splice.ts';
import type { Health } from '../gateway/http-route.ts';
import type { GatewayLoad } from '../gateway/gateway.ts';
import type { RoomHostStats } from '../host/contracts.ts';
import { RoomHostNode } from '../host/room-host-node.ts';
import { toRoomSettings } from '../host/room-settings.ts';
import { LegNode, type LegCounts } from '../leg/leg-node.ts';
import { engineCounts } from '../media/engine-counts.ts';
import { mediaSettings } from '../media/media-settings.ts';
import { WorkerPool } from '../media/worker-pool.ts';
import type { Logger } from '../observe/log.ts';
import { Metrics } from '../observe/metrics.ts';
import { RoomEvents } from '../observe/room-events.ts';
import { nodeId as toNodeId, type NodeId } from '../protocol/ids.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';
import type { RoomSnapshot } from '../room/room.ts';
import { WebhookSender } from '../webhook/webhook-sender.ts';
import {
  observeWorkers,
  randomSuffix,
  serveMetrics,
  signRefresh,
  startOnStack,
  webhookDrainMs,
  type RunningRole,
} from './node-parts.ts';
import { startCertificates } from './certificate-parts.ts';
import { programVersion } from './program-version.ts';
import { PublicFace } from './public-face.ts';
import { startTurn, type Turn } from './turn-parts.ts';

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

export type RunningServer = RunningRole & {
  debug: {
    state(): DebugState;
    engine(): ReturnType<typeof engineCounts>;
    /** Process ids of the media workers. */
    workerPids(): number[];
  };
};

/** Resolves when the node can take calls. Rejects, with everything it started closed again, when it cannot. */
export async function startAll(options: StartOptions): Promise<RunningServer> {
  const { running, close } = await startOnStack((stack) => startParts(options, stack));
  return { ...running, close };
}

async function startParts(options: StartOptions, stack: AsyncDisposableStack): Promise<Omit<RunningServer, 'close'>> {
  const { config, log } = options;
  const nodeId = toNodeId(randomSuffix());
  const link: MemoryLinkOptions = options.transfer === undefined ? {} : { transfer: options.transfer };
  const metrics = stack.adopt(new Metrics({ nodeId, nodeType: 'SERVER' }), (value) => value.close());

  const media = mediaSettings(config);
  const pool = stack.adopt(await WorkerPool.start({ settings: media, log }), (value) => value.close());
  observeWorkers(pool, metrics);
  await serveMetrics({ config, log, metrics, stack });

  const certificates = await startCertificates({ config, log, nodeId, metrics, stack, manages: true });
  const turn = await startTurn({ config, log, metrics, stack, media, certificates });

  const webhooks = stack.adopt(
    new WebhookSender({ config: config.webhook, keys: config.keys, observer: metrics.webhook, log }),
    (value) => value.close(AbortSignal.timeout(webhookDrainMs)),
  );
  const legs = stack.adopt(new LegNode({ nodeId, pool, config, log, observer: metrics.legs }), (value) =>
    value.close(),
  );
  turn?.onRelaysLost((isRelay) => legs.relaysLost(isRelay));
  const directory = new MemoryDirectory({ nodeId, now: () => performance.now(), link });
  const host = createHost({ config, log, nodeId, directory, metrics, webhooks, turn });
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
  const health = (): Health =>
    pool.workers.length > 0 ? { ready: true } : { ready: false, body: 'Not Ready\nno media worker is running' };
  const alone = stack.adopt(createAlone({ config, log, nodeId, directory, host }), (value) => value.close());
  metrics.watchNodes(
    () => [alone.state],
    () => [],
  );
  const face = new PublicFace({
    ...{ config, log, directory, client, metrics, health, certificates, nodes: alone },
    turnBackends: ownTurn(config, turn),
  });
  const gateway = stack.adopt(face, (value) => value.close());
  await gateway.start();
  // Last in, first out: before anything is taken apart, no new room is placed and clients are told to go.
  stack.defer(() => {
    directory.admit(false);
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
  return { port: gateway.port, debug, finished: alone.drained, ...alone.drainOption(config.drain) };
}

type HostParts = Pick<StartOptions, 'config' | 'log'> & {
  nodeId: NodeId;
  directory: MemoryDirectory;
  metrics: Metrics;
  webhooks: WebhookSender;
  turn: Turn | undefined;
};

function createHost({ config, log, nodeId, directory, metrics, webhooks, turn }: HostParts): RoomHostNode {
  return new RoomHostNode({
    settings: toRoomSettings({ config, nodeId, now: Date.now, turn: turn?.access }),
    registrar: directory,
    webhooks: new RoomEvents({ log, metrics: metrics.rooms, webhooks, now: Date.now }),
    signRefreshToken: (token) => Promise.resolve(signRefresh(config, token)),
    random: randomSuffix,
    log,
  });
}

/** The TLS port leads to the TURN server of this node, unless a load balancer does. */
function ownTurn(config: Config, turn: Turn | undefined): (() => TurnBackend[]) | undefined {
  return turn === undefined || config.turn.external_tls
    ? undefined
    : () => [turn.backend()].filter((one) => one !== undefined);
}

type AloneParts = Pick<StartOptions, 'config' | 'log'> & {
  nodeId: NodeId;
  directory: MemoryDirectory;
  host: RoomHostNode;
};

function createAlone({ config, log, nodeId, directory, host }: AloneParts): AloneNode {
  return new AloneNode({
    nodeId,
    counts: () => ({ rooms: Math.max(directory.size, host.stats().rooms), participants: host.stats().participants }),
    admit: (isAdmitting) => directory.admit(isAdmitting),
    about: () => aboutThisNode(config, host.stats()),
    log,
  });
}

function aboutThisNode(config: Config, counts: RoomHostStats): ReturnType<AloneNodeOptions['about']> {
  const { rooms, participants } = counts;
  return {
    machine: hostname(),
    address: config.bind_addresses[0] ?? '',
    region: config.region,
    zone: config.zone,
    version: programVersion(),
    load: { cpu: 0, bitrateBps: 0, tracks: 0, rooms, participants },
  };
}

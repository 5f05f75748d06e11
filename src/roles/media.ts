/** Composition root of role `media`: room hosts and participants' legs of a cluster. */
import { ClusterLegs, legPeerConnector } from '../cluster/cluster-legs.ts';
import { GuardedLegs } from '../cluster/guarded-legs.ts';
import { HostAffirmation } from '../cluster/host-affirmation.ts';
import { HostSeeker, seekChannel } from '../cluster/host-seeker.ts';
import { legPeerChannel } from '../cluster/leg-peer-channel.ts';
import { serveHostSearch } from '../cluster/host-search.ts';
import { memoryLink } from '../cluster/memory-link.ts';
import { protocolRange } from '../cluster/relay-hello.ts';
import { RoomLeases } from '../cluster/room-leases.ts';
import { legChannel, sessionChannel } from '../cluster/wire-messages.ts';
import type { Config } from '../config/options.ts';
import { DrainService } from '../drain/drain-service.ts';
import type { RoomMoves } from '../host/room-moves.ts';
import { RoomHostNode } from '../host/room-host-node.ts';
import { toRoomSettings } from '../host/room-settings.ts';
import { LegNode } from '../leg/leg-node.ts';
import { mediaSettings } from '../media/media-settings.ts';
import { WorkerPool } from '../media/worker-pool.ts';
import { startHealthServer } from '../observe/health-server.ts';
import type { Logger } from '../observe/log.ts';
import { Metrics } from '../observe/metrics.ts';
import { NodeLoadMeter } from '../observe/node-load.ts';
import type { WorkerSample } from '../placement/measure-load.ts';
import { RoomEvents } from '../observe/room-events.ts';
import { selectHostNode } from '../placement/select-node.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';
import type { TurnAccess } from '../turn/turn-access.ts';
import { WebhookSender } from '../webhook/webhook-sender.ts';
import { watchPlatform } from './capacity-parts.ts';
import type { OwnLifecycle } from '../drain/own-lifecycle.ts';
import { createHeartbeat, createOwnLifecycle, joinCluster, nodeLimits, type ClusterNode } from './cluster-node.ts';
import { drainOption, enterService } from './media-service.ts';
import {
  observeWorkers,
  randomSuffix,
  serveMetrics,
  signRefresh,
  startOnStack,
  webhookDrainMs,
  type RoleOptions,
  type RunningRole,
} from './node-parts.ts';

import { startNodeTurn } from './turn-parts.ts';

/** @property moves the room hosts of this node on their way to others */
export type RunningMedia = RunningRole & { nodeId: NodeId; moves: RoomMoves };

/** Resolves when the node can take rooms. Rejects, with everything it started closed again, when it cannot. */
export async function startMedia(options: RoleOptions): Promise<RunningMedia> {
  const { running, close } = await startOnStack((stack) => startParts(options, stack));
  return { ...running, close };
}

const role = 'media';

type Started = Omit<RunningMedia, 'close'>;

async function startParts({ config, log }: RoleOptions, stack: AsyncDisposableStack): Promise<Started> {
  const settings = mediaSettings(config);
  const pool = stack.adopt(await WorkerPool.start({ settings, log }), (value) => value.close());
  const node = await joinCluster({ config, log, role, stack });
  const { nodeId, relay, nodes } = node;
  const metrics = stack.adopt(new Metrics({ nodeId, nodeType: 'MEDIA' }), (value) => value.close());
  observeWorkers(pool, metrics);
  await serveMetrics({ config, log, metrics, stack });

  const turn = await startNodeTurn({ config, log, node, metrics, stack, media: settings });
  const own = createOwnLifecycle({ config, log, node });
  const leases = createLeases({ config, log, node, own, stack });
  const counts = (): { rooms: number; participants: number } => ({
    rooms: host.stats().rooms,
    participants: legs.counts.legs,
  });
  const meter = createMeter(config, pool, counts);
  const guarded = new GuardedLegs();
  const seeker = createSeeker(node, log, (roomName) => host.legsHere(nodeId, roomName));
  stack.adopt(seeker, (value) => value.close());
  const legs = stack.adopt(
    new LegNode({
      nodeId,
      pool,
      config,
      log,
      observer: metrics.legs,
      peers: legPeerConnector(relay, nodes),
      hostGraceMs: config.cluster.host_grace * 1_000,
      seeker,
      onLegEnded: (leg) => guarded.legEnded(leg),
    }),
    (value) => value.close(),
  );
  turn?.onRelaysLost((isRelay) => legs.relaysLost(isRelay));
  const host = createHost({ config, log, node, metrics, stack, leases, turn: turn?.access });
  metrics.watchCalls(() => ({
    rooms: host.stats().rooms,
    participants: host.stats().participants,
    carried: legs.carried(),
  }));
  serveHostSearch(relay, (roomName) => leases.epochOf(roomName));
  joinParts({ nodeId, relay, host, legs, guarded, log });
  await stack.adopt(meter, (value) => value.close()).start();
  leases.start();
  const health = await startHealthServer({
    port: config.port,
    bindAddress: config.bind_addresses[0] ?? '127.0.0.1',
    complaint: () => (pool.workers.length > 0 ? '' : 'no media worker is running'),
    log,
  });
  stack.defer(() => health.close());
  const publicAddress = settings.announcedAddresses[0] ?? '';
  const states = { load: () => meter.load, turn: () => turn?.backend(), publicAddress };
  const heartbeat = createHeartbeat({ config, log, role, node, own, ...states });
  await enterService({ own, heartbeat, node, pool, log, stack });
  await watchPlatform({ config, log, node, stack, load: () => meter.load });
  // Last in, first out: off the list first, so that the clients that are told to go land elsewhere.
  stack.defer(async () => {
    await heartbeat.close(nodeId);
    await host.moveRooms();
    host.close('disconnect');
    await own.end();
  });
  log.info({ port: health.port, relayPort: relay.port, nodeId, role, workers: pool.workers.length }, 'node is ready');
  return { port: health.port, nodeId, moves: host.moves, ...drainOption({ config, log, own, node, host, legs }) };
}

function createMeter(
  config: Config,
  pool: WorkerPool,
  counts: () => { rooms: number; participants: number },
): NodeLoadMeter {
  const workers = async (): Promise<WorkerSample[]> =>
    (await pool.usage()).map(({ index, cpuMs, bytes, packets, producers, consumers, pipeStreams }) => ({
      index,
      cpuMs,
      bytes,
      packets,
      tracks: producers + consumers + pipeStreams,
    }));
  return new NodeLoadMeter({ workers, counts, cores: config.node_limit.cores });
}

function createSeeker(
  { nodeId, nodes, relay, store }: ClusterNode,
  log: Logger,
  ownRoom: (roomName: string) => void,
): HostSeeker {
  const { rooms, timings } = store;
  return new HostSeeker({ nodeId, nodes, rooms, relay, intervalMs: timings.heartbeatMs, ownRoom, log });
}

type LeaseParts = Omit<HostParts, 'metrics' | 'leases' | 'turn'> & { own: OwnLifecycle };

function createLeases({ config, log, node, own, stack }: LeaseParts): RoomLeases {
  const { nodeId, store, relay, nodes } = node;
  const affirmation = new HostAffirmation({
    nodes,
    relay,
    intervalMs: store.timings.heartbeatMs,
    affirmed: () => leases.affirmed(),
    superseded: (roomName, epoch) => leases.superseded(roomName, epoch),
  });
  const successor = (roomName: string): NodeId | undefined => chooseSuccessor(config, node, roomName);
  const leases = new RoomLeases({
    store,
    nodeId,
    chooseSuccessor: successor,
    admitsRooms: () => own.admitsRooms,
    affirmation,
    log,
  });
  stack.adopt(leases, (value) => value.close());
  stack.adopt(affirmation, (value) => value.close()).start();
  return leases;
}

type HostParts = {
  config: Config;
  log: Logger;
  node: ClusterNode;
  metrics: Metrics;
  stack: AsyncDisposableStack;
  leases: RoomLeases;
  turn: (() => TurnAccess) | undefined;
};

function createHost({ config, log, node, metrics, stack, leases, turn }: HostParts): RoomHostNode {
  const { nodeId, nodes, relay } = node;
  const webhooks = stack.adopt(
    new WebhookSender({ config: config.webhook, keys: config.keys, observer: metrics.webhook, log }),
    (value) => value.close(AbortSignal.timeout(webhookDrainMs)),
  );
  return new RoomHostNode({
    settings: toRoomSettings({ config, nodeId, now: Date.now, givesKeepsakes: true, turn }),
    registrar: leases,
    ownership: leases,
    legPlacer: new ClusterLegs({
      nodeId,
      nodes,
      relay,
      limits: nodeLimits(config),
      region: config.region,
      zone: config.zone,
      maxLegsPerNode: config.room.max_legs_per_node,
      maxViewersPerWorker: config.rtc.max_viewers_per_worker,
    }),
    webhooks: new RoomEvents({ log, metrics: metrics.rooms, webhooks, now: Date.now }),
    signRefreshToken: (token) => Promise.resolve(signRefresh(config, token)),
    random: randomSuffix,
    log,
  });
}

type Parts = Pick<ClusterNode, 'nodeId' | 'relay'> & {
  host: RoomHostNode;
  legs: LegNode;
  guarded: GuardedLegs;
  log: Logger;
};

function joinParts({ nodeId, relay, host, legs, guarded, log }: Parts): void {
  const [hostEnd, legEnd] = memoryLink<HostToLeg, LegToHost>();
  legs.addHost(guarded.wrap(legEnd));
  host.attachLegs(hostEnd);
  relay.onChannel(sessionChannel, ({ link }) => host.acceptGateway(link));
  relay.onChannel(legChannel, ({ link }) => legs.addHost(guarded.wrap(link)));
  relay.onChannel(seekChannel, ({ link, peer }) =>
    link.onMessage(({ roomName }) => host.legsHere(peer.nodeId, roomName)),
  );
  relay.onChannel(legPeerChannel, ({ link, peer }) => legs.acceptPeer(peer.nodeId, link));
  new DrainService({ nodeId, relay, moves: host.moves, carried: () => legs.members, log }).serve();
}

function chooseSuccessor(config: Config, { nodeId, nodes }: ClusterNode, roomName: string): NodeId | undefined {
  const selection = selectHostNode({
    nodes: nodes.mediaNodes(),
    placements: [],
    limits: nodeLimits(config),
    nowMs: performance.now(),
    key: roomName,
    protocol: protocolRange,
    region: config.region,
    exclude: new Set([...nodes.suspects(), nodeId]),
  });
  return selection.kind === 'selected' ? selection.nodeId : undefined;
}

/** Composition root of role `media`: room hosts and participants' legs of a cluster. */
import { ClusterLegs, legPeerConnector } from '../cluster/cluster-legs.ts';
import { GuardedLegs } from '../cluster/guarded-legs.ts';
import { legPeerChannel } from '../cluster/leg-peer-channel.ts';
import { serveHostSearch } from '../cluster/host-search.ts';
import { memoryLink } from '../cluster/memory-link.ts';
import { protocolRange } from '../cluster/relay-hello.ts';
import { RoomLeases } from '../cluster/room-leases.ts';
import { legChannel, sessionChannel } from '../cluster/wire-messages.ts';
import type { Config } from '../config/options.ts';
import { RoomHostNode } from '../host/room-host-node.ts';
import { toRoomSettings } from '../host/room-settings.ts';
import { LegNode } from '../leg/leg-node.ts';
import type { LegObserver } from '../leg/observer.ts';
import { mediaSettings } from '../media/media-settings.ts';
import { WorkerPool } from '../media/worker-pool.ts';
import { startHealthServer } from '../observe/health-server.ts';
import type { Logger } from '../observe/log.ts';
import { Metrics } from '../observe/metrics.ts';
import { NodeLoadMeter } from '../observe/node-load.ts';
import { RoomEvents } from '../observe/room-events.ts';
import { selectHostNode } from '../placement/select-node.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';
import { WebhookSender } from '../webhook/webhook-sender.ts';
import { createHeartbeat, joinCluster, nodeLimits, type ClusterNode } from './cluster-node.ts';
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

/** Resolves when the node can take rooms. Rejects, with everything it started closed again, when it cannot. */
export async function startMedia(options: RoleOptions): Promise<RunningRole> {
  const { running, close } = await startOnStack((stack) => startParts(options, stack));
  return { port: running, close };
}

async function startParts({ config, log }: RoleOptions, stack: AsyncDisposableStack): Promise<number> {
  const role = 'media';
  const settings = mediaSettings(config);
  const pool = stack.adopt(await WorkerPool.start({ settings, log }), (value) => value.close());
  const node = await joinCluster({ config, log, role, stack });
  const { nodeId, store, relay, nodes } = node;
  const metrics = stack.adopt(new Metrics({ nodeId, nodeType: 'MEDIA' }), (value) => value.close());
  observeWorkers(pool, metrics);
  await serveMetrics({ config, log, metrics, stack });

  const leases = stack.adopt(
    new RoomLeases({ store, nodeId, chooseSuccessor: (room) => chooseSuccessor(config, node, room), log }),
    (value) => value.close(),
  );
  const meter = new NodeLoadMeter({
    workers: async () =>
      (await pool.usage()).map(({ index, cpuMs, producers, consumers }) => ({
        index,
        cpuMs,
        tracks: producers + consumers,
      })),
    counts: () => ({ rooms: host.stats().rooms, participants: legs.counts.legs }),
  });
  const legs = stack.adopt(
    new LegNode({
      nodeId,
      pool,
      config,
      log,
      observer: measuredBy(metrics.legs, meter),
      peers: legPeerConnector(relay, nodes),
    }),
    (value) => value.close(),
  );
  const host = createHost({ config, log, node, metrics, stack, leases });
  metrics.watchCalls(() => ({
    rooms: host.stats().rooms,
    participants: host.stats().participants,
    carried: legs.carried(),
  }));
  serveHostSearch(relay, (roomName) => leases.epochOf(roomName));
  joinParts({ relay, host, legs });
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
  const heartbeat = createHeartbeat({ config, log, role, node, load: () => meter.load, publicAddress });
  heartbeat.start();
  // Last in, first out: off the list of nodes first, so that the clients that are told to go land elsewhere.
  stack.defer(async () => {
    await heartbeat.close(nodeId);
    await host.moveRooms();
    host.close('disconnect');
  });
  log.info({ port: health.port, relayPort: relay.port, nodeId, role, workers: pool.workers.length }, 'node is ready');
  return health.port;
}

type HostParts = {
  config: Config;
  log: Logger;
  node: ClusterNode;
  metrics: Metrics;
  stack: AsyncDisposableStack;
  leases: RoomLeases;
};

function createHost({ config, log, node, metrics, stack, leases }: HostParts): RoomHostNode {
  const { nodeId, nodes, relay } = node;
  const webhooks = stack.adopt(
    new WebhookSender({ config: config.webhook, keys: config.keys, observer: metrics.webhook, log }),
    (value) => value.close(AbortSignal.timeout(webhookDrainMs)),
  );
  return new RoomHostNode({
    settings: toRoomSettings({ config, nodeId, now: Date.now }),
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
    }),
    webhooks: new RoomEvents({ log, metrics: metrics.rooms, webhooks, now: Date.now }),
    signRefreshToken: (token) => Promise.resolve(signRefresh(config, token)),
    random: randomSuffix,
    log,
  });
}

type Parts = { relay: ClusterNode['relay']; host: RoomHostNode; legs: LegNode };

function joinParts({ relay, host, legs }: Parts): void {
  const guarded = new GuardedLegs();
  const [hostEnd, legEnd] = memoryLink<HostToLeg, LegToHost>();
  legs.addHost(guarded.wrap(legEnd));
  host.attachLegs(hostEnd);
  relay.onChannel(sessionChannel, ({ link }) => host.acceptGateway(link));
  relay.onChannel(legChannel, ({ link }) => legs.addHost(guarded.wrap(link)));
  relay.onChannel(legPeerChannel, ({ link, peer }) => legs.acceptPeer(peer.nodeId, link));
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

/** The same reports for metrics and for the node's load. */
function measuredBy(metrics: LegObserver, meter: NodeLoadMeter): LegObserver {
  return {
    mediaMeasured: (traffic) => {
      metrics.mediaMeasured(traffic);
      meter.mediaMeasured(traffic);
    },
    dataDropped: (reason, packets) => metrics.dataDropped(reason, packets),
    slowSubscriberClosed: () => metrics.slowSubscriberClosed(),
  };
}

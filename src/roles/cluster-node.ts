/** What every node of a cluster has, whatever its role: the store, the relay, the list of nodes, its own heartbeat. */
import { hostname } from 'node:os';
import { ClusterNodes } from '../cluster/cluster-nodes.ts';
import { heedEndedNodes } from '../cluster/node-notices.ts';
import { redisOptions } from '../cluster/redis-config.ts';
import { RedisStore } from '../cluster/redis-store.ts';
import { relayOptions } from '../cluster/relay-config.ts';
import { protocolRange } from '../cluster/relay-hello.ts';
import { TcpRelay } from '../cluster/relay-tcp.ts';
import { NodeHeartbeat } from '../cluster/store-heartbeat.ts';
import type { ClusterStore } from '../cluster/store.ts';
import type { NodeRecord } from '../cluster/store-records.ts';
import { badConfig } from '../config/errors.ts';
import type { Config } from '../config/options.ts';
import { NodeLifecycles } from '../drain/node-lifecycles.ts';
import { OwnLifecycle } from '../drain/own-lifecycle.ts';
import type { Logger } from '../observe/log.ts';
import type { NodeLimits, NodeLoad } from '../placement/load.ts';
import { nodeId as toNodeId, type NodeId } from '../protocol/ids.ts';
import { isWildcard, machineAddresses } from './addresses.ts';
import { randomSuffix } from './node-parts.ts';
import { programVersion } from './program-version.ts';

export type ClusterRole = 'master' | 'media';

export type ClusterNodeOptions = { config: Config; log: Logger; role: ClusterRole; stack: AsyncDisposableStack };

export type ClusterNode = {
  nodeId: NodeId;
  store: ClusterStore;
  relay: TcpRelay;
  nodes: ClusterNodes;
};

const firstAnswerMs = 2_000;

/** Connects to the store and opens the relay; the node states itself once `startHeartbeat` is called. */
export async function joinCluster({ config, log, role, stack }: ClusterNodeOptions): Promise<ClusterNode> {
  const nodeId = toNodeId(randomSuffix());
  const options = redisOptions(config, { clientName: `plenum-${role}-${nodeId}`, log });
  if (options === undefined) {
    throw badConfig([`\`redis.address\` or Sentinel is needed for role ${role}`]);
  }
  const relaySettings = relayOptions(config.cluster);
  const store = stack.adopt(new RedisStore(options), (value) => value.close());
  const self = { nodeId, role, software: programVersion(), features: [] };
  const relay = stack.adopt(await TcpRelay.start({ ...relaySettings, self, log }), (value) => value.close());
  // Starting while the store is away is allowed: it is waited for, and nothing else depends on it.
  await store.ready(firstAnswerMs).catch((error: unknown) => {
    log.warn({ err: error }, 'the cluster store does not answer yet');
  });
  const { nodes: registry, nodeStates: states, health, timings } = store;
  const nodes = stack.adopt(new ClusterNodes({ registry, states, health, timings, log }), (value) => value.close());
  await nodes.start();
  stack.defer(await heedEndedNodes(store.bus, nodes));
  return { nodeId, store, relay, nodes };
}

export type HeartbeatOptions = {
  config: Config;
  log: Logger;
  role: ClusterRole;
  node: ClusterNode;
  load: () => NodeLoad;
  /** Where clients reach its media; empty for a node without. */
  publicAddress: string;
  /** Of a node with a lifecycle. */
  own?: OwnLifecycle;
  /** Where masters lead clients of TURN over TLS to; undefined while they cannot be served. */
  turn?: () => { host: string; port: number } | undefined;
};

/** States the node from now on. */
export function createHeartbeat(options: HeartbeatOptions): NodeHeartbeat {
  const { config, log, role, node, load, publicAddress, own, turn } = options;
  const { nodeId, store, relay } = node;
  const record = (): NodeRecord => ({
    ...turnPart(turn?.()),
    nodeId,
    machineId: config.cluster.machine_id === '' ? hostname() : config.cluster.machine_id,
    roles: [role],
    version: programVersion(),
    protocol: { ...protocolRange },
    region: config.region,
    zone: config.zone,
    relay: { host: announcedRelayAddress(config), port: relay.port },
    publicAddress,
    state: own?.state ?? 'SERVING',
    load: { ...load(), workers: [...load().workers] },
    uptimeMs: Math.round(process.uptime() * 1_000),
  });
  return new NodeHeartbeat({
    nodes: store.nodes,
    timings: store.timings,
    record,
    onState: (lifecycle, sentAtMs) => own?.noteBeat(lifecycle, sentAtMs),
    onFenced: () => log.warn({ nodeId }, 'this node takes no new work'),
    onUnfenced: () => log.info({ nodeId }, 'this node takes work'),
    log,
  });
}

function turnPart(turn: NodeRecord['turn']): Pick<NodeRecord, 'turn'> {
  return turn === undefined ? {} : { turn };
}

export function createOwnLifecycle({
  config,
  log,
  node,
}: Pick<HeartbeatOptions, 'config' | 'log' | 'node'>): OwnLifecycle {
  const { nodeId, store, relay } = node;
  return new OwnLifecycle({
    nodeId,
    // A machine that got the address of another one is another machine.
    seat: `${hostname()} ${announcedRelayAddress(config)}:${relay.port}`,
    lifecycles: new NodeLifecycles(store.nodeStates),
    leaseMs: store.timings.leaseMs,
    log,
  });
}

export function nodeLimits(config: Config): NodeLimits {
  const { cpu, worker_cpu, bitrate_bps, tracks, rooms, participants, event_loop_lag } = config.node_limit;
  return {
    cpu,
    workerCpu: worker_cpu,
    bitrateBps: bitrate_bps,
    tracks,
    rooms,
    participants,
    eventLoopLagMs: event_loop_lag,
  };
}

function announcedRelayAddress({ cluster }: Config): string {
  const bound = cluster.relay_bind_addresses[0] ?? '0.0.0.0';
  if (cluster.relay_address !== '') {
    return cluster.relay_address;
  }
  return isWildcard(bound) ? (machineAddresses()[0] ?? '127.0.0.1') : bound;
}

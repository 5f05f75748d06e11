/** Composition root of role `master`: the public face of a cluster. It holds no call; media nodes do. */
import { ListParticipantsRequest } from '@livekit/protocol';
import { RoomClient } from '../api/room-client.ts';
import { ClusterDirectory } from '../cluster/cluster-directory.ts';
import { HostReach } from '../cluster/host-reach.ts';
import { MasterOpinions } from '../cluster/master-opinions.ts';
import { protocolRange } from '../cluster/relay-hello.ts';
import { RoomRecovery } from '../cluster/room-recovery.ts';
import { DrainLeader } from '../drain/drain-leader.ts';
import { DrainObserver } from '../drain/drain-observer.ts';
import { DrainBoard } from '../drain/drain-progress.ts';
import { LeaderLease } from '../drain/leader-lease.ts';
import { ClusterNodeAdmin, type NodeAdmin } from '../drain/node-admin.ts';
import { NodeLifecycles } from '../drain/node-lifecycles.ts';
import { NodeSupervisor } from '../drain/node-supervisor.ts';
import { PendingPlacements } from '../drain/pending-placements.ts';
import { UnopenedRooms } from '../drain/unopened-rooms.ts';
import type { Health } from '../gateway/http-route.ts';
import { Metrics } from '../observe/metrics.ts';
import { NodeLoadMeter } from '../observe/node-load.ts';
import type { HostRequest } from '../placement/select-node.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { RoomCommand } from '../protocol/session-messages.ts';
import { createHeartbeat, joinCluster, nodeLimits, type ClusterNode } from './cluster-node.ts';
import { serveMetrics, startOnStack, type RoleOptions, type RunningRole } from './node-parts.ts';
import { createPublicFace } from './public-face.ts';

/** Resolves when clients may come. Rejects, with everything it started closed again, when it cannot work. */
export async function startMaster(options: RoleOptions): Promise<RunningRole> {
  const { running, close } = await startOnStack((stack) => startParts(options, stack));
  return { port: running, close };
}

async function startParts({ config, log }: RoleOptions, stack: AsyncDisposableStack): Promise<number> {
  const role = 'master';
  const node = await joinCluster({ config, log, role, stack });
  const { nodeId, store, nodes, relay } = node;
  const metrics = stack.adopt(new Metrics({ nodeId, nodeType: 'MASTER' }), (value) => value.close());
  await serveMetrics({ config, log, metrics, stack });

  const limits = nodeLimits(config);
  const directory = stack.adopt(
    new ClusterDirectory({
      nodeId,
      store,
      nodes,
      relay,
      limits,
      region: config.region,
      recovered: (roomName, hostId) => void openRecovered(client, roomName, hostId),
      log,
    }),
    (value) => value.close(),
  );
  await directory.start();
  const client = stack.adopt(new RoomClient({ connector: directory }), (value) => value.close());
  const recovery = new RoomRecovery({
    nodes,
    rooms: store.rooms,
    directory,
    intervalMs: store.timings.heartbeatMs,
    log,
  });
  stack.adopt(recovery, (value) => value.close()).start();
  let hasAnswered = false;
  const health = (): Health => {
    // Once the store has answered, its absence is no reason to send clients elsewhere.
    hasAnswered ||= store.health.answeringSince() !== undefined;
    return hasAnswered ? { ready: true } : { ready: false, body: 'Not Ready\nthe cluster store does not answer' };
  };
  const admin = await leadDrains({ config, log, node, metrics, stack, client });
  const face = createPublicFace({ config, log, directory, client, metrics, health, nodes: admin });
  const gateway = stack.adopt(face, (value) => value.close());
  await gateway.start();

  const meter = new NodeLoadMeter({
    workers: () => Promise.resolve([]),
    counts: () => ({ rooms: 0, participants: gateway.load.sessions }),
  });
  await stack.adopt(meter, (value) => value.close()).start();
  const heartbeat = createHeartbeat({ config, log, role, node, load: () => meter.load, publicAddress: '' });
  stack.adopt(heartbeat, (value) => value.close(nodeId)).start();
  log.info({ port: gateway.port, relayPort: relay.port, nodeId, role }, 'node is ready');
  return gateway.port;
}

type LeaderParts = Pick<RoleOptions, 'config' | 'log'> & {
  node: ClusterNode;
  metrics: Metrics;
  stack: AsyncDisposableStack;
  client: RoomClient;
};

/** This master's part in leading the cluster, which one of them does at a time. @returns what operators may do at any of them */
async function leadDrains({ config, log, node, metrics, stack, client }: LeaderParts): Promise<NodeAdmin> {
  const { nodeId, store, nodes, relay } = node;
  const { timings, health, nodeStates } = store;
  const lifecycles = new NodeLifecycles(nodeStates);
  const board = stack.adopt(new DrainBoard(), (value) => value.close());
  await board.listen(store.bus);
  const states = (): string[] => nodes.mediaNodes().map(({ state }) => state);
  metrics.watchNodes(states, () => board.all());

  const lease = stack.adopt(new LeaderLease({ leases: store.leases, name: 'drain', nodeId, timings, log }), (value) =>
    value.close(),
  );
  const reach = new HostReach(relay, nodes);
  const opinions = stack.adopt(new MasterOpinions({ nodeId, nodes, relay, reach }), (value) => value.close());
  const observer = stack.adopt(new DrainObserver({ nodes, relay }), (value) => value.close());
  const placements = new PendingPlacements();
  const placement = (): Omit<HostRequest, 'key'> => ({
    nodes: nodes.mediaNodes(),
    placements: placements.all(),
    limits: nodeLimits(config),
    nowMs: performance.now(),
    protocol: protocolRange,
    region: config.region,
    exclude: nodes.suspects(),
  });
  const unopened = new UnopenedRooms({
    store,
    placement,
    moved: (roomName, hostId) => void openRecovered(client, roomName, hostId),
    log,
  });
  const supervisor = new NodeSupervisor({ nodeId, nodes, lifecycles, reach, opinions, health, timings, log });
  const leader = new DrainLeader({
    lease,
    nodes,
    nodeStates,
    supervisor,
    tools: {
      nodeId,
      store,
      lifecycles,
      observer,
      unopened,
      placement,
      placed: (target, estimate) => placements.add(target, estimate),
      leaderEpoch: () => lease.epoch,
      log,
    },
    timings,
  });
  stack.adopt(leader, (value) => value.close()).start();
  void lease.start();
  return new ClusterNodeAdmin({ registry: store.nodes, lifecycles, board, log });
}

/** Any question makes the new host open the room; when it does not get there, the first client does the same. */
async function openRecovered(client: RoomClient, roomName: string, nodeId: NodeId): Promise<void> {
  const command = { method: 'ListParticipants', request: new ListParticipantsRequest({ room: roomName }).toBinary() };
  const timeoutMs = 5_000;
  await client
    .run({ nodeId, roomName, command: command as RoomCommand, timeoutMs, signal: AbortSignal.timeout(timeoutMs) })
    .catch(() => undefined);
}

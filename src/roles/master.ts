/** Composition root of role `master`: the public face of a cluster. It holds no call; media nodes do. */
import { ListParticipantsRequest } from '@livekit/protocol';
import { RoomClient } from '../api/room-client.ts';
import { ClusterDirectory } from '../cluster/cluster-directory.ts';
import { RoomRecovery } from '../cluster/room-recovery.ts';
import { ClusterDrains } from '../drain/cluster-drains.ts';
import type { StoreHealth } from '../cluster/store.ts';
import type { HealthCheck } from '../gateway/http-route.ts';
import { Metrics } from '../observe/metrics.ts';
import { NodeLoadMeter } from '../observe/node-load.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { RoomCommand } from '../protocol/session-messages.ts';
import { capacityReports, startCapacity } from './capacity-parts.ts';
import { createHeartbeat, joinCluster, nodeLimits } from './cluster-node.ts';
import { serveMetrics, startOnStack, type RoleOptions, type RunningRole } from './node-parts.ts';
import { startCertificates } from './certificate-parts.ts';
import { PublicFace } from './public-face.ts';
import { turnBackends } from './turn-backends.ts';

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

  const certificates = await startCertificates({ config, log, nodeId, metrics, stack, cluster: store, manages: true });

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
  const drains = stack.adopt(
    new ClusterDrains({
      ...node,
      reach: directory.reach,
      opinions: directory.opinions,
      limits,
      region: config.region,
      moved: (roomName, hostId) => void openRecovered(client, roomName, hostId),
      log,
    }),
    (value) => value.close(),
  );
  await drains.start();
  metrics.watchNodes(
    () => nodes.mediaNodes().map(({ state }) => state),
    () => drains.progress(),
  );
  const face = new PublicFace({
    ...{ config, log, directory, client, metrics, certificates, nodes: drains.admin },
    capacity: capacityReports(config, store.bus),
    health: healthOf(store.health),
    turnBackends: config.turn.enabled && !config.turn.external_tls ? () => turnBackends(nodes) : undefined,
  });
  const gateway = stack.adopt(face, (value) => value.close());
  await gateway.start();

  const meter = new NodeLoadMeter({
    workers: () => Promise.resolve([]),
    counts: () => ({ rooms: 0, participants: gateway.load.sessions }),
  });
  await stack.adopt(meter, (value) => value.close()).start();
  const heartbeat = createHeartbeat({ config, log, role, node, load: () => meter.load, publicAddress: '' });
  stack.adopt(heartbeat, (value) => value.close(nodeId)).start();
  await startCapacity({ config, log, node, stack });
  log.info({ port: gateway.port, relayPort: relay.port, nodeId, role }, 'node is ready');
  return gateway.port;
}

/** Once the store has answered, its absence is no reason to send clients elsewhere. */
function healthOf(store: StoreHealth): HealthCheck {
  let hasAnswered = false;
  return () => {
    hasAnswered ||= store.answeringSince() !== undefined;
    return hasAnswered ? { ready: true } : { ready: false, body: 'Not Ready\nthe cluster store does not answer' };
  };
}

/** Any question makes the new host open the room; when it does not get there, the first client does the same. */
async function openRecovered(client: RoomClient, roomName: string, nodeId: NodeId): Promise<void> {
  const command = { method: 'ListParticipants', request: new ListParticipantsRequest({ room: roomName }).toBinary() };
  const timeoutMs = 5_000;
  await client
    .run({ nodeId, roomName, command: command as RoomCommand, timeoutMs, signal: AbortSignal.timeout(timeoutMs) })
    .catch(() => undefined);
}

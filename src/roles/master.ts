/** Composition root of role `master`: the public face of a cluster. It holds no call; media nodes do. */
import { ListParticipantsRequest } from '@livekit/protocol';
import { RoomClient } from '../api/room-client.ts';
import { ClusterDirectory } from '../cluster/cluster-directory.ts';
import { RoomRecovery } from '../cluster/room-recovery.ts';
import { ClusterDrains } from '../drain/cluster-drains.ts';
import type { Health } from '../gateway/http-route.ts';
import { Metrics } from '../observe/metrics.ts';
import { NodeLoadMeter } from '../observe/node-load.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { RoomCommand } from '../protocol/session-messages.ts';
import { createHeartbeat, joinCluster, nodeLimits } from './cluster-node.ts';
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
  const face = createPublicFace({ config, log, directory, client, metrics, health, nodes: drains.admin });
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

/** Any question makes the new host open the room; when it does not get there, the first client does the same. */
async function openRecovered(client: RoomClient, roomName: string, nodeId: NodeId): Promise<void> {
  const command = { method: 'ListParticipants', request: new ListParticipantsRequest({ room: roomName }).toBinary() };
  const timeoutMs = 5_000;
  await client
    .run({ nodeId, roomName, command: command as RoomCommand, timeoutMs, signal: AbortSignal.timeout(timeoutMs) })
    .catch(() => undefined);
}

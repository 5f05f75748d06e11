/** A media node's coming into service and going out of it. */
import type { NodeHeartbeat } from '../cluster/store-heartbeat.ts';
import type { Config } from '../config/options.ts';
import { ownWish, type OwnLifecycle } from '../drain/own-lifecycle.ts';
import { SelfDrain } from '../drain/self-drain.ts';
import type { RoomHostNode } from '../host/room-host-node.ts';
import type { LegNode } from '../leg/leg-node.ts';
import type { WorkerPool } from '../media/worker-pool.ts';
import type { Logger } from '../observe/log.ts';
import type { ClusterNode } from './cluster-node.ts';
import type { RunningRole } from './node-parts.ts';

type ServiceParts = {
  own: OwnLifecycle;
  heartbeat: NodeHeartbeat;
  node: Pick<ClusterNode, 'store' | 'nodeId'>;
  pool: WorkerPool;
  log: Logger;
  stack: AsyncDisposableStack;
};

/** Resolves when others know that the node serves, or when the store has had its time to answer. */
export async function enterService({ own, heartbeat, node, pool, log, stack }: ServiceParts): Promise<void> {
  const beat = (): Promise<void> => heartbeat.beat().catch(() => undefined);
  stack.defer(
    node.store.nodeStates.onChange((changed) => {
      if (changed === node.nodeId) void beat();
    }),
  );
  await beat();
  await own.ready();
  await beat();
  heartbeat.start();
  reportFailure({ pool, own, log, stack });
}

type FailureParts = Pick<ServiceParts, 'pool' | 'own' | 'log' | 'stack'>;

/** Workers that die are replaced within moments; a node that has had none for so long does not heal by itself. */
const failedAfterMs = 30_000;

function reportFailure({ pool, own, log, stack }: FailureParts): void {
  let lastWorkerAtMs = performance.now();
  const timer = setInterval(() => {
    const nowMs = performance.now();
    if (pool.workers.length > 0) {
      lastWorkerAtMs = nowMs;
    } else if (nowMs - lastWorkerAtMs > failedAfterMs && own.state !== 'FAILED') {
      const reason = 'no media worker is running';
      own.ask({ kind: 'failed', owner: ownWish, reason }).then(
        () => log.error({}, 'this node has FAILED: no media worker can be started; start it again'),
        (error: unknown) => log.debug({ err: error }, 'the failure of this node could not be stated'),
      );
    }
  }, 1_000);
  stack.defer(() => clearInterval(timer));
}

type DrainParts = {
  config: Config;
  log: Logger;
  own: OwnLifecycle;
  node: Pick<ClusterNode, 'nodes'>;
  host: RoomHostNode;
  legs: LegNode;
};

/** What SIGTERM does. */
export function drainOption({ config, log, own, node, host, legs }: DrainParts): Pick<RunningRole, 'drain'> {
  const { policy, deadline } = config.drain;
  if (deadline === 0) {
    return {};
  }
  const counts = (): { rooms: number; participants: number } => ({
    rooms: host.stats().rooms,
    participants: legs.counts.legs,
  });
  const hasMaster = (): boolean => node.nodes.masters().some(({ isLive }) => isLive);
  return {
    drain: async () => {
      await new SelfDrain({ own, policy, deadlineMs: deadline * 1_000, counts, hasMaster, log }).run();
    },
  };
}

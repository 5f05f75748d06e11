/** What the one leader of the cluster does about its media nodes: which are lost, and the drains. */
import type { ClusterNodes } from '../cluster/cluster-nodes.ts';
import type { NodeStates, StoreTimings, Unsubscribe } from '../cluster/store.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { LeaderLease } from './leader-lease.ts';
import { NodeDrain, type DrainTools } from './node-drain.ts';
import type { NodeSupervisor } from './node-supervisor.ts';

export type DrainLeaderOptions = {
  lease: LeaderLease;
  nodes: ClusterNodes;
  nodeStates: NodeStates;
  supervisor: NodeSupervisor;
  tools: DrainTools;
  timings: StoreTimings;
};

type Running = { drain: NodeDrain; ended: Promise<void> };

export class DrainLeader {
  readonly #options: DrainLeaderOptions;
  readonly #running = new Map<NodeId, Running>();
  /** Nodes in service that this leader has looked at: whoever led before may have left something half done there. */
  readonly #tidied = new Set<NodeId>();
  #epoch: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #unsubscribe: Unsubscribe | undefined;

  constructor(options: DrainLeaderOptions) {
    this.#options = options;
  }

  start(): void {
    const { timings, nodeStates, nodes } = this.#options;
    this.#timer = setInterval(() => this.#look(), timings.heartbeatMs);
    this.#unsubscribe = nodeStates.onChange((nodeId) => {
      this.#running.get(nodeId)?.drain.poke();
      void nodes.refresh().then(() => this.#look());
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#unsubscribe?.();
    this.#timer = undefined;
    await this.#stop();
  }

  #look(): void {
    const { lease, supervisor } = this.#options;
    const { epoch } = lease;
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#tidied.clear();
      supervisor.forget();
      void this.#stop();
    }
    if (epoch === undefined || this.#timer === undefined) {
      return;
    }
    supervisor.look();
    const live = new Set(this.#options.nodes.mediaNodes().flatMap((node) => (node.isLive ? [node.nodeId] : [])));
    for (const { nodeId, state } of this.#options.nodes.lifecycles()) {
      if (live.has(nodeId) && (state === 'DRAINING' || this.#needsTidying(nodeId, state))) {
        this.#ensure(nodeId);
      }
    }
  }

  #needsTidying(nodeId: NodeId, state: string): boolean {
    if (this.#tidied.has(nodeId) || (state !== 'SERVING' && state !== 'CORDONED')) {
      return false;
    }
    this.#tidied.add(nodeId);
    return true;
  }

  #ensure(nodeId: NodeId): void {
    if (this.#running.has(nodeId)) {
      return;
    }
    const drain = new NodeDrain(nodeId, this.#options.tools);
    const ended = drain.run().finally(() => {
      if (this.#running.get(nodeId)?.drain === drain) {
        this.#running.delete(nodeId);
      }
    });
    this.#running.set(nodeId, { drain, ended });
  }

  async #stop(): Promise<void> {
    const running = [...this.#running.values()];
    this.#running.clear();
    for (const { drain } of running) {
      drain.close();
    }
    await Promise.all(running.map(({ ended }) => ended));
  }
}

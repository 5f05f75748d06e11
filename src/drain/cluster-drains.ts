/** A master's part in taking nodes out of service: leads when it is its turn, and says at any time how far things are. */
import type { ClusterNodes } from '../cluster/cluster-nodes.ts';
import type { HostReach } from '../cluster/host-reach.ts';
import type { MasterOpinions } from '../cluster/master-opinions.ts';
import { protocolRange } from '../cluster/relay-hello.ts';
import type { RelayNetwork } from '../cluster/relay-network.ts';
import type { ClusterStore } from '../cluster/store.ts';
import type { Logger } from '../observe/log.ts';
import type { DrainPacing } from '../placement/drain-plan.ts';
import type { NodeLimits } from '../placement/load.ts';
import type { HostRequest } from '../placement/select-node.ts';
import type { NodeId } from '../protocol/ids.ts';
import { DrainLeader } from './drain-leader.ts';
import { DrainObserver } from './drain-observer.ts';
import { DrainBoard, type DrainProgress } from './drain-progress.ts';
import { LeaderLease } from './leader-lease.ts';
import { ClusterNodeAdmin, type NodeAdmin } from './node-admin.ts';
import { NodeLifecycles } from './node-lifecycles.ts';
import { NodeSupervisor } from './node-supervisor.ts';
import { PendingPlacements } from './pending-placements.ts';
import { UnopenedRooms } from './unopened-rooms.ts';

export type ClusterDrainsOptions = {
  nodeId: NodeId;
  store: ClusterStore;
  nodes: ClusterNodes;
  relay: RelayNetwork;
  /** How this master, and the others, find out whether a node can be reached. */
  reach: Pick<HostReach, 'of'>;
  opinions: Pick<MasterOpinions, 'of'>;
  limits: NodeLimits;
  region: string;
  /** A room was given to this node, which may not know yet. */
  moved: (roomName: string, nodeId: NodeId) => void;
  log: Logger;
  pacing?: DrainPacing;
};

export class ClusterDrains {
  readonly admin: NodeAdmin;
  readonly #options: ClusterDrainsOptions;
  readonly #board = new DrainBoard();
  readonly #placements = new PendingPlacements();
  readonly #lease: LeaderLease;
  readonly #observer: DrainObserver;
  readonly #leader: DrainLeader;

  constructor(options: ClusterDrainsOptions) {
    this.#options = options;
    const { nodeId, store, nodes, relay, reach, opinions, moved, log, pacing } = options;
    const { timings, health, nodeStates, leases } = store;
    const lifecycles = new NodeLifecycles(nodeStates);
    const placement = (): Omit<HostRequest, 'key'> => this.#placement();
    this.admin = new ClusterNodeAdmin({ registry: store.nodes, lifecycles, board: this.#board, log });
    this.#lease = new LeaderLease({ leases, name: 'drain', nodeId, timings, log });
    this.#observer = new DrainObserver({ nodes, relay });
    this.#leader = new DrainLeader({
      lease: this.#lease,
      nodes,
      nodeStates,
      supervisor: new NodeSupervisor({
        nodeId,
        nodes,
        lifecycles,
        reach,
        opinions,
        health,
        timings,
        log,
      }),
      tools: {
        nodeId,
        store,
        lifecycles,
        observer: this.#observer,
        unopened: new UnopenedRooms({ store, placement, moved, log }),
        placement,
        moved,
        placed: (target, estimate) => this.#placements.add(target, estimate),
        leaderEpoch: () => this.#lease.epoch,
        log,
        ...(pacing === undefined ? {} : { pacing }),
      },
      timings,
    });
  }

  async start(): Promise<void> {
    await this.#board.listen(this.#options.store.bus);
    this.#leader.start();
    void this.#lease.start();
  }

  /** How far the drains of the cluster are, whoever leads them. */
  progress(): { nodeId: NodeId; rooms: number; participants: number }[] {
    return this.#board.all().filter(({ nodeId }) => this.#isDraining(nodeId));
  }

  async close(): Promise<void> {
    await this.#leader.close();
    await this.#lease.close();
    this.#observer.close();
    this.#board.close();
  }

  #isDraining(nodeId: DrainProgress['nodeId']): boolean {
    return this.#options.nodes.lifecycles().some((record) => record.nodeId === nodeId && record.state === 'DRAINING');
  }

  #placement(): Omit<HostRequest, 'key'> {
    const { nodes, limits, region } = this.#options;
    return {
      nodes: nodes.mediaNodes(),
      placements: this.#placements.all(),
      limits,
      nowMs: performance.now(),
      protocol: protocolRange,
      region,
      exclude: nodes.suspects(),
    };
  }
}

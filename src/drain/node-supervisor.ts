/** Decides for the cluster which media nodes are lost and which have come back; done by the leader alone. */
import type { ClusterNodes } from '../cluster/cluster-nodes.ts';
import type { HostReach } from '../cluster/host-reach.ts';
import type { MasterOpinions } from '../cluster/master-opinions.ts';
import type { StoreHealth, StoreTimings } from '../cluster/store.ts';
import type { NodeStateRecord } from '../cluster/store-records.ts';
import type { Logger } from '../observe/log.ts';
import type { NodeEvent } from '../placement/node-lifecycle.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { NodeLifecycles } from './node-lifecycles.ts';
import { ownWish } from './own-lifecycle.ts';

export type NodeSupervisorOptions = {
  nodeId: NodeId;
  nodes: ClusterNodes;
  lifecycles: NodeLifecycles;
  reach: Pick<HostReach, 'of'>;
  opinions: Pick<MasterOpinions, 'of'>;
  health: StoreHealth;
  timings: StoreTimings;
  log: Logger;
};

const mayBeLost: ReadonlySet<string> = new Set(['BOOTING', 'SERVING', 'CORDONED', 'DRAINING']);

export class NodeSupervisor {
  readonly #options: NodeSupervisorOptions;
  /** Since when a node has been missing its beats. */
  readonly #missingSinceMs = new Map<NodeId, number>();
  readonly #looking = new Set<NodeId>();
  /** Since when a node has not been on the list any more. */
  readonly #absentSinceMs = new Map<NodeId, number>();

  constructor(options: NodeSupervisorOptions) {
    this.#options = options;
  }

  /** A new leader trusts nobody's clock but its own. */
  forget(): void {
    this.#missingSinceMs.clear();
    this.#absentSinceMs.clear();
  }

  /** To be called every heartbeat while this node leads. */
  look(): void {
    const { nodes } = this.#options;
    const live = new Set(nodes.mediaNodes().flatMap((node) => (node.isLive ? [node.nodeId] : [])));
    const known = nodes.lifecycles();
    for (const record of known) {
      const { nodeId, state } = record;
      if (live.has(nodeId)) {
        this.#missingSinceMs.delete(nodeId);
        if (state === 'LOST') {
          void this.#change(record, { kind: 'returned', reason: 'is heard again' });
        }
      } else if (mayBeLost.has(state)) {
        this.#missing(record);
      }
    }
    this.#forgetEnded(known);
    const ids = new Set(known.map(({ nodeId }) => nodeId));
    for (const sinceMs of [this.#missingSinceMs, this.#absentSinceMs]) {
      for (const nodeId of sinceMs.keys()) {
        if (!ids.has(nodeId)) sinceMs.delete(nodeId);
      }
    }
  }

  /** Records of processes that ended, of which nobody wants anything any more: every node reads all records all the time. */
  #forgetEnded(known: readonly NodeStateRecord[]): void {
    const { nodes, lifecycles, timings, log } = this.#options;
    const nowMs = performance.now();
    for (const record of known) {
      const { nodeId } = record;
      const sinceMs = this.#absentSinceMs.get(nodeId) ?? nowMs;
      if (nodes.peer(nodeId) !== undefined || !isOver(record)) {
        this.#absentSinceMs.delete(nodeId);
      } else if (nowMs - sinceMs < timings.keepMs) {
        this.#absentSinceMs.set(nodeId, sinceMs);
      } else {
        this.#absentSinceMs.delete(nodeId);
        lifecycles.forget(record).catch((error: unknown) => {
          log.debug({ err: error, nodeId }, 'the record of a node that ended could not be removed');
        });
      }
    }
  }

  #missing(record: NodeStateRecord): void {
    const { health, timings } = this.#options;
    const nowMs = performance.now();
    const sinceMs = this.#missingSinceMs.get(record.nodeId) ?? nowMs;
    this.#missingSinceMs.set(record.nodeId, sinceMs);
    const answeringMs = nowMs - (health.answeringSince() ?? nowMs);
    // A store that was away has let every node miss its beats, and a node that boots has a record before its first one.
    if (nowMs - sinceMs >= timings.leaseMs && answeringMs >= 2 * timings.leaseMs && !this.#looking.has(record.nodeId)) {
      this.#looking.add(record.nodeId);
      void this.#askAround(record).finally(() => this.#looking.delete(record.nodeId));
    }
  }

  async #askAround(record: NodeStateRecord): Promise<void> {
    const { reach, opinions, nodes } = this.#options;
    const reached = await reach.of(record.nodeId);
    if (reached === 'answers') {
      return;
    }
    if (reached === 'silent') {
      const others = await opinions.of(record.nodeId);
      const isUndecided = others.some(({ isLive, opinion }) => isLive && opinion === 'not-asked-yet');
      if (isUndecided || others.some(({ opinion }) => opinion === 'reaches')) {
        return;
      }
    }
    const hasLeft = nodes.peer(record.nodeId) === undefined;
    const reason = hasLeft ? 'its process has ended' : 'missed its beats, and no master reaches it';
    await this.#change(record, { kind: 'lost', reason });
  }

  async #change(
    { nodeId, epoch, state }: NodeStateRecord,
    step: { kind: 'lost' | 'returned'; reason: string },
  ): Promise<void> {
    const { lifecycles, log, nodeId: owner } = this.#options;
    const event: NodeEvent = { ...step, owner, ifEpoch: epoch };
    try {
      const { kind, record } = await lifecycles.apply(nodeId, event);
      if (kind === 'changed') {
        log.warn({ nodeId, from: state, state: record.state, reason: step.reason }, 'a node changed its state');
      }
    } catch (error) {
      log.debug({ err: error, nodeId }, 'the state of a node could not be changed; it is looked at again');
    }
  }
}

function isOver({ state, stateBefore, owner }: NodeStateRecord): boolean {
  switch (state) {
    case 'DRAINED':
      // Another process on its machine is told of the wish of anybody else.
      return owner === ownWish;
    case 'LOST':
    case 'FAILED':
      return stateBefore === undefined || stateBefore === 'SERVING' || stateBefore === 'BOOTING';
    default:
      return state === 'GONE';
  }
}

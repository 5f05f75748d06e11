/** The nodes of the cluster as this one knows them: looked up every heartbeat, so that nothing has to wait for the store. */
import type { Logger } from '../observe/log.ts';
import type { NodeView } from '../placement/select-node.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { RelayPeer } from './relay-network.ts';
import type { NodeRecord } from './store-records.ts';
import type { NodeEntry, NodeRegistry, StoreHealth, StoreTimings, Unsubscribe } from './store.ts';

export type ClusterNodesOptions = {
  registry: NodeRegistry;
  health: StoreHealth;
  timings: StoreTimings;
  log: Logger;
};

type Known = { entry: NodeEntry; seenAtMs: number };

export class ClusterNodes {
  readonly #options: ClusterNodesOptions;
  #known = new Map<NodeId, Known>();
  /** Nodes that could not be reached, and when that was noticed. */
  readonly #suspects = new Map<NodeId, number>();
  readonly #subscriptions: Unsubscribe[] = [];
  #timer: NodeJS.Timeout | undefined;
  #listing: Promise<void> | undefined;
  #closed = false;

  constructor(options: ClusterNodesOptions) {
    this.#options = options;
  }

  /** Resolves after the first look, whether or not the store answered it. */
  async start(): Promise<void> {
    const { registry, health, timings } = this.#options;
    const look = (): void => void this.refresh();
    this.#timer = setInterval(look, timings.heartbeatMs);
    this.#subscriptions.push(
      registry.onChange(look),
      health.onChange((change) => {
        if (change === 'back') look();
      }),
    );
    await this.refresh();
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    for (const unsubscribe of this.#subscriptions.splice(0)) {
      unsubscribe();
    }
  }

  /** Looks now. While the store does not answer, what was known stays. */
  refresh(): Promise<void> {
    this.#listing ??= this.#list().finally(() => {
      this.#listing = undefined;
    });
    return this.#listing;
  }

  /** Nodes that carry media. */
  mediaNodes(): NodeView[] {
    return [...this.#known.values()]
      .filter(({ entry }) => entry.record.roles.includes('media'))
      .map(({ entry, seenAtMs }) => toView(entry, seenAtMs));
  }

  /** What live media nodes state about themselves. */
  liveMedia(): NodeRecord[] {
    return [...this.#known.values()]
      .filter(({ entry }) => entry.isLive && entry.record.roles.includes('media'))
      .map(({ entry }) => entry.record);
  }

  masters(): { nodeId: NodeId; isLive: boolean }[] {
    return [...this.#known.values()]
      .filter(({ entry }) => entry.record.roles.includes('master'))
      .map(({ entry }) => ({ nodeId: entry.record.nodeId, isLive: entry.isLive }));
  }

  /** Where a node listens; undefined for one that nobody has heard of. */
  peer(nodeId: NodeId): RelayPeer | undefined {
    const relay = this.#known.get(nodeId)?.entry.record.relay;
    return relay === undefined ? undefined : { nodeId, ...relay };
  }

  /** Whether it states itself, and nobody has just failed to reach it. */
  isTrusted(nodeId: NodeId): boolean {
    return this.#known.get(nodeId)?.entry.isLive === true && !this.suspects().has(nodeId);
  }

  suspect(nodeId: NodeId): void {
    this.#suspects.set(nodeId, performance.now());
  }

  trust(nodeId: NodeId): void {
    this.#suspects.delete(nodeId);
  }

  /** A suspicion ends after a lease period: a node that is really gone is no longer live by then. */
  suspects(): ReadonlySet<NodeId> {
    const oldestMs = performance.now() - 2 * this.#options.timings.leaseMs;
    for (const [nodeId, sinceMs] of this.#suspects) {
      if (sinceMs < oldestMs) {
        this.#suspects.delete(nodeId);
      }
    }
    return new Set(this.#suspects.keys());
  }

  async #list(): Promise<void> {
    try {
      const entries = await this.#options.registry.list();
      if (!this.#closed) {
        const seenAtMs = performance.now();
        this.#known = new Map(entries.map((entry) => [entry.record.nodeId, { entry, seenAtMs }]));
      }
    } catch (error) {
      this.#options.log.debug({ err: error }, 'the nodes of the cluster could not be listed');
    }
  }
}

function toView({ record, isLive, beatAgeMs }: NodeEntry, seenAtMs: number): NodeView {
  const { nodeId, state, protocol, region, zone, load } = record;
  const { min, max } = protocol;
  return {
    nodeId,
    isLive,
    state,
    protocol: { min, max },
    region,
    zone,
    load: { ...load, workers: load.workers ?? [] },
    reportedAtMs: seenAtMs - beatAgeMs,
  };
}

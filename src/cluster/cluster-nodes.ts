/** The nodes of the cluster as this one knows them: looked up every heartbeat, so that nothing has to wait for the store. */
import type { Logger } from '../observe/log.ts';
import type { NodeView } from '../placement/select-node.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { RelayPeer } from './relay-network.ts';
import type { NodeRecord, NodeStateRecord } from './store-records.ts';
import type { NodeEntry, NodeRegistry, NodeStates, StoreHealth, StoreTimings, Unsubscribe } from './store.ts';

export type ClusterNodesOptions = {
  registry: NodeRegistry;
  /** What is wanted of the nodes. A record counts before what the node says about itself, which may not know it yet. */
  states: NodeStates;
  health: StoreHealth;
  timings: StoreTimings;
  log: Logger;
};

type Known = { entry: NodeEntry; seenAtMs: number };

export class ClusterNodes {
  readonly #options: ClusterNodesOptions;
  #known = new Map<NodeId, Known>();
  #lifecycles = new Map<NodeId, NodeStateRecord>();
  /** Nodes that could not be reached, and when that was noticed. */
  readonly #suspects = new Map<NodeId, number>();
  /** Nodes whose process is gone, as a master says, and when it said so. */
  readonly #ended = new Map<NodeId, number>();
  readonly #subscriptions: Unsubscribe[] = [];
  #timer: NodeJS.Timeout | undefined;
  #listing: Promise<void> | undefined;
  #isListedAgain = false;
  #closed = false;

  constructor(options: ClusterNodesOptions) {
    this.#options = options;
  }

  /** Resolves after the first look, whether or not the store answered it. */
  async start(): Promise<void> {
    const { registry, states, health, timings } = this.#options;
    const look = (): void => void this.refresh();
    this.#timer = setInterval(look, timings.heartbeatMs);
    this.#subscriptions.push(
      registry.onChange(look),
      states.onChange(look),
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
    if (this.#listing !== undefined) {
      // What is being answered may be from before the change that the caller has heard of.
      this.#isListedAgain = true;
      return this.#listing;
    }
    this.#listing = this.#listUntilSettled().finally(() => {
      this.#listing = undefined;
    });
    return this.#listing;
  }

  /** Whoever asks for a look meanwhile gets one more, and all wait for it. */
  async #listUntilSettled(): Promise<void> {
    do {
      this.#isListedAgain = false;
      await this.#list();
    } while (this.#isListedAgain && !this.#closed);
  }

  /** Nodes that carry media. */
  mediaNodes(): NodeView[] {
    return [...this.#known.values()]
      .filter(({ entry }) => entry.record.roles.includes('media'))
      .map(({ entry, seenAtMs }) => this.#toView(entry, seenAtMs));
  }

  /** The lifecycle records of media nodes, also of those that are gone. */
  lifecycles(): NodeStateRecord[] {
    return [...this.#lifecycles.values()];
  }

  /** What live media nodes state about themselves. */
  liveMedia(): NodeRecord[] {
    const ended = this.#latest(this.#ended);
    return [...this.#known.values()]
      .filter(({ entry }) => entry.isLive && entry.record.roles.includes('media') && !ended.has(entry.record.nodeId))
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

  /** A master has found that its process is gone. */
  ended(nodeId: NodeId): void {
    this.#ended.set(nodeId, performance.now());
    this.suspect(nodeId);
  }

  trust(nodeId: NodeId): void {
    this.#suspects.delete(nodeId);
    this.#ended.delete(nodeId);
  }

  suspects(): ReadonlySet<NodeId> {
    return this.#latest(this.#suspects);
  }

  /** What is said of a node ends after two lease periods: one that is really gone is no longer live by then. */
  #latest(times: Map<NodeId, number>): ReadonlySet<NodeId> {
    const oldestMs = performance.now() - 2 * this.#options.timings.leaseMs;
    for (const [nodeId, sinceMs] of times) {
      if (sinceMs < oldestMs) {
        times.delete(nodeId);
      }
    }
    return new Set(times.keys());
  }

  async #list(): Promise<void> {
    try {
      const { registry, states } = this.#options;
      const [entries, lifecycles] = await Promise.all([registry.list(), states.list()]);
      if (!this.#closed) {
        this.#lifecycles = new Map(lifecycles.map((record) => [record.nodeId, record]));
        const seenAtMs = performance.now();
        this.#known = new Map(entries.map((entry) => [entry.record.nodeId, { entry, seenAtMs }]));
      }
    } catch (error) {
      this.#options.log.debug({ err: error }, 'the nodes of the cluster could not be listed');
    }
  }

  #toView({ record, isLive, beatAgeMs }: NodeEntry, seenAtMs: number): NodeView {
    const { nodeId, protocol, region, zone, load } = record;
    const { min, max } = protocol;
    return {
      nodeId,
      isLive,
      state: this.#lifecycles.get(nodeId)?.state ?? record.state,
      protocol: { min, max },
      region,
      zone,
      load: { ...load, workers: load.workers ?? [] },
      reportedAtMs: seenAtMs - beatAgeMs,
    };
  }
}

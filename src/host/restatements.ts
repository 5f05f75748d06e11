/** What a new host waits for: the legs of its room, from each node that may have some. */
import type { LegId, NodeId } from '../protocol/ids.ts';
import type { LegToHost, RestatedLeg } from '../protocol/leg-messages.ts';

export type RestatementsOptions = {
  /** Asks a node; false when there is no way to it. */
  ask: (nodeId: NodeId, roomName: string, epoch: number) => boolean;
  isDoubtful: (nodeId: NodeId) => boolean;
  /** How long nodes may take. What comes later is taken too, but nobody waits for it. */
  timeoutMs: number;
};

export type LegAt = { nodeId: NodeId; leg: RestatedLeg };

export type Collected = {
  legs: LegAt[];
  /** Every node has answered, or cannot any more. */
  isComplete: boolean;
  /** What these legs have said since, in order. */
  messages: LegToHost[];
};

type Collection = {
  /** Nodes without an answer. */
  waiting: Set<NodeId>;
  /** Of these, nodes that are as good as dead: what comes from them is welcome, and nobody waits for it. */
  doubtful: ReadonlySet<NodeId>;
  legs: Map<LegId, LegAt>;
  messages: LegToHost[];
  done: () => void;
};

export class Restatements {
  readonly #options: RestatementsOptions;
  readonly #collections = new Map<string, Collection>();

  constructor(options: RestatementsOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async collect(roomName: string, epoch: number, nodes: Iterable<NodeId>): Promise<Collected> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = new Set(nodes);
    const doubtful = new Set([...waiting].filter((nodeId) => this.#options.isDoubtful(nodeId)));
    const collection: Collection = { waiting, doubtful, legs: new Map(), messages: [], done: resolve };
    this.#collections.set(roomName, collection);
    for (const nodeId of [...waiting]) {
      if (!this.#options.ask(nodeId, roomName, epoch)) {
        waiting.delete(nodeId);
      }
    }
    if (waiting.size > 0 && !isDone(collection)) {
      const timer = setTimeout(resolve, this.#options.timeoutMs);
      await promise;
      clearTimeout(timer);
    }
    this.#collections.delete(roomName);
    return { legs: [...collection.legs.values()], isComplete: waiting.size === 0, messages: collection.messages };
  }

  /** @returns whether somebody waits for this */
  receive(message: LegToHost, nodeId: NodeId): boolean {
    switch (message.kind) {
      case 'restated': {
        const collection = this.#collections.get(message.roomName);
        collection?.legs.set(message.leg, { nodeId, leg: message });
        return collection !== undefined;
      }
      case 'restatedAll': {
        const collection = this.#collections.get(message.roomName);
        if (collection?.waiting.delete(nodeId) === true && isDone(collection)) {
          collection.done();
        }
        return true;
      }
      case 'actual':
      case 'offer':
      case 'answer':
      case 'failed':
      case 'closed':
      case 'resumed':
        return this.#keep(message);
      default:
        return false;
    }
  }

  /** There is no link to that node any more. Its legs are as good as gone. */
  unlinked(nodeId: NodeId): void {
    for (const collection of this.#collections.values()) {
      for (const [leg, at] of collection.legs) {
        if (at.nodeId === nodeId) collection.legs.delete(leg);
      }
      if (collection.waiting.delete(nodeId) && isDone(collection)) {
        collection.done();
      }
    }
  }

  #keep(message: Extract<LegToHost, { leg: LegId }>): boolean {
    for (const { legs, messages } of this.#collections.values()) {
      if (legs.has(message.leg)) {
        messages.push(message);
        return true;
      }
    }
    return false;
  }
}

function isDone({ waiting, doubtful }: Collection): boolean {
  return [...waiting].every((nodeId) => doubtful.has(nodeId));
}

/** Which layers of this node's producers are taken on other nodes, and what others were told of theirs. */
import type { NodeId } from '../protocol/ids.ts';

/** What did not change is told again after so many rounds: the other node may have forgotten it. */
const repeatAfterRounds = 5;

export class RemoteLayers {
  readonly #layers = new Map<string, Map<NodeId, number>>();
  #told = new Map<string, number>();
  #round = 0;

  set(nodeId: NodeId, producerId: string, layer: number): void {
    const byNode = this.#layers.get(producerId) ?? new Map<NodeId, number>();
    this.#layers.set(producerId, byNode);
    byNode.set(nodeId, layer);
  }

  /** -1 = nobody takes it elsewhere. */
  highest(producerId: string): number {
    return Math.max(-1, ...(this.#layers.get(producerId)?.values() ?? []));
  }

  forgetNode(nodeId: NodeId): void {
    for (const byNode of this.#layers.values()) {
      byNode.delete(nodeId);
    }
  }

  forgetProducer(producerId: string): void {
    this.#layers.delete(producerId);
  }

  /** What has to be told of these producers of other nodes. */
  changesFor(
    producerIds: Iterable<string>,
    layerOf: (producerId: string) => number,
  ): { producerId: string; layer: number }[] {
    this.#round += 1;
    const tellsAll = this.#round % repeatAfterRounds === 0;
    const now = new Map<string, number>();
    const changes: { producerId: string; layer: number }[] = [];
    for (const producerId of producerIds) {
      const layer = layerOf(producerId);
      now.set(producerId, layer);
      if (tellsAll || layer !== (this.#told.get(producerId) ?? -1)) {
        changes.push({ producerId, layer });
      }
    }
    this.#told = now;
    return changes;
  }
}

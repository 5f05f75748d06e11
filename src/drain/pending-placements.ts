import { pendingPlacements, type Placement, type WorkEstimate } from '../placement/load.ts';
import type { NodeId } from '../protocol/ids.ts';

/** What was sent to nodes and does not show in their reports yet. */
export class PendingPlacements {
  #placements: Placement[] = [];

  all(): readonly Placement[] {
    this.#placements = pendingPlacements(this.#placements, performance.now());
    return this.#placements;
  }

  add(nodeId: NodeId, estimate: WorkEstimate): void {
    this.#placements = [...this.all(), { nodeId, estimate, placedAtMs: performance.now() }];
  }
}

/** Where the work of a draining node goes: one node per room where that is possible, because it keeps pipes few. */
import type { NodeId } from '../protocol/ids.ts';
import type { DrainView, DrainWait } from './drain-plan.ts';
import { legEstimate, multiplied, roomEstimate, type Placement, type WorkEstimate } from './load.ts';
import { admitsWork } from './node-lifecycle.ts';
import { selectHostNode, type HostSelection, type Rejection } from './select-node.ts';

export class DrainTargets {
  readonly #view: DrainView;
  readonly #whole = new Map<string, NodeId | undefined>();
  readonly #missing = new Map<string, Rejection[]>();
  /** What this plan sends to nodes counts for its later choices. */
  readonly #placements: Placement[];

  constructor(view: DrainView) {
    this.#view = view;
    this.#placements = [...view.placement.placements];
  }

  /** A node that was chosen before still takes what comes. Its limits do not matter any more: the work was counted. */
  isUsable(nodeId: NodeId): boolean {
    const node = this.#view.placement.nodes.find((candidate) => candidate.nodeId === nodeId);
    return node !== undefined && node.isLive && admitsWork(node.state);
  }

  /** The node for a room's host, and for its legs if they all fit there; undefined when none can take the host. */
  ofHost(roomName: string): NodeId | undefined {
    return this.#ofWhole(roomName) ?? this.#ofPart(roomName, roomEstimate);
  }

  /** The node for one more leg of a room. A room that no node can take as a whole is split. */
  ofLeg(roomName: string): NodeId | undefined {
    return this.#ofWhole(roomName) ?? this.#ofPart(roomName, legEstimate);
  }

  /** Whether a client of this room that is told to go would find a place. */
  canTake(roomName: string): boolean {
    return this.#ofWhole(roomName) !== undefined || this.#fit(roomName, legEstimate).kind === 'selected';
  }

  missing(): DrainWait[] {
    return [...this.#missing].map(([roomName, rejections]) => ({ kind: 'no-target', roomName, rejections }));
  }

  /** Beside what has moved already if possible, else anywhere; decided once for a room and plan. */
  #ofWhole(roomName: string): NodeId | undefined {
    if (this.#whole.has(roomName)) {
      return this.#whole.get(roomName);
    }
    const staying = this.#view.legs.filter((leg) => leg.roomName === roomName && leg.move.kind === 'staying').length;
    const work = multiplied(legEstimate, staying);
    const near = this.#fit(roomName, work, this.#nodesOf(roomName));
    const selection = near.kind === 'selected' ? near : this.#fit(roomName, work);
    const nodeId = selection.kind === 'selected' ? selection.nodeId : undefined;
    this.#whole.set(roomName, nodeId);
    this.#place(nodeId, work);
    return nodeId;
  }

  #ofPart(roomName: string, work: WorkEstimate): NodeId | undefined {
    const selection = this.#fit(roomName, work);
    if (selection.kind === 'none') {
      this.#missing.set(roomName, selection.rejections);
      return undefined;
    }
    this.#place(selection.nodeId, work);
    return selection.nodeId;
  }

  #place(nodeId: NodeId | undefined, estimate: WorkEstimate): void {
    if (nodeId !== undefined) {
      this.#placements.push({ nodeId, estimate, placedAtMs: Infinity });
    }
  }

  #fit(roomName: string, work: WorkEstimate, among?: ReadonlySet<NodeId>): HostSelection {
    const { placement, nodeId } = this.#view;
    const nodes = among === undefined ? placement.nodes : placement.nodes.filter((node) => among.has(node.nodeId));
    const exclude = new Set([...(placement.exclude ?? []), nodeId]);
    return selectHostNode({ ...placement, nodes, exclude, work, placements: this.#placements, key: roomName });
  }

  /** Nodes that parts of the room are on their way to, or where its host is. */
  #nodesOf(roomName: string): Set<NodeId> {
    const moving = this.#view.legs.flatMap(({ roomName: of, move }) =>
      of === roomName && 'target' in move ? [move.target] : [],
    );
    if (moving.length > 0) {
      return new Set(moving);
    }
    const room = this.#view.rooms.find((candidate) => candidate.roomName === roomName);
    const hostedAt = room?.hostMove.kind === 'moving' ? room.hostMove.target : room?.hostNodeId;
    return new Set(hostedAt === undefined || hostedAt === this.#view.nodeId ? [] : [hostedAt]);
  }
}

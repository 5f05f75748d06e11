import type { DrainAction, DrainLeg, DrainRoom } from '../placement/drain-plan.ts';
import type { NodeId } from '../protocol/ids.ts';

/** One step of a drain that the host of the room carries out. */
export type RoomMoveAction = Extract<DrainAction, { roomName: string }>;

/** What is on a node that is to become empty, as far as the hosts on this node know. */
export type RoomsOnNode = { rooms: DrainRoom[]; legs: DrainLeg[] };

/** The part of a room host that moves hosts and legs between nodes. Steps only start here; `on` tells how far they are. */
export type RoomMoves = {
  /** Of the rooms hosted here: those whose host is on `nodeId` or that have legs there, and these legs. */
  on(nodeId: NodeId): RoomsOnNode;
  /**
   * Begins a step. Harmless when repeated, or when what it is about is gone.
   *
   * @throws PlenumError when the room is not hosted here
   */
  perform(action: RoomMoveAction): void;
};

/** Rooms and participants of this node's rooms on their way to other nodes, as a drain asks for it. */
import { PlenumError } from '../lib/errors.ts';
import type { DrainLeg } from '../placement/drain-plan.ts';
import type { LegId, NodeId } from '../protocol/ids.ts';
import type { HostMoves } from './host-moves.ts';
import type { RoomDriver } from './room-driver.ts';
import type { RoomMoveAction, RoomMoves, RoomsOnNode } from './room-moves.ts';

export type LegMovesOptions = {
  hosts: HostMoves;
  drivers: ReadonlyMap<string, RoomDriver>;
  /** Where a leg is; undefined when it is nowhere any more. */
  homeOf: (leg: LegId) => NodeId | undefined;
};

export class LegMoves implements RoomMoves {
  readonly #options: LegMovesOptions;

  constructor(options: LegMovesOptions) {
    this.#options = options;
  }

  /**
   * Of participants: those who have a leg on that node, with how far their moves are. One whose next leg is up is listed
   * until the former one is closed; its age then counts from the moment that it was up.
   */
  on(nodeId: NodeId): RoomsOnNode {
    const { hosts, drivers } = this.#options;
    return { rooms: hosts.on(nodeId), legs: [...drivers.values()].flatMap((driver) => this.#legsOf(driver, nodeId)) };
  }

  perform(action: RoomMoveAction): void {
    const driver = this.#options.drivers.get(action.roomName);
    if (driver === undefined) {
      throw notHostedHere(action.roomName);
    }
    if (action.kind === 'moveHost' || action.kind === 'abortHostMove') {
      this.#options.hosts.perform(action);
    } else {
      driver.handle({ kind: 'move', action });
    }
  }

  #legsOf(driver: RoomDriver, nodeId: NodeId): DrainLeg[] {
    return driver
      .movableLegs()
      .filter(({ leg }) => this.#options.homeOf(leg) === nodeId)
      .map(({ participantSid, publishes, acceptsMove, move }) => ({
        participantSid,
        roomName: driver.room.name,
        publishes,
        acceptsMove,
        move,
      }));
  }
}

function notHostedHere(roomName: string): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'not-here',
    message: 'the room is hosted by another node',
    details: { room: roomName },
  });
}

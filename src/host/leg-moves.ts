/** The port through which participants of this node's rooms are moved to legs on other nodes. */
import { PlenumError } from '../lib/errors.ts';
import type { DrainLeg } from '../placement/drain-plan.ts';
import type { LegId, NodeId } from '../protocol/ids.ts';
import type { LegMoveAction } from '../room/move-state.ts';
import type { RoomDriver } from './room-driver.ts';

export type LegMovesOptions = {
  rooms: () => Iterable<RoomDriver>;
  room: (roomName: string) => RoomDriver | undefined;
  /** Where a leg is; undefined when it is nowhere any more. */
  homeOf: (leg: LegId) => NodeId | undefined;
};

export class LegMoves {
  readonly #options: LegMovesOptions;

  constructor(options: LegMovesOptions) {
    this.#options = options;
  }

  /**
   * Participants who have a leg on that node, with how far their moves are. One whose next leg is up is listed until the
   * former one is closed; its age then counts from the moment that it was up.
   */
  on(nodeId: NodeId): DrainLeg[] {
    const { rooms, homeOf } = this.#options;
    return [...rooms()].flatMap((driver) =>
      driver
        .movableLegs()
        .filter(({ leg }) => homeOf(leg) === nodeId)
        .map(({ participantSid, publishes, acceptsMove, move }) => ({
          participantSid,
          roomName: driver.room.name,
          publishes,
          acceptsMove,
          move,
        })),
    );
  }

  /** @throws PlenumError when the room is not hosted here */
  perform(action: LegMoveAction): void {
    const driver = this.#options.room(action.roomName);
    if (driver === undefined) {
      throw new PlenumError({
        code: 'failed_precondition',
        reason: 'room-not-here',
        message: `room ${action.roomName} is not hosted on this node`,
        details: { roomName: action.roomName },
      });
    }
    driver.handle({ kind: 'move', action });
  }
}

/** The hosts of this node's rooms on their way to other nodes, as a drain asks for it. */
import { PlenumError } from '../lib/errors.ts';
import type { DrainRoom } from '../placement/drain-plan.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { RoomMoveAction, RoomMoves } from './room-moves.ts';

export type HostMovesOptions = {
  nodeId: NodeId;
  rooms: () => Iterable<string>;
  /** Legs of a room by node. */
  legNodes: (roomName: string) => ReadonlyMap<NodeId, number>;
  /** Gives the room to that node. @returns whether it did */
  move: (roomName: string, target: NodeId) => Promise<boolean>;
  /** Monotonic milliseconds. */
  now: () => number;
};

type Move =
  | { kind: 'staying'; failures: number; retryAtMs: number }
  | { kind: 'moving'; target: NodeId; sinceMs: number; failures: number };

export type HostMoveAction = Extract<RoomMoveAction, { kind: 'moveHost' | 'abortHostMove' }>;

const retryAfterMs = 500;

export class HostMoves {
  readonly #options: HostMovesOptions;
  readonly #moves = new Map<string, Move>();

  constructor(options: HostMovesOptions) {
    this.#options = options;
  }

  /** Rooms hosted here whose host is on that node, which is this one, or that have legs there. */
  on(nodeId: NodeId): ReturnType<RoomMoves['on']>['rooms'] {
    const { nodeId: ownNodeId, rooms, legNodes } = this.#options;
    const hosted = [...rooms()];
    for (const roomName of this.#moves.keys()) {
      if (!hosted.includes(roomName)) {
        this.#moves.delete(roomName);
      }
    }
    return hosted
      .filter((roomName) => nodeId === ownNodeId || legNodes(roomName).has(nodeId))
      .map((roomName) => ({ roomName, hostNodeId: ownNodeId, hostMove: this.#stateOf(roomName) }));
  }

  /**
   * Begins a step. Harmless when repeated.
   *
   * @throws PlenumError when the room is not hosted here
   */
  perform(action: HostMoveAction): void {
    const { roomName } = action;
    if (![...this.#options.rooms()].includes(roomName)) {
      this.#moves.delete(roomName);
      throw roomNotHosted(roomName);
    }
    if (action.kind === 'moveHost') {
      this.#begin(roomName, action.target);
    } else {
      this.#abort(roomName);
    }
  }

  #begin(roomName: string, target: NodeId): void {
    const { move, now } = this.#options;
    const before = this.#moves.get(roomName);
    if (before?.kind === 'moving' || target === this.#options.nodeId) {
      return;
    }
    const moving: Move = { kind: 'moving', target, sinceMs: now(), failures: before?.failures ?? 0 };
    this.#moves.set(roomName, moving);
    void move(roomName, target).then((isMoved) => {
      if (this.#moves.get(roomName) === moving) {
        if (isMoved) this.#moves.delete(roomName);
        else this.#failed(roomName, moving.failures + 1);
      }
    });
  }

  /**
   * What was asked of the store may have happened, so the room stays silent until the store says whose it is; only the
   * count of this move ends here.
   */
  #abort(roomName: string): void {
    const move = this.#moves.get(roomName);
    if (move?.kind === 'moving') {
      this.#failed(roomName, move.failures);
    }
  }

  #failed(roomName: string, failures: number): void {
    this.#moves.set(roomName, { kind: 'staying', failures, retryAtMs: this.#options.now() + retryAfterMs });
  }

  #stateOf(roomName: string): DrainRoom['hostMove'] {
    const nowMs = this.#options.now();
    const move = this.#moves.get(roomName) ?? { kind: 'staying', failures: 0, retryAtMs: nowMs };
    return move.kind === 'moving'
      ? { kind: 'moving', target: move.target, ageMs: nowMs - move.sinceMs }
      : { kind: 'staying', failures: move.failures, retryInMs: Math.max(0, move.retryAtMs - nowMs) };
  }
}

function roomNotHosted(roomName: string): PlenumError {
  return new PlenumError({ reason: 'room-not-hosted', code: 'not_found', message: `no host of ${roomName} is here` });
}

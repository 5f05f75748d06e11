/**
 * Moves by reconnects: a room's host is given away with all its clients, and a client is told to join anew, which leads it
 * to another node. Nothing is prepared anywhere.
 */
import { PlenumError } from '../lib/errors.ts';
import type { DrainLeg, DrainRoom } from '../placement/drain-plan.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { LegLinks } from './leg-links.ts';
import type { RoomDriver } from './room-driver.ts';
import type { RoomMoveAction, RoomMoves, RoomsOnNode } from './room-moves.ts';

export type ReconnectingMovesOptions = {
  nodeId: NodeId;
  drivers: ReadonlyMap<string, RoomDriver>;
  legs: Pick<LegLinks, 'on'>;
  /** Never rejects. @returns whether the room is another node's now */
  moveRoom: (roomName: string, target: NodeId) => Promise<boolean>;
};

type HostMove = { target: NodeId | undefined; sinceMs: number; failures: number };

const retryMs = 1_000;

export class ReconnectingMoves implements RoomMoves {
  readonly #options: ReconnectingMovesOptions;
  readonly #hosts = new Map<string, HostMove>();

  constructor(options: ReconnectingMovesOptions) {
    this.#options = options;
  }

  on(nodeId: NodeId): RoomsOnNode {
    const { nodeId: ownNodeId, drivers } = this.#options;
    for (const roomName of this.#hosts.keys()) {
      if (!drivers.has(roomName)) this.#hosts.delete(roomName);
    }
    const members = this.#options.legs.on(nodeId).filter(({ roomName }) => drivers.has(roomName));
    const names = new Set(members.map(({ roomName }) => roomName));
    if (nodeId === ownNodeId) {
      for (const roomName of drivers.keys()) {
        names.add(roomName);
      }
    }
    const rooms = [...names].map((roomName): DrainRoom => ({
      roomName,
      hostNodeId: ownNodeId,
      hostMove: this.#hostMove(roomName),
    }));
    const publishers = this.#publishers(names);
    const legs = members.map(({ participantSid, roomName }): DrainLeg => ({
      participantSid,
      roomName,
      publishes: publishers.has(participantSid),
      acceptsMove: false,
      move: { kind: 'staying', failures: 0, retryInMs: 0 },
    }));
    return { rooms, legs };
  }

  perform(action: RoomMoveAction): void {
    const driver = this.#options.drivers.get(action.roomName);
    if (driver === undefined) {
      throw notHostedHere(action.roomName);
    }
    switch (action.kind) {
      case 'moveHost':
        return this.#moveHost(action.roomName, action.target);
      case 'reconnectClient':
      case 'closeLeg':
        return driver.handle({ kind: 'reconnect', participants: [action.participantSid] });
      case 'abortHostMove':
      case 'prepareLeg':
      case 'abortPreparation':
      case 'triggerLegs':
        // Giving a host away takes one question to the store; nothing else is ever begun.
        return;
    }
  }

  #moveHost(roomName: string, target: NodeId): void {
    const before = this.#hosts.get(roomName);
    if (before?.target !== undefined) {
      return;
    }
    const failures = before?.failures ?? 0;
    this.#hosts.set(roomName, { target, sinceMs: performance.now(), failures });
    void this.#options.moveRoom(roomName, target).then((isMoved) => {
      if (isMoved) {
        this.#hosts.delete(roomName);
      } else {
        this.#hosts.set(roomName, { target: undefined, sinceMs: performance.now(), failures: failures + 1 });
      }
    });
  }

  #hostMove(roomName: string): DrainRoom['hostMove'] {
    const move = this.#hosts.get(roomName);
    const ageMs = move === undefined ? retryMs : performance.now() - move.sinceMs;
    return move?.target === undefined
      ? { kind: 'staying', failures: move?.failures ?? 0, retryInMs: Math.max(0, retryMs - ageMs) }
      : { kind: 'moving', target: move.target, ageMs };
  }

  #publishers(roomNames: ReadonlySet<string>): Set<string> {
    const publishers = new Set<string>();
    for (const roomName of roomNames) {
      for (const { sid, tracks } of this.#options.drivers.get(roomName)?.room.snapshot().participants ?? []) {
        if (tracks.length > 0) publishers.add(sid);
      }
    }
    return publishers;
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

/** Moves by reconnects: a client is told to join anew, which leads it to another node. Nothing is prepared anywhere. */
import { PlenumError } from '../lib/errors.ts';
import type { DrainLeg } from '../placement/drain-plan.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { HostMoves } from './host-moves.ts';
import type { LegLinks } from './leg-links.ts';
import type { RoomDriver } from './room-driver.ts';
import type { RoomMoveAction, RoomMoves, RoomsOnNode } from './room-moves.ts';

export type ReconnectingMovesOptions = {
  hosts: HostMoves;
  drivers: ReadonlyMap<string, RoomDriver>;
  legs: Pick<LegLinks, 'on'>;
};

export class ReconnectingMoves implements RoomMoves {
  readonly #options: ReconnectingMovesOptions;

  constructor(options: ReconnectingMovesOptions) {
    this.#options = options;
  }

  on(nodeId: NodeId): RoomsOnNode {
    const { hosts, drivers, legs } = this.#options;
    const members = legs.on(nodeId).filter(({ roomName }) => drivers.has(roomName));
    const publishers = this.#publishers(new Set(members.map(({ roomName }) => roomName)));
    return {
      rooms: hosts.on(nodeId),
      legs: members.map(({ participantSid, roomName }): DrainLeg => ({
        participantSid,
        roomName,
        publishes: publishers.has(participantSid),
        acceptsMove: false,
        move: { kind: 'staying', failures: 0, retryInMs: 0 },
      })),
    };
  }

  perform(action: RoomMoveAction): void {
    const driver = this.#options.drivers.get(action.roomName);
    if (driver === undefined) {
      throw notHostedHere(action.roomName);
    }
    switch (action.kind) {
      case 'moveHost':
      case 'abortHostMove':
        return this.#options.hosts.perform(action);
      case 'reconnectClient':
      case 'closeLeg':
        return driver.handle({ kind: 'reconnect', participants: [action.participantSid] });
      case 'prepareLeg':
      case 'abortPreparation':
      case 'triggerLegs':
        return;
    }
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

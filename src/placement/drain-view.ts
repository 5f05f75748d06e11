/** Puts together what several nodes and the store say about a node that is to become empty. */
import type { NodeId, ParticipantSid } from '../protocol/ids.ts';
import type { DrainLeg, DrainRoom } from './drain-plan.ts';

export type CarriedLeg = { participantSid: ParticipantSid; roomName: string };

/** What one media node says: of the rooms that it hosts, those that have something on the draining node. */
export type DrainObservation = {
  nodeId: NodeId;
  rooms: DrainRoom[];
  legs: DrainLeg[];
  /** Said by the draining node alone: the legs that it really has, whoever their hosts are. */
  carried: CarriedLeg[];
};

/** A room of which the store says that the draining node owns it. */
export type StatedRoom = { roomName: string; epoch: number; isLive: boolean };

export type GatheredDrain = {
  rooms: DrainRoom[];
  legs: DrainLeg[];
  /** Whom to tell about a room. */
  hosts: ReadonlyMap<string, NodeId>;
  /** Rooms that the node owns and has not opened: it is about to, or whoever wanted them has gone away. */
  unopened: StatedRoom[];
  /** False when the draining node itself did not answer: nothing can be said about its emptiness then. */
  isComplete: boolean;
};

/** An owner has a moment to open what it was given. */
const openingMs = 500;

export function gatherDrain(
  nodeId: NodeId,
  observations: readonly DrainObservation[],
  stated: readonly StatedRoom[],
): GatheredDrain {
  const own = observations.find((observation) => observation.nodeId === nodeId);
  const rooms = new Map<string, DrainRoom>();
  const hosts = new Map<string, NodeId>();
  const legs = new Map<ParticipantSid, DrainLeg>();
  // The draining node first: when two tell of a room, the other one has taken it over.
  for (const observation of [...(own === undefined ? [] : [own]), ...observations.filter((other) => other !== own)]) {
    for (const room of observation.rooms) {
      rooms.set(room.roomName, room);
      hosts.set(room.roomName, observation.nodeId);
    }
    for (const leg of observation.legs) {
      legs.set(leg.participantSid, leg);
    }
  }
  const unopened = stated.filter(({ roomName }) => !rooms.has(roomName));
  for (const { roomName } of unopened) {
    rooms.set(roomName, {
      roomName,
      hostNodeId: nodeId,
      hostMove: { kind: 'staying', failures: 0, retryInMs: openingMs },
    });
  }
  for (const { participantSid, roomName } of own?.carried ?? []) {
    if (!legs.has(participantSid)) {
      legs.set(participantSid, unclaimed(participantSid, roomName));
    }
  }
  return { rooms: [...rooms.values()], legs: [...legs.values()], hosts, unopened, isComplete: own !== undefined };
}

/** No host tells of it, so nobody can move it: it has just been closed, or its host is gone and the next one will. */
function unclaimed(participantSid: ParticipantSid, roomName: string): DrainLeg {
  const move = { kind: 'reconnecting', ageMs: 0 } as const;
  return { participantSid, roomName, publishes: false, acceptsMove: false, move };
}

/** Whether something was begun that has to be brought to its end, or taken back, although the drain is over. */
export function isUnderWay({ rooms, legs }: Pick<GatheredDrain, 'rooms' | 'legs'>): boolean {
  return (
    rooms.some(({ hostMove }) => hostMove.kind === 'moving') ||
    legs.some(({ move }) => 'target' in move || (move.kind === 'reconnecting' && move.ageMs > 0))
  );
}

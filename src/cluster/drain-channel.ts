/** The channel on which the leader of a drain asks media nodes what they have, and tells them what to do. */
import type { RoomMoveAction } from '../host/room-moves.ts';
import type { DrainLeg, DrainRoom } from '../placement/drain-plan.ts';
import type { CarriedLeg, DrainObservation } from '../placement/drain-view.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { ChannelType } from './relay-network.ts';
import { either, flag, list, number, shape, text, type Check } from './wire-shape.ts';
import { MessageTable } from './wire-table.ts';

export type DrainRequest =
  /** What of the rooms hosted by the receiver is on `nodeId`, and, when that is itself, which legs it carries. */
  | { kind: 'observe'; requestId: number; nodeId: NodeId }
  /** A step for the host of a room. Leaders with a lower epoch than one that was heard are ignored. */
  | (RoomMoveAction & { leaderEpoch: number });

export type DrainReply = { kind: 'observed'; requestId: number } & Omit<DrainObservation, 'nodeId'>;

/** Kinds of moves that a newer node may know have one of these forms too. */
const move: Check = either(
  shape<{ kind: string; failures: number; retryInMs: number }>({ kind: text, failures: number, retryInMs: number }),
  shape<{ kind: string; ageMs: number }>({ kind: text, ageMs: number }),
);

const room = shape<DrainRoom>({ roomName: text, hostNodeId: text, hostMove: move });

const leg = shape<DrainLeg>({ participantSid: text, roomName: text, publishes: flag, acceptsMove: flag, move });

type TriggeredLeg = Extract<RoomMoveAction, { kind: 'triggerLegs' }>['legs'][number];

export const drainRequest = new MessageTable<DrainRequest>({
  observe: { requestId: number, nodeId: text },
  moveHost: { leaderEpoch: number, roomName: text, target: text },
  abortHostMove: { leaderEpoch: number, roomName: text, why: text },
  prepareLeg: { leaderEpoch: number, roomName: text, participantSid: text, target: text },
  abortPreparation: { leaderEpoch: number, roomName: text, participantSid: text, why: text },
  triggerLegs: {
    leaderEpoch: number,
    roomName: text,
    legs: list(shape<TriggeredLeg>({ participantSid: text, how: text })),
  },
  reconnectClient: { leaderEpoch: number, roomName: text, participantSid: text, why: text },
  closeLeg: { leaderEpoch: number, roomName: text, participantSid: text },
});

export const drainReply = new MessageTable<DrainReply>({
  observed: {
    requestId: number,
    rooms: list(room),
    legs: list(leg),
    carried: list(shape<CarriedLeg>({ participantSid: text, roomName: text })),
  },
});

type NoParams = Record<string, never>;

/** From the leader to each media node. */
export const drainChannel: ChannelType<NoParams, DrainRequest, DrainReply> = {
  name: 'drain',
  params: shape<NoParams>({}),
  toServer: drainRequest,
  toClient: drainReply,
};

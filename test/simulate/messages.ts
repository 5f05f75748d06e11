/** What the virtual processes say to each other: as much of the real messages as the rules need. */
import type { NodeId } from '../../src/protocol/ids.ts';
import type { RoomOwner } from '../../src/cluster/store.ts';
import type { NodeLifecycle } from '../../src/placement/node-lifecycle.ts';
import type { DrainAction, DrainView } from '../../src/placement/drain-plan.ts';

export type ClientFacts = { clientId: string; publishes: boolean; acceptsMove: boolean };

/** Where a participant's media is; the generation grows with each new leg of it. */
export type LegAt = { nodeId: NodeId; generation: number };

export type Message =
  | { kind: 'ping'; sentAtMs: number; confirmedGeneration: number | undefined }
  | { kind: 'pong'; sentAtMs: number; isAffirmed: boolean; generation: number; lifecycle: NodeLifecycle | undefined }
  | { kind: 'askOpinion'; nodeId: NodeId; askedAtMs: number }
  | { kind: 'opinion'; nodeId: NodeId; askedAtMs: number; opinion: 'reaches' | 'unreachable' }
  | {
      kind: 'host';
      roomName: string;
      epoch: number;
      spokenEpoch?: number;
      created: boolean;
      sid?: string;
      members?: RestatedMember[];
    }
  /** One master to the others: they may not be able to ask Redis. */
  | { kind: 'moved'; roomName: string; owner: RoomOwner }
  | {
      kind: 'attach';
      roomName: string;
      client: ClientFacts;
      leg: LegAt | undefined;
      isLegLost: boolean;
      sid: string | undefined;
    }
  | { kind: 'attached'; roomName: string; epoch: number; clientId: string; sid: string; leg: LegAt }
  | { kind: 'notHost'; roomName: string }
  | { kind: 'act'; roomName: string; epoch: number; clientIds: string[]; sid: string }
  | { kind: 'superseded'; roomName: string; epoch: number }
  | { kind: 'openLeg'; roomName: string; epoch: number; client: ClientFacts; generation: number; sid: string }
  | { kind: 'legRefused'; roomName: string; clientId: string; generation: number }
  | { kind: 'legState'; roomName: string; epoch: number; client: ClientFacts; leg: LegAt; sid: string }
  | {
      kind: 'prepare';
      roomName: string;
      epoch: number;
      hostNodeId: NodeId;
      client: ClientFacts;
      generation: number;
      sid: string;
    }
  | { kind: 'prepareDone'; clientId: string; generation: number; isOk: boolean }
  | { kind: 'abortPrepare'; clientId: string; generation: number }
  | { kind: 'observe' }
  | { kind: 'observed'; stateEpoch: number; observed: Observed }
  | { kind: 'drainActions'; stateEpoch: number; leaderEpoch: number; actions: DrainAction[] };

export type RestatedMember = { client: ClientFacts; leg: LegAt | undefined; gateway: NodeId | undefined };

export type Observed = Pick<DrainView, 'rooms' | 'legs' | 'jobs' | 'sinceLastBatchMs'>;

/** How far a participant is on its way to another leg. Times are those of the room's clock. */
import type { DrainAction } from '../placement/drain-plan.ts';
import type { LegId, NodeId } from '../protocol/ids.ts';
import type { ActualPublication, HostToLeg, MoveKind } from '../protocol/leg-messages.ts';
import type { HeldData, LegSnapshot } from '../protocol/leg-snapshot.ts';

/** What a room does of a drain. */
export type LegMoveAction = Extract<
  DrainAction,
  { kind: 'prepareLeg' | 'abortPreparation' | 'triggerLegs' | 'reconnectClient' | 'closeLeg' }
>;

/** Where it goes, once it is decided. */
type Going = {
  target: NodeId;
  /** When its present step began. */
  sinceMs: number;
  /** Attempts in a row that came to nothing before this one. */
  failures: number;
};

export type Staying = { kind: 'staying'; failures: number; retryAtMs: number };

export type Preparing = Going & {
  kind: 'preparing';
  /** Undefined while the old leg has not described itself yet. */
  leg: LegId | undefined;
  /** What the new leg is going to publish; undefined while it is not ready. */
  publications: ActualPublication[] | undefined;
};

export type Prepared = Going & { kind: 'prepared'; leg: LegId; publications: ActualPublication[] };

export type Triggered = Going & {
  kind: 'triggered';
  how: MoveKind;
  leg: LegId;
  /**
   * `calling`: the client was told to come back; `holding`: the old leg brings things to their end; `arriving`: the new leg
   * is the participant's, its transports come up; `settling`: they are up, the old ones stay until the others have switched.
   */
  step: 'calling' | 'holding' | 'arriving' | 'settling';
  /** Offers of the client that came while neither leg could take them. */
  queued: Extract<HostToLeg, { kind: 'clientOffer' }>[];
  /** Which connections the client had. */
  needs: { publisher: boolean; subscriber: boolean };
  /** Publications of the new leg that the others have not been switched to yet. */
  pending: ActualPublication[] | undefined;
  isSwitched: boolean;
  arrivedMs: number | undefined;
};

export type Reconnecting = { kind: 'reconnecting'; sinceMs: number };

/** To another room: its leg holds, or is about to. */
export type Leaving = { kind: 'leaving'; requestId: number; sinceMs: number; isHeld: boolean };

/** From another room: its leg is made ready (`requestId` waits for it), and then for its client. */
export type Entering = { kind: 'entering'; requestId: number | undefined; snapshot: LegSnapshot; data: HeldData };

export type Move = Staying | Preparing | Prepared | Triggered | Reconnecting | Leaving | Entering;

export const notMoving: Staying = { kind: 'staying', failures: 0, retryAtMs: 0 };

/** The leg that is to take over and has not yet. */
export function nextLegOf(move: Move): LegId | undefined {
  switch (move.kind) {
    case 'preparing':
    case 'prepared':
      return move.leg;
    case 'triggered':
      return move.step === 'calling' || move.step === 'holding' ? move.leg : undefined;
    default:
      return undefined;
  }
}

/** Everything that a participant has on leg nodes. */
export function legsOf(participant: { leg: LegId; retiring: LegId[]; move: Move }): LegId[] {
  const next = nextLegOf(participant.move);
  return [participant.leg, ...participant.retiring, ...(next === undefined ? [] : [next])];
}

/** Names of a participant's timers. */
export const moveTimers = ['move', 'moveReady', 'moveHold', 'moveRetire'] as const;

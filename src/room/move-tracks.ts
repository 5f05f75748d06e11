/** What others receive of a publisher that moves: its next producers made known, and the switch to them. */
import type { ActualLeg, ActualPublication } from '../protocol/leg-messages.ts';
import { notMoving, type Triggered } from './move-state.ts';
import type { Participant } from './participant.ts';
import { applyPublications } from './publishing.ts';
import type { RoomState } from './room-state.ts';

const timing = {
  /** Publishers that move together are switched together, so that each subscriber negotiates once. */
  switchCollectMs: 50,
  /** Chromium closes its data channels when the old end is gone right after the new one is up. */
  oldLegMs: 500,
  /** Subscribers that have not switched by then lose nothing by waiting any longer. */
  oldLegMaxMs: 2_000,
  lookMs: 100,
} as const;

export function announceSuccessors(room: RoomState, publisher: Participant, publications: ActualPublication[]): void {
  for (const track of publisher.tracks.values()) {
    const next = publications.find(({ trackSid, cid }) => trackSid === track.sid && cid === track.source?.cid);
    track.successor = next === undefined ? undefined : { producerId: next.producerId, home: next.home };
  }
  room.markAllLegsDirty();
}

export function dropSuccessors(room: RoomState, publisher: Participant): void {
  for (const track of publisher.tracks.values()) {
    if (track.successor !== undefined) {
      track.successor = undefined;
      room.markAllLegsDirty();
    }
  }
}

/** Everybody who receives a track of this publisher has a consumer of its next producer. */
export function areSuccessorsReady(room: RoomState, publisher: Participant): boolean {
  return everySubscription(room, publisher, (track, subscription) => {
    const isMain = subscription.wanted?.producerId === track.source?.producerId;
    return !isMain || track.successor === undefined || subscription.successorId === track.successor.producerId;
  });
}

function haveSwitched(room: RoomState, publisher: Participant): boolean {
  return everySubscription(room, publisher, (_track, subscription) => subscription.bound);
}

type TrackOf = Participant['tracks'] extends Map<unknown, infer Value> ? Value : never;
type SubscriptionOf = Participant['subscriptions'] extends Map<unknown, infer Value> ? Value : never;

/** Of those who were bound, or are about to be. */
function everySubscription(
  room: RoomState,
  publisher: Participant,
  test: (track: TrackOf, subscription: SubscriptionOf) => boolean,
): boolean {
  const tracks = publisher.publicTracks();
  for (const subscriber of room.participants.values()) {
    for (const track of tracks) {
      const subscription = subscriber.subscriptions.get(track.sid);
      const isServed = subscription?.wanted !== undefined && subscription.refusedProducerId === undefined;
      if (subscriber !== publisher && subscriber.isActive && isServed && !test(track, subscription)) {
        return false;
      }
    }
  }
  return true;
}

/** @returns whether the publications of this report may be taken over as they are */
export function legArrives(room: RoomState, participant: Participant, actual: ActualLeg): boolean {
  const { move } = participant;
  if (move.kind !== 'triggered' || (move.step !== 'arriving' && move.step !== 'settling')) {
    return true;
  }
  if (!move.isSwitched && actual.publisher === 'connected') {
    const isFirst = move.pending === undefined;
    move.pending = actual.publications;
    if (isFirst) {
      planSwitch(room);
    }
  }
  const { needs } = move;
  const isUp =
    (!needs.publisher || actual.publisher === 'connected') && (!needs.subscriber || actual.subscriber === 'connected');
  if (isUp && move.step === 'arriving') {
    move.step = 'settling';
    move.arrivedMs = room.nowMs;
    room.timers.clear(`move:${participant.sid}`);
    room.timers.set(`moveRetire:${participant.sid}`, room.nowMs + timing.oldLegMs);
  }
  return move.isSwitched || !needs.publisher;
}

/** At once when nobody else is on the way, else within a moment. */
function planSwitch(room: RoomState): void {
  const others = [...room.participants.values()].filter(({ move }) => isAwaited(move));
  if (others.length === 0) {
    switchTracks(room);
  } else if (!room.timers.has('moveSwitch')) {
    room.timers.set('moveSwitch', room.nowMs + timing.switchCollectMs);
  }
}

function isAwaited(move: Participant['move']): move is Triggered {
  return move.kind === 'triggered' && move.needs.publisher && !move.isSwitched && move.pending === undefined;
}

/** All publishers whose new connections are up. */
export function switchTracks(room: RoomState): void {
  room.timers.clear('moveSwitch');
  for (const publisher of room.participants.values()) {
    const { move } = publisher;
    if (move.kind !== 'triggered' || move.pending === undefined || move.isSwitched) {
      continue;
    }
    const { pending } = move;
    move.isSwitched = true;
    move.pending = undefined;
    for (const track of publisher.tracks.values()) {
      const next = pending.find(({ trackSid, cid }) => trackSid === track.sid && cid === track.source?.cid);
      if (next !== undefined) {
        track.relocate(next);
      }
      track.successor = undefined;
    }
    room.markAllLegsDirty();
    applyPublications(room, publisher, pending);
  }
}

/** The old leg goes when nobody needs it any more. */
export function retireOldLegs(room: RoomState, participant: Participant): void {
  const { move, sid } = participant;
  if (move.kind !== 'triggered' || move.arrivedMs === undefined) {
    return;
  }
  const isOver = room.nowMs - move.arrivedMs >= timing.oldLegMaxMs;
  const hasSwitched = !move.needs.publisher || (move.isSwitched && haveSwitched(room, participant));
  if (!isOver && !hasSwitched) {
    room.timers.set(`moveRetire:${sid}`, room.nowMs + timing.lookMs);
    return;
  }
  for (const leg of participant.retiring.splice(0)) {
    room.outbox.toLeg({ kind: 'close', leg, reason: 'moved' });
  }
  participant.move = notMoving;
}

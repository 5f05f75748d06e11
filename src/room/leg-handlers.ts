/** What legs report. Reports of legs that were closed meanwhile are void. */
import {
  MediaSectionsRequirement,
  ParticipantInfo_State,
  SessionDescription,
  SubscriptionError,
  SubscriptionResponse,
} from '@livekit/protocol';
import type { ActualLeg, ActualSubscription, LegFailure, LegToHost } from '../protocol/leg-messages.ts';
import { participantOfLeg } from '../protocol/ids.ts';
import { causeOfFailure } from './close-reason.ts';
import { activate } from './join.ts';
import { mediaLost, removeParticipant } from './leave.ts';
import { legArrives } from './move-tracks.ts';
import { moveReported, successorsChanged } from './moving.ts';
import type { Participant } from './participant.ts';
import { applyPublications } from './publishing.ts';
import { addQualityReports, observeLevels, tellCurrentSpeaker, tellStreamStates } from './quality-reports.ts';
import { finishResume } from './resume.ts';
import type { RoomState } from './room-state.ts';
import { handleRpcPacket } from './rpc.ts';
import { tellSubscribed } from './subscriptions.ts';

export function handleLeg(room: RoomState, message: LegToHost): void {
  if (message.kind === 'levels') {
    observeLevels(room, message.levels);
    return;
  }
  if (message.kind === 'restated' || message.kind === 'restatedAll' || message.kind === 'superseded') {
    // Meant for the shell, which collects them.
    return;
  }
  const participant = room.participants.get(participantOfLeg(message.leg));
  if (participant === undefined) {
    return;
  }
  if (message.kind === 'late') {
    room.outbox.toLeg({ kind: 'late', leg: participant.leg, packet: message.packet });
    return;
  }
  // The participant's acks and responses come from whichever leg has them.
  if (message.leg === participant.leg || message.kind === 'rpcPacket') {
    dispatch(room, participant, message);
  } else {
    moveReported(room, participant, message);
  }
}

type OfOneLeg = Exclude<LegToHost, { kind: 'levels' | 'restated' | 'restatedAll' | 'superseded' | 'late' }>;

function dispatch(room: RoomState, participant: Participant, message: OfOneLeg): void {
  switch (message.kind) {
    case 'actual':
      return applyActual(room, participant, message.actual);
    case 'offer': {
      const { id, sdp, midToTrackId } = message;
      const offer = new SessionDescription({ type: 'offer', id, sdp, midToTrackId });
      return describe(room, participant, { case: 'offer', value: offer });
    }
    case 'answer': {
      const { id, sdp, midToTrackId = {} } = message;
      const answer = new SessionDescription({ type: 'answer', id, sdp, midToTrackId });
      return describe(room, participant, { case: 'answer', value: answer });
    }
    case 'sectionsNeeded': {
      const value = new MediaSectionsRequirement({ numAudios: message.audio, numVideos: message.video });
      return room.outbox.sendTo(participant, { case: 'mediaSectionsRequirement', value });
    }
    case 'resumed':
      return finishResume(room, participant, message.lastReliableSequence);
    case 'streamState':
      return tellStreamStates(room, participant, message.states);
    case 'quality':
      return addQualityReports(room, participant, message.reports);
    case 'rpcPacket':
      return handleRpcPacket(room, participant, message.packet);
    case 'exported':
    case 'prepared':
    case 'held':
    case 'notHeld':
      return moveReported(room, participant, message);
    case 'failed':
      if (participant.move.kind === 'entering') {
        return moveReported(room, participant, message);
      }
      return legFailed(room, participant, message.failure, message.detail);
    case 'closed':
      if (participant.move.kind === 'entering') {
        return moveReported(room, participant, message);
      }
      // Nobody asked for it: whatever held the leg is gone.
      return legFailed(room, participant, 'worker-died', 'leg closed');
  }
}

function describe(
  room: RoomState,
  participant: Participant,
  description: { case: 'offer' | 'answer'; value: SessionDescription },
): void {
  if (participant.connectionId === undefined && participant.restoredVersion !== undefined) {
    participant.unsent[description.case] = description.value;
  } else {
    room.outbox.sendTo(participant, description);
  }
}

function legFailed(room: RoomState, participant: Participant, failure: LegFailure, detail: string): void {
  room.outbox.push({
    kind: 'log',
    level: failure === 'internal' || failure === 'worker-died' ? 'warn' : 'info',
    message: 'leg failed',
    fields: { room: room.name, participant: participant.sid, failure, detail },
  });
  const cause = causeOfFailure(failure);
  if (cause === undefined) {
    mediaLost(room, participant);
  } else {
    removeParticipant(room, participant, cause);
  }
}

export function applyActual(room: RoomState, participant: Participant, actual: ActualLeg): void {
  participant.transports = { publisher: actual.publisher, subscriber: actual.subscriber };
  const primary = participant.subscriberPrimary ? actual.subscriber : actual.publisher;
  if (primary === 'connected' && participant.state === ParticipantInfo_State.JOINED) {
    activate(room, participant);
  }
  const isBroken = [actual.publisher, actual.subscriber].some(
    (state) => state === 'failed' || state === 'disconnected',
  );
  if (participant.iceLost && !isBroken && primary === 'connected') {
    participant.iceLost = false;
    room.timers.clear(`media:${participant.sid}`);
  }
  if (legArrives(room, participant, actual)) {
    applyPublications(room, participant, actual.publications);
  }
  for (const subscription of actual.subscriptions) {
    applySubscription(room, participant, subscription);
  }
}

function applySubscription(room: RoomState, subscriber: Participant, actual: ActualSubscription): void {
  const subscription = subscriber.subscriptions.get(actual.trackSid);
  const track = room.tracks.get(actual.trackSid);
  // A report about a former producer of the track says nothing about this one.
  if (subscription?.wanted?.producerId !== actual.producerId || track === undefined) {
    return;
  }
  if (actual.state === 'codec-unsupported' && subscription.refusedProducerId !== actual.producerId) {
    subscription.refusedProducerId = actual.producerId;
    room.dirtyLegs.add(subscriber);
    room.outbox.sendTo(subscriber, {
      case: 'subscriptionResponse',
      value: new SubscriptionResponse({ trackSid: track.sid, err: SubscriptionError.SE_CODEC_UNSUPPORTED }),
    });
  }
  if (subscription.successorId !== actual.successorId) {
    subscription.successorId = actual.successorId;
    successorsChanged(room, track.publisher);
  }
  const wasBound = subscription.bound;
  subscription.bound = actual.state === 'bound';
  if (subscription.bound && !wasBound && track.kind === 'audio') {
    tellCurrentSpeaker(room, subscriber, track.publisher);
  }
  if (subscription.bound && !subscriber.hidden) {
    tellSubscribed(room, track);
  }
}

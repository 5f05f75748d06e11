/** Messages from clients, one function per kind. */
import {
  CandidateProtocol,
  LeaveRequest_Action,
  RequestResponse_Reason,
  SignalRequest,
  SignalTarget,
  SpeakerInfo,
  SpeakersChanged,
  type LeaveRequest,
  type SimulateScenario,
  type SubscriptionPermission,
  type TrickleRequest,
  type UpdateParticipantMetadata,
  type UpdateSubscription,
} from '@livekit/protocol';
import { reasonOfClient, socketClose } from './close-reason.ts';
import { publishDataTrack, unpublishDataTrack, updateDataSubscription } from './data-tracks.ts';
import { refreshToken } from './join.ts';
import { closeSocket, removeParticipant, socketLost } from './leave.ts';
import { brokenLimit, mergeAttributes } from './limits.ts';
import { passDescription } from './moving.ts';
import type { Participant } from './participant.ts';
import { toSubscriptionRules } from './permissions.ts';
import { addTrack, handleMute, updateTrackDetails } from './publishing.ts';
import { respond } from './request-response.ts';
import { applySyncState } from './resume.ts';
import type { RoomState } from './room-state.ts';
import { applySettings, wishTracks } from './subscriptions.ts';
import { flushUrgentUpdates, participantChanged } from './updates.ts';

/** Bytes that are no SignalRequest close the socket; the session itself may be resumed if its media works. */
export function handleSignal(room: RoomState, participant: Participant, bytes: Uint8Array): void {
  let request: SignalRequest;
  try {
    request = SignalRequest.fromBinary(bytes);
  } catch {
    const { connectionId } = participant;
    if (connectionId !== undefined) {
      closeSocket(room, connectionId, socketClose.malformed);
      socketLost(room, participant);
    }
    return;
  }
  dispatch(room, participant, request.message);
}

function dispatch(room: RoomState, from: Participant, message: SignalRequest['message']): void {
  switch (message.case) {
    case 'offer':
      passDescription(room, from, { kind: 'clientOffer', leg: from.leg, id: message.value.id, sdp: message.value.sdp });
      return;
    case 'answer':
      passDescription(room, from, {
        kind: 'clientAnswer',
        leg: from.leg,
        id: message.value.id,
        sdp: message.value.sdp,
      });
      return;
    case 'trickle':
      return passCandidate(room, from, message.value);
    case 'addTrack':
      return addTrack(room, from, message.value);
    case 'mute':
      return handleMute(room, from, message.value);
    case 'subscription':
      return updateSubscription(room, from, message.value);
    case 'trackSetting':
      return applySettings(room, from, message.value.trackSids, message.value);
    case 'leave':
      return clientLeaves(room, from, message.value);
    case 'subscriptionPermission':
      return setSubscriptionRules(room, from, message.value);
    case 'syncState':
      return applySyncState(room, from, message.value);
    case 'simulate':
      return simulate(room, from, message.value);
    case 'updateMetadata':
      return updateMetadata(room, from, message.value);
    case 'updateAudioTrack': {
      const { trackSid, features } = message.value;
      const details = { kind: 'audio', features } as const;
      return updateTrackDetails(room, from, { trackSid, details, echo: message });
    }
    case 'updateVideoTrack': {
      const { trackSid, width, height } = message.value;
      const details = { kind: 'video', width, height } as const;
      return updateTrackDetails(room, from, { trackSid, details, echo: message });
    }
    case 'publishDataTrackRequest':
      return publishDataTrack(room, from, message.value);
    case 'unpublishDataTrackRequest':
      return unpublishDataTrack(room, from, message.value);
    case 'updateDataSubscription':
      return updateDataSubscription(room, from, message.value);
    case 'storeDataBlobRequest':
    case 'getDataBlobRequest':
      return refuseDataBlob(room, from, message.value.requestId);
    case 'updateLayers':
    case 'ping':
    case 'pingReq':
    case undefined:
      // Nothing to do: deprecated, answered by the gateway, or from a newer client than this server.
      return;
  }
}

function passCandidate(room: RoomState, from: Participant, trickle: TrickleRequest): void {
  room.outbox.toLeg({
    kind: 'clientCandidate',
    leg: from.leg,
    target: trickle.target === SignalTarget.SUBSCRIBER ? 'subscriber' : 'publisher',
    candidateInit: trickle.candidateInit,
    final: trickle.final,
  });
}

/** livekit-client states each track twice, alone and by participant. */
export function updateSubscription(
  room: RoomState,
  subscriber: Participant,
  request: Pick<UpdateSubscription, 'trackSids' | 'participantTracks' | 'subscribe'>,
): void {
  const sids = new Set([...request.trackSids, ...request.participantTracks.flatMap((entry) => entry.trackSids)]);
  wishTracks(room, subscriber, sids, request.subscribe);
}

function clientLeaves(room: RoomState, from: Participant, request: LeaveRequest): void {
  // Only a goodbye ends the session; older SDKs also send the other actions before they come back by themselves.
  if (request.action === LeaveRequest_Action.DISCONNECT) {
    removeParticipant(room, from, 'client-left', reasonOfClient(request.reason));
  }
}

function setSubscriptionRules(room: RoomState, publisher: Participant, permission: SubscriptionPermission): void {
  publisher.subscriptionRules = toSubscriptionRules(permission);
  room.dueKeepsakes.add(publisher);
  room.markAllLegsDirty();
}

function updateMetadata(room: RoomState, from: Participant, request: UpdateParticipantMetadata): void {
  const answer = (reason: RequestResponse_Reason, message = ''): void =>
    respond(room, from, {
      requestId: request.requestId,
      reason,
      message,
      request: { case: 'updateMetadata', value: request },
    });
  if (!from.grants.canUpdateOwnMetadata) {
    answer(RequestResponse_Reason.NOT_ALLOWED, 'does not have permission to update own metadata');
    return;
  }
  const attributes = mergeAttributes(from.attributes, request.attributes);
  const broken = brokenLimit({ name: request.name, metadata: request.metadata, attributes }, room.settings);
  if (broken !== undefined) {
    answer(RequestResponse_Reason.LIMIT_EXCEEDED, broken);
    return;
  }
  describeParticipant(room, from, { name: request.name, metadata: request.metadata, attributes });
  // The update goes first: SDKs send metadata and attributes together, so one that takes the answer as the end of the
  // first change and has not seen its result yet would undo it with the next.
  flushUrgentUpdates(room);
  answer(RequestResponse_Reason.OK);
}

/** An empty name or metadata means: as it was. */
export function describeParticipant(
  room: RoomState,
  participant: Participant,
  described: { name: string; metadata: string; attributes: Record<string, string> },
): void {
  participant.name = described.name || participant.name;
  participant.metadata = described.metadata || participant.metadata;
  participant.attributes = described.attributes;
  participantChanged(room, participant, 'detail');
  refreshToken(room, participant);
}

function refuseDataBlob(room: RoomState, from: Participant, requestId: number): void {
  const message = 'data blobs are not supported';
  const reason = RequestResponse_Reason.UNSUPPORTED_TYPE;
  respond(room, from, { requestId, reason, message, request: { case: undefined } });
}

function simulate(room: RoomState, from: Participant, { scenario }: SimulateScenario): void {
  switch (scenario.case) {
    case 'speakerUpdate':
      room.outbox.sendTo(from, fakeSpeaker(from, true));
      room.timers.set(`fakeSpeaker:${from.sid}`, room.nowMs + Math.max(scenario.value, 0) * 1000);
      return;
    case 'nodeFailure':
      return removeParticipant(room, from, 'simulated-node-failure');
    case 'serverLeave':
      return removeParticipant(room, from, 'shutdown');
    case 'leaveRequestFullReconnect':
      return removeParticipant(room, from, 'state-mismatch');
    case 'migration':
      return removeParticipant(room, from, 'moved');
    case 'disconnectSignalOnResume':
      from.simulate = 'disconnect-on-resume';
      return;
    case 'disconnectSignalOnResumeNoMessages':
      from.simulate = 'disconnect-on-resume-no-messages';
      return;
    case 'subscriberBandwidth':
      room.outbox.toLeg({ kind: 'limitBandwidth', leg: from.leg, bitrateBps: toBitrateBps(scenario.value) });
      return;
    case 'switchCandidateProtocol':
      // Clients join anew right after it. Candidates of TCP are in every description.
      room.relayFallback.choose(from.identity, scenario.value === CandidateProtocol.TLS, room.nowMs);
      return;
    case undefined:
      return;
  }
}

/** 0 = no cap. */
function toBitrateBps(value: bigint): number {
  return Number(value < 0n ? 0n : value > 10_000_000_000n ? 10_000_000_000n : value);
}

export function fakeSpeakerEnds(room: RoomState, participant: Participant): void {
  room.outbox.sendTo(participant, fakeSpeaker(participant, false));
}

function fakeSpeaker(participant: Participant, active: boolean): { case: 'speakersChanged'; value: SpeakersChanged } {
  const speaker = new SpeakerInfo({ sid: participant.sid, active, level: active ? 0.875 : 0 });
  return { case: 'speakersChanged', value: new SpeakersChanged({ speakers: [speaker] }) };
}

/** Announcing, publishing, muting and ending of tracks. */
import {
  MuteTrackRequest,
  RequestResponse_Reason,
  TrackPublishedResponse,
  TrackType,
  TrackUnpublishedResponse,
  type AddTrackRequest,
  type AudioTrackFeature,
} from '@livekit/protocol';
import { trackSid, type TrackSid } from '../protocol/ids.ts';
import type { ActualPublication } from '../protocol/leg-messages.ts';
import { settleBackup } from './backup-codecs.ts';
import type { Participant } from './participant.ts';
import { mayPublishSource } from './permissions.ts';
import { speakerSilenced } from './quality-reports.ts';
import { respond, type EchoedRequest } from './request-response.ts';
import type { RoomState } from './room-state.ts';
import { bound } from './settings.ts';
import { admitTrack, dropTrack } from './subscriptions.ts';
import { sidLetters, Track } from './track.ts';
import { countersChanged, participantChanged } from './updates.ts';
import { trackWebhook } from './webhooks.ts';

export function addTrack(room: RoomState, publisher: Participant, request: AddTrackRequest): void {
  const refusal = refuseTrack(room, publisher, request);
  if (refusal !== undefined) {
    const echo: EchoedRequest = { case: 'addTrack', value: request };
    respond(room, publisher, { reason: refusal.reason, message: refusal.message, request: echo });
  } else if (request.sid !== '') {
    addBackupCodec(room, publisher, request);
  } else if (publisher.findTrackByCid(request.cid) !== undefined) {
    publisher.queued.push(request);
    room.dueKeepsakes.add(publisher);
    respond(room, publisher, {
      reason: RequestResponse_Reason.QUEUED,
      message: 'a track with this cid is still published',
      request: { case: 'addTrack', value: request },
    });
  } else {
    announceTrack(room, publisher, request);
  }
}

type Refusal = { reason: RequestResponse_Reason; message: string };

function refuseTrack(room: RoomState, publisher: Participant, request: AddTrackRequest): Refusal | undefined {
  const { NOT_ALLOWED, UNSUPPORTED_TYPE, LIMIT_EXCEEDED, INVALID_REQUEST } = RequestResponse_Reason;
  if (!mayPublishSource(publisher.grants, request.source)) {
    return { reason: NOT_ALLOWED, message: 'publishing from this source is not allowed' };
  }
  if (request.type !== TrackType.AUDIO && request.type !== TrackType.VIDEO) {
    return { reason: UNSUPPORTED_TYPE, message: 'only audio and video tracks can be added' };
  }
  if (request.cid === '') {
    return { reason: INVALID_REQUEST, message: 'cid is missing' };
  }
  const texts = [request.cid, request.name, request.stream, ...request.simulcastCodecs.map((codec) => codec.cid)];
  if (texts.some((text) => text.length > room.settings.maxNameLength)) {
    return {
      reason: LIMIT_EXCEEDED,
      message: `cid, name and stream may have ${room.settings.maxNameLength} characters`,
    };
  }
  const pending = [...publisher.tracks.values()].filter((track) => !track.isPublic).length;
  if (pending >= bound.pendingTracks || publisher.queued.length >= bound.queuedTracks) {
    return { reason: LIMIT_EXCEEDED, message: `${bound.pendingTracks} tracks are pending already` };
  }
  const { maxTracksPerParticipant } = room.settings;
  if (request.sid === '' && publisher.tracks.size >= maxTracksPerParticipant) {
    return { reason: LIMIT_EXCEEDED, message: `a participant may publish ${maxTracksPerParticipant} tracks` };
  }
  return undefined;
}

function announceTrack(room: RoomState, publisher: Participant, request: AddTrackRequest): void {
  const track = new Track({
    sid: sidForCid(room, publisher, request),
    publisher,
    request,
    enabledCodecs: room.settings.enabledCodecs,
    dynacastPauseDelayMs: room.settings.dynacastPauseDelayMs,
    nowMs: room.nowMs,
  });
  publisher.tracks.set(track.sid, track);
  room.markChanged(publisher);
  confirmTrack(room, track, request.cid);
}

/** The same cid keeps its sid over unpublish and republish, as long as it is the same kind of track. */
function sidForCid(room: RoomState, publisher: Participant, request: AddTrackRequest): TrackSid {
  const letters = sidLetters(request);
  const known = publisher.sidsByCid.get(request.cid);
  publisher.sidsByCid.delete(request.cid);
  const isUsable = known?.startsWith(`TR_${letters}`) === true && !publisher.tracks.has(known);
  const sid = isUsable ? known : trackSid(letters, room.random());
  publisher.sidsByCid.set(request.cid, sid);
  const oldest = publisher.sidsByCid.keys().next().value;
  if (publisher.sidsByCid.size > bound.rememberedCids && oldest !== undefined) {
    publisher.sidsByCid.delete(oldest);
  }
  return sid;
}

function addBackupCodec(room: RoomState, publisher: Participant, request: AddTrackRequest): void {
  const track = publisher.tracks.get(request.sid as TrackSid);
  if (track === undefined || !track.addCodec(request, room.nowMs)) {
    respond(room, publisher, {
      reason: track === undefined ? RequestResponse_Reason.NOT_FOUND : RequestResponse_Reason.LIMIT_EXCEEDED,
      message: track === undefined ? 'the track of this codec does not exist' : 'too many codecs for one track',
      request: { case: 'addTrack', value: request },
    });
    return;
  }
  room.markChanged(publisher);
  confirmTrack(room, track, request.cid);
}

function confirmTrack(room: RoomState, track: Track, cid: string): void {
  room.outbox.sendTo(track.publisher, {
    case: 'trackPublished',
    value: new TrackPublishedResponse({ cid, track: track.info }),
  });
}

/** Takes over which tracks the leg carries: new ones become public, those it no longer carries end. */
export function applyPublications(room: RoomState, publisher: Participant, publications: ActualPublication[]): void {
  let changed = false;
  for (const track of publisher.tracks.values()) {
    const actuals = publications.filter((actual) => actual.trackSid === track.sid);
    const wasPublic = track.isPublic;
    if (actuals.length > 0 && track.applyActual(actuals, room.nowMs)) {
      changed = true;
      room.markChanged(publisher);
      if (!wasPublic) {
        publishTrack(room, track);
      } else {
        settleBackup(room, track);
        room.markAllLegsDirty();
      }
    } else if (actuals.length === 0 && wasPublic) {
      changed = true;
      endTrack(room, track);
    }
  }
  if (changed) {
    participantChanged(room, publisher);
    admitQueued(room, publisher);
  }
}

function publishTrack(room: RoomState, track: Track): void {
  room.tracks.set(track.sid, track);
  countersChanged(room);
  trackWebhook(room, 'track_published', track);
  // Even a track that nobody watches is settled: its layers may be switched off.
  room.dirtyDynacast.add(track);
  admitTrack(room, track);
}

/** Forgets a track; the caller tells the others of the publisher's change. */
export function endTrack(room: RoomState, track: Track): void {
  const { publisher } = track;
  if (track.isPublic && publisher.publicTracks().every((other) => other === track || other.kind !== 'audio')) {
    // Before anybody stops listening to it.
    speakerSilenced(room, publisher.sid);
  }
  publisher.tracks.delete(track.sid);
  room.markChanged(publisher);
  room.timers.clear(`dynacast:${track.sid}`);
  if (!track.isPublic) {
    return;
  }
  room.tracks.delete(track.sid);
  dropTrack(room, track);
  countersChanged(room);
  trackWebhook(room, 'track_unpublished', track);
}

/** AddTrack requests that waited for their cid to become free. */
function admitQueued(room: RoomState, publisher: Participant): void {
  const waiting = publisher.queued.splice(0);
  for (const request of waiting) {
    if (publisher.findTrackByCid(request.cid) === undefined) {
      addTrack(room, publisher, request);
    } else {
      publisher.queued.push(request);
    }
  }
}

/** The participant lost the right to publish these: its client is told to stop them. */
export function withdrawForbiddenTracks(room: RoomState, publisher: Participant): boolean {
  const forbidden = [...publisher.tracks.values()].filter(
    (track) => !mayPublishSource(publisher.grants, track.info.source),
  );
  for (const track of forbidden) {
    endTrack(room, track);
    if (publisher.protocol > 6) {
      room.outbox.sendTo(publisher, {
        case: 'trackUnpublished',
        value: new TrackUnpublishedResponse({ trackSid: track.sid }),
      });
    } else {
      sendMute(room, track, true);
    }
  }
  admitQueued(room, publisher);
  return forbidden.length > 0;
}

/** @returns whether anything changed */
export function setMuted(room: RoomState, track: Track, muted: boolean): boolean {
  if (track.info.muted === muted) {
    return false;
  }
  track.info.muted = muted;
  track.touch(room.nowMs);
  room.markChanged(track.publisher);
  if (track.isPublic) {
    participantChanged(room, track.publisher, 'detail');
    room.markSubscribedLegsDirty(track);
    if (muted && track.kind === 'audio') {
      speakerSilenced(room, track.publisher.sid);
    }
  }
  return true;
}

/** Asks the publisher's client to mute (or unmute) by itself. */
export function sendMute(room: RoomState, track: Track, muted: boolean): void {
  room.outbox.sendTo(track.publisher, { case: 'mute', value: new MuteTrackRequest({ sid: track.sid, muted }) });
}

export function handleMute(room: RoomState, publisher: Participant, request: MuteTrackRequest): void {
  const track = publisher.tracks.get(request.sid as TrackSid);
  if (track === undefined) {
    respond(room, publisher, trackNotFound({ case: 'mute', value: request }));
    return;
  }
  setMuted(room, track, request.muted);
}

export type TrackDetails =
  | { kind: 'audio'; features: AudioTrackFeature[] }
  | { kind: 'video'; width: number; height: number };

/** What the client's own report changes of a track that it publishes. */
export function updateTrackDetails(
  room: RoomState,
  publisher: Participant,
  change: { trackSid: string; details: TrackDetails; echo: EchoedRequest },
): void {
  const track = publisher.tracks.get(change.trackSid as TrackSid);
  if (track === undefined) {
    respond(room, publisher, trackNotFound(change.echo));
    return;
  }
  const { details } = change;
  if (details.kind === 'audio') {
    track.info.audioFeatures = [...new Set(details.features)].slice(0, 16);
  } else {
    track.info.width = details.width;
    track.info.height = details.height;
  }
  track.touch(room.nowMs);
  if (track.isPublic) {
    participantChanged(room, publisher, 'detail');
  }
}

function trackNotFound(request: EchoedRequest): {
  reason: RequestResponse_Reason;
  message: string;
  request: EchoedRequest;
} {
  return { reason: RequestResponse_Reason.NOT_FOUND, message: 'track is not found', request };
}

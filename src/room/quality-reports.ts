/** Layers, loudness, connection quality and stalled streams: what legs measure, told to those whom it concerns. */
import {
  ConnectionQualityInfo,
  ConnectionQualityUpdate,
  SpeakerInfo,
  SpeakersChanged,
  StreamState,
  StreamStateInfo,
  StreamStateUpdate,
  SubscribedCodec,
  SubscribedQuality,
  SubscribedQualityUpdate,
} from '@livekit/protocol';
import type { ParticipantSid, TrackSid } from '../protocol/ids.ts';
import type { TrackLevel, TrackQualityReport } from '../protocol/leg-messages.ts';
import type { ConnectionScore } from '../quality/connection-score.ts';
import type { Speaking } from '../quality/speakers.ts';
import type { Participant } from './participant.ts';
import type { RoomState } from './room-state.ts';
import { timing } from './settings.ts';
import { receivesFrom } from './subscriptions.ts';
import type { Track } from './track.ts';
import { groupByAudience } from './updates.ts';

/** Tells the publisher which layers somebody watches, when that changed. */
export function settleDynacast(room: RoomState, track: Track): void {
  if (track.dynacast === undefined || !track.isPublic) {
    room.timers.clear(`dynacast:${track.sid}`);
    return;
  }
  // Whose legs are still coming may watch it.
  if (!room.isCollecting && track.dynacast.settle(room.nowMs)) {
    room.laterKeepsakes.add(track.publisher);
    sendSubscribedQuality(room, track);
  }
  const deadlineMs = track.dynacast.deadlineMs();
  if (deadlineMs === undefined) {
    room.timers.clear(`dynacast:${track.sid}`);
  } else {
    room.timers.set(`dynacast:${track.sid}`, deadlineMs);
  }
}

export function sendSubscribedQuality(room: RoomState, track: Track): void {
  const reported = new Map(track.dynacast?.reported().map((entry) => [entry.codec, entry.maximum]));
  const subscribedCodecs = track.codecs.map((declared) => {
    // A backup codec that nobody was given stays off, so that the publisher does not start to encode it.
    const maximum = reported.get(declared.codec) ?? -1;
    const qualities = ([0, 1, 2] as const).map(
      (quality) => new SubscribedQuality({ quality, enabled: quality <= maximum }),
    );
    return new SubscribedCodec({ codec: declared.codec, qualities });
  });
  room.outbox.sendTo(track.publisher, {
    case: 'subscribedQualityUpdate',
    value: new SubscribedQualityUpdate({
      trackSid: track.sid,
      subscribedQualities: subscribedCodecs[0]?.qualities ?? [],
      subscribedCodecs,
    }),
  });
}

export function observeLevels(room: RoomState, levels: TrackLevel[]): void {
  for (const { trackSid, levelDbov } of levels) {
    const track = room.tracks.get(trackSid);
    if (track !== undefined && track.kind === 'audio' && !track.muted) {
      room.speakers.observe(track.publisher.sid, levelDbov);
    }
  }
  if (room.speakers.busy && !room.timers.has('speakers')) {
    room.timers.set('speakers', room.nowMs + room.settings.speakerIntervalMs);
  }
}

export function speakersDue(room: RoomState): void {
  tellSpeakers(room, room.speakers.tick());
  if (room.speakers.busy) {
    room.timers.set('speakers', room.nowMs + room.settings.speakerIntervalMs);
  }
}

/** A muted or departed speaker stops at once, not at the next interval. */
export function speakerSilenced(room: RoomState, sid: ParticipantSid): void {
  if (room.speakers.remove(sid)) {
    tellSpeakers(room, [{ speaker: sid, speaking: { level: 0, active: false } }]);
  }
}

/** Only changes are told, so who begins to hear somebody in mid-sentence learns of it here. */
export function tellCurrentSpeaker(room: RoomState, listener: Participant, speaker: Participant): void {
  const speaking = room.speakers.current(speaker.sid);
  if (speaking.active && listener.protocol > 2) {
    const info = new SpeakerInfo({ sid: speaker.sid, ...speaking });
    room.outbox.sendTo(listener, { case: 'speakersChanged', value: new SpeakersChanged({ speakers: [info] }) });
  }
}

function tellSpeakers(room: RoomState, changes: { speaker: ParticipantSid; speaking: Speaking }[]): void {
  const subjects = changes.flatMap(({ speaker, speaking }) => {
    const participant = room.participants.get(speaker);
    return participant === undefined ? [] : [{ participant, info: new SpeakerInfo({ sid: speaker, ...speaking }) }];
  });
  const receivers = [...room.participants.values()].filter((receiver) => receiver.protocol > 2);
  const groups = groupByAudience(
    receivers,
    subjects,
    (receiver, { participant }) => receiver === participant || receivesFrom(receiver, participant, 'audio'),
  );
  for (const group of groups) {
    const speakers = group.subjects.map((subject) => subject.info);
    room.outbox.send(group.receivers, { case: 'speakersChanged', value: new SpeakersChanged({ speakers }) });
  }
}

export function addQualityReports(room: RoomState, participant: Participant, reports: TrackQualityReport[]): void {
  for (const report of reports) {
    // What is muted is silent on purpose; counting that as lost would make livekit-client reconnect.
    const isMuted = room.tracks.get(report.trackSid)?.muted ?? true;
    participant.scorer.add(isMuted ? { ...report, idle: true } : report);
  }
}

export function connectionQualityDue(room: RoomState): void {
  room.timers.set('quality', room.nowMs + timing.connectionQualityMs);
  const changes: { participant: Participant; score: ConnectionScore }[] = [];
  for (const participant of room.participants.values()) {
    const score = participant.scorer.score();
    const told = participant.toldScore;
    if (participant.isActive && (told?.quality !== score.quality || told.mos !== score.mos)) {
      participant.toldScore = score;
      changes.push({ participant, score });
    }
  }
  const isOfInterest = (receiver: Participant, subject: Participant): boolean =>
    receiver === subject || receivesFrom(receiver, subject);
  const receivers = [...room.participants.values()].filter((receiver) => receiver.protocol > 4);
  for (const knowsLost of [true, false]) {
    const audience = receivers.filter((receiver) => receiver.protocol > 10 === knowsLost);
    for (const group of groupByAudience(audience, changes, (receiver, change) =>
      isOfInterest(receiver, change.participant),
    )) {
      const updates = group.subjects.map(({ participant, score }) => toQualityInfo(participant, score, knowsLost));
      room.outbox.send(group.receivers, { case: 'connectionQuality', value: new ConnectionQualityUpdate({ updates }) });
    }
  }
}

function toQualityInfo(participant: Participant, score: ConnectionScore, knowsLost: boolean): ConnectionQualityInfo {
  const lost = 3;
  const quality = score.quality === lost && !knowsLost ? 0 : score.quality;
  return new ConnectionQualityInfo({ participantSid: participant.sid, quality, score: score.mos });
}

export function tellStreamStates(
  room: RoomState,
  subscriber: Participant,
  states: { trackSid: TrackSid; paused: boolean }[],
): void {
  const streamStates = states.flatMap(({ trackSid, paused }) => {
    const track = room.tracks.get(trackSid);
    const state = paused ? StreamState.PAUSED : StreamState.ACTIVE;
    return track === undefined ? [] : [new StreamStateInfo({ participantSid: track.publisher.sid, trackSid, state })];
  });
  if (streamStates.length > 0) {
    room.outbox.sendTo(subscriber, { case: 'streamStateUpdate', value: new StreamStateUpdate({ streamStates }) });
  }
}

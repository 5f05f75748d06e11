/** Rooms and participants as tables for people. */
import {
  ParticipantInfo_State,
  type ParticipantInfo,
  type Room,
  type TrackInfo,
  TrackSource,
  TrackType,
} from '@livekit/protocol';
import { formatTable } from './terminal.ts';

const maxMetadataLength = 40;

export function formatRooms(rooms: readonly Room[]): string {
  const rows = rooms.map((room) => [
    room.name,
    room.sid,
    room.maxParticipants === 0 ? `${room.numParticipants}` : `${room.numParticipants} of ${room.maxParticipants}`,
    `${room.numPublishers}`,
    formatTime(room.creationTime),
    shorten(room.metadata),
  ]);
  return formatTable([['ROOM', 'SID', 'PARTICIPANTS', 'PUBLISHERS', 'CREATED', 'METADATA'], ...rows]);
}

export function formatParticipants(participants: readonly ParticipantInfo[]): string {
  const rows = participants.map((participant) => [
    participant.identity,
    participant.name,
    participant.sid,
    ParticipantInfo_State[participant.state]?.toLowerCase() ?? '',
    formatTime(participant.joinedAt),
    participant.tracks.map(formatTrack).join(', '),
  ]);
  return formatTable([['IDENTITY', 'NAME', 'SID', 'STATE', 'JOINED', 'TRACKS'], ...rows]);
}

export function participantTracks(participant: ParticipantInfo): string[] {
  return participant.tracks.map(({ sid }) => sid);
}

function formatTrack(track: TrackInfo): string {
  const name = track.source === TrackSource.UNKNOWN ? TrackType[track.type] : TrackSource[track.source];
  return `${(name ?? 'track').toLowerCase().replaceAll('_', ' ')} ${track.sid}${track.muted ? ' (muted)' : ''}`;
}

/** UTC, to the second. */
function formatTime(unixS: bigint): string {
  return unixS === 0n ? '' : new Date(Number(unixS) * 1_000).toISOString().replace(/\.\d+Z$/, 'Z');
}

function shorten(text: string): string {
  return text.length > maxMetadataLength ? `${text.slice(0, maxMetadataLength - 1)}…` : text;
}

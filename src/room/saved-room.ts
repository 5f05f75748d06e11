/**
 * What of a room outlives its host: written down when it changes, read by the node that hosts the room next. Fields that
 * a newer version wrote are ignored; a part that cannot be read is as good as absent.
 */
import { ParticipantInfo_State, DisconnectReason } from '@livekit/protocol';
import type { ParticipantSid, RoomSid } from '../protocol/ids.ts';
import type { VideoGrants } from '../protocol/session-messages.ts';
import type { RoomPart } from './events.ts';
import { Participant } from './participant.ts';
import type { RoomState } from './room-state.ts';
import { timing } from './settings.ts';
import { participantLeft } from './updates.ts';
import { participantWebhook } from './webhooks.ts';

/** A participant as it was described last; its next session begins like that. */
export type SavedParticipant = {
  identity: string;
  name: string;
  metadata: string;
  attributes: Record<string, string>;
  grants: VideoGrants;
  /** Its session; absent when an older version saved it. */
  session?: { sid: ParticipantSid; joinedAtMs: number; kind: number; wasActive: boolean };
};

export type SavedRoom = {
  sid: RoomSid;
  /** Numbers that are absent are as for a new room. */
  createdAtMs: number | undefined;
  emptyTimeoutS: number | undefined;
  departureTimeoutS: number | undefined;
  maxParticipants: number | undefined;
  syncStreams?: boolean | undefined;
  metadata: string;
  wasJoined: boolean;
  /** Clients were told it when they joined. */
  sifTrailer: Uint8Array<ArrayBuffer> | undefined;
  /** Tokens of an identity that are older (Unix seconds) do not let in. */
  revocations: [identity: string, beforeS: number][];
  participants: SavedParticipant[];
};

/** What does not matter of a session that has ended. */
const nobody = {
  kindDetails: [],
  autoSubscribe: true,
  adaptiveStream: false,
  apiKey: '',
  tokenExpiresAtS: 0,
  client: {
    sdk: 0,
    version: '',
    protocol: 0,
    clientProtocol: 0,
    os: '',
    osVersion: '',
    deviceModel: '',
    browser: '',
    browserVersion: '',
    network: '',
    address: '',
    capabilities: [],
  },
};

const roomPart = 'room';
const participantPrefix = 'participant:';

/** The parts that changed since the last call. */
export function takeChangedParts(room: RoomState): RoomPart[] {
  const parts: RoomPart[] = [];
  if (room.roomChange !== 'none') {
    const text = describeRoom(room);
    if (text !== room.savedRoom) {
      room.savedRoom = text;
      parts.push({ name: roomPart, bytes: new TextEncoder().encode(text) });
    }
  }
  for (const participant of room.dirtySaves) {
    const name = `${participantPrefix}${participant.identity}`;
    const present = room.identities.get(participant.identity);
    parts.push({ name, bytes: present === undefined ? undefined : encodeParticipant(present) });
  }
  room.dirtySaves.clear();
  return parts;
}

/** @returns undefined when nothing usable was saved: the room is then a new one */
export function decodeSavedRoom(parts: ReadonlyMap<string, Uint8Array>): SavedRoom | undefined {
  const room = parse(parts.get(roomPart));
  if (room === undefined || typeof room.sid !== 'string') {
    return undefined;
  }
  const participants = [...parts].flatMap(([name, bytes]) =>
    name.startsWith(participantPrefix) ? (decodeParticipant(bytes) ?? []) : [],
  );
  return {
    sid: room.sid as RoomSid,
    createdAtMs: toNumber(room.createdAtMs),
    emptyTimeoutS: toNumber(room.emptyTimeoutS),
    departureTimeoutS: toNumber(room.departureTimeoutS),
    maxParticipants: toNumber(room.maxParticipants),
    syncStreams: typeof room.syncStreams === 'boolean' ? room.syncStreams : undefined,
    metadata: typeof room.metadata === 'string' ? room.metadata : '',
    wasJoined: room.wasJoined === true,
    sifTrailer:
      typeof room.sifTrailer === 'string' ? Uint8Array.from(Buffer.from(room.sifTrailer, 'base64')) : undefined,
    revocations: decodeRevocations(room.revocations),
    participants,
  };
}

function decodeRevocations(saved: unknown): [string, number][] {
  const entries: unknown[] = Array.isArray(saved) ? saved : [];
  return entries.flatMap((entry) => {
    const [identity, beforeS] = Array.isArray(entry) ? (entry as unknown[]) : [];
    return typeof identity === 'string' && typeof beforeS === 'number' ? [[identity, beforeS]] : [];
  });
}

/** Somebody is told to join anew, which is no wish of his: his next session begins as this one was described. */
export function keepDescription(room: RoomState, participant: Participant): void {
  const { identity, name, metadata, attributes, grants } = participant;
  room.savedParticipants.set(identity, { identity, name, metadata, attributes, grants });
  room.timers.set('restored', room.nowMs + timing.restoredMs);
}

/** The session of somebody who was in the room when its host was lost begins as the last one was described. */
export function applySavedParticipant(room: RoomState, participant: Participant): void {
  const saved = room.savedParticipants.get(participant.identity);
  if (saved === undefined) {
    return;
  }
  loseSavedParticipant(room, saved, true);
  room.savedParticipants.delete(participant.identity);
  participant.name = saved.name;
  participant.metadata = saved.metadata;
  participant.attributes = saved.attributes;
  const { canSubscribe, canPublish, canPublishData, canPublishSources } = saved.grants;
  const { canUpdateOwnMetadata, canSubscribeMetrics, canManageAgentSession } = saved.grants;
  participant.grants = {
    ...participant.grants,
    canSubscribe,
    canPublish,
    canPublishData,
    canPublishSources,
    canUpdateOwnMetadata,
    canSubscribeMetrics,
    canManageAgentSession,
  };
}

/** Their legs are gone with the former host: the others, and webhook receivers, hear that these sessions have ended. */
export function loseSavedParticipants(room: RoomState): void {
  for (const saved of room.savedParticipants.values()) {
    loseSavedParticipant(room, saved, false);
  }
}

function loseSavedParticipant(room: RoomState, saved: SavedParticipant, replaced: boolean): void {
  const { session, identity, name, metadata, attributes, grants } = saved;
  if (session === undefined || room.lostSessions.has(session.sid)) {
    return;
  }
  room.lostSessions.add(session.sid);
  const left = new Participant(
    session.sid,
    { ...nobody, roomName: room.name, identity, name, metadata, attributes, grants, kind: session.kind },
    session.joinedAtMs,
    // Clients take no description that is older than what they have.
    { subscriberPrimary: false, version: 2 ** 31 },
  );
  left.state = ParticipantInfo_State.DISCONNECTED;
  left.disconnectReason = DisconnectReason.MEDIA_FAILURE;
  participantWebhook(room, session.wasActive ? 'participant_left' : 'participant_connection_aborted', left);
  participantLeft(room, left, replaced);
}

/** Whoever has not come back by now left while nobody hosted the room. */
export function forgetSavedParticipants(room: RoomState): void {
  const parts = [...room.savedParticipants.keys()]
    .filter((identity) => !room.identities.has(identity))
    .map((identity) => ({ name: `${participantPrefix}${identity}`, bytes: undefined }));
  room.savedParticipants.clear();
  if (parts.length > 0) {
    room.outbox.push({ kind: 'save', parts });
  }
}

function describeRoom(room: RoomState): string {
  const { sid, createdAtMs, emptyTimeoutS, departureTimeoutS, maxParticipants, syncStreams, metadata, wasJoined } =
    room;
  const saved: Omit<SavedRoom, 'participants' | 'sifTrailer'> & { sifTrailer: string } = {
    sid,
    createdAtMs,
    emptyTimeoutS,
    departureTimeoutS,
    maxParticipants,
    syncStreams,
    metadata,
    wasJoined,
    revocations: [...room.revocations],
    sifTrailer: Buffer.from(room.sifTrailer).toString('base64'),
  };
  return JSON.stringify(saved);
}

function encodeParticipant(participant: Participant): Uint8Array {
  const { identity, name, metadata, attributes, grants, sid, joinedAtMs, kind, isActive } = participant;
  const session = { sid, joinedAtMs, kind, wasActive: isActive };
  const saved: SavedParticipant = { identity, name, metadata, attributes, grants, session };
  return new TextEncoder().encode(JSON.stringify(saved));
}

function decodeParticipant(bytes: Uint8Array): SavedParticipant | undefined {
  const saved = parse(bytes);
  if (saved === undefined || typeof saved.identity !== 'string' || typeof saved.grants !== 'object') {
    return undefined;
  }
  return saved as SavedParticipant;
}

function parse(bytes: Uint8Array | undefined): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function toNumber(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

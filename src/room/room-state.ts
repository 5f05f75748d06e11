/** The facts of one room and the collectors of one step; the functions beside it work on this. */
import { RelayFallback } from './relay-fallback.ts';
import { Codec, Room as RoomMessage, TimedVersion } from '@livekit/protocol';
import type { ConnectionId, LegId, ParticipantSid, RandomSuffix, RoomSid, TrackSid } from '../protocol/ids.ts';
import { roomSid } from '../protocol/ids.ts';
import { Speakers } from '../quality/speakers.ts';
import type { RoomCloseReason } from './events.ts';
import { Outbox } from './outbox.ts';
import type { DataTrack } from './data-tracks.ts';
import type { Participant } from './participant.ts';
import type { SavedParticipant, SavedRoom } from './saved-room.ts';
import { bareName, type Track } from './track.ts';
import type { PendingRpc } from './rpc.ts';
import type { RoomSettings } from './settings.ts';
import { Timers } from './timers.ts';
import { UpdateQueue } from './update-queue.ts';

/** A participant that left, kept as long as somebody may come back who missed it. */
export type Departure = { atMs: number; identity: string; info: Uint8Array };

export type RoomStateOptions = {
  name: string;
  settings: RoomSettings;
  random: RandomSuffix;
  nowMs: number;
  /** What an earlier host of the room left. */
  saved?: SavedRoom;
};

export class RoomState {
  readonly name: string;
  readonly sid: RoomSid;
  readonly settings: RoomSettings;
  readonly random: RandomSuffix;
  readonly createdAtMs: number;
  /** Ends frames that the server injects into end-to-end encrypted tracks. */
  readonly sifTrailer: Uint8Array<ArrayBuffer>;

  emptyTimeoutS: number;
  departureTimeoutS: number;
  maxParticipants: number;
  syncStreams: boolean;
  metadata = '';
  nowMs: number;
  /** Somebody who is not a helper has joined. */
  wasJoined = false;
  closed: RoomCloseReason | undefined;

  readonly participants = new Map<ParticipantSid, Participant>();
  readonly identities = new Map<string, Participant>();
  readonly connections = new Map<ConnectionId, Participant>();
  /** Public tracks, in the order in which they became public. */
  readonly tracks = new Map<TrackSid, Track>();
  /** By sid. */
  readonly dataTracks = new Map<string, DataTrack>();
  lastDataHandle = 0;
  readonly rpcs = new Map<string, PendingRpc>();
  readonly nonces = new Map<string, number>();
  /** By identity: tokens whose `nbf` (Unix seconds) is earlier do not let in any more. */
  readonly revocations: Map<string, number>;
  /** Of those who went to other rooms, with the times at which they end. */
  readonly leftLegs = new Map<LegId, number>();
  departures: Departure[] = [];
  readonly speakers: Speakers<ParticipantSid>;

  readonly timers = new Timers();
  readonly outbox = new Outbox();
  readonly updates = new UpdateQueue();
  /** When participants were last told of changes. */
  updatesToldAtMs = 0;
  /** Legs whose wanted state may have changed in this step. */
  readonly dirtyLegs = new Set<Participant>();
  /** Tracks whose wanted layers may have changed in this step. */
  readonly dirtyDynacast = new Set<Track>();
  /** Participants whose saved part may have changed in this step. */
  readonly dirtySaves = new Set<Participant>();
  /** Participants whose keepsake is out of date: now, or soon. */
  readonly dueKeepsakes = new Set<Participant>();
  readonly laterKeepsakes = new Set<Participant>();
  /** The former host's legs are still coming: what only misses its publisher is left as it is. */
  isCollecting = false;
  /** Sockets of sessions whose legs may still come. */
  readonly earlySockets = new Map<ParticipantSid, ConnectionId>();
  /** Who was here when an earlier host was lost and has not come back, by identity. */
  readonly savedParticipants: Map<string, SavedParticipant>;
  /** Sessions that ended with the former host: their clients have been told so, or will be. */
  readonly lostSessions = new Set<ParticipantSid>();
  readonly relayFallback = new RelayFallback();
  /** The room as it was saved last. */
  savedRoom = '';
  /** `metadata` is told at once, `counters` within five seconds. */
  roomChange: 'none' | 'counters' | 'metadata' = 'none';
  toldRoom: Uint8Array | undefined;
  #ticks = 0;

  constructor(options: RoomStateOptions) {
    const { settings } = options;
    this.name = options.name;
    this.settings = settings;
    this.random = options.random;
    const { saved } = options;
    this.sid = saved?.sid ?? roomSid(options.random());
    this.sifTrailer =
      saved?.sifTrailer ?? Uint8Array.from(new TextEncoder().encode(options.random() + options.random()));
    this.createdAtMs = saved?.createdAtMs ?? options.nowMs;
    this.nowMs = options.nowMs;
    const terms = termsOf(settings, saved);
    this.emptyTimeoutS = terms.emptyTimeoutS;
    this.departureTimeoutS = terms.departureTimeoutS;
    this.maxParticipants = terms.maxParticipants;
    this.syncStreams = terms.syncStreams;
    this.metadata = saved?.metadata ?? '';
    this.wasJoined = saved?.wasJoined ?? false;
    this.revocations = new Map(saved?.revocations);
    this.savedParticipants = new Map(
      (saved?.participants ?? []).map((participant) => [participant.identity, participant]),
    );
    this.speakers = new Speakers({
      activeLevelDbov: settings.activeLevelDbov,
      minPercentile: settings.minPercentile,
      intervalMs: settings.speakerIntervalMs,
      smoothIntervals: settings.smoothIntervals,
    });
  }

  /** Participants that count: neither hidden nor helpers. */
  countParticipants(): number {
    let count = 0;
    for (const participant of this.participants.values()) {
      count += participant.hidden || participant.isDependent ? 0 : 1;
    }
    return count;
  }

  toMessage(): RoomMessage {
    let numPublishers = 0;
    let activeRecording = false;
    for (const participant of this.participants.values()) {
      numPublishers += participant.isPublisher && !participant.isDependent ? 1 : 0;
      activeRecording ||= participant.grants.recorder;
    }
    return new RoomMessage({
      sid: this.sid,
      name: this.name,
      emptyTimeout: toWholeSeconds(this.emptyTimeoutS),
      departureTimeout: toWholeSeconds(this.departureTimeoutS),
      maxParticipants: this.maxParticipants,
      creationTime: BigInt(Math.trunc(this.createdAtMs / 1000)),
      creationTimeMs: BigInt(Math.trunc(this.createdAtMs)),
      enabledCodecs: toCodecs(this.settings.enabledCodecs),
      metadata: this.metadata,
      numParticipants: this.countParticipants(),
      numPublishers,
      activeRecording,
    });
  }

  /** The same with a version that grows, for messages of which only the newest counts. */
  toVersionedMessage(): RoomMessage {
    this.#ticks += 1;
    const message = this.toMessage();
    message.version = new TimedVersion({ unixMicro: BigInt(Math.trunc(this.nowMs)) * 1000n, ticks: this.#ticks });
    return message;
  }

  /** Of those that were told to deliver the track. */
  markSubscribedLegsDirty(track: Track): void {
    for (const participant of this.participants.values()) {
      if (participant.subscriptions.get(track.sid)?.wanted !== undefined) {
        this.dirtyLegs.add(participant);
      }
    }
  }

  /** What the participant publishes, or may do, changed. */
  markChanged(participant: Participant): void {
    this.dirtyLegs.add(participant);
    this.dueKeepsakes.add(participant);
  }

  /** What it wishes changed. */
  markWished(participant: Participant): void {
    this.dirtyLegs.add(participant);
    this.laterKeepsakes.add(participant);
  }

  markAllLegsDirty(): void {
    for (const participant of this.participants.values()) {
      this.dirtyLegs.add(participant);
    }
  }
}

/** A protobuf uint32; the configuration may ask for parts of a second, or for ages. */
function toWholeSeconds(seconds: number): number {
  return Math.min(Math.ceil(seconds), 0xffff_ffff);
}

const videoOrder = ['vp8', 'h264'];

/** VP8 first, then H264, other video, then audio: livekit-client takes the first one when its own choice is not enabled. */
export function toCodecs(enabled: RoomSettings['enabledCodecs']): Codec[] {
  const rank = (mime: string): number => {
    if (!mime.startsWith('video/')) {
      return videoOrder.length + 1;
    }
    const index = videoOrder.indexOf(bareName(mime));
    return index === -1 ? videoOrder.length : index;
  };
  return enabled
    .toSorted((a, b) => rank(a.mime) - rank(b.mime))
    .map((codec) => new Codec({ mime: codec.mime, fmtpLine: codec.fmtpLine }));
}

/** As the room was created, or the server is configured. */
function termsOf(
  settings: RoomSettings,
  saved: SavedRoom | undefined,
): Pick<RoomState, 'emptyTimeoutS' | 'departureTimeoutS' | 'maxParticipants' | 'syncStreams'> {
  return {
    emptyTimeoutS: saved?.emptyTimeoutS ?? settings.emptyTimeoutS,
    departureTimeoutS: saved?.departureTimeoutS ?? settings.departureTimeoutS,
    maxParticipants: saved?.maxParticipants ?? settings.maxParticipants,
    syncStreams: saved?.syncStreams ?? settings.syncStreams,
  };
}

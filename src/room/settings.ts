/** What a room needs to know of the configuration, in the units that it works with. */
import type { ParticipantSid } from '../protocol/ids.ts';

export type IceServer = { urls: string[]; username: string; credential: string };

export type RoomSettings = {
  nodeId: string;
  region: string;
  enabledCodecs: { mime: string; fmtpLine: string }[];
  emptyTimeoutS: number;
  departureTimeoutS: number;
  /** 0 = no limit. */
  maxParticipants: number;
  /** Tracks that belong together are given to subscribers as one stream. */
  syncStreams: boolean;
  enableRemoteUnmute: boolean;
  fullRoomInWebhooks: boolean;
  resumeTimeoutMs: number;
  maxMetadataBytes: number;
  maxAttributesBytes: number;
  maxNameLength: number;
  maxTracksPerParticipant: number;
  enableDataTracks: boolean;
  /** Loudness that counts as speaking, in dB below full scale. */
  activeLevelDbov: number;
  /** Share of an interval, in percent, that must be that loud. */
  minPercentile: number;
  speakerIntervalMs: number;
  smoothIntervals: number;
  dynacastPauseDelayMs: number;
  /** Of those who do not choose themselves: see `LegIdentity.allowPause`. */
  allowPause: boolean;
  /** Clients are told to send media through TURN alone. */
  forceRelay: boolean;
  /** Legs outlive this host, so each is given what the next one has to know. */
  givesKeepsakes: boolean;
  /** STUN and TURN servers of one participant, with its credentials; computed outside because they hold a secret and a time. */
  iceServersOf: (participant: ParticipantSid) => IceServer[];
};

/** The server that Plenum states to be: clients derive what they may do from version and protocol. */
export const announcedServer = {
  /** livekit-client publishes VP9 and AV1 as rid simulcast from 1.13.7 on, and refuses RPC below 1.8.0. */
  version: '1.13.5',
  protocol: 17,
  agentProtocol: 1,
} as const;

export const timing = {
  pingTimeoutS: 15,
  pingIntervalS: 5,
  joinTimeoutMs: 60_000,
  /** A leg that does not answer `resume` in this time is as good as gone. */
  resumeAnswerTimeoutMs: 2_000,
  /** livekit-client gives up a resume whose connections are not up after 15 s. */
  resumeMediaTimeoutMs: 15_000,
  /** How long members of a room whose host was lost are remembered as they were. */
  restoredMs: 60_000,
  /** Legs whose node did not answer a new host at once may still come for this long, before they count as lost. */
  collectLegsMs: 5_000,
  /** Wishes and settings change often, so keepsakes that differ in nothing else are sent a little later. */
  keepsakeDelayMs: 200,
  refreshTokenIntervalMs: 5 * 60_000,
  unknownTrackTimeoutMs: 60_000,
  /** livekit-client needs a request, a negotiation and an encoder's start to send another codec. */
  backupCodecTimeoutMs: 15_000,
  updateBatchMs: 500,
  /** In a large room details follow each other no faster: each is as many messages as there are people. */
  detailSpacingMs: 80,
  /** For each of them, up to the longest: so details are never more than 4,000 messages a second in rooms up to 1,000. */
  detailSpacingPerPersonMs: 0.25,
  longestDetailSpacingMs: 250,
  roomUpdateMs: 5_000,
  connectionQualityMs: 5_000,
  /** How long before a loss was noticed a client may have missed messages: two ping timeouts. */
  missedSignalMs: 30_000,
  /** livekit-client comes back within half a second, and its connections are up two seconds later. */
  leftLegMs: 5_000,
  rpcAckTimeoutMs: 2_000,
  rpcDefaultTimeoutMs: 10_000,
} as const;

export const bound = {
  pendingTracks: 20,
  queuedTracks: 20,
  /** Of one participant. */
  dataTracks: 100,
  rememberedCids: 200,
  unknownWishes: 1_000,
  declaredCodecs: 4,
  pendingRpcs: 1_000,
  rpcPayloadBytes: 15_360,
  nonces: 256,
  /** Identities whose tokens a moderator took back. */
  revocations: 1_000,
  /** A participant that is described by more than this joins anew when the room's host is lost. */
  keepsakeBytes: 512 * 1024,
  departures: 5_000,
  /** From this many participants on, comings and goings of those who publish nothing, and details, are told in batches. */
  largeRoom: 30,
} as const;

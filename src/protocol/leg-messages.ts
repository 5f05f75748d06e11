/**
 * What a room host and a participant's leg (its transports, negotiation, media and data on one node) say to each other.
 * The host sends a versioned wanted state and the client's raw descriptions; the leg reconciles and reports its actual state.
 * Plain serialisable data only: these messages survive `structuredClone` and cross nodes unchanged.
 */
import type { NodeId, ParticipantSid, TrackSid } from './ids.ts';
import type { ClientFacts } from './session-messages.ts';

export type MediaKind = 'audio' | 'video';

/** LiveKit `VideoQuality` without OFF: 0 low, 1 medium, 2 high. */
export type Quality = 0 | 1 | 2;

/** One declared layer of a video track (LiveKit `VideoLayer`). */
export type DeclaredLayer = {
  quality: Quality;
  width: number;
  height: number;
  bitrateBps: number;
};

/** One codec under which a track is (or will be) published. An empty `cid` is an announced backup that has no section yet. */
export type DeclaredCodec = {
  /** Lower-case bare name: `vp8`, `h264`, `vp9`, `av1`, `opus`. Empty: the client did not say; its section's first choice decides. */
  codec: string;
  cid: string;
  layers: DeclaredLayer[];
};

/** A track that the participant may publish: announced by AddTrack, matched to an SDP section by `cid`. */
export type WantedPublication = {
  trackSid: TrackSid;
  kind: MediaKind;
  codecs: DeclaredCodec[];
  muted: boolean;
  stereo: boolean;
  disableDtx: boolean;
  /** End-to-end encrypted: payloads must never be looked into or altered. */
  encrypted: boolean;
};

/** Where a producer lives, so that a leg elsewhere can pipe it. */
export type ProducerHome = { nodeId: NodeId; workerIndex: number };

export type WantedSubscription = {
  trackSid: TrackSid;
  publisherSid: ParticipantSid;
  /** First part of `a=msid`: `PA_…|TR_…` or what the client's protocol wants. */
  streamId: string;
  kind: MediaKind;
  producerId: string;
  home: ProducerHome;
  /** The publisher muted the track, or the subscriber disabled it: keep the section, stop forwarding. */
  paused: boolean;
  /** Highest layer the subscriber wants. Ignored for audio. */
  quality: Quality;
  /** Upper bound on frame rate; 0 = no bound. */
  maxFps: number;
  /** 0 = default; larger is served first when bandwidth is short. */
  priority: number;
  /**
   * How often the subscriber has let go of the track; absent = never. A client that let go has forgotten its section, so
   * a higher number needs a new one, also when nobody had time to end the old one.
   */
  generation?: number;
};

/** Everything that the host wants of a leg. A newer version replaces an older one whole. */
export type WantedLeg = {
  version: number;
  canSubscribe: boolean;
  canPublishData: boolean;
  publications: WantedPublication[];
  subscriptions: WantedSubscription[];
};

export type LegCloseReason =
  | 'left'
  | 'removed'
  | 'duplicate-identity'
  | 'room-closed'
  | 'join-timeout'
  | 'connection-lost'
  | 'state-mismatch'
  | 'slow-reader'
  | 'server-shutdown'
  | 'host-lost';

/** Facts about the participant that never change during its session. */
export type LegIdentity = {
  roomName: string;
  participantSid: ParticipantSid;
  identity: string;
  hidden: boolean;
  /** LiveKit `ParticipantInfo.Kind` number. */
  participantKind: number;
  canSubscribeMetrics: boolean;
  client: ClientFacts;
};

export type HostToLeg =
  | { kind: 'open'; leg: ParticipantSid; identity: LegIdentity; wanted: WantedLeg }
  | { kind: 'wanted'; leg: ParticipantSid; wanted: WantedLeg }
  /** The client's publisher offer. */
  | { kind: 'clientOffer'; leg: ParticipantSid; id: number; sdp: string }
  /** The client's answer to the leg's subscriber offer; id 0 = unknown, never stale. */
  | { kind: 'clientAnswer'; leg: ParticipantSid; id: number; sdp: string }
  | {
      kind: 'clientCandidate';
      leg: ParticipantSid;
      target: 'publisher' | 'subscriber';
      candidateInit: string;
      final: boolean;
    }
  /** A client came back with a new socket: answer with `resumed`, then restart ICE of the subscriber by a new offer. */
  | { kind: 'resume'; leg: ParticipantSid }
  /** From `sync_state` after a resume: last reliable sequence that the client has seen of each publisher. */
  | { kind: 'receivedUpTo'; leg: ParticipantSid; states: { publisherSid: string; sequence: number }[] }
  /** A protobuf `DataPacket` of the server's own (SendData, PerformRpc) for these participants, or all of the room when empty. */
  | { kind: 'serverPacket'; roomName: string; packet: Uint8Array; reliable: boolean; recipients: ParticipantSid[] }
  /** Request ids of server-side RPCs whose ack and response the leg node hands to the host instead of forwarding. */
  | { kind: 'interceptRpc'; roomName: string; requestId: string; active: boolean }
  /** Ask for a key frame of a track, or simulate a bandwidth cap; test scenarios of LiveKit's SimulateScenario. */
  | { kind: 'limitBandwidth'; leg: ParticipantSid; bitrateBps: number }
  /**
   * All nodes with legs of the room, this one included; replaces the last list. Sent to each of them whenever it changes,
   * after the `open` of a node's first leg. @param epoch of the room
   */
  | { kind: 'roomNodes'; roomName: string; nodes: NodeId[]; epoch: number }
  /** What the host remembers of the participant, for the host after it; the leg keeps it unread. Replaces the last one. */
  | { kind: 'keep'; leg: ParticipantSid; keepsake: Uint8Array }
  /** The sender hosts the room now: each leg of it on this node answers with `restated`, and the node with `restatedAll`. */
  | { kind: 'restate'; roomName: string }
  /**
   * The sender hosts the room no longer and another node does; the legs go on.
   * @param answers to offers of clients that did not get there any more; they are given to the next host
   */
  | { kind: 'release'; roomName: string; answers: ReleasedAnswer[] }
  | { kind: 'close'; leg: ParticipantSid; reason: LegCloseReason };

export type ReleasedAnswer = { leg: ParticipantSid; id: number; sdp: string };

export type TransportState = 'new' | 'connecting' | 'connected' | 'disconnected' | 'failed';

/** One codec of a published track that has its producer. */
export type ActualPublication = {
  trackSid: TrackSid;
  /** Which of the wanted codecs this is. */
  cid: string;
  /** The track part of the section's `a=msid`, which may differ from `cid`. */
  sdpCid: string;
  producerId: string;
  home: ProducerHome;
  mid: string;
  /** As LiveKit writes it: `video/VP8`, `audio/opus`. */
  mimeType: string;
  svc: boolean;
  /** Low to high. */
  layers: { quality: Quality; rid: string; ssrc: number }[];
};

export type ActualSubscription = {
  trackSid: TrackSid;
  producerId: string;
  /**
   * `offered`: in an offer that is not answered yet; `bound`: the client accepted its section;
   * the others are final for this producer until the wish changes.
   */
  state: 'offered' | 'bound' | 'codec-unsupported' | 'no-producer';
};

export type ActualLeg = {
  /** The wanted version that this state was reached from. */
  version: number;
  publisher: TransportState;
  subscriber: TransportState;
  publications: ActualPublication[];
  subscriptions: ActualSubscription[];
};

export type LegFailure =
  | 'worker-died'
  | 'ice-lost'
  | 'dtls-failed'
  | 'negotiation-failed'
  | 'negotiation-timeout'
  | 'bad-description'
  | 'data-channel-stuck'
  | 'internal';

/** Loudness of one audio track: RFC 6464 level turned positive, 0 = loudest, 127 = silence (dBov below full scale). */
export type TrackLevel = { trackSid: TrackSid; levelDbov: number };

/** One direction of one track over the report interval; feeds connection quality. */
export type TrackQualityReport = {
  trackSid: TrackSid;
  direction: 'publish' | 'subscribe';
  kind: MediaKind;
  packets: number;
  packetsLost: number;
  bitrateBps: number;
  rttMs: number;
  jitterMs: number;
  /** Highest spatial layer that flows, and the highest that is wanted; -1 = none. Equal for audio. */
  currentLayer: number;
  wantedLayer: number;
  /** Forwarding was off (muted, disabled, dynacast) during the interval: not a fault. */
  idle: boolean;
};

export type LegToHost =
  | { kind: 'actual'; leg: ParticipantSid; actual: ActualLeg }
  | { kind: 'offer'; leg: ParticipantSid; id: number; sdp: string; midToTrackId: Record<string, string> }
  | { kind: 'answer'; leg: ParticipantSid; id: number; sdp: string }
  /** Answer to `resume`: the last reliable sequence received from this client (0 = none). */
  | { kind: 'resumed'; leg: ParticipantSid; lastReliableSequence: number }
  /** Congestion control stopped (or restarted) these tracks. */
  | { kind: 'streamState'; leg: ParticipantSid; states: { trackSid: TrackSid; paused: boolean }[] }
  /** At most 5/s per room and node; only tracks whose level is above silence. */
  | { kind: 'levels'; roomName: string; levels: TrackLevel[] }
  /** At most 1/s per leg. */
  | { kind: 'quality'; leg: ParticipantSid; reports: TrackQualityReport[] }
  /** Ack or response of an intercepted RPC: a protobuf `DataPacket`. */
  | { kind: 'rpcPacket'; roomName: string; leg: ParticipantSid; packet: Uint8Array }
  /** The leg cannot go on; the host decides what the client is told. The leg stays until `close`. */
  | { kind: 'failed'; leg: ParticipantSid; failure: LegFailure; detail: string }
  | { kind: 'closed'; leg: ParticipantSid }
  /** To a new host. @param epoch of the host that the keepsake is of */
  | ({ kind: 'restated'; roomName: string; epoch: number } & RestatedLeg)
  /** All legs of the room on this node have been restated. */
  | { kind: 'restatedAll'; roomName: string }
  /** What was sent came from a host that the node knows a later one of. */
  | { kind: 'superseded'; roomName: string; epoch: number };

/** What a leg knows of itself, and what its last host gave it to keep. */
export type RestatedLeg = { leg: ParticipantSid; keepsake: Uint8Array; wanted: WantedLeg; actual: ActualLeg };

/**
 * What a room host and a participant's leg (its transports, negotiation, media and data on one node) say to each other.
 * The host sends a versioned wanted state and the client's raw descriptions; the leg reconciles and reports its actual state.
 * Plain serialisable data only: these messages survive `structuredClone` and cross nodes unchanged.
 */
import type { LegId, NodeId, ParticipantSid, TrackSid } from './ids.ts';
import type { HeldData, LegSnapshot } from './leg-snapshot.ts';
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

export type ProducerRef = { producerId: string; home: ProducerHome };

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
  /** The publisher is about to move, and this producer will carry the track then: a consumer of it may be made ready. */
  successor?: ProducerRef;
  /** The producer that carried the track before its publisher moved: this one takes over its section. */
  predecessor?: string;
  /**
   * How often the subscriber has let go of the track; absent = never. A client that let go has forgotten its section, so
   * a higher number needs a new one, also when nobody had time to end the old one.
   */
  generation?: number;
};

/** A data track: `out` of the participant, `in` to it. */
export type WantedDataTrack =
  | { direction: 'in'; handle: number }
  /** @param publisherHandle stands in the client's packets; `handle` in those to its receivers, who are so many in the room */
  | { direction: 'out'; handle: number; publisherHandle: number; receivers: number };

/** Everything that the host wants of a leg. A newer version replaces an older one whole. */
export type WantedLeg = {
  version: number;
  canSubscribe: boolean;
  canPublishData: boolean;
  publications: WantedPublication[];
  subscriptions: WantedSubscription[];
  /** Absent: none. */
  dataTracks?: WantedDataTrack[];
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
  | 'host-lost'
  /** The participant has another leg. */
  | 'moved'
  /** It was made ready for a move that does not take place. */
  | 'move-aborted';

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
  /** It sends and receives on one connection, on which it alone offers. */
  singlePeerConnection?: boolean;
};

export type HostToLeg =
  /** @param moved the participant has a leg already, which looks like this; the new one is made ready and waits for `activate` */
  | { kind: 'open'; leg: LegId; identity: LegIdentity; wanted: WantedLeg; moved?: LegSnapshot }
  | { kind: 'wanted'; leg: LegId; wanted: WantedLeg }
  /** The client's publisher offer. */
  | { kind: 'clientOffer'; leg: LegId; id: number; sdp: string }
  /** The client's answer to the leg's subscriber offer; id 0 = unknown, never stale. */
  | { kind: 'clientAnswer'; leg: LegId; id: number; sdp: string }
  | {
      kind: 'clientCandidate';
      leg: LegId;
      target: 'publisher' | 'subscriber';
      candidateInit: string;
      final: boolean;
    }
  /** The client has lost its socket: until `resume`, what it holds back may come after what it sends. */
  | { kind: 'away'; leg: LegId }
  /**
   * A client came back with a new socket: answer with `resumed`, then restart ICE of the subscriber by a new offer.
   * `mediaLost`: it did so because its media connection was gone, not only its socket.
   */
  | { kind: 'resume'; leg: LegId; mediaLost?: boolean }
  /** From `sync_state` after a resume: last reliable sequence that the client has seen of each publisher. */
  | { kind: 'receivedUpTo'; leg: LegId; states: { publisherSid: string; sequence: number }[] }
  /** A protobuf `DataPacket` of the server's own (SendData, PerformRpc) for these participants, or all of the room when empty. */
  | { kind: 'serverPacket'; roomName: string; packet: Uint8Array; reliable: boolean; recipients: ParticipantSid[] }
  /** Request ids of server-side RPCs whose ack and response the leg node hands to the host instead of forwarding. */
  | { kind: 'interceptRpc'; roomName: string; requestId: string; active: boolean }
  /** Ask for a key frame of a track, or simulate a bandwidth cap; test scenarios of LiveKit's SimulateScenario. */
  | { kind: 'limitBandwidth'; leg: LegId; bitrateBps: number }
  /**
   * All nodes with legs of the room, this one included; replaces the last list. Sent to each of them whenever it changes,
   * after the `open` of a node's first leg. @param epoch of the room
   */
  | { kind: 'roomNodes'; roomName: string; nodes: NodeId[]; epoch: number }
  /** A move begins: what has a new leg to be like? Answered with `exported`. */
  | { kind: 'export'; leg: LegId }
  /**
   * To the old leg: from here on it negotiates nothing, takes no numbered data and delivers no reliable data; media goes
   * on. Answered with `held` once what was under way has come to its end, or `notHeld` when that takes too long.
   */
  | { kind: 'hold'; leg: LegId; how: MoveKind }
  /** To the new leg, in the same step as `hold`: packets of the server that came before this were the old leg's to deliver. */
  | { kind: 'cut'; leg: LegId }
  /** To the leg in charge: what an old leg of the participant told as `late`. */
  | { kind: 'late'; leg: LegId; packet: Uint8Array }
  /** The move does not take place: the old leg goes on. */
  | { kind: 'unhold'; leg: LegId }
  /** To the new leg: it is the participant's leg now. By `resume` it answers with `resumed`; in both cases it offers. */
  | { kind: 'activate'; leg: LegId; how: MoveKind; snapshot: LegSnapshot; data: HeldData }
  /** What the host remembers of the participant, for the host after it; the leg keeps it unread. Replaces the last one. */
  | { kind: 'keep'; leg: LegId; keepsake: Uint8Array }
  /**
   * The sender hosts the room now: each leg of it on this node answers with `restated`, and the node with `restatedAll`.
   * Legs that were made ready for a move end, and legs that hold go on.
   */
  | { kind: 'restate'; roomName: string }
  /**
   * The sender hosts the room no longer and another node does; the legs go on.
   * @param answers to offers of clients that did not get there any more; they are given to the next host
   */
  | { kind: 'release'; roomName: string; answers: ReleasedAnswer[] }
  | { kind: 'close'; leg: LegId; reason: LegCloseReason };

/** `in-place`: by an ordinary offer on the client's socket; `resume`: as the answer to a client that came back. */
export type MoveKind = 'in-place' | 'resume';

export type ReleasedAnswer = { leg: LegId; id: number; sdp: string; midToTrackId?: Record<string, string> };

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
  /** The successor of the producer for which a consumer is ready. */
  successorId?: string;
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
  /** A leg that was to take over cannot be made ready, or was not needed for too long. */
  | 'move-failed'
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
  | { kind: 'actual'; leg: LegId; actual: ActualLeg }
  | { kind: 'offer'; leg: LegId; id: number; sdp: string; midToTrackId: Record<string, string> }
  /** @param midToTrackId of a single peer connection */
  | { kind: 'answer'; leg: LegId; id: number; sdp: string; midToTrackId?: Record<string, string> }
  /** Of a single peer connection: the client is to offer, with so many sections more to receive in. */
  | { kind: 'sectionsNeeded'; leg: LegId; audio: number; video: number }
  /** Answer to `resume`: the last reliable sequence received from this client (0 = none). */
  | { kind: 'resumed'; leg: LegId; lastReliableSequence: number }
  /** Congestion control stopped (or restarted) these tracks. */
  | { kind: 'streamState'; leg: LegId; states: { trackSid: TrackSid; paused: boolean }[] }
  /** At most 5/s per room and node; only tracks whose level is above silence. */
  | { kind: 'levels'; roomName: string; levels: TrackLevel[] }
  /** At most 1/s per leg. */
  | { kind: 'quality'; leg: LegId; reports: TrackQualityReport[] }
  /** Ack or response of an intercepted RPC: a protobuf `DataPacket`. */
  | { kind: 'rpcPacket'; roomName: string; leg: LegId; packet: Uint8Array }
  /** The leg cannot go on; the host decides what the client is told. The leg stays until `close`. */
  | { kind: 'failed'; leg: LegId; failure: LegFailure; detail: string }
  | { kind: 'exported'; leg: LegId; snapshot: LegSnapshot }
  /** A leg that was opened with `moved` has all that it needs. @param publications what its producers are going to be */
  | { kind: 'prepared'; leg: LegId; publications: ActualPublication[] }
  | { kind: 'held'; leg: LegId; snapshot: LegSnapshot; data: HeldData }
  /**
   * A numbered packet that came after `held`. The client may have forgotten it: one whose resume fails does not learn where
   * the next leg begins.
   */
  | { kind: 'late'; leg: LegId; packet: Uint8Array }
  /** What was under way does not end in time; the leg goes on as before. */
  | { kind: 'notHeld'; leg: LegId; detail: string }
  | { kind: 'closed'; leg: LegId }
  /** To a new host. @param epoch of the host that the keepsake is of */
  | ({ kind: 'restated'; roomName: string; epoch: number } & RestatedLeg)
  /** All legs of the room on this node have been restated. */
  | { kind: 'restatedAll'; roomName: string }
  /** What was sent came from a host that the node knows a later one of. */
  | { kind: 'superseded'; roomName: string; epoch: number };

/** What a leg knows of itself, and what its last host gave it to keep. */
export type RestatedLeg = { leg: LegId; keepsake: Uint8Array; wanted: WantedLeg; actual: ActualLeg };

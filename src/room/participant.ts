/** One session of a client in a room: who it is, what it may, what it publishes and what it wishes to receive. */
import {
  ParticipantInfo,
  ParticipantInfo_Kind,
  ParticipantInfo_State,
  type AddTrackRequest,
  type SessionDescription,
  type DisconnectReason,
} from '@livekit/protocol';
import { legNumber, type LegId, type ConnectionId, type ParticipantSid, type TrackSid } from '../protocol/ids.ts';
import type {
  TransportState,
  WantedDataTrack,
  WantedPublication,
  WantedSubscription,
} from '../protocol/leg-messages.ts';
import type { ClientFacts, JoinParameters, VideoGrants } from '../protocol/session-messages.ts';
import { ConnectionScorer, type ConnectionScore } from '../quality/connection-score.ts';
import type { TrackSettings } from '../quality/layers.ts';
import type { DataTrack } from './data-tracks.ts';
import { notMoving, type Move } from './move-state.ts';
import { allowAll, toPermission, type SubscriptionRules } from './permissions.ts';
import type { Track } from './track.ts';

/** A participant's relation to one track of another. */
export type Subscription = {
  /** What the client (or the API) asked for; undefined = whatever `auto_subscribe` says. */
  wish: boolean | undefined;
  /** How often the client let go of the track while it was to be delivered. */
  generation: number;
  settings: TrackSettings | undefined;
  /** What the client believes about the publisher's permission. */
  toldAllowed: boolean;
  /** What the leg was last told. */
  wanted: WantedSubscription | undefined;
  /** The client accepted its section. */
  bound: boolean;
  /** The track's next producer, for which the leg has a consumer ready. */
  successorId: string | undefined;
  /** The producer whose codec the client cannot receive. */
  refusedProducerId: string | undefined;
};

export type WantedOfLeg = {
  version: number;
  canSubscribe: boolean;
  canPublishData: boolean;
  publications: WantedPublication[];
  subscriptions: WantedSubscription[];
  dataTracks?: WantedDataTrack[];
};

/** Names of legs are not used again; those that an earlier host may have used and nobody tells of are passed over. */
const legsLeftFree = 1000;

export class Participant {
  readonly sid: ParticipantSid;
  readonly identity: string;
  readonly kind: number;
  readonly kindDetails: number[];
  readonly client: ClientFacts;
  readonly autoSubscribe: boolean;
  readonly adaptiveStream: boolean;
  readonly autoSubscribeDataTracks: boolean;
  readonly apiKey: string;
  readonly tokenExpiresAtS: number;
  readonly roomConfiguration: Uint8Array | undefined;
  readonly joinedAtMs: number;
  /** Which of the two connections decides that the participant is there; stays as it was stated in the join answer. */
  readonly subscriberPrimary: boolean;
  /** Both directions on one connection, on which the client alone offers. */
  readonly singlePeerConnection: boolean;

  /** As a former host of the room had described it; undefined for one who joined here. */
  readonly restoredVersion: number | undefined;

  name: string;
  metadata: string;
  attributes: Record<string, string>;
  grants: VideoGrants;
  state: ParticipantInfo_State = ParticipantInfo_State.JOINING;
  disconnectReason: DisconnectReason | undefined;

  /** The leg that carries it. */
  leg: LegId;
  /** How many it has had, those included that never took over. */
  legs = 1;
  /** Former legs that go on for a moment. */
  retiring: LegId[] = [];
  /** Of its leg. */
  transports: { publisher: TransportState; subscriber: TransportState } = { publisher: 'new', subscriber: 'new' };
  move: Move = notMoving;

  /** The socket, while there is one. */
  connectionId: ConnectionId | undefined;
  /** A new socket that waits for the leg's answer to `resume`. */
  resuming: ConnectionId | undefined;
  /** What its leg says while there is no socket yet that a new host has heard of: the last description of each kind. */
  readonly unsent: { offer?: SessionDescription; answer?: SessionDescription } = {};
  /** When its last resume was answered. */
  resumedAtMs: number | undefined;
  /** When the last socket was lost. */
  detachedAtMs: number | undefined;
  /** The leg said that the media connection is gone. */
  iceLost = false;
  simulate: 'disconnect-on-resume' | 'disconnect-on-resume-no-messages' | undefined;

  readonly tracks = new Map<TrackSid, Track>();
  /** By the client's own numbers. */
  readonly dataTracks = new Map<number, DataTrack>();
  /** By sid: what the client asked for; others are received by those who join with that wish. */
  readonly dataWishes = new Map<string, boolean>();
  /** Sids of the data tracks that the client was told it receives. */
  toldDataTracks: ReadonlySet<string> = new Set();
  /** AddTrack requests whose cid is still taken, in order. */
  readonly queued: AddTrackRequest[] = [];
  readonly sidsByCid = new Map<string, TrackSid>();
  readonly subscriptions = new Map<TrackSid, Subscription>();
  /** Tracks that the client asked for and nobody knows. */
  readonly unknownWishes = new Set<string>();
  subscriptionRules: SubscriptionRules = allowAll;
  readonly scorer = new ConnectionScorer();
  toldScore: ConnectionScore | undefined;

  /** What the leg was last told; undefined before `open`. */
  wanted: WantedOfLeg | undefined;

  #version = 0;
  #encoded: Uint8Array | undefined;

  /** @param kept what the room's former host knew besides, of a session that goes on */
  constructor(
    sid: ParticipantSid,
    join: JoinParameters,
    nowMs: number,
    kept?: { subscriberPrimary: boolean; version: number },
  ) {
    this.sid = sid;
    this.leg = sid;
    this.identity = join.identity;
    this.kind = join.kind;
    this.kindDetails = join.kindDetails;
    this.client = join.client;
    this.autoSubscribe = join.autoSubscribe;
    this.adaptiveStream = join.adaptiveStream;
    this.autoSubscribeDataTracks = join.autoSubscribeDataTracks ?? false;
    this.apiKey = join.apiKey;
    this.tokenExpiresAtS = join.tokenExpiresAtS;
    this.roomConfiguration = join.roomConfiguration;
    this.joinedAtMs = nowMs;
    this.singlePeerConnection = join.singlePeerConnection === true;
    this.subscriberPrimary =
      kept?.subscriberPrimary ?? (join.client.protocol > 2 && join.grants.canSubscribe && !this.singlePeerConnection);
    this.#version = kept?.version ?? 0;
    this.restoredVersion = kept?.version;
    this.name = join.name;
    this.metadata = join.metadata;
    this.attributes = { ...join.attributes };
    this.grants = join.grants;
  }

  /** Of an earlier host, which may have tried others after it. */
  useLeg(leg: LegId): void {
    this.leg = leg;
    this.legs = legNumber(leg) + legsLeftFree;
  }

  get protocol(): number {
    return this.client.protocol;
  }

  get hidden(): boolean {
    return this.grants.hidden;
  }

  get isActive(): boolean {
    return this.state === ParticipantInfo_State.ACTIVE;
  }

  get isGone(): boolean {
    return this.state === ParticipantInfo_State.DISCONNECTED;
  }

  /** Helpers of others (agents, recorders): they neither count nor keep a room alive. */
  get isDependent(): boolean {
    const isHelper = this.kind === ParticipantInfo_Kind.AGENT || this.kind === ParticipantInfo_Kind.EGRESS;
    return isHelper || this.grants.agent || this.grants.recorder;
  }

  get isPublisher(): boolean {
    return this.publicTracks().length > 0;
  }

  publicTracks(): Track[] {
    return [...this.tracks.values()].filter((track) => track.isPublic);
  }

  findTrackByCid(cid: string): Track | undefined {
    return [...this.tracks.values()].find((track) => track.hasCid(cid));
  }

  /** Every change that others can see has a version of its own; clients ignore lower ones. */
  touch(): void {
    this.#version += 1;
    this.#encoded = undefined;
  }

  /** Of what others can see. */
  get version(): number {
    return this.#version;
  }

  toInfo(): ParticipantInfo {
    return new ParticipantInfo({
      sid: this.sid,
      identity: this.identity,
      state: this.state,
      tracks: this.publicTracks().map((track) => track.info),
      dataTracks: [...this.dataTracks.values()].map((track) => track.info),
      metadata: this.metadata,
      joinedAt: BigInt(Math.trunc(this.joinedAtMs / 1000)),
      joinedAtMs: BigInt(Math.trunc(this.joinedAtMs)),
      name: this.name,
      version: this.#version,
      permission: toPermission(this.grants),
      isPublisher: this.isPublisher,
      kind: this.kind,
      attributes: this.attributes,
      kindDetails: this.kindDetails,
      clientProtocol: this.client.clientProtocol,
      capabilities: this.client.capabilities,
      ...(this.disconnectReason === undefined ? {} : { disconnectReason: this.disconnectReason }),
    });
  }

  /** Encoded once per version, however many receive it. */
  infoBytes(): Uint8Array {
    this.#encoded ??= this.toInfo().toBinary();
    return this.#encoded;
  }
}

/** A room with scripted clients and legs, for tests: literal events in, decoded effects out. */
import assert from 'node:assert/strict';
import {
  AddTrackRequest,
  SignalRequest,
  SignalResponse,
  TrackSource,
  TrackType,
  type WebhookEvent,
  type JoinResponse,
} from '@livekit/protocol';
import type { ConnectionId, NodeId, ParticipantSid, TrackSid } from '../protocol/ids.ts';
import type {
  ActualLeg,
  ActualPublication,
  ActualSubscription,
  HostToLeg,
  LegToHost,
  WantedLeg,
} from '../protocol/leg-messages.ts';
import type { LegSnapshot } from '../protocol/leg-snapshot.ts';
import type {
  ClientFacts,
  CommandResult,
  HostToGateway,
  JoinParameters,
  RoomMethod,
  VideoGrants,
} from '../protocol/session-messages.ts';
import type { RoomEffect, RoomEvent } from './events.ts';
import { Room } from './room.ts';
import type { SavedRoom } from './saved-room.ts';
import type { RoomSettings } from './settings.ts';

/** Of a leg that receives nothing yet. */
export const legSnapshot: LegSnapshot = {
  home: { nodeId: 'ND_test' as NodeId, workerIndex: 0 },
  subscriber: {
    sessionId: '1',
    sdpVersion: 1,
    nextOfferId: 5,
    nextMid: 1,
    slots: [],
    order: [],
    media: [],
    subscriptions: [],
    refused: [],
    bitrateCapBps: 0,
    channels: [],
  },
};

export const startMs = 1_700_000_000_000;

export const testSettings: RoomSettings = {
  nodeId: 'ND_test',
  region: 'here',
  enabledCodecs: ['audio/opus', 'video/VP9', 'video/H264', 'video/VP8', 'video/AV1'].map((mime) => ({
    mime,
    fmtpLine: '',
  })),
  emptyTimeoutS: 300,
  departureTimeoutS: 20,
  maxParticipants: 0,
  syncStreams: false,
  enableRemoteUnmute: false,
  fullRoomInWebhooks: false,
  allowPause: false,
  forceRelay: false,
  resumeTimeoutMs: 5_000,
  maxMetadataBytes: 100,
  maxAttributesBytes: 50,
  maxNameLength: 40,
  maxTracksPerParticipant: 6,
  enableDataTracks: true,
  activeLevelDbov: 35,
  minPercentile: 40,
  speakerIntervalMs: 400,
  smoothIntervals: 2,
  dynacastPauseDelayMs: 5_000,
  givesKeepsakes: false,
  iceServersOf: (sid) => [{ urls: ['turn:turn.example:3478?transport=udp'], username: sid, credential: 'secret' }],
};

const defaultGrants: VideoGrants = {
  roomCreate: false,
  roomList: false,
  roomRecord: false,
  roomAdmin: false,
  roomJoin: true,
  room: 'lobby',
  destinationRoom: '',
  canPublish: true,
  canSubscribe: true,
  canPublishData: true,
  canPublishSources: [],
  canUpdateOwnMetadata: true,
  canSubscribeMetrics: false,
  canManageAgentSession: false,
  hidden: false,
  recorder: false,
  agent: false,
};

const defaultClient: ClientFacts = {
  sdk: 1,
  version: '2.23.0',
  protocol: 17,
  clientProtocol: 2,
  os: 'linux',
  osVersion: '',
  deviceModel: '',
  browser: 'chrome',
  browserVersion: '140',
  network: '',
  address: '192.0.2.1',
  capabilities: [1],
};

export type JoinOverrides = Partial<Omit<JoinParameters, 'grants' | 'client'>> & {
  grants?: Partial<VideoGrants>;
  client?: Partial<ClientFacts>;
};

export function joinParameters(identity: string, overrides: JoinOverrides = {}): JoinParameters {
  const { grants, client, ...rest } = overrides;
  return {
    roomName: 'lobby',
    identity,
    name: '',
    metadata: '',
    attributes: {},
    kind: 0,
    kindDetails: [],
    autoSubscribe: true,
    adaptiveStream: false,
    apiKey: 'devkey',
    tokenExpiresAtS: startMs / 1000 + 21_600,
    ...rest,
    grants: { ...defaultGrants, ...grants },
    client: { ...defaultClient, ...client },
  };
}

/** Distinct, predictable ids. */
export function countingSuffix(): () => string {
  let count = 0;
  return () => {
    count += 1;
    return String(count).padStart(12, '0');
  };
}

export type Session = {
  sid: ParticipantSid;
  identity: string;
  connectionId: ConnectionId;
  join: JoinResponse;
  actual: ActualLeg;
};

type SignalRequestMessage = SignalRequest['message'];
export type ServerMessage<Case extends SignalResponse['message']['case']> =
  Extract<SignalResponse['message'], { case: Case }> extends {
    value: infer Value;
  }
    ? Value
    : never;

export class TestRoom {
  readonly room: Room;
  nowMs = startMs;
  /** Effects of the last step. */
  effects: RoomEffect[] = [];
  #connections = 0;
  #requests = 0;

  constructor(settings: Partial<RoomSettings> = {}, createdBy?: JoinParameters, saved?: SavedRoom) {
    this.room = new Room({
      name: 'lobby',
      settings: { ...testSettings, ...settings },
      random: countingSuffix(),
      nowMs: this.nowMs,
      ...(createdBy === undefined ? {} : { createdBy }),
      ...(saved === undefined ? {} : { saved }),
    });
  }

  step(event: RoomEvent): RoomEffect[] {
    this.effects = this.room.step(event, this.nowMs);
    return this.effects;
  }

  /** Lets time pass, firing each deadline when it is due; `effects` then holds all that happened. */
  pass(durationMs: number): RoomEffect[] {
    const endMs = this.nowMs + durationMs;
    const effects: RoomEffect[] = [];
    for (let dueMs = this.room.deadlineMs(); dueMs !== undefined && dueMs <= endMs; dueMs = this.room.deadlineMs()) {
      this.nowMs = Math.max(this.nowMs, dueMs);
      effects.push(...this.step({ kind: 'deadline' }));
    }
    this.nowMs = endMs;
    this.effects = effects;
    return effects;
  }

  nextConnection(): ConnectionId {
    this.#connections += 1;
    return `CO_${this.#connections}` as ConnectionId;
  }

  /** Asks to join; what comes back is in `effects`. */
  askToJoin(identity: string, overrides: JoinOverrides = {}): ConnectionId {
    const connectionId = this.nextConnection();
    this.step({ kind: 'gateway', message: { kind: 'join', connectionId, join: joinParameters(identity, overrides) } });
    return connectionId;
  }

  join(identity: string, overrides: JoinOverrides = {}): Session {
    const connectionId = this.askToJoin(identity, overrides);
    const first = this.first(connectionId);
    assert.equal(first.case, 'join');
    assert.ok(first.case === 'join');
    const sid = (first.value.participant?.sid ?? '') as ParticipantSid;
    const actual: ActualLeg = { version: 1, publisher: 'new', subscriber: 'new', publications: [], subscriptions: [] };
    return { sid, identity, connectionId, join: first.value, actual };
  }

  /** Joins and connects. */
  enter(identity: string, overrides: JoinOverrides = {}): Session {
    const session = this.join(identity, overrides);
    this.connect(session);
    return session;
  }

  connect(session: Session): RoomEffect[] {
    return this.actual(session, { publisher: 'connected', subscriber: 'connected' });
  }

  /** The leg's state changes by these parts. */
  actual(session: Session, change: Partial<ActualLeg>): RoomEffect[] {
    session.actual = { ...session.actual, ...change };
    return this.leg({ kind: 'actual', leg: session.sid, actual: session.actual });
  }

  leg(message: LegToHost): RoomEffect[] {
    return this.step({ kind: 'leg', message });
  }

  signal(session: Session, message: SignalRequestMessage): RoomEffect[] {
    return this.signalBytes(session, new SignalRequest({ message }).toBinary());
  }

  signalBytes(session: Session, message: Uint8Array): RoomEffect[] {
    return this.step({ kind: 'gateway', message: { kind: 'signal', connectionId: session.connectionId, message } });
  }

  cutSocket(session: Session): RoomEffect[] {
    return this.step({
      kind: 'gateway',
      message: { kind: 'socketClosed', connectionId: session.connectionId, cause: 'client-closed' },
    });
  }

  /** Asks to resume on a new socket; the leg has not answered yet. */
  askToResume(session: Session, overrides: JoinOverrides = {}): ConnectionId {
    return this.askToJoin(session.identity, { ...overrides, resume: { participantSid: session.sid, reason: 1 } });
  }

  /** Resumes with the leg's consent. */
  resume(session: Session, lastReliableSequence = 0): RoomEffect[] {
    session.connectionId = this.askToResume(session);
    return this.leg({ kind: 'resumed', leg: session.sid, lastReliableSequence });
  }

  announce(session: Session, request: Partial<AddTrackRequest> & { cid: string }): TrackSid {
    const add = new AddTrackRequest({ type: TrackType.AUDIO, source: TrackSource.MICROPHONE, ...request });
    this.signal(session, { case: 'addTrack', value: add });
    const published = this.receivedOf(session, 'trackPublished')[0];
    assert.ok(published?.track !== undefined, `track_published for ${request.cid}`);
    return published.track.sid as TrackSid;
  }

  /** The leg found the section of an announced track. */
  carry(session: Session, sid: TrackSid, cid: string, changes: Partial<ActualPublication> = {}): RoomEffect[] {
    const publication: ActualPublication = {
      trackSid: sid,
      cid,
      sdpCid: cid,
      producerId: `${sid}.1`,
      home: { nodeId: 'ND_test' as NodeId, workerIndex: 0 },
      mid: '0',
      mimeType: sid.startsWith('TR_A') ? 'audio/opus' : 'video/VP8',
      svc: false,
      layers: [],
      ...changes,
    };
    const others = session.actual.publications.filter((other) => other.trackSid !== sid || other.cid !== cid);
    return this.actual(session, { publications: [...others, publication] });
  }

  publish(session: Session, request: Partial<AddTrackRequest> & { cid: string }): TrackSid {
    const sid = this.announce(session, request);
    this.carry(session, sid, request.cid);
    return sid;
  }

  publishCamera(session: Session, cid = 'camera'): TrackSid {
    return this.publish(session, { cid, ...cameraRequest(cid) });
  }

  /** The client accepted the section of a track. */
  bind(session: Session, sid: TrackSid, state: ActualSubscription['state'] = 'bound'): RoomEffect[] {
    const others = session.actual.subscriptions.filter((other) => other.trackSid !== sid);
    return this.actual(session, { subscriptions: [...others, { trackSid: sid, producerId: `${sid}.1`, state }] });
  }

  command(method: RoomMethod, request: { toBinary(): Uint8Array }): CommandResult | undefined {
    this.#requests += 1;
    const requestId = this.#requests;
    const command = { method, request: request.toBinary() };
    this.step({ kind: 'gateway', message: { kind: 'command', requestId, roomName: 'lobby', command } });
    return this.resultOf(requestId);
  }

  get lastRequestId(): number {
    return this.#requests;
  }

  resultOf(requestId: number): CommandResult | undefined {
    return this.toGateway('commandResult').find((message) => message.requestId === requestId)?.result;
  }

  toGateway<Kind extends HostToGateway['kind']>(kind: Kind): Extract<HostToGateway, { kind: Kind }>[] {
    return this.effects.flatMap((effect) =>
      effect.kind === 'toGateway' && effect.message.kind === kind
        ? [effect.message as Extract<HostToGateway, { kind: Kind }>]
        : [],
    );
  }

  toLeg<Kind extends HostToLeg['kind']>(kind: Kind): Extract<HostToLeg, { kind: Kind }>[] {
    return this.effects.flatMap((effect) =>
      effect.kind === 'toLeg' && effect.message.kind === kind
        ? [effect.message as Extract<HostToLeg, { kind: Kind }>]
        : [],
    );
  }

  /** What the leg of this participant was told to do in the last step. */
  wantedOf(session: Session): WantedLeg | undefined {
    return [...this.toLeg('open'), ...this.toLeg('wanted')].findLast((message) => message.leg === session.sid)?.wanted;
  }

  /** The first message on a socket. */
  first(connectionId: ConnectionId): SignalResponse['message'] {
    const accepted = this.toGateway('accepted').find((message) => message.connectionId === connectionId);
    assert.ok(accepted !== undefined, 'the socket was not accepted');
    return SignalResponse.fromBinary(accepted.message).message;
  }

  /** All messages to this client in the last step, in order. */
  received(session: { connectionId: ConnectionId }): SignalResponse['message'][] {
    return this.effects.flatMap((effect) => {
      if (effect.kind !== 'toGateway') {
        return [];
      }
      const { message } = effect;
      const isMine =
        (message.kind === 'accepted' && message.connectionId === session.connectionId) ||
        (message.kind === 'send' && message.connectionIds.includes(session.connectionId));
      return isMine ? [SignalResponse.fromBinary(message.message).message] : [];
    });
  }

  receivedOf<Case extends NonNullable<SignalResponse['message']['case']>>(
    session: { connectionId: ConnectionId },
    kind: Case,
  ): ServerMessage<Case>[] {
    return this.received(session).flatMap((message) =>
      message.case === kind ? [message.value as ServerMessage<Case>] : [],
    );
  }

  /** Participants in the updates that this client got in the last step, as `identity:STATE`. */
  updates(session: { connectionId: ConnectionId }): string[] {
    const states = ['JOINING', 'JOINED', 'ACTIVE', 'DISCONNECTED'];
    return this.receivedOf(session, 'update').flatMap((update) =>
      update.participants.map((info) => `${info.identity}:${states[info.state] ?? info.state}`),
    );
  }

  /** Names of the webhook events of the last step. */
  webhooks(): string[] {
    return this.webhookEvents().map((event) => event.event);
  }

  webhookEvents(): WebhookEvent[] {
    return this.effects.flatMap((effect) => (effect.kind === 'webhook' ? [effect.event] : []));
  }

  /** What happened, in order: `toGateway.accepted`, `toLeg.open`, `webhook`, … */
  order(): string[] {
    return this.effects.map((effect) =>
      effect.kind === 'toGateway' || effect.kind === 'toLeg' ? `${effect.kind}.${effect.message.kind}` : effect.kind,
    );
  }

  get closed(): boolean {
    return this.effects.at(-1)?.kind === 'closed';
  }
}

export function cameraRequest(cid: string): Partial<AddTrackRequest> {
  return {
    type: TrackType.VIDEO,
    source: TrackSource.CAMERA,
    width: 1280,
    height: 720,
    layers: [
      { quality: 0, width: 320, height: 180, bitrate: 160_000 },
      { quality: 1, width: 640, height: 360, bitrate: 450_000 },
      { quality: 2, width: 1280, height: 720, bitrate: 1_700_000 },
    ] as AddTrackRequest['layers'],
    simulcastCodecs: [{ codec: 'vp8', cid }] as AddTrackRequest['simulcastCodecs'],
  };
}

/** The channels between gateway, room host and leg nodes: their names on the wire, and the shape of each message. */
import type {
  ActualLeg,
  ActualPublication,
  ActualSubscription,
  DeclaredCodec,
  DeclaredLayer,
  HostToLeg,
  LegIdentity,
  LegToHost,
  ProducerHome,
  ProducerRef,
  ReleasedAnswer,
  TrackLevel,
  TrackQualityReport,
  WantedDataTrack,
  WantedLeg,
  WantedPublication,
  WantedSubscription,
} from '../protocol/leg-messages.ts';
import type {
  ClientFacts,
  CommandResult,
  GatewayToHost,
  HostToGateway,
  JoinParameters,
  RoomCommand,
  VideoGrants,
} from '../protocol/session-messages.ts';
import type { ChannelType } from './relay-network.ts';
import { heldData, legSnapshot } from './wire-snapshot.ts';
import { bytes, either, flag, list, number, optional, record, shape, text } from './wire-shape.ts';
import { MessageTable } from './wire-table.ts';

const clientFacts = shape<ClientFacts>({
  sdk: number,
  version: text,
  protocol: number,
  clientProtocol: number,
  os: text,
  osVersion: text,
  deviceModel: text,
  browser: text,
  browserVersion: text,
  network: text,
  address: text,
  capabilities: list(number),
});

const videoGrants = shape<VideoGrants>({
  roomCreate: flag,
  roomList: flag,
  roomRecord: flag,
  roomAdmin: flag,
  roomJoin: flag,
  room: text,
  destinationRoom: text,
  canPublish: flag,
  canSubscribe: flag,
  canPublishData: flag,
  canPublishSources: list(number),
  canUpdateOwnMetadata: flag,
  canSubscribeMetrics: flag,
  canManageAgentSession: flag,
  hidden: flag,
  recorder: flag,
  agent: flag,
});

const joinParameters = shape<JoinParameters>({
  roomName: text,
  identity: text,
  name: text,
  metadata: text,
  attributes: record(text),
  kind: number,
  kindDetails: list(number),
  grants: videoGrants,
  roomConfiguration: optional(bytes),
  client: clientFacts,
  autoSubscribe: flag,
  adaptiveStream: flag,
  singlePeerConnection: optional(flag),
  earlyMessages: optional(list(bytes)),
  autoSubscribeDataTracks: optional(flag),
  apiKey: text,
  tokenExpiresAtS: number,
  tokenNotBeforeS: optional(number),
  resume: optional(shape<NonNullable<JoinParameters['resume']>>({ participantSid: text, reason: number })),
});

type Succeeded = Extract<CommandResult, { ok: true }>;
type Failed = Extract<CommandResult, { ok: false }>;

const commandResult = either(
  shape<Succeeded>({ ok: (value) => value === true, response: bytes }),
  shape<Failed>({ ok: (value) => value === false, code: text, message: text, meta: optional(record(text)) }),
);

export const gatewayToHost = new MessageTable<GatewayToHost>({
  join: { connectionId: text, join: joinParameters },
  signal: { connectionId: text, message: bytes },
  socketClosed: { connectionId: text, cause: text },
  command: { requestId: number, roomName: text, command: shape<RoomCommand>({ method: text, request: bytes }) },
  attach: { connectionId: text, roomName: text, participantSid: text },
  superseded: { roomName: text, epoch: number },
});

export const hostToGateway = new MessageTable<HostToGateway>({
  accepted: { connectionId: text, message: bytes, participantSid: optional(text) },
  attached: { connectionId: text },
  legHome: { connectionId: text, nodeId: text },
  returned: { connectionId: text, message: bytes },
  refused: { connectionId: text, status: number, body: text },
  send: { connectionIds: list(text), message: bytes },
  closeSocket: { connectionId: text, code: number, reason: text },
  notHere: { connectionId: text },
  roomLost: { roomName: text, nodeId: optional(text) },
  commandResult: { requestId: number, result: commandResult },
});

const producerHome = shape<ProducerHome>({ nodeId: text, workerIndex: number });

const declaredCodec = shape<DeclaredCodec>({
  codec: text,
  cid: text,
  layers: list(shape<DeclaredLayer>({ quality: number, width: number, height: number, bitrateBps: number })),
});

const wantedPublication = shape<WantedPublication>({
  trackSid: text,
  kind: text,
  codecs: list(declaredCodec),
  muted: flag,
  stereo: flag,
  disableDtx: flag,
  encrypted: flag,
});

const producerRef = shape<ProducerRef>({ producerId: text, home: producerHome });

const wantedSubscription = shape<WantedSubscription>({
  trackSid: text,
  publisherSid: text,
  streamId: text,
  kind: text,
  producerId: text,
  home: producerHome,
  paused: flag,
  quality: number,
  maxFps: number,
  priority: number,
  successor: optional(producerRef),
  predecessor: optional(text),
  generation: optional(number),
});

const wantedDataTrack = either(
  shape<Extract<WantedDataTrack, { direction: 'in' }>>({ direction: (value) => value === 'in', handle: number }),
  shape<Extract<WantedDataTrack, { direction: 'out' }>>({
    direction: (value) => value === 'out',
    handle: number,
    publisherHandle: number,
    receivers: number,
  }),
);

const wantedLeg = shape<WantedLeg>({
  version: number,
  canSubscribe: flag,
  canPublishData: flag,
  publications: list(wantedPublication),
  subscriptions: list(wantedSubscription),
  dataTracks: optional(list(wantedDataTrack)),
});

const legIdentity = shape<LegIdentity>({
  roomName: text,
  participantSid: text,
  identity: text,
  hidden: flag,
  participantKind: number,
  canSubscribeMetrics: flag,
  client: clientFacts,
  singlePeerConnection: optional(flag),
});

const receivedState = shape<Extract<HostToLeg, { kind: 'receivedUpTo' }>['states'][number]>({
  publisherSid: text,
  sequence: number,
});

export const hostToLeg = new MessageTable<HostToLeg>({
  open: { leg: text, identity: legIdentity, wanted: wantedLeg, moved: optional(legSnapshot(wantedSubscription)) },
  wanted: { leg: text, wanted: wantedLeg },
  clientOffer: { leg: text, id: number, sdp: text },
  clientAnswer: { leg: text, id: number, sdp: text },
  clientCandidate: { leg: text, target: text, candidateInit: text, final: flag },
  away: { leg: text },
  resume: { leg: text, mediaLost: optional(flag) },
  receivedUpTo: { leg: text, states: list(receivedState) },
  serverPacket: { roomName: text, packet: bytes, reliable: flag, recipients: list(text) },
  interceptRpc: { roomName: text, requestId: text, active: flag },
  limitBandwidth: { leg: text, bitrateBps: number },
  roomNodes: { roomName: text, nodes: list(text), epoch: number },
  export: { leg: text },
  hold: { leg: text, how: text },
  cut: { leg: text },
  late: { leg: text, packet: bytes },
  unhold: { leg: text },
  activate: { leg: text, how: text, snapshot: legSnapshot(wantedSubscription), data: heldData },
  keep: { leg: text, keepsake: bytes },
  restate: { roomName: text },
  release: {
    roomName: text,
    answers: list(shape<ReleasedAnswer>({ leg: text, id: number, sdp: text, midToTrackId: optional(record(text)) })),
  },
  close: { leg: text, reason: text },
});

const actualPublication = shape<ActualPublication>({
  trackSid: text,
  cid: text,
  sdpCid: text,
  producerId: text,
  home: producerHome,
  mid: text,
  mimeType: text,
  svc: flag,
  layers: list(shape<ActualPublication['layers'][number]>({ quality: number, rid: text, ssrc: number })),
});

const actualLeg = shape<ActualLeg>({
  version: number,
  publisher: text,
  subscriber: text,
  publications: list(actualPublication),
  subscriptions: list(
    shape<ActualSubscription>({ trackSid: text, producerId: text, state: text, successorId: optional(text) }),
  ),
});

const streamState = shape<Extract<LegToHost, { kind: 'streamState' }>['states'][number]>({
  trackSid: text,
  paused: flag,
});

const trackQuality = shape<TrackQualityReport>({
  trackSid: text,
  direction: text,
  kind: text,
  packets: number,
  packetsLost: number,
  bitrateBps: number,
  rttMs: number,
  jitterMs: number,
  currentLayer: number,
  wantedLayer: number,
  idle: flag,
});

export const legToHost = new MessageTable<LegToHost>({
  actual: { leg: text, actual: actualLeg },
  offer: { leg: text, id: number, sdp: text, midToTrackId: record(text) },
  answer: { leg: text, id: number, sdp: text, midToTrackId: optional(record(text)) },
  sectionsNeeded: { leg: text, audio: number, video: number },
  resumed: { leg: text, lastReliableSequence: number },
  streamState: { leg: text, states: list(streamState) },
  levels: { roomName: text, levels: list(shape<TrackLevel>({ trackSid: text, levelDbov: number })) },
  quality: { leg: text, reports: list(trackQuality) },
  rpcPacket: { roomName: text, leg: text, packet: bytes },
  failed: { leg: text, failure: text, detail: text },
  exported: { leg: text, snapshot: legSnapshot(wantedSubscription) },
  prepared: { leg: text, publications: list(actualPublication) },
  held: { leg: text, snapshot: legSnapshot(wantedSubscription), data: heldData },
  late: { leg: text, packet: bytes },
  notHeld: { leg: text, detail: text },
  closed: { leg: text },
  restated: { leg: text, roomName: text, epoch: number, keepsake: bytes, wanted: wantedLeg, actual: actualLeg },
  restatedAll: { roomName: text },
  superseded: { roomName: text, epoch: number },
});

type NoParams = Record<string, never>;

const noParams = shape<NoParams>({});

/** From a gateway, or the API, to the room host of a node. */
export const sessionChannel: ChannelType<NoParams, GatewayToHost, HostToGateway> = {
  name: 'session',
  params: noParams,
  toServer: gatewayToHost,
  toClient: hostToGateway,
};

/** From a room host to the legs of a node. */
export const legChannel: ChannelType<NoParams, HostToLeg, LegToHost> = {
  name: 'leg',
  params: noParams,
  toServer: hostToLeg,
  toClient: legToHost,
};

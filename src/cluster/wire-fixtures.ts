/** One representative message of each kind, and how they stand in test/fixtures/wire. */
import type { ActualLeg, HostToLeg, LegToHost, WantedLeg } from '../protocol/leg-messages.ts';
import type { ClientFacts, GatewayToHost, HostToGateway, JoinParameters } from '../protocol/session-messages.ts';
import { connectionId, legId, nodeId, participantSid, trackSid } from '../protocol/ids.ts';
import { drainReplySamples, drainRequestSamples } from './drain-fixtures.ts';
import { legPeerReplySamples, legPeerRequestSamples } from './leg-peer-fixtures.ts';
import { encodeMessage } from './wire-codec.ts';
import { heldDataSample, legSnapshotSample } from './wire-snapshot-fixtures.ts';

type Samples<Message extends { kind: string }> = { [Kind in Message['kind']]: Extract<Message, { kind: Kind }> };

const connection = connectionId('22224444aaaa');
const leg = participantSid('22223333bbbb');
const nextLeg = legId(leg, 2);
const track = trackSid('VC', '22223333cccc');
const roomName = 'Grüße 🎉';
const packet = Uint8Array.of(0, 1, 127, 128, 255);

const client: ClientFacts = {
  sdk: 1,
  version: '2.23.0',
  protocol: 16,
  clientProtocol: 1,
  os: 'Linux',
  osVersion: '6.1',
  deviceModel: '',
  browser: 'Chrome',
  browserVersion: '140.0',
  network: 'wifi',
  address: '2001:db8::7',
  capabilities: [1],
};

const join: JoinParameters = {
  roomName,
  identity: 'alice',
  name: 'Alice',
  metadata: '{"seat":1}',
  attributes: { team: 'blue', '': 'empty key' },
  kind: 0,
  kindDetails: [],
  grants: {
    roomCreate: false,
    roomList: false,
    roomRecord: false,
    roomAdmin: false,
    roomJoin: true,
    room: roomName,
    destinationRoom: '',
    canPublish: true,
    canSubscribe: true,
    canPublishData: true,
    canPublishSources: [1, 2],
    canUpdateOwnMetadata: false,
    canSubscribeMetrics: false,
    canManageAgentSession: false,
    hidden: false,
    recorder: false,
    agent: false,
  },
  roomConfiguration: packet,
  client,
  autoSubscribe: true,
  adaptiveStream: true,
  autoSubscribeDataTracks: false,
  apiKey: 'devkey',
  tokenExpiresAtS: 1_900_000_000,
  tokenNotBeforeS: 1_800_000_000,
  resume: { participantSid: leg, reason: 2 },
};

const wanted: WantedLeg = {
  version: 70_000,
  canSubscribe: true,
  canPublishData: true,
  publications: [
    {
      trackSid: track,
      kind: 'video',
      codecs: [
        { codec: 'vp8', cid: 'camera', layers: [{ quality: 2, width: 1280, height: 720, bitrateBps: 1_700_000 }] },
      ],
      muted: false,
      stereo: false,
      disableDtx: false,
      encrypted: false,
    },
  ],
  subscriptions: [
    {
      trackSid: track,
      publisherSid: leg,
      streamId: `${leg}|${track}`,
      kind: 'video',
      producerId: `${track}-1`,
      home: { nodeId: nodeId('media1'), workerIndex: 1 },
      paused: false,
      quality: 2,
      maxFps: 29.97,
      priority: 0,
      successor: { producerId: `${track}-3`, home: { nodeId: nodeId('media2'), workerIndex: 0 } },
      predecessor: `${track}-0`,
      generation: 1,
    },
  ],
  dataTracks: [
    { direction: 'in', handle: 7 },
    { direction: 'out', handle: 65_535, publisherHandle: 1, receivers: 2 },
  ],
};

const actual: ActualLeg = {
  version: 70_000,
  publisher: 'connected',
  subscriber: 'connecting',
  publications: [
    {
      trackSid: track,
      cid: 'camera',
      sdpCid: 'camera',
      producerId: `${track}-1`,
      home: { nodeId: nodeId('media1'), workerIndex: 1 },
      mid: '0',
      mimeType: 'video/VP8',
      svc: false,
      layers: [{ quality: 0, rid: 'q', ssrc: 4_294_967_295 }],
    },
  ],
  subscriptions: [{ trackSid: track, producerId: `${track}-1`, state: 'bound', successorId: `${track}-3` }],
};

const gatewayToHost: Samples<GatewayToHost> = {
  join: { kind: 'join', connectionId: connection, join },
  signal: { kind: 'signal', connectionId: connection, message: packet },
  socketClosed: { kind: 'socketClosed', connectionId: connection, cause: 'client-closed' },
  command: { kind: 'command', requestId: 4_294_967_296, roomName, command: { method: 'SendData', request: packet } },
  attach: { kind: 'attach', connectionId: connection, roomName, participantSid: leg },
  superseded: { kind: 'superseded', roomName, epoch: 8 },
};

const hostToGateway: Samples<HostToGateway> = {
  accepted: { kind: 'accepted', connectionId: connection, message: packet, participantSid: leg },
  attached: { kind: 'attached', connectionId: connection },
  legHome: { kind: 'legHome', connectionId: connection, nodeId: nodeId('media1') },
  returned: { kind: 'returned', connectionId: connection, message: packet },
  refused: { kind: 'refused', connectionId: connection, status: 503, body: 'no room for a room' },
  send: { kind: 'send', connectionIds: [connection, connectionId('55556666dddd')], message: packet },
  closeSocket: { kind: 'closeSocket', connectionId: connection, code: 1000, reason: '' },
  notHere: { kind: 'notHere', connectionId: connection },
  roomLost: { kind: 'roomLost', roomName, nodeId: nodeId('media2') },
  commandResult: {
    kind: 'commandResult',
    requestId: 7,
    result: { ok: false, code: 'not_found', message: 'no such room', meta: { room: roomName } },
  },
};

const sdp = 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n';

const hostToLeg: Samples<HostToLeg> = {
  open: {
    kind: 'open',
    leg,
    identity: {
      roomName,
      participantSid: leg,
      identity: 'alice',
      hidden: false,
      participantKind: 0,
      canSubscribeMetrics: false,
      client,
    },
    wanted,
  },
  wanted: { kind: 'wanted', leg, wanted },
  clientOffer: { kind: 'clientOffer', leg, id: 1, sdp },
  clientAnswer: { kind: 'clientAnswer', leg, id: 0, sdp },
  clientCandidate: {
    kind: 'clientCandidate',
    leg,
    target: 'publisher',
    candidateInit: '{"candidate":""}',
    final: true,
  },
  away: { kind: 'away', leg },
  resume: { kind: 'resume', leg, mediaLost: true },
  receivedUpTo: { kind: 'receivedUpTo', leg, states: [{ publisherSid: leg, sequence: 65_536 }] },
  serverPacket: { kind: 'serverPacket', roomName, packet, reliable: true, recipients: [leg] },
  interceptRpc: { kind: 'interceptRpc', roomName, requestId: 'rpc-1', active: true },
  limitBandwidth: { kind: 'limitBandwidth', leg, bitrateBps: 100_000 },
  roomNodes: { kind: 'roomNodes', roomName, nodes: [nodeId('one'), nodeId('two')], epoch: 7 },
  export: { kind: 'export', leg },
  hold: { kind: 'hold', leg, how: 'resume' },
  cut: { kind: 'cut', leg: nextLeg },
  late: { kind: 'late', leg: nextLeg, packet },
  unhold: { kind: 'unhold', leg },
  activate: { kind: 'activate', leg: nextLeg, how: 'in-place', snapshot: legSnapshotSample, data: heldDataSample },
  keep: { kind: 'keep', leg, keepsake: packet },
  restate: { kind: 'restate', roomName },
  release: { kind: 'release', roomName, answers: [{ leg, id: 4, sdp }] },
  close: { kind: 'close', leg, reason: 'left' },
};

const legToHost: Samples<LegToHost> = {
  actual: { kind: 'actual', leg, actual },
  offer: { kind: 'offer', leg, id: 3, sdp, midToTrackId: { 1: track } },
  answer: { kind: 'answer', leg, id: 2, sdp, midToTrackId: { 3: track } },
  sectionsNeeded: { kind: 'sectionsNeeded', leg, audio: 2, video: 0 },
  resumed: { kind: 'resumed', leg, lastReliableSequence: 12 },
  streamState: { kind: 'streamState', leg, states: [{ trackSid: track, paused: true }] },
  levels: { kind: 'levels', roomName, levels: [{ trackSid: track, levelDbov: 30 }] },
  quality: {
    kind: 'quality',
    leg,
    reports: [
      {
        trackSid: track,
        direction: 'subscribe',
        kind: 'video',
        packets: 300,
        packetsLost: 1,
        bitrateBps: 1_500_000,
        rttMs: 12.5,
        jitterMs: 0.25,
        currentLayer: -1,
        wantedLayer: 2,
        idle: false,
      },
    ],
  },
  rpcPacket: { kind: 'rpcPacket', roomName, leg, packet },
  failed: { kind: 'failed', leg, failure: 'worker-died', detail: 'signal 9' },
  exported: { kind: 'exported', leg, snapshot: legSnapshotSample },
  prepared: { kind: 'prepared', leg: nextLeg, publications: actual.publications },
  held: { kind: 'held', leg, snapshot: legSnapshotSample, data: heldDataSample },
  notHeld: { kind: 'notHeld', leg, detail: 'the client does not answer an offer' },
  late: { kind: 'late', leg, packet },
  closed: { kind: 'closed', leg },
  restated: { kind: 'restated', leg, roomName, epoch: 7, keepsake: packet, wanted, actual },
  restatedAll: { kind: 'restatedAll', roomName },
  superseded: { kind: 'superseded', roomName, epoch: 8 },
};

export type FixtureDirection =
  | 'gateway-to-host'
  | 'host-to-gateway'
  | 'host-to-leg'
  | 'leg-to-host'
  | 'leg-peer-request'
  | 'leg-peer-reply'
  | 'drain-request'
  | 'drain-reply';

export const wireSamples: Record<FixtureDirection, Record<string, { kind: string }>> = {
  'gateway-to-host': gatewayToHost,
  'host-to-gateway': hostToGateway,
  'host-to-leg': hostToLeg,
  'leg-to-host': legToHost,
  'leg-peer-request': legPeerRequestSamples,
  'leg-peer-reply': legPeerReplySamples,
  'drain-request': drainRequestSamples,
  'drain-reply': drainReplySamples,
};

/** A message as JSON, bytes as `{"$bytes": hex}`, beside what stands on the wire. */
export type WireFixture = { message: unknown; hex: string };

export function toFixture(message: unknown): WireFixture {
  return { message: toJson(message), hex: Buffer.from(encodeMessage(message)).toString('hex') };
}

/** The JSON view as the message that it stands for. */
export function fromJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (_key, item: unknown) => {
    const hex = typeof item === 'object' && item !== null && '$bytes' in item ? item.$bytes : undefined;
    return typeof hex === 'string' ? Uint8Array.from(Buffer.from(hex, 'hex')) : item;
  });
}

function toJson(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, item: unknown) =>
      item instanceof Uint8Array ? { $bytes: Buffer.from(item).toString('hex') } : item,
    ),
  );
}

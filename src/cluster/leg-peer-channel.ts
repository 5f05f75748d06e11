/** The channel between the leg nodes of two nodes: its name on the wire, and the shape of each message. */
import type {
  HeldPipe,
  LegPeerReply,
  LegPeerRequest,
  PeerPacket,
  PipedTrack,
  PipeEndpoint,
} from '../protocol/leg-peer-messages.ts';
import type {
  RtpCodecParameters,
  RtpEncodingParameters,
  RtpHeaderExtensionParameters,
  RtpParameters,
} from '../sdp/rtp.ts';
import type { ProducerFacts } from '../subscription/layers.ts';
import type { ChannelType } from './relay-network.ts';
import { bytes, flag, isRecord, list, number, optional, shape, text } from './wire-shape.ts';
import { MessageTable } from './wire-table.ts';

const endpoint = shape<PipeEndpoint>({
  address: text,
  port: number,
  srtp: shape<PipeEndpoint['srtp']>({ cryptoSuite: text, keyBase64: text }),
});

const codec = shape<RtpCodecParameters>({
  mimeType: text,
  payloadType: number,
  clockRate: number,
  channels: optional(number),
  parameters: optional(isRecord),
  rtcpFeedback: optional(list(isRecord)),
});

const extension = shape<RtpHeaderExtensionParameters>({
  uri: text,
  id: number,
  encrypt: optional(flag),
  parameters: optional(isRecord),
});

const encoding = shape<RtpEncodingParameters>({
  ssrc: optional(number),
  rid: optional(text),
  rtx: optional(isRecord),
  dtx: optional(flag),
  scalabilityMode: optional(text),
  maxBitrate: optional(number),
});

export const rtpParameters = shape<RtpParameters>({
  mid: optional(text),
  codecs: list(codec),
  headerExtensions: optional(list(extension)),
  encodings: optional(list(encoding)),
  rtcp: optional(isRecord),
});

const track = shape<PipedTrack>({
  trackSid: text,
  kind: text,
  rtpParameters,
  paused: flag,
  facts: shape<ProducerFacts>({ qualities: list(number), temporalLayers: number, maxFps: number }),
});

const packet = shape<PeerPacket>({
  roomName: text,
  senderSid: text,
  sequence: number,
  order: number,
  reliable: flag,
  destinations: list(text),
  metrics: flag,
  packet: bytes,
  isFrame: optional(flag),
});

export const legPeerRequest = new MessageTable<LegPeerRequest>({
  hold: { session: text, pipes: list(shape<HeldPipe>({ pipeId: text, producerIds: list(text) })) },
  pipe: {
    requestId: number,
    roomName: text,
    epoch: number,
    pipeId: text,
    sourceWorkerIndex: number,
    producerId: text,
    endpoint,
  },
  flow: { pipeId: text, producerId: text, flows: flag },
  unpipe: { pipeId: text, producerId: text },
  closePipe: { pipeId: text },
  wantedLayer: { roomName: text, producerId: text, layer: number },
  data: { number, packet },
});

export const legPeerReply = new MessageTable<LegPeerReply>({
  held: { dataNumber: number },
  piped: { requestId: number, endpoint, track },
  refused: { requestId: number, reason: text, detail: text },
  producerPaused: { pipeId: text, producerId: text, paused: flag },
  producerClosed: { pipeId: text, producerId: text },
  pipeClosed: { pipeId: text },
  dataArrived: { dataNumber: number },
});

type NoParams = Record<string, never>;

/** From the node that wants something, or sends data, to the one that has it, or takes the data. */
export const legPeerChannel: ChannelType<NoParams, LegPeerRequest, LegPeerReply> = {
  name: 'leg-peer',
  params: shape<NoParams>({}),
  toServer: legPeerRequest,
  toClient: legPeerReply,
};

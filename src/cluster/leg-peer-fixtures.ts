/** One representative message of each kind that leg nodes exchange. */
import type { LegPeerReply, LegPeerRequest, PipeEndpoint } from '../protocol/leg-peer-messages.ts';

type Samples<Message extends { kind: string }> = { [Kind in Message['kind']]: Extract<Message, { kind: Kind }> };

const roomName = 'Grüße 🎉';
const pipeId = '7f0c8c5e-3a54-4a3c-9a39-0d7f5d9f2b11';
const producerId = 'TR_VC22223333cccc:549755813888';

const endpoint: PipeEndpoint = {
  address: '10.0.0.7',
  port: 20_001,
  srtp: { cryptoSuite: 'AEAD_AES_256_GCM', keyBase64: 'YTdjcDBvY2JoMGY5YXNlNDc0eDJsdGgwaWRvNnJsamRrdG16aWVpZHphdHo=' },
};

export const legPeerRequestSamples: Samples<LegPeerRequest> = {
  hold: { kind: 'hold', session: pipeId, pipes: [{ pipeId, producerIds: [producerId] }] },
  pipe: {
    kind: 'pipe',
    requestId: 1,
    roomName,
    epoch: 4_294_967_296,
    pipeId,
    sourceWorkerIndex: 0,
    producerId,
    endpoint,
  },
  flow: { kind: 'flow', pipeId, producerId, flows: true },
  unpipe: { kind: 'unpipe', pipeId, producerId },
  closePipe: { kind: 'closePipe', pipeId },
  wantedLayer: { kind: 'wantedLayer', roomName, producerId, layer: -1 },
  data: {
    kind: 'data',
    number: 7,
    packet: {
      roomName,
      senderSid: 'PA_22223333bbbb',
      sequence: 3,
      order: 9,
      reliable: true,
      destinations: ['alice'],
      metrics: false,
      packet: Uint8Array.of(0, 1, 127, 128, 255),
      isFrame: false,
    },
  },
};

export const legPeerReplySamples: Samples<LegPeerReply> = {
  held: { kind: 'held', dataNumber: 0 },
  piped: {
    kind: 'piped',
    requestId: 1,
    endpoint,
    track: {
      trackSid: 'TR_VC22223333cccc',
      kind: 'video',
      rtpParameters: {
        codecs: [
          {
            mimeType: 'video/VP8',
            payloadType: 101,
            clockRate: 90_000,
            parameters: {},
            rtcpFeedback: [{ type: 'nack', parameter: '' }],
          },
        ],
        headerExtensions: [{ uri: 'urn:3gpp:video-orientation', id: 8, encrypt: false, parameters: {} }],
        encodings: [{ ssrc: 4_294_967_295, rtx: { ssrc: 2 }, scalabilityMode: 'L1T3' }],
        rtcp: { cname: 'light', reducedSize: true },
      },
      paused: false,
      facts: { qualities: [0, 1, 2], temporalLayers: 3, maxFps: 30 },
    },
  },
  refused: { kind: 'refused', requestId: 2, reason: 'no-producer', detail: '' },
  producerPaused: { kind: 'producerPaused', pipeId, producerId, paused: true },
  producerClosed: { kind: 'producerClosed', pipeId, producerId },
  pipeClosed: { kind: 'pipeClosed', pipeId },
  dataArrived: { kind: 'dataArrived', dataNumber: 7 },
};

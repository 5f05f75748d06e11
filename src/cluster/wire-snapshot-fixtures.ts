/** A representative leg, as it describes itself to the next one. */
import { nodeId, participantSid, trackSid } from '../protocol/ids.ts';
import type { HeldData, LegSnapshot } from '../protocol/leg-snapshot.ts';
import type { RtpParameters } from '../sdp/rtp.ts';

const leg = participantSid('22223333bbbb');
const track = trackSid('VC', '22223333cccc');
const home = { nodeId: nodeId('media1'), workerIndex: 1 };

const rtpParameters: RtpParameters = {
  mid: '1',
  codecs: [
    {
      mimeType: 'video/VP8',
      payloadType: 101,
      clockRate: 90_000,
      parameters: {},
      rtcpFeedback: [{ type: 'nack', parameter: 'pli' }],
    },
  ],
  headerExtensions: [{ uri: 'urn:ietf:params:rtp-hdrext:sdes:mid', id: 1, encrypt: false, parameters: {} }],
  encodings: [{ ssrc: 4_294_967_295, rid: 'q', rtx: { ssrc: 7 }, scalabilityMode: 'L1T3' }],
  rtcp: { cname: 'name', reducedSize: true },
};

const accepted = {
  kind: 'video' as const,
  codecs: [{ payloadType: 96, name: 'VP8', clockRate: 90_000, parameters: {}, feedback: [{ type: 'nack' }] }],
  extensions: [{ id: 4, uri: 'urn:ietf:params:rtp-hdrext:sdes:mid' }],
  rids: ['q'],
};

export const legSnapshotSample: LegSnapshot = {
  home,
  subscriber: {
    sessionId: '140737488355327',
    sdpVersion: 4,
    nextOfferId: 77,
    nextMid: 3,
    slots: [
      { mid: '1', kind: 'video', phase: 'taken', trackSid: track, exposed: true },
      { mid: '2', kind: 'audio', phase: 'free', replaces: '0', exposed: false },
    ],
    order: ['1', '2'],
    media: [{ mid: '1', kind: 'video', rtpParameters }],
    subscriptions: [
      {
        mid: '1',
        producerId: `${track}-1`,
        transportCc: true,
        want: {
          trackSid: track,
          publisherSid: leg,
          streamId: `${leg}|${track}`,
          kind: 'video',
          producerId: `${track}-1`,
          home,
          paused: false,
          quality: 2,
          maxFps: 0,
          priority: 0,
        },
      },
    ],
    refused: [{ trackSid: 'TR_VS22223333dddd', producerId: 'TR_VS22223333dddd-1' }],
    bitrateCapBps: 0,
    channels: ['_reliable', '_lossy'],
  },
  publisher: {
    sessionId: '7',
    sdpVersion: 2,
    publications: [
      {
        mid: '0',
        cid: 'camera',
        sdpCid: 'camera',
        trackSid: track,
        plan: {
          kind: 'plan',
          rtpParameters,
          mimeType: 'video/VP8',
          svc: false,
          layers: [{ quality: 0, rid: 'q', ssrc: 4_294_967_295 }],
          accepted,
        },
      },
    ],
    remembered: [{ mid: '0', accepted }],
    hasData: true,
    channels: [{ streamId: 2, label: '_reliable' }],
  },
};

export const heldDataSample: HeldData = {
  lastReliableSequence: 12,
  early: [Uint8Array.of(0x80, 0x01, 14)],
  lastOrder: 13,
  delivered: [{ senderSid: leg, order: 65_536 }],
};

/** RTP for tests of this folder. */
import type { RtpParameters } from '../sdp/rtp.ts';

const audioLevelExtensionId = 10;

export function opusParameters(options: { ssrc: number }): RtpParameters {
  return {
    mid: `a${options.ssrc}`,
    codecs: [
      { mimeType: 'audio/opus', payloadType: 111, clockRate: 48_000, channels: 2, rtcpFeedback: [{ type: 'nack' }] },
    ],
    headerExtensions: [{ uri: 'urn:ietf:params:rtp-hdrext:ssrc-audio-level', id: audioLevelExtensionId }],
    encodings: [{ ssrc: options.ssrc }],
    rtcp: { cname: 'test' },
  };
}

/** VP8 with RTX; several ssrcs are simulcast layers, low to high. */
export function vp8Parameters(options: { ssrcs: readonly number[] }): RtpParameters {
  return {
    mid: `v${options.ssrcs[0] ?? 0}`,
    codecs: [
      {
        mimeType: 'video/VP8',
        payloadType: 96,
        clockRate: 90_000,
        rtcpFeedback: [
          { type: 'nack' },
          { type: 'nack', parameter: 'pli' },
          { type: 'ccm', parameter: 'fir' },
          { type: 'transport-cc' },
        ],
      },
      { mimeType: 'video/rtx', payloadType: 97, clockRate: 90_000, parameters: { apt: 96 } },
    ],
    headerExtensions: [
      { uri: 'http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time', id: 3 },
      { uri: 'http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01', id: 4 },
    ],
    encodings: options.ssrcs.map((ssrc) => ({ ssrc, rtx: { ssrc: ssrc + 1 }, scalabilityMode: 'L1T3' })),
    rtcp: { cname: 'test' },
  };
}

/** One opus packet with its loudness in the header (RFC 6464, one-byte header extension). */
export function opusPacket(options: { ssrc: number; sequence: number; levelDbov: number }): Buffer {
  const packet = Buffer.alloc(12 + 8 + 40);
  packet.writeUInt8(0x90, 0);
  packet.writeUInt8(111, 1);
  packet.writeUInt16BE(options.sequence & 0xffff, 2);
  packet.writeUInt32BE((options.sequence * 960) >>> 0, 4);
  packet.writeUInt32BE(options.ssrc, 8);
  packet.writeUInt16BE(0xbede, 12);
  packet.writeUInt16BE(1, 14);
  packet.writeUInt8(audioLevelExtensionId << 4, 16);
  packet.writeUInt8(options.levelDbov, 17);
  packet.fill(0x55, 20);
  return packet;
}

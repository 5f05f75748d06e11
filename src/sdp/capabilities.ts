/** What the router of a room is made for: codecs, header extensions, and what of them a subscriber is offered. */
import type { CodecParameters } from './description.ts';
import type { MediaKind, RtpCapabilities, RtpHeaderExtensionUri } from './rtp.ts';

/** A codec as mediasoup's `createRouter` wants it; payload types and RTCP feedback are its own choice. */
export type RouterCodec = {
  kind: MediaKind;
  mimeType: string;
  clockRate: number;
  channels?: number;
  parameters?: CodecParameters;
};

export const dependencyDescriptorUri =
  'https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension' satisfies RtpHeaderExtensionUri;
export const midUri = 'urn:ietf:params:rtp-hdrext:sdes:mid' satisfies RtpHeaderExtensionUri;
export const ridUri = 'urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id' satisfies RtpHeaderExtensionUri;
export const repairedRidUri = 'urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id' satisfies RtpHeaderExtensionUri;
export const audioLevelUri = 'urn:ietf:params:rtp-hdrext:ssrc-audio-level' satisfies RtpHeaderExtensionUri;
export const captureTimeUri =
  'http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time' satisfies RtpHeaderExtensionUri;
export const sendTimeUri = 'http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time' satisfies RtpHeaderExtensionUri;
export const transportCcUri =
  'http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01' satisfies RtpHeaderExtensionUri;

/** Ids that the worker of mediasoup 3.27 has compiled in and writes whatever was negotiated (RtpHeaderExtensionUri.hpp). */
export const workerExtensionIds = { mid: 1, sendTime: 4, transportCc: 5, dependencyDescriptor: 7 } as const;

/**
 * H.264 in three profiles, packetization mode 1 only: constrained baseline is what every browser has, the others are
 * what some hardware encoders send. VP9 profile 0 and AV1 main profile are those that all decoders have.
 */
const knownCodecs: readonly RouterCodec[] = [
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48_000, channels: 2 },
  { kind: 'video', mimeType: 'video/VP8', clockRate: 90_000 },
  { kind: 'video', mimeType: 'video/VP9', clockRate: 90_000, parameters: { 'profile-id': 0 } },
  h264('42e01f'),
  h264('42001f'),
  h264('4d001f'),
  { kind: 'video', mimeType: 'video/AV1', clockRate: 90_000 },
];

function h264(profileLevelId: string): RouterCodec {
  return {
    kind: 'video',
    mimeType: 'video/H264',
    clockRate: 90_000,
    parameters: { 'packetization-mode': 1, 'level-asymmetry-allowed': 1, 'profile-level-id': profileLevelId },
  };
}

/**
 * The codecs of a router for the MIME types that the room enables (any case). Those that Plenum does not know, such as
 * `audio/red` or `video/H265`, are dropped: mediasoup forwards neither.
 */
export function routerCodecs(enabledMimes: readonly string[]): RouterCodec[] {
  const enabled = new Set(enabledMimes.map((mime) => mime.toLowerCase()));
  return knownCodecs.filter((codec) => enabled.has(codec.mimeType.toLowerCase()));
}

/**
 * The lower-case MIME type that a codec name of AddTrack means. Empty names are the defaults of LiveKit (VP8, opus);
 * `red` is opus, because the redundancy is never negotiated.
 */
export function mimeOf(declared: string, kind: MediaKind): string {
  const name = declared.toLowerCase().replace(/^(?:audio|video)\//, '');
  if (kind === 'audio') {
    return name === '' || name === 'red' ? 'audio/opus' : `audio/${name}`;
  }
  return name === '' ? 'video/vp8' : `video/${name}`;
}

/** Codecs whose layers travel in one RTP stream, and which mediasoup does not take as simulcast. */
export function isScalable(mime: string): boolean {
  const lower = mime.toLowerCase();
  return lower === 'video/vp9' || lower === 'video/av1';
}

/**
 * What a subscriber gets of the router's abilities, as the `rtpCapabilities` of mediasoup's `consume()`.
 *
 * Without bandwidth estimation neither transport-cc nor abs-send-time may be there: mediasoup takes the second as a
 * request for REMB. Extensions that no publisher is allowed to send are left out to keep offers short.
 */
export function consumerCapabilities(
  router: RtpCapabilities,
  options: { bandwidthEstimation: boolean },
): RtpCapabilities {
  const uris = new Set<string>([midUri, audioLevelUri, captureTimeUri]);
  if (options.bandwidthEstimation) {
    uris.add(sendTimeUri);
    uris.add(transportCcUri);
  }
  const keepsFeedback = (type: string): boolean =>
    type === 'transport-cc' ? options.bandwidthEstimation : type !== 'goog-remb';
  return {
    codecs: (router.codecs ?? []).map((codec) => ({
      ...codec,
      rtcpFeedback: (codec.rtcpFeedback ?? []).filter(({ type }) => keepsFeedback(type)),
    })),
    headerExtensions: (router.headerExtensions ?? []).filter(({ uri }) => uris.has(uri)),
  };
}

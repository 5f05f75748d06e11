/** Which of the offered codecs, header extensions, feedback and format parameters Plenum takes from a publisher. */
import {
  audioLevelUri,
  captureTimeUri,
  dependencyDescriptorUri,
  midUri,
  repairedRidUri,
  ridUri,
  sendTimeUri,
  transportCcUri,
} from './capabilities.ts';
import { type Codec, type CodecParameters, type Extension, type Section, isRtx } from './description.ts';
import { isSameH264 } from './h264.ts';
import type { MediaKind, RtcpFeedback, RtpCapabilities, RtpCodecCapability } from './rtp.ts';

export type ChosenCodec = {
  /** As offered, with the client's payload type. */
  codec: Codec;
  /** Its RTX codec; absent where none is offered (rtc-node 1.1.0), then lost packets are resent in the stream itself. */
  rtx?: Codec;
  /** The router's codec that it matches. */
  capability: RtpCodecCapability;
};

/**
 * The first acceptable codec, with those of `mime` preferred; the offer's order decides among equals. A client may lack
 * the codec that its AddTrack named (Firefox without AV1): it then gets one that it has.
 *
 * @param mime lower case.
 */
export function chooseCodec(section: Section, router: RtpCapabilities, mime: string): ChosenCodec | undefined {
  const matches: { codec: Codec; capability: RtpCodecCapability; rank: number }[] = [];
  for (const codec of section.codecs) {
    const rank = isRtx(codec)
      ? -1
      : (router.codecs ?? []).findIndex((capability) => isSameCodec(section, codec, capability));
    const capability = router.codecs?.[rank];
    if (capability !== undefined) {
      matches.push({ codec, capability, rank });
    }
  }
  const wanted = matches.filter(({ capability }) => capability.mimeType.toLowerCase() === mime);
  // Among H.264 profiles the router's order counts: constrained baseline is what every subscriber decodes.
  const best = wanted.length > 0 ? wanted.reduce((left, right) => (right.rank < left.rank ? right : left)) : matches[0];
  if (best === undefined) {
    return undefined;
  }
  const rtx = section.codecs.find((codec) => isRtx(codec) && codec.parameters['apt'] === best.codec.payloadType);
  return { codec: best.codec, capability: best.capability, ...(rtx ? { rtx } : {}) };
}

export function isSameCodec(section: Section, codec: Codec, capability: RtpCodecCapability): boolean {
  const mime = `${section.kind}/${codec.name}`.toLowerCase();
  if (mime !== capability.mimeType.toLowerCase() || codec.clockRate !== capability.clockRate) {
    return false;
  }
  switch (mime) {
    case 'audio/opus':
      return (codec.channels ?? 1) === (capability.channels ?? 1);
    case 'video/h264':
      return isSameH264(codec.parameters, capability.parameters ?? {});
    case 'video/vp9':
      return Number(codec.parameters['profile-id'] ?? 0) === Number(capability.parameters?.['profile-id'] ?? 0);
    case 'video/av1':
      return Number(codec.parameters['profile'] ?? 0) === 0;
    default:
      return true;
  }
}

/**
 * The extensions to accept, with the client's ids. `goog-remb` with abs-send-time serves only clients that do not offer
 * transport-cc. The dependency descriptor is for AV1 alone: with it libwebrtc strips the VP8 payload descriptor of
 * picture ids and layers, which the worker needs, and VP9 carries all that in its own descriptor.
 */
export function acceptExtensions(section: Section, mime: string): Extension[] {
  const uris = new Set<string>([midUri, captureTimeUri, transportCcUri]);
  if (section.kind === 'audio') {
    uris.add(audioLevelUri);
  } else {
    uris.add(ridUri).add(repairedRidUri);
    if (!section.extensions.some(({ uri }) => uri === transportCcUri)) {
      uris.add(sendTimeUri);
    }
    if (mime === 'video/av1') {
      uris.add(dependencyDescriptorUri);
    }
  }
  return (
    section.extensions
      .filter(({ direction }) => direction !== 'recvonly' && direction !== 'inactive')
      // `delete` makes a second line with the same URI lose: mediasoup keys extensions by URI.
      .filter(({ uri }) => uris.delete(uri))
      // Firefox marks those that it only sends, which the answer has to turn around.
      .map(({ id, uri, direction }) => (direction === 'sendonly' ? { id, uri, direction: 'recvonly' } : { id, uri }))
  );
}

/** The offered feedback that Plenum acts on. */
export function acceptFeedback(codec: Codec, kind: MediaKind, extensions: readonly Extension[]): RtcpFeedback[] {
  const usesTransportCc = extensions.some(({ uri }) => uri === transportCcUri);
  return codec.feedback.filter(({ type, parameter }) => {
    switch (`${type} ${parameter ?? ''}`.trimEnd()) {
      case 'nack':
        return true;
      case 'nack pli':
      case 'ccm fir':
        return kind === 'video';
      case 'transport-cc':
        return usesTransportCc;
      case 'goog-remb':
        return kind === 'video' && !usesTransportCc;
      default:
        return false;
    }
  });
}

/** Format parameters by which two ends tell variants of a codec apart; the rest of a publisher's concern itself only. */
const variantKeys: ReadonlyMap<string, readonly string[]> = new Map([
  ['video/vp9', ['profile-id']],
  ['video/h264', ['level-asymmetry-allowed', 'packetization-mode', 'profile-level-id']],
  ['video/av1', ['level-idx', 'profile', 'tier']],
]);

export type AudioWish = { stereo: boolean; disableDtx: boolean };

/**
 * What subscribers are told of a publisher's codec: mediasoup hands the producer's parameters on, so nothing private to
 * the publisher (`x-google-start-bitrate`, `max-fs`, `usedtx`) may be in them.
 */
export function forwardedParameters(codec: Codec, mime: string, audio: AudioWish): CodecParameters {
  if (mime === 'audio/opus') {
    // RFC 7587 section 7: sprop-stereo is the sender's property; livekit-client adds stereo=1 to its answer on seeing it.
    return { minptime: 10, useinbandfec: 1, ...(audio.stereo ? { 'sprop-stereo': 1 } : {}) };
  }
  return pick(codec.parameters, variantKeys.get(mime) ?? []);
}

/**
 * What the publisher is told in the answer. libwebrtc takes its start bitrate from the answer, so that `x-google-*`,
 * which the SDK wrote into the offer for that purpose, goes back to it.
 */
export function answeredParameters(codec: Codec, mime: string, audio: AudioWish): CodecParameters {
  if (mime === 'audio/opus') {
    return {
      minptime: 10,
      useinbandfec: 1,
      ...(audio.disableDtx ? {} : { usedtx: 1 }),
      ...(audio.stereo ? { stereo: 1, maxaveragebitrate: 510_000 } : {}),
    };
  }
  return pick(codec.parameters, [
    ...(variantKeys.get(mime) ?? []),
    'x-google-start-bitrate',
    'x-google-min-bitrate',
    'x-google-max-bitrate',
  ]);
}

function pick(parameters: CodecParameters, keys: readonly string[]): CodecParameters {
  const picked: CodecParameters = {};
  for (const key of keys) {
    const value = parameters[key];
    if (value !== undefined) {
      picked[key] = value;
    }
  }
  return picked;
}

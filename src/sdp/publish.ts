/** Plans how a section that a client sends becomes a mediasoup producer, and how the answer accepts it. */
import type { DeclaredCodec, DeclaredLayer, Quality } from '../protocol/leg-messages.ts';
import { dependencyDescriptorUri, isScalable, mimeOf, ridUri } from './capabilities.ts';
import {
  type AudioWish,
  type ChosenCodec,
  acceptExtensions,
  acceptFeedback,
  answeredParameters,
  chooseCodec,
  forwardedParameters,
} from './codec-policy.ts';
import { type Codec, type Extension, type Section, isSending } from './description.ts';
import type {
  MediaKind,
  RtpCapabilities,
  RtpCodecParameters,
  RtpEncodingParameters,
  RtpHeaderExtensionUri,
  RtpParameters,
} from './rtp.ts';

export type PublicationWish = AudioWish & { kind: MediaKind; codec: DeclaredCodec };

/** How the answer accepts a section; kept by the leg so that the section can be answered alike once it is inactive. */
export type AcceptedSection = {
  kind: MediaKind;
  codecs: Codec[];
  extensions: Extension[];
  /** In the order of the offer. */
  rids: string[];
};

export type PublishedLayer = { quality: Quality; rid: string; ssrc: number };

export type PublicationPlan = {
  kind: 'plan';
  /** For mediasoup's `produce()`, with the client's payload types and extension ids. */
  rtpParameters: RtpParameters;
  /** As LiveKit writes it: `video/VP8`, `audio/opus`. May differ from the declared codec when that is not offered. */
  mimeType: string;
  /** All layers travel in one stream, so that they can only be sent together; they share an SSRC. */
  svc: boolean;
  /** Low to high; empty for audio. An SSRC that the offer does not tell is 0. */
  layers: PublishedLayer[];
  accepted: AcceptedSection;
};

export type PublicationRefusal = {
  kind: 'refused';
  reason: 'not-sending' | 'kind-mismatch' | 'no-common-codec' | 'no-rid-extension' | 'too-many-layers';
};

/** One RTP stream of the section, low to high in quality. */
type Stream = { rid?: string; ssrc?: number; rtxSsrc?: number };

const maxLayers = 3;

/** Plans one section. Pure: the same offer and wish always give the same plan. */
export function planPublication(options: {
  section: Section;
  wish: PublicationWish;
  router: RtpCapabilities;
}): PublicationPlan | PublicationRefusal {
  const { section, wish, router } = options;
  if (!isSending(section)) {
    return refused('not-sending');
  }
  if (section.kind !== wish.kind) {
    return refused('kind-mismatch');
  }
  const offered = streamsOf(section);
  if (offered.length > maxLayers) {
    return refused('too-many-layers');
  }
  if (offered.some(({ rid }) => rid !== undefined) && !section.extensions.some(({ uri }) => uri === ridUri)) {
    return refused('no-rid-extension');
  }
  const chosen = chooseCodec(section, router, mimeOf(wish.codec.codec, wish.kind));
  if (chosen === undefined) {
    return refused('no-common-codec');
  }
  // mediasoup takes several streams of VP8 and H264 only. Of rtc-node's VP9 and AV1 streams the answer accepts the best.
  const streams = isScalable(chosen.capability.mimeType) ? offered.slice(-1) : offered;
  return makePlan(section, wish, chosen, streams);
}

function refused(reason: PublicationRefusal['reason']): PublicationRefusal {
  return { kind: 'refused', reason };
}

function makePlan(section: Section, wish: PublicationWish, chosen: ChosenCodec, streams: Stream[]): PublicationPlan {
  const { codec, rtx, capability } = chosen;
  const mime = capability.mimeType.toLowerCase();
  const extensions = acceptExtensions(section, mime);
  const svc = wish.kind === 'video' && showsLayers(mime, extensions);
  const feedback = acceptFeedback(codec, wish.kind, extensions);
  // A rid tells that the client meant simulcast (rtc-node's VP9 and AV1), so that the one stream has one spatial layer.
  const layered = svc && streams[0]?.rid === undefined;
  const layers = layered ? spatialLayers(wish.codec.layers, streams[0]) : streamLayers(wish.codec.layers, streams);
  const produced: RtpCodecParameters = {
    mimeType: capability.mimeType,
    payloadType: codec.payloadType,
    clockRate: codec.clockRate,
    ...(codec.channels === undefined ? {} : { channels: codec.channels }),
    parameters: forwardedParameters(codec, mime, wish),
    rtcpFeedback: feedback,
  };
  const answered: Codec = { ...codec, parameters: answeredParameters(codec, mime, wish), feedback };
  const cname = section.ssrcs.find((ssrc) => ssrc.cname !== undefined)?.cname;
  return {
    kind: 'plan',
    mimeType: capability.mimeType,
    svc,
    layers: wish.kind === 'video' ? layers : [],
    rtpParameters: {
      mid: section.mid,
      codecs: rtx ? [produced, rtxParameters(rtx, codec)] : [produced],
      headerExtensions: extensions.map(({ id, uri }) => ({ id, uri: uri as RtpHeaderExtensionUri })),
      encodings: streams.map((stream) =>
        encodingOf(stream, rtx !== undefined, encodingOptions({ wish, svc, layerCount: layers.length, streams })),
      ),
      rtcp: { reducedSize: true, ...(cname === undefined ? {} : { cname }) },
    },
    accepted: {
      kind: wish.kind,
      codecs: rtx ? [answered, { ...rtx, parameters: { apt: codec.payloadType }, feedback: [] }] : [answered],
      extensions,
      rids: sendRids(section).filter((rid) => streams.some((stream) => stream.rid === rid)),
    },
  };
}

function rtxParameters(rtx: Codec, codec: Codec): RtpCodecParameters {
  return {
    mimeType: 'video/rtx',
    payloadType: rtx.payloadType,
    clockRate: rtx.clockRate,
    parameters: { apt: codec.payloadType },
    rtcpFeedback: [],
  };
}

type EncodingOptions = { dtx?: boolean; scalabilityMode?: string };

/** The worker finds the layers and key frames of AV1 in the dependency descriptor alone, which rtc-node does not offer. */
function showsLayers(mime: string, extensions: readonly Extension[]): boolean {
  return isScalable(mime) && (mime !== 'video/av1' || extensions.some(({ uri }) => uri === dependencyDescriptorUri));
}

/**
 * SVC cannot be seen in SDP; the SDKs send three temporal layers, and `_KEY` modes when there are several spatial ones.
 * Simulcast needs the temporal layers stated to choose among them. A lone stream of another codec must not state them:
 * the worker would treat it as SVC and wait for a layer switch that a single stream never makes.
 */
function encodingOptions(options: {
  wish: PublicationWish;
  svc: boolean;
  layerCount: number;
  streams: Stream[];
}): EncodingOptions {
  const { wish, svc, layerCount, streams } = options;
  if (wish.kind === 'audio') {
    return wish.disableDtx ? {} : { dtx: true };
  }
  if (svc) {
    return { scalabilityMode: layerCount > 1 ? `L${layerCount}T3_KEY` : 'L1T3' };
  }
  return streams.length > 1 ? { scalabilityMode: 'L1T3' } : {};
}

function encodingOf(stream: Stream, usesRtx: boolean, options: EncodingOptions): RtpEncodingParameters {
  return {
    ...(stream.rid === undefined ? {} : { rid: stream.rid }),
    ...(stream.ssrc === undefined ? {} : { ssrc: stream.ssrc }),
    ...(usesRtx && stream.rtxSsrc !== undefined ? { rtx: { ssrc: stream.rtxSsrc } } : {}),
    ...options,
  };
}

/** The RTP streams of a section from low to high, whatever order the client wrote them in. */
function streamsOf(section: Section): Stream[] {
  const rids = sendRids(section);
  if (rids.length > 0) {
    return rids.toSorted((left, right) => ridRank(left, rids) - ridRank(right, rids)).map((rid) => ({ rid }));
  }
  const repairs = new Map<number, number>();
  for (const { semantics, ssrcs } of section.ssrcGroups) {
    if (semantics === 'FID' && ssrcs[0] !== undefined && ssrcs[1] !== undefined) {
      repairs.set(ssrcs[0], ssrcs[1]);
    }
  }
  const repairing = new Set(repairs.values());
  const simulcast = section.ssrcGroups.find(({ semantics }) => semantics === 'SIM')?.ssrcs;
  const first = section.ssrcs.find(({ ssrc }) => !repairing.has(ssrc))?.ssrc;
  const media = simulcast ?? (first === undefined ? [] : [first]);
  // Without any SSRC the worker finds the stream by its MID.
  return media.length === 0 ? [{}] : media.map((ssrc) => withRepair(ssrc, repairs.get(ssrc)));
}

function withRepair(ssrc: number, rtxSsrc: number | undefined): Stream {
  return rtxSsrc === undefined ? { ssrc } : { ssrc, rtxSsrc };
}

/** The rids of `a=simulcast:send` that `a=rid` confirms; a single one with an SSRC beside it is no simulcast. */
function sendRids(section: Section): string[] {
  const declared = new Set(section.rids.filter(({ direction }) => direction === 'send').map(({ rid }) => rid));
  const listed = section.simulcast?.send.map(({ rid }) => rid).filter((rid) => declared.has(rid)) ?? [];
  if (listed.length > 0) {
    return listed;
  }
  return section.ssrcs.length === 0 && declared.size === 1 ? [...declared] : [];
}

/** livekit-client and the Rust SDK name layers q, h, f; others 2, 1, 0. Unknown names count as written low to high. */
function ridRank(rid: string, all: readonly string[]): number {
  const rank = ['q2', 'h1', 'f0'].findIndex((names) => names.includes(rid));
  return all.every((name) => /^(?:[qhf]|[012])$/.test(name)) ? rank : all.indexOf(rid);
}

/**
 * Pairs streams with the declared layers. A client leaves the higher layers out when the picture is small, so that
 * fewer streams than declared layers are its lowest ones.
 */
function streamLayers(declared: readonly DeclaredLayer[], streams: readonly Stream[]): PublishedLayer[] {
  const qualities = ascendingQualities(declared);
  const fallback: Quality[] = streams.length === 1 ? [2] : [0, 1, 2];
  // A lone stream is the full picture: the best that was declared.
  const names = qualities.length < streams.length ? fallback : streams.length === 1 ? qualities.slice(-1) : qualities;
  return streams.map((stream, index) => ({
    quality: names[index] ?? 2,
    rid: stream.rid ?? '',
    ssrc: stream.ssrc ?? 0,
  }));
}

function spatialLayers(declared: readonly DeclaredLayer[], stream: Stream | undefined): PublishedLayer[] {
  const qualities = ascendingQualities(declared);
  const names: Quality[] = qualities.length === 0 ? [2] : qualities;
  return names.map((quality) => ({ quality, rid: stream?.rid ?? '', ssrc: stream?.ssrc ?? 0 }));
}

function ascendingQualities(declared: readonly DeclaredLayer[]): Quality[] {
  return [...new Set(declared.map(({ quality }) => quality))].toSorted((left, right) => left - right);
}

/** Offers a subscriber the tracks that it gets: the layout of sections, and each section from its consumer's parameters. */
import { dependencyDescriptorUri, midUri, sendTimeUri, transportCcUri, workerExtensionIds } from './capabilities.ts';
import { type Codec, type Extension, type Section, emptySection } from './description.ts';
import { formatDescription } from './format.ts';
import type { LocalTransport, MediaKind, RtpCodecParameters, RtpParameters } from './rtp.ts';
import { stateTransport } from './transport.ts';

/** One section of a subscriber connection. It stays for the life of the connection and is used again within its kind. */
export type SubscriberSlot = {
  mid: string;
  kind: MediaKind;
  /** Of the section's consumer; of its last one while the section is idle, so that its codecs stay. */
  rtpParameters: RtpParameters;
  /** What the section carries (the two parts of `a=msid`); absent while it is idle. */
  track?: { streamId: string; trackId: string };
  /** Offered with port 0: it ends for good, and another section may take its place. */
  retired?: boolean;
};

export type SubscriberOffer = {
  transport: LocalTransport;
  sessionId: string;
  /** Grows with each offer on this connection. */
  version: number;
  /** Whether the data section comes first. Must not change over the life of the connection, nor must `probator`. */
  data: boolean;
  /** Whether the section for the worker's bandwidth probes follows the data section. */
  probator: boolean;
  /** Stream that the section for probes belongs to; none when left out. */
  probatorStream?: string;
  /** In order of creation; slots are added at the end and never removed. */
  slots: readonly SubscriberSlot[];
};

export const dataMid = '0';
/** The MID that the worker writes into its bandwidth probes (ProbationGenerator.cpp), with SSRC 1234 and payload type 127. */
export const probatorMid = 'probator';
const probatorSsrc = 1234;
const probatorPayloadType = 127;

/** The text of the offer; every section is described in full, as clients expect of a re-offer. */
export function formatSubscriberOffer(offer: SubscriberOffer): string {
  const sections = [
    ...(offer.data ? [dataSection(offer.transport)] : []),
    ...(offer.probator ? [probatorSection(offer.probatorStream)] : []),
    ...offer.slots.map(slotSection),
  ];
  // RFC 9429 section 5.2.2: subsequent offers say actpass as well; the roles stay as first negotiated.
  stateTransport(sections, offer.transport, 'actpass');
  return formatDescription({
    sessionId: offer.sessionId,
    version: String(offer.version),
    iceLite: true,
    extmapAllowMixed: true,
    bundle: sections.filter((section) => !section.rejected).map((section) => section.mid),
    sections,
  });
}

function dataSection(transport: LocalTransport): Section {
  return {
    ...emptySection(dataMid, 'application'),
    sctp: { port: transport.sctpPort, maxMessageSize: transport.maxMessageSize },
  };
}

/**
 * The worker fills gaps with probe packets of their own SSRC and MID. A client without a section for them cannot tell
 * whose they are and does not count them in its transport-cc feedback, which looks like loss to the estimator.
 */
function probatorSection(streamId = '-'): Section {
  return {
    ...emptySection(probatorMid, 'video'),
    formats: [String(probatorPayloadType)],
    direction: 'sendonly',
    codecs: [
      {
        payloadType: probatorPayloadType,
        name: 'VP8',
        clockRate: 90_000,
        parameters: {},
        feedback: [{ type: 'transport-cc' }],
      },
    ],
    extensions: [
      { id: workerExtensionIds.mid, uri: midUri },
      { id: workerExtensionIds.sendTime, uri: sendTimeUri },
      { id: workerExtensionIds.transportCc, uri: transportCcUri },
    ],
    msids: [{ streamId, trackId: probatorMid }],
    ssrcs: [{ ssrc: probatorSsrc, cname: probatorMid }],
  };
}

function slotSection(slot: SubscriberSlot): Section {
  const { rtpParameters, track } = slot;
  const section: Section = {
    ...emptySection(slot.mid, slot.kind),
    rejected: slot.retired ?? false,
    formats: rtpParameters.codecs.map(({ payloadType }) => String(payloadType)),
    direction: track === undefined ? 'inactive' : 'sendonly',
    codecs: rtpParameters.codecs.map(toCodec),
    extensions: extensionsOf(rtpParameters),
  };
  if (track !== undefined) {
    stateTrack(section, track, rtpParameters);
  }
  return section;
}

/** What a section carries that the server sends in. */
export function stateTrack(
  section: Section,
  track: { streamId: string; trackId: string },
  rtpParameters: RtpParameters,
): void {
  section.msids = [{ streamId: toMsidToken(track.streamId), trackId: toMsidToken(track.trackId) }];
  stateSsrcs(section, rtpParameters);
}

function stateSsrcs(section: Section, rtpParameters: RtpParameters): void {
  const encoding = rtpParameters.encodings?.[0];
  const cname = rtpParameters.rtcp?.cname;
  if (encoding?.ssrc === undefined) {
    return;
  }
  const ssrcs = encoding.rtx === undefined ? [encoding.ssrc] : [encoding.ssrc, encoding.rtx.ssrc];
  section.ssrcs = ssrcs.map((ssrc) => (cname === undefined ? { ssrc } : { ssrc, cname }));
  if (ssrcs.length > 1) {
    section.ssrcGroups = [{ semantics: 'FID', ssrcs }];
  }
}

export function toCodec(parameters: RtpCodecParameters): Codec {
  const { mimeType, payloadType, clockRate, channels = 1 } = parameters;
  return {
    payloadType,
    name: mimeType.slice(mimeType.indexOf('/') + 1),
    clockRate,
    ...(channels > 1 ? { channels } : {}),
    parameters: parameters.parameters ?? {},
    feedback: (parameters.rtcpFeedback ?? []).map(({ type, parameter }) =>
      parameter ? { type, parameter } : { type },
    ),
  };
}

/**
 * mediasoup calls the dependency descriptor receive-only and leaves it out, yet the worker forwards it. Chromium decodes
 * no layered AV1 without it.
 */
function extensionsOf(rtpParameters: RtpParameters): Extension[] {
  const extensions = (rtpParameters.headerExtensions ?? []).map(({ id, uri }): Extension => ({ id, uri }));
  const isAv1 = rtpParameters.codecs.some(({ mimeType }) => mimeType.toLowerCase() === 'video/av1');
  if (isAv1 && !extensions.some(({ uri }) => uri === dependencyDescriptorUri)) {
    extensions.push({ id: workerExtensionIds.dependencyDescriptor, uri: dependencyDescriptorUri });
  }
  return extensions;
}

/** RFC 8830: an msid is a token. Stream names come from publishers, and a line break in one would be a forged SDP line. */
function toMsidToken(text: string): string {
  const token = text.replaceAll(/[^!#$%&'*+\-.0-9A-Z^_`a-z{|}~]/g, '_');
  return token === '' ? '-' : token;
}

/** Answers a publisher's offer: which sections are received, which rest, which are refused. */
import { acceptExtensions, acceptFeedback, answeredParameters } from './codec-policy.ts';
import { type Codec, type Section, type SessionDescription, emptySection, isRtx, isSending } from './description.ts';
import { keptExtensions } from './client-numbers.ts';
import { formatDescription } from './format.ts';
import { type SubscriberSlot, stateTrack, toCodec } from './offer.ts';
import type { AcceptedSection } from './publish.ts';
import type { LocalTransport } from './rtp.ts';
import { answerSetup, readRemoteTransport, stateTransport } from './transport.ts';

export type PublisherAnswer = {
  offer: SessionDescription;
  transport: LocalTransport;
  /** By mid: the sections that have a producer. */
  accepted: ReadonlyMap<string, AcceptedSection>;
  /** By mid: sections that had one before. They may rest in this offer and be used again in a later one. */
  remembered: ReadonlyMap<string, AcceptedSection>;
  /**
   * The client receives on this connection as well (single peer connection). By mid: sections that carry a track to it, or
   * did; their parameters are in its numbers.
   */
  receiving?: ReadonlyMap<string, SubscriberSlot>;
  sessionId: string;
  /** Grows with each answer on this connection (RFC 3264 section 8). */
  version: number;
};

/**
 * The text of the answer. Sections and mids are those of the offer, in its order.
 *
 * @throws PlenumError when the offer cannot be served by one ICE-lite transport (see `readRemoteTransport`).
 */
export function formatPublisherAnswer(answer: PublisherAnswer): string {
  const { offer, transport } = answer;
  readRemoteTransport(offer);
  const sections = offer.sections.map((section) => answerSection(section, answer));
  const setup = answerSetup(offer.sections.find((section) => !section.rejected)?.setup);
  stateTransport(sections, transport, setup);
  return formatDescription({
    sessionId: answer.sessionId,
    version: String(answer.version),
    iceLite: true,
    extmapAllowMixed: offer.extmapAllowMixed,
    bundle: sections.filter((section) => !section.rejected).map((section) => section.mid),
    sections,
  });
}

function answerSection(offered: Section, answer: PublisherAnswer): Section {
  if (offered.rejected || offered.kind === 'other') {
    return rejectedSection(offered);
  }
  if (offered.kind === 'application') {
    return dataSection(offered, answer.transport);
  }
  if (answer.receiving !== undefined && offered.direction === 'recvonly') {
    return sendingSection(offered, answer.receiving);
  }
  const accepted = answer.accepted.get(offered.mid);
  if (accepted !== undefined && isSending(offered)) {
    return receivingSection(offered, accepted);
  }
  return restingSection(offered, accepted ?? answer.remembered.get(offered.mid));
}

/** One that the client receives in: with a track, or ready for one. */
function sendingSection(offered: Section, receiving: ReadonlyMap<string, SubscriberSlot>): Section {
  const slot = receiving.get(offered.mid);
  const idle = idleSection(offered);
  if (slot?.retired === true || idle === undefined) {
    return rejectedSection(offered);
  }
  const extensions = keptExtensions(offered);
  if (slot?.track === undefined) {
    return { ...mediaSection(offered, { ...idle, extensions }), direction: 'inactive' };
  }
  const codecs = slot.rtpParameters.codecs.map(toCodec);
  const section = mediaSection(offered, { ...idle, codecs, extensions });
  section.direction = 'sendonly';
  stateTrack(section, slot.track, slot.rtpParameters);
  return section;
}

/** RFC 3264 section 6: port 0, and formats that were offered. */
function rejectedSection(offered: Section): Section {
  return {
    ...emptySection(offered.mid, offered.kind),
    media: offered.media,
    protocol: offered.protocol,
    formats: offered.formats.slice(0, 1),
    rejected: true,
    direction: 'inactive',
  };
}

function dataSection(offered: Section, transport: LocalTransport): Section {
  return {
    ...emptySection(offered.mid, 'application'),
    protocol: offered.protocol,
    formats: offered.formats,
    sctp: { port: transport.sctpPort, maxMessageSize: transport.maxMessageSize },
  };
}

function receivingSection(offered: Section, accepted: AcceptedSection): Section {
  const section = mediaSection(offered, accepted);
  section.direction = 'recvonly';
  if (accepted.rids.length > 0) {
    section.rids = accepted.rids.map((rid) => ({ rid, direction: 'recv' }));
    section.simulcast = { send: [], recv: accepted.rids.map((rid) => ({ rid, paused: false })) };
  }
  return section;
}

/**
 * An inactive section keeps a codec and every extension that an active one would have: Chromium forgets extensions that
 * an answer leaves out, and then fails its next simulcast use of the section ("negotiates simulcast but does not
 * negotiate the RID RTP header extension").
 */
function restingSection(offered: Section, remembered: AcceptedSection | undefined): Section {
  const kept = remembered === undefined ? undefined : stillOffered(offered, remembered);
  const accepted = kept ?? idleSection(offered);
  if (accepted === undefined) {
    return rejectedSection(offered);
  }
  return { ...mediaSection(offered, accepted), direction: 'inactive' };
}

function mediaSection(offered: Section, accepted: AcceptedSection): Section {
  return {
    ...emptySection(offered.mid, offered.kind),
    protocol: offered.protocol,
    formats: accepted.codecs.map(({ payloadType }) => String(payloadType)),
    codecs: accepted.codecs,
    extensions: accepted.extensions,
  };
}

/** What was accepted before, unless the client has numbered its codecs anew (a recycled section). */
function stillOffered(offered: Section, remembered: AcceptedSection): AcceptedSection | undefined {
  const isOffered = (codec: Codec): boolean =>
    offered.codecs.some(
      ({ payloadType, name }) => payloadType === codec.payloadType && name.toLowerCase() === codec.name.toLowerCase(),
    );
  return remembered.kind === offered.kind && remembered.codecs.every(isOffered) ? remembered : undefined;
}

/** How a section rests that never carried anything, such as the unused recvonly ones of rtc-node's first offer. */
function idleSection(offered: Section): AcceptedSection | undefined {
  const codecs = offered.codecs.filter((codec) => !isRtx(codec));
  const codec = codecs.find(({ name }) => /^(?:opus|vp8)$/i.test(name)) ?? codecs[0];
  if (codec === undefined || (offered.kind !== 'audio' && offered.kind !== 'video')) {
    return undefined;
  }
  const mime = `${offered.kind}/${codec.name}`.toLowerCase();
  const extensions = acceptExtensions(offered, mime);
  const parameters = answeredParameters(codec, mime, { stereo: false, disableDtx: false });
  const feedback = acceptFeedback(codec, offered.kind, extensions);
  return { kind: offered.kind, codecs: [{ ...codec, parameters, feedback }], extensions, rids: [] };
}

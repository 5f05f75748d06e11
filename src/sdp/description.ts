/**
 * The typed model of a session description: what Plenum reads from and writes into SDP, and nothing else.
 * `parse.ts` turns text into it, `format.ts` prints it.
 */
import type { DtlsFingerprint, MediaKind, RtcpFeedback } from './rtp.ts';

export type Direction = 'sendrecv' | 'sendonly' | 'recvonly' | 'inactive';

/** RFC 4145 / RFC 8842: who starts the DTLS handshake. */
export type Setup = 'actpass' | 'active' | 'passive';

/** `other` is a media type that Plenum does not speak (`m=text`); such a section can only be rejected. */
export type SectionKind = MediaKind | 'application' | 'other';

export type CodecParameters = Record<string, string | number>;

export type Codec = {
  payloadType: number;
  /** As written in `a=rtpmap`: `VP8`, `opus`, `rtx`. */
  name: string;
  clockRate: number;
  /** Audio only; 1 when not written. */
  channels?: number;
  parameters: CodecParameters;
  feedback: RtcpFeedback[];
};

/** A header extension; without a direction it goes the way that the section goes (RFC 8285 section 5). */
export type Extension = { id: number; uri: string; direction?: Direction };

export type IceCredentials = { usernameFragment: string; password: string };

export type Msid = { streamId: string; trackId: string };

export type Rid = { rid: string; direction: 'send' | 'recv' };

/** One stream of `a=simulcast`; `~` in front of its rid means that it starts paused. */
export type SimulcastStream = { rid: string; paused: boolean };

export type Ssrc = { ssrc: number; cname?: string };

export type SsrcGroup = { semantics: string; ssrcs: number[] };

export type Section = {
  mid: string;
  kind: SectionKind;
  /** The media word and the transport of the `m=` line, kept so that a rejected section can be answered alike. */
  media: string;
  protocol: string;
  /** The formats of the `m=` line as written (payload types, or `webrtc-datachannel`). */
  formats: string[];
  /** Port 0 without `a=bundle-only`: recycled, stopped or refused. */
  rejected: boolean;
  direction: Direction;
  /** In the order of the `m=` line, which is the order of preference. */
  codecs: Codec[];
  extensions: Extension[];
  msids: Msid[];
  rids: Rid[];
  /** Order as written; it states preference, never size. */
  simulcast?: { send: SimulcastStream[]; recv: SimulcastStream[] };
  ssrcs: Ssrc[];
  ssrcGroups: SsrcGroup[];
  /** Session-level values are copied down when the section states none of its own. */
  ice?: IceCredentials;
  fingerprints: DtlsFingerprint[];
  setup?: Setup;
  /** Values of `a=candidate`, unread: the media engine is ICE-lite and learns addresses from connectivity checks. */
  candidates: string[];
  endOfCandidates: boolean;
  sctp?: { port: number; maxMessageSize: number };
};

export type SessionDescription = {
  sessionId: string;
  version: string;
  iceLite: boolean;
  extmapAllowMixed: boolean;
  /** The mids of `a=group:BUNDLE`, tag first. */
  bundle: string[];
  sections: Section[];
};

export function isRtx(codec: Codec): boolean {
  return codec.name.toLowerCase() === 'rtx';
}

export function isSending(section: Section): boolean {
  return !section.rejected && (section.direction === 'sendonly' || section.direction === 'sendrecv');
}

export function isReceiving(section: Section): boolean {
  return !section.rejected && (section.direction === 'recvonly' || section.direction === 'sendrecv');
}

/** A section of the given kind with nothing in it; the start of every section that is parsed or made. */
export function emptySection(mid: string, kind: SectionKind): Section {
  return {
    mid,
    kind,
    media: kind,
    protocol: kind === 'application' ? 'UDP/DTLS/SCTP' : 'UDP/TLS/RTP/SAVPF',
    formats: kind === 'application' ? ['webrtc-datachannel'] : [],
    rejected: false,
    direction: 'sendrecv',
    codecs: [],
    extensions: [],
    msids: [],
    rids: [],
    ssrcs: [],
    ssrcGroups: [],
    fingerprints: [],
    candidates: [],
    endOfCandidates: false,
  };
}

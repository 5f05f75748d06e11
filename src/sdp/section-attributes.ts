/** Readers of the attributes that stand in a media section; `parse.ts` finds the sections and calls them line by line. */
import type {
  Codec,
  CodecParameters,
  Direction,
  IceCredentials,
  Section,
  Setup,
  SimulcastStream,
} from './description.ts';
import type { DtlsFingerprint, RtcpFeedback } from './rtp.ts';

/** Per section; real ones stay far below (Chromium: 40 codecs, 14 extensions, 6 SSRCs, 3 rids). */
export const maxEntries = 128;
/** RFC 8285 one-byte header extensions carry 16 bytes at most, and MID is one. */
const midPattern = /^[\x21-\x7e]{1,16}$/;
/** RFC 8851 section 10, bounded like the mid. */
const ridPattern = /^[A-Za-z0-9_-]{1,16}$/;

const defaultSctpPort = 5000;
/** RFC 8841 section 6.1: what holds when the attribute is absent. */
const defaultMaxMessageSize = 65_536;

/** A section while its lines come in, with what only makes sense once all of them are there. */
export type SectionDraft = {
  section: Section;
  midSeen: boolean;
  ice: Partial<IceCredentials>;
  direction?: Direction;
  bundleOnly: boolean;
  codecs: Map<number, Codec>;
  wildcardFeedback: RtcpFeedback[];
  extensionIds: Set<number>;
  ssrcs: Map<number, { ssrc: number; cname?: string }>;
};

type AttributeReader = (draft: SectionDraft, value: string, name: string) => void;

/** What to do with each known attribute of a section, by name. */
export const sectionAttributes: ReadonlyMap<string, AttributeReader> = new Map<string, AttributeReader>([
  ['mid', readMid],
  ['rtpmap', readRtpmap],
  ['fmtp', readFmtp],
  ['rtcp-fb', readFeedback],
  ['extmap', readExtension],
  ['msid', readMsid],
  ['rid', readRid],
  ['simulcast', readSimulcast],
  ['ssrc', readSsrc],
  ['ssrc-group', readSsrcGroup],
  ['sctp-port', readSctpPort],
  ['max-message-size', readMaxMessageSize],
  ['candidate', (draft, value) => pushBounded(draft.section.candidates, value)],
  ['end-of-candidates', (draft) => void (draft.section.endOfCandidates = true)],
  ['bundle-only', (draft) => void (draft.bundleOnly = true)],
  ['ice-ufrag', (draft, value, name) => readIce(draft.ice, name, value)],
  ['ice-pwd', (draft, value, name) => readIce(draft.ice, name, value)],
  ['fingerprint', (draft, value) => pushFingerprint(draft.section.fingerprints, value)],
  ['setup', (draft, value) => void (isSetup(value) && (draft.section.setup = value))],
  ['sendrecv', readDirection],
  ['sendonly', readDirection],
  ['recvonly', readDirection],
  ['inactive', readDirection],
]);

function readDirection(draft: SectionDraft, _value: string, name: string): void {
  if (isDirection(name)) {
    draft.direction = name;
  }
}

function readMid(draft: SectionDraft, value: string): void {
  if (midPattern.test(value)) {
    draft.section.mid = value;
    draft.midSeen = true;
  }
}

function readRtpmap(draft: SectionDraft, value: string): void {
  const match = /^(\d{1,3}) +([A-Za-z0-9._-]{1,32})\/(\d{1,9})(?:\/(\d{1,2}))?$/.exec(value);
  const codec = match && codecOf(draft, match[1]);
  if (match && codec) {
    codec.name = match[2] ?? '';
    codec.clockRate = Number(match[3]);
    if (match[4] !== undefined) {
      codec.channels = Number(match[4]);
    }
  }
}

function readFmtp(draft: SectionDraft, value: string): void {
  const space = value.indexOf(' ');
  const codec = space === -1 ? undefined : codecOf(draft, value.slice(0, space));
  if (codec) {
    Object.assign(codec.parameters, parseParameters(value.slice(space + 1)));
  }
}

/** `key=value;key` pairs. Numbers become numbers where that loses nothing, because the media engine compares by type. */
function parseParameters(text: string): CodecParameters {
  const parameters: CodecParameters = {};
  for (const pair of text.split(';').slice(0, maxEntries)) {
    const equals = pair.indexOf('=');
    const key = (equals === -1 ? pair : pair.slice(0, equals)).trim();
    const value = equals === -1 ? '' : pair.slice(equals + 1).trim();
    if (key !== '' && key !== '__proto__') {
      parameters[key] = key !== 'profile-level-id' && /^(?:0|[1-9]\d{0,8})$/.test(value) ? Number(value) : value;
    }
  }
  return parameters;
}

function readFeedback(draft: SectionDraft, value: string): void {
  const [payloadType = '', type = '', ...rest] = value.split(' ');
  if (type === '') {
    return;
  }
  const parameter = rest.join(' ');
  const feedback: RtcpFeedback = parameter === '' ? { type } : { type, parameter };
  if (payloadType === '*') {
    if (draft.wildcardFeedback.length < 16) {
      draft.wildcardFeedback.push(feedback);
    }
    return;
  }
  const codec = codecOf(draft, payloadType);
  if (codec) {
    addFeedback(codec, feedback);
  }
}

export function addFeedback(codec: Codec, feedback: RtcpFeedback): void {
  const known = codec.feedback.some(
    ({ type, parameter }) => type === feedback.type && parameter === feedback.parameter,
  );
  if (!known && codec.feedback.length < 32) {
    codec.feedback.push({ ...feedback });
  }
}

/** The codec of a payload type, which may be described by several lines in any order. */
function codecOf(draft: SectionDraft, text: string | undefined): Codec | undefined {
  if (text === undefined || !/^\d{1,3}$/.test(text) || Number(text) > 127) {
    return undefined;
  }
  const payloadType = Number(text);
  let codec = draft.codecs.get(payloadType);
  if (codec === undefined) {
    codec = { payloadType, name: '', clockRate: 0, parameters: {}, feedback: [] };
    draft.codecs.set(payloadType, codec);
  }
  return codec;
}

function readExtension(draft: SectionDraft, value: string): void {
  const match = /^(\d{1,3})(?:\/([a-z]+))? ([^ ]{1,256})/.exec(value);
  const id = Number(match?.[1]);
  // RFC 8285: 15 is reserved in the one-byte form, 1-14 fit both, 256 and more are not packet header ids.
  if (match && id >= 1 && id <= 255 && id !== 15 && !draft.extensionIds.has(id)) {
    draft.extensionIds.add(id);
    const [, , direction, uri = ''] = match;
    pushBounded(
      draft.section.extensions,
      direction !== undefined && isDirection(direction) ? { id, uri, direction } : { id, uri },
    );
  }
}

function readMsid(draft: SectionDraft, value: string): void {
  const [streamId = '', trackId = ''] = value.split(' ');
  if (streamId !== '') {
    pushBounded(draft.section.msids, { streamId, trackId });
  }
}

function readRid(draft: SectionDraft, value: string): void {
  const [rid = '', direction = ''] = value.split(' ');
  const known = draft.section.rids.some((other) => other.rid === rid);
  if (
    ridPattern.test(rid) &&
    !known &&
    (direction === 'send' || direction === 'recv') &&
    draft.section.rids.length < 16
  ) {
    draft.section.rids.push({ rid, direction });
  }
}

/** RFC 8853: `send a;~b,c recv d`; of alternatives (`b,c`) the first counts. */
function readSimulcast(draft: SectionDraft, value: string): void {
  const words = value.split(' ');
  const simulcast = { send: [] as SimulcastStream[], recv: [] as SimulcastStream[] };
  for (let index = 0; index + 1 < words.length; index += 2) {
    const direction = words[index];
    if (direction === 'send' || direction === 'recv') {
      simulcast[direction] = parseStreams(words[index + 1] ?? '');
    }
  }
  if (simulcast.send.length + simulcast.recv.length > 0) {
    draft.section.simulcast = simulcast;
  }
}

function parseStreams(text: string): SimulcastStream[] {
  const streams: SimulcastStream[] = [];
  for (const alternatives of text.split(';', 16)) {
    const first = alternatives.split(',', 1)[0] ?? '';
    const paused = first.startsWith('~');
    const rid = paused ? first.slice(1) : first;
    if (ridPattern.test(rid) && !streams.some((stream) => stream.rid === rid)) {
      streams.push({ rid, paused });
    }
  }
  return streams;
}

function readSsrc(draft: SectionDraft, value: string): void {
  const match = /^(\d{1,10})(?: +([a-z-]+)(?::(.*))?)?$/.exec(value);
  const ssrc = toSsrc(match?.[1]);
  if (!match || ssrc === undefined) {
    return;
  }
  let entry = draft.ssrcs.get(ssrc);
  if (entry === undefined) {
    if (draft.ssrcs.size >= maxEntries) {
      return;
    }
    entry = { ssrc };
    draft.ssrcs.set(ssrc, entry);
  }
  const text = match[3] ?? '';
  if (match[2] === 'cname' && /^[\x21-\x7e]{1,255}$/.test(text)) {
    entry.cname = text;
  } else if (match[2] === 'msid' && draft.section.msids.length === 0) {
    // WebRTC before unified plan named the track only here.
    readMsid(draft, text);
  }
}

function readSsrcGroup(draft: SectionDraft, value: string): void {
  const [semantics = '', ...words] = value.split(' ');
  const ssrcs = words.slice(0, 16).map(toSsrc);
  if (semantics !== '' && ssrcs.length > 0 && ssrcs.every((ssrc) => ssrc !== undefined)) {
    pushBounded(draft.section.ssrcGroups, { semantics, ssrcs });
  }
}

function toSsrc(text: string | undefined): number | undefined {
  const ssrc = text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : 0;
  return ssrc >= 1 && ssrc <= 0xffff_ffff ? ssrc : undefined;
}

function readSctpPort(draft: SectionDraft, value: string): void {
  if (/^\d{1,5}$/.test(value) && Number(value) <= 65_535) {
    draft.section.sctp = { maxMessageSize: defaultMaxMessageSize, ...draft.section.sctp, port: Number(value) };
  }
}

function readMaxMessageSize(draft: SectionDraft, value: string): void {
  if (/^\d{1,12}$/.test(value)) {
    draft.section.sctp = { port: defaultSctpPort, ...draft.section.sctp, maxMessageSize: Number(value) };
  }
}

export function readIce(ice: Partial<IceCredentials>, name: string, value: string): void {
  // RFC 8839 section 5.4: 4 to 256 and 22 to 256 ice-chars. Short passwords are left to ICE, bad characters are not.
  if (/^[A-Za-z0-9+/=_-]{1,256}$/.test(value)) {
    ice[name === 'ice-ufrag' ? 'usernameFragment' : 'password'] = value;
  }
}

export function pushFingerprint(fingerprints: DtlsFingerprint[], text: string): void {
  const match = /^(sha-(?:1|224|256|384|512)) +([0-9a-f]{2}(?::[0-9a-f]{2}){19,63})$/i.exec(text);
  if (match) {
    const algorithm = match[1]?.toLowerCase() as DtlsFingerprint['algorithm'];
    pushBounded(fingerprints, { algorithm, value: match[2]?.toUpperCase() ?? '' });
  }
}

export function isSetup(value: string): value is Setup {
  return value === 'actpass' || value === 'active' || value === 'passive';
}

export function isDirection(name: string): name is Direction {
  return name === 'sendrecv' || name === 'sendonly' || name === 'recvonly' || name === 'inactive';
}

function pushBounded<Entry>(entries: Entry[], entry: Entry): void {
  if (entries.length < maxEntries) {
    entries.push(entry);
  }
}

/**
 * Reads SDP text into the model of `description.ts`.
 *
 * Structure (`v=`, `m=`, mids) is checked strictly; attributes that are unknown or broken are skipped, since browsers
 * add new ones all the time. Everything is bounded and one pass over the text, so that hostile input costs no more than
 * a long honest one.
 */
import {
  type Codec,
  type Direction,
  type IceCredentials,
  type SectionKind,
  type SessionDescription,
  type Setup,
  emptySection,
} from './description.ts';
import { descriptionTooLarge, duplicateMid, malformedDescription } from './errors.ts';
import type { DtlsFingerprint } from './rtp.ts';
import {
  type SectionDraft,
  addFeedback,
  isDirection,
  isSetup,
  maxEntries,
  pushFingerprint,
  readIce,
  sectionAttributes,
} from './section-attributes.ts';

export type DescriptionLimits = { maxBytes: number; maxSections: number; maxLines: number };

/** A publisher has a section per track; rtc-node's largest offers have 9 sections and 23 kB. */
export const offerLimits: DescriptionLimits = { maxBytes: 256 * 1024, maxSections: 200, maxLines: 10_000 };

/** A subscriber's answer has a section per subscribed track of the room, about 1.2 kB each. */
export const answerLimits: DescriptionLimits = { maxBytes: 2 * 1024 * 1024, maxSections: 2000, maxLines: 100_000 };

const maxLineBytes = 4096;
type SessionDefaults = {
  ice: Partial<IceCredentials>;
  fingerprints: DtlsFingerprint[];
  setup?: Setup;
  direction?: Direction;
};

type Parser = {
  description: SessionDescription;
  defaults: SessionDefaults;
  draft: SectionDraft | undefined;
  mids: Set<string>;
  limits: DescriptionLimits;
};

/**
 * Reads a session description.
 *
 * @throws PlenumError `sdp-too-large`, `sdp-malformed` or `sdp-duplicate-mid`; nothing else, whatever the input.
 */
export function parseDescription(sdp: string, limits: DescriptionLimits = offerLimits): SessionDescription {
  // One UTF-16 unit is at least one byte, and SDP is ASCII apart from free text.
  if (sdp.length > limits.maxBytes) {
    throw descriptionTooLarge('bytes', limits.maxBytes);
  }
  const parser: Parser = {
    description: { sessionId: '', version: '', iceLite: false, extmapAllowMixed: false, bundle: [], sections: [] },
    defaults: { ice: {}, fingerprints: [] },
    draft: undefined,
    mids: new Set(),
    limits,
  };
  readLines(parser, sdp);
  finishSection(parser);
  if (parser.description.sections.length === 0) {
    throw malformedDescription('no media section');
  }
  return parser.description;
}

function readLines(parser: Parser, sdp: string): void {
  let start = 0;
  let count = 0;
  while (start < sdp.length) {
    let end = sdp.indexOf('\n', start);
    if (end === -1) {
      end = sdp.length;
    }
    const line = sdp.slice(start, sdp.charCodeAt(end - 1) === 13 && end > start ? end - 1 : end);
    start = end + 1;
    count += 1;
    if (count > parser.limits.maxLines) {
      throw descriptionTooLarge('lines', parser.limits.maxLines);
    }
    if (line.length > maxLineBytes) {
      throw descriptionTooLarge('line-bytes', maxLineBytes);
    }
    if (count === 1 && line !== 'v=0') {
      throw malformedDescription('it does not start with v=0');
    }
    if (line.charCodeAt(1) === 61) {
      readLine(parser, line);
    }
  }
}

function readLine(parser: Parser, line: string): void {
  const value = line.slice(2);
  switch (line[0]) {
    case 'o':
      readOrigin(parser, value);
      break;
    case 'm':
      startSection(parser, value);
      break;
    case 'a':
      readAttribute(parser, value);
      break;
    default:
      break;
  }
}

function readOrigin(parser: Parser, value: string): void {
  const words = value.split(' ');
  if (parser.draft === undefined && words.length === 6) {
    parser.description.sessionId = words[1] ?? '';
    parser.description.version = words[2] ?? '';
  }
}

function startSection(parser: Parser, value: string): void {
  finishSection(parser);
  if (parser.description.sections.length >= parser.limits.maxSections) {
    throw descriptionTooLarge('sections', parser.limits.maxSections);
  }
  const match = /^([a-z]+) (\d{1,5})(?:\/\d+)? ([A-Za-z0-9/]+)((?: [^ ]+)+) *$/.exec(value);
  if (match === null) {
    throw malformedDescription('bad m= line');
  }
  const [, media = '', port = '', protocol = '', formats = ''] = match;
  const section = emptySection('', toKind(media, protocol));
  section.media = media;
  section.protocol = protocol;
  section.formats = formats.trim().split(/ +/).slice(0, maxEntries);
  section.rejected = Number(port) === 0;
  parser.draft = {
    section,
    midSeen: false,
    ice: {},
    bundleOnly: false,
    codecs: new Map(),
    wildcardFeedback: [],
    extensionIds: new Set(),
    ssrcs: new Map(),
  };
}

function toKind(media: string, protocol: string): SectionKind {
  if (media === 'audio' || media === 'video') {
    return protocol.endsWith('RTP/SAVPF') ? media : 'other';
  }
  return media === 'application' && protocol.endsWith('DTLS/SCTP') ? 'application' : 'other';
}

function finishSection(parser: Parser): void {
  const { draft, defaults, description, mids } = parser;
  if (draft === undefined) {
    return;
  }
  parser.draft = undefined;
  const { section } = draft;
  // JSEP (RFC 9429 section 5.2.1) makes every endpoint write a=mid; without it nothing here could name the section.
  if (!draft.midSeen) {
    throw malformedDescription('a section has no usable mid');
  }
  if (mids.has(section.mid)) {
    throw duplicateMid(section.mid);
  }
  mids.add(section.mid);
  section.rejected &&= !draft.bundleOnly;
  section.direction = draft.direction ?? defaults.direction ?? 'sendrecv';
  section.codecs = orderedCodecs(draft);
  section.ssrcs = [...draft.ssrcs.values()];
  inheritTransport(draft, defaults);
  description.sections.push(section);
}

/** RFC 9429 section 5.8 lets ICE, fingerprint and setup stand at session level, where older Firefox and many servers put them. */
function inheritTransport({ section, ice }: SectionDraft, defaults: SessionDefaults): void {
  const usernameFragment = ice.usernameFragment ?? defaults.ice.usernameFragment;
  const password = ice.password ?? defaults.ice.password;
  if (usernameFragment !== undefined && password !== undefined) {
    section.ice = { usernameFragment, password };
  }
  if (section.fingerprints.length === 0) {
    section.fingerprints = [...defaults.fingerprints];
  }
  if (section.setup === undefined && defaults.setup !== undefined) {
    section.setup = defaults.setup;
  }
}

function orderedCodecs({ section, codecs, wildcardFeedback }: SectionDraft): Codec[] {
  const ordered: Codec[] = [];
  for (const format of section.formats) {
    const codec = codecs.get(Number(format));
    if (codec === undefined || codec.name === '' || ordered.includes(codec)) {
      continue;
    }
    for (const feedback of wildcardFeedback) {
      addFeedback(codec, feedback);
    }
    ordered.push(codec);
  }
  return ordered;
}

function readAttribute(parser: Parser, text: string): void {
  const colon = text.indexOf(':');
  const name = colon === -1 ? text : text.slice(0, colon);
  const value = colon === -1 ? '' : text.slice(colon + 1);
  const { draft } = parser;
  if (draft === undefined) {
    readSessionAttribute(parser, name, value);
  } else {
    sectionAttributes.get(name)?.(draft, value, name);
  }
}

function readSessionAttribute({ description, defaults }: Parser, name: string, value: string): void {
  switch (name) {
    case 'group':
      if (value.startsWith('BUNDLE')) {
        description.bundle = value
          .split(' ')
          .slice(1)
          .filter((mid) => mid !== '');
      }
      break;
    case 'ice-lite':
      description.iceLite = true;
      break;
    case 'extmap-allow-mixed':
      description.extmapAllowMixed = true;
      break;
    case 'ice-ufrag':
    case 'ice-pwd':
      readIce(defaults.ice, name, value);
      break;
    case 'fingerprint':
      pushFingerprint(defaults.fingerprints, value);
      break;
    case 'setup':
      if (isSetup(value)) {
        defaults.setup = value;
      }
      break;
    default:
      if (isDirection(name)) {
        defaults.direction = name;
      }
      break;
  }
}

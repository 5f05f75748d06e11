/** Reads and writes the little SDP that the light client needs. It is a test's own reading, independent of `src/sdp`. */

export type Direction = 'sendrecv' | 'sendonly' | 'recvonly' | 'inactive';

export type Codec = { payloadType: number; name: string; rtpmap: string };

export type Section = {
  kind: string;
  protocol: string;
  port: number;
  formats: string[];
  mid: string;
  direction: Direction;
  codecs: Codec[];
  /** Extension ids by URI. */
  extensions: Map<string, number>;
  streamId: string;
  trackId: string;
  ssrcs: number[];
  /** SSRC of the retransmissions by that of the media. */
  rtx: Map<number, number>;
  setup: string;
  sctpPort: number;
  /** The `a=` lines as they came, for mirroring. */
  attributes: string[];
};

export type Description = {
  sections: Section[];
  ufrag: string;
  password: string;
  fingerprint: string;
  setup: string;
  candidates: { address: string; port: number }[];
};

export const extensionUris = {
  mid: 'urn:ietf:params:rtp-hdrext:sdes:mid',
  rid: 'urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id',
  repairedRid: 'urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id',
  level: 'urn:ietf:params:rtp-hdrext:ssrc-audio-level',
  transportCc: 'http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01',
  absSendTime: 'http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time',
};

const directions: readonly string[] = ['sendrecv', 'sendonly', 'recvonly', 'inactive'];

export function parseDescription(sdp: string): Description {
  const blocks = sdp.split(/\r?\n(?=m=)/);
  const sections = blocks.slice(1).map(parseSection);
  const all = sdp.split(/\r?\n/);
  const first = (prefix: string): string => all.find((line) => line.startsWith(prefix))?.slice(prefix.length) ?? '';
  return {
    sections,
    ufrag: first('a=ice-ufrag:'),
    password: first('a=ice-pwd:'),
    fingerprint: first('a=fingerprint:sha-256 '),
    setup: first('a=setup:'),
    candidates: parseCandidates(all),
  };
}

function parseCandidates(lines: string[]): { address: string; port: number }[] {
  const found = new Map<string, { address: string; port: number }>();
  for (const line of lines) {
    const words = line.startsWith('a=candidate:') ? line.split(' ') : [];
    const [, , protocol, , address = '', port] = words;
    if (protocol?.toLowerCase() !== 'udp' || !/^[\d.]+$/.test(address)) continue;
    found.set(`${address}:${port}`, { address, port: Number(port) });
  }
  return [...found.values()];
}

function parseSection(text: string): Section {
  const [media = '', ...lines] = text.split(/\r?\n/).filter((line) => line !== '');
  const [kind = '', port, protocol = '', ...formats] = media.slice(2).split(' ');
  const attributes = lines.filter((line) => line.startsWith('a=')).map((line) => line.slice(2));
  const values = (name: string): string[] =>
    attributes
      .filter((attribute) => attribute.startsWith(`${name}:`))
      .map((attribute) => attribute.slice(name.length + 1));
  const [streamId = '', trackId = ''] = (values('msid')[0] ?? '').split(' ');
  const groups = values('ssrc-group').map((value) => value.split(' '));
  return {
    kind,
    protocol,
    port: Number(port),
    formats,
    mid: values('mid')[0] ?? '',
    direction: (attributes.find((attribute) => directions.includes(attribute)) as Direction | undefined) ?? 'sendrecv',
    codecs: values('rtpmap').map((value) => {
      const [payloadType, rtpmap = ''] = value.split(' ');
      return { payloadType: Number(payloadType), name: rtpmap.split('/')[0]?.toLowerCase() ?? '', rtpmap };
    }),
    extensions: new Map(values('extmap').map((value) => [value.split(' ')[1] ?? '', Number.parseInt(value, 10)])),
    streamId,
    trackId,
    ssrcs: [...new Set(values('ssrc').map((value) => Number.parseInt(value, 10)))],
    rtx: new Map(groups.filter(([name]) => name === 'FID').map(([, ssrc, rtx]) => [Number(ssrc), Number(rtx)])),
    setup: values('setup')[0] ?? '',
    sctpPort: Number(values('sctp-port')[0] ?? 0),
    attributes,
  };
}

export type LocalSide = {
  ufrag: string;
  password: string;
  fingerprint: string;
  setup: 'active' | 'passive' | 'actpass';
};

export type SectionText = {
  kind: string;
  protocol: string;
  port: number;
  formats: string[];
  mid: string;
  lines: string[];
};

export function writeDescription(local: LocalSide, version: number, sections: SectionText[]): string {
  const bundle = sections.filter(({ port }) => port !== 0).map(({ mid }) => mid);
  const lines = [
    'v=0',
    `o=- 4611731400430051336 ${version} IN IP4 127.0.0.1`,
    's=-',
    't=0 0',
    `a=group:BUNDLE ${bundle.join(' ')}`,
    'a=extmap-allow-mixed',
    'a=msid-semantic: WMS *',
  ];
  for (const section of sections) {
    lines.push(
      `m=${section.kind} ${section.port} ${section.protocol} ${section.formats.join(' ')}`,
      'c=IN IP4 0.0.0.0',
      `a=ice-ufrag:${local.ufrag}`,
      `a=ice-pwd:${local.password}`,
      `a=fingerprint:sha-256 ${local.fingerprint}`,
      `a=setup:${local.setup}`,
      `a=mid:${section.mid}`,
      ...section.lines.map((line) => `a=${line}`),
    );
  }
  return `${lines.join('\r\n')}\r\n`;
}

/** What an answer takes over from the offered section. */
const mirrored = /^(rtpmap|fmtp|rtcp-fb|extmap|rtcp-mux|rtcp-rsize|sctp-port|max-message-size)\b/;

/** Accepts everything that is offered to be received. */
export function answerSection(offered: Section): SectionText {
  const { kind, protocol, formats, mid } = offered;
  const lines = offered.attributes.filter((attribute) => mirrored.test(attribute));
  if (kind !== 'application')
    lines.push(offered.direction === 'sendonly' || offered.direction === 'sendrecv' ? 'recvonly' : 'inactive');
  return { kind, protocol, port: 9, formats, mid, lines };
}

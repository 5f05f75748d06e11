/** Prints the model of `description.ts`: the only place that knows the order and spelling of SDP lines. */
import type { Codec, Section, SessionDescription, SimulcastStream } from './description.ts';

/** Prints a session description; `parseDescription` reads it back unchanged. */
export function formatDescription(description: SessionDescription): string {
  const lines = [
    'v=0',
    `o=- ${description.sessionId} ${description.version} IN IP4 127.0.0.1`,
    's=-',
    't=0 0',
    ...(description.bundle.length > 0 ? [`a=group:BUNDLE ${description.bundle.join(' ')}`] : []),
    ...(description.iceLite ? ['a=ice-lite'] : []),
    ...(description.extmapAllowMixed ? ['a=extmap-allow-mixed'] : []),
    'a=msid-semantic: WMS *',
  ];
  for (const section of description.sections) {
    pushSection(lines, section);
  }
  return `${lines.join('\r\n')}\r\n`;
}

function pushSection(lines: string[], section: Section): void {
  const { kind, rejected } = section;
  lines.push(
    `m=${section.media} ${rejected ? 0 : 9} ${section.protocol} ${section.formats.join(' ')}`,
    'c=IN IP4 0.0.0.0',
  );
  lines.push(`a=mid:${section.mid}`);
  if (kind !== 'application' && kind !== 'other') {
    lines.push(`a=${section.direction}`);
  }
  pushTransport(lines, section);
  if (section.sctp) {
    lines.push(`a=sctp-port:${section.sctp.port}`, `a=max-message-size:${section.sctp.maxMessageSize}`);
  }
  if ((kind === 'audio' || kind === 'video') && !rejected) {
    lines.push('a=rtcp-mux', 'a=rtcp-rsize');
  }
  pushMedia(lines, section);
}

function pushTransport(lines: string[], section: Section): void {
  if (section.ice) {
    lines.push(`a=ice-ufrag:${section.ice.usernameFragment}`, `a=ice-pwd:${section.ice.password}`);
  }
  for (const { algorithm, value } of section.fingerprints) {
    lines.push(`a=fingerprint:${algorithm} ${value}`);
  }
  if (section.setup) {
    lines.push(`a=setup:${section.setup}`);
  }
  for (const candidate of section.candidates) {
    lines.push(`a=candidate:${candidate}`);
  }
  if (section.endOfCandidates) {
    lines.push('a=end-of-candidates');
  }
}

function pushMedia(lines: string[], section: Section): void {
  for (const { id, uri, direction } of section.extensions) {
    lines.push(`a=extmap:${id}${direction === undefined ? '' : `/${direction}`} ${uri}`);
  }
  for (const { streamId, trackId } of section.msids) {
    lines.push(trackId === '' ? `a=msid:${streamId}` : `a=msid:${streamId} ${trackId}`);
  }
  for (const codec of section.codecs) {
    pushCodec(lines, codec);
  }
  for (const { rid, direction } of section.rids) {
    lines.push(`a=rid:${rid} ${direction}`);
  }
  if (section.simulcast) {
    lines.push(`a=simulcast:${formatSimulcast(section.simulcast)}`);
  }
  for (const { semantics, ssrcs } of section.ssrcGroups) {
    lines.push(`a=ssrc-group:${semantics} ${ssrcs.join(' ')}`);
  }
  for (const { ssrc, cname } of section.ssrcs) {
    lines.push(cname === undefined ? `a=ssrc:${ssrc}` : `a=ssrc:${ssrc} cname:${cname}`);
  }
}

function pushCodec(lines: string[], codec: Codec): void {
  const { payloadType, name, clockRate, channels } = codec;
  lines.push(`a=rtpmap:${payloadType} ${name}/${clockRate}${channels === undefined ? '' : `/${channels}`}`);
  const parameters = Object.entries(codec.parameters);
  if (parameters.length > 0) {
    const text = parameters.map(([key, value]) => (value === '' ? key : `${key}=${value}`)).join(';');
    lines.push(`a=fmtp:${payloadType} ${text}`);
  }
  for (const { type, parameter } of codec.feedback) {
    lines.push(`a=rtcp-fb:${payloadType} ${type}${parameter ? ` ${parameter}` : ''}`);
  }
}

function formatSimulcast({ send, recv }: { send: SimulcastStream[]; recv: SimulcastStream[] }): string {
  const parts: string[] = [];
  if (send.length > 0) {
    parts.push(`send ${formatStreams(send)}`);
  }
  if (recv.length > 0) {
    parts.push(`recv ${formatStreams(recv)}`);
  }
  return parts.join(' ');
}

function formatStreams(streams: SimulcastStream[]): string {
  return streams.map(({ rid, paused }) => (paused ? `~${rid}` : rid)).join(';');
}

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PlenumError } from '../lib/errors.ts';
import { formatPublisherAnswer } from './answer.ts';
import { type Section, type SessionDescription, emptySection } from './description.ts';
import { parseDescription } from './parse.ts';
import type { AcceptedSection } from './publish.ts';
import type { LocalTransport } from './rtp.ts';

const ridUri = 'urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id';
const fingerprint = { algorithm: 'sha-256', value: Array.from({ length: 32 }, () => 'AB').join(':') } as const;
const transport: LocalTransport = {
  ice: { usernameFragment: 'local', password: 'p'.repeat(24) },
  candidates: [
    { foundation: 'u1', priority: 9, address: '192.0.2.1', protocol: 'udp', port: 50_000, type: 'host' },
    {
      foundation: 't1',
      priority: 8,
      address: 'media.example.org',
      protocol: 'tcp',
      port: 50_000,
      type: 'host',
      tcpType: 'passive',
    },
  ],
  fingerprint,
  sctpPort: 5000,
  maxMessageSize: 262_144,
};

const vp8 = { payloadType: 96, name: 'VP8', clockRate: 90_000, parameters: {}, feedback: [{ type: 'nack' }] };
const h265 = { payloadType: 97, name: 'H265', clockRate: 90_000, parameters: {}, feedback: [] };
const accepted: AcceptedSection = {
  kind: 'video',
  codecs: [vp8],
  extensions: [{ id: 10, uri: ridUri }],
  rids: ['f', 'q'],
};

function offered(mid: string, changes: Partial<Section> = {}): Section {
  return {
    ...emptySection(mid, 'video'),
    formats: ['97', '96'],
    codecs: [h265, vp8],
    extensions: [{ id: 10, uri: ridUri }],
    direction: 'sendonly',
    ice: { usernameFragment: 'remote', password: 'q'.repeat(24) },
    fingerprints: [fingerprint],
    setup: 'actpass',
    ...changes,
  };
}

function answer(
  sections: Section[],
  options: { accepted?: string[]; remembered?: string[]; bundle?: string[] } = {},
): string {
  const offer: SessionDescription = {
    sessionId: '1',
    version: '1',
    iceLite: false,
    extmapAllowMixed: true,
    bundle: options.bundle ?? sections.map(({ mid }) => mid),
    sections,
  };
  const all = (mids: string[] = []): Map<string, AcceptedSection> => new Map(mids.map((mid) => [mid, accepted]));
  return formatPublisherAnswer({
    offer,
    transport,
    accepted: all(options.accepted),
    remembered: all(options.remembered),
    sessionId: '7',
    version: 4,
  });
}

function reasonOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof PlenumError);
    return error.reason;
  }
  return 'none';
}

describe('formatPublisherAnswer', () => {
  it('receives an accepted section with its rids in the order of the offer', () => {
    const text = answer([offered('3')], { accepted: ['3'] });
    const lines = text.split('\r\n');
    const expected = [
      'a=ice-lite',
      'a=group:BUNDLE 3',
      'a=recvonly',
      'a=rid:f recv',
      'a=rid:q recv',
      'a=simulcast:recv f;q',
      'a=setup:passive',
    ];
    for (const line of [
      ...expected,
      'o=- 7 4 IN IP4 127.0.0.1',
      'm=video 9 UDP/TLS/RTP/SAVPF 96',
      'a=rtcp-mux',
      'a=rtcp-rsize',
    ]) {
      assert.ok(lines.includes(line), line);
    }
    assert.ok(lines.includes('a=candidate:u1 1 udp 9 192.0.2.1 50000 typ host'));
    assert.ok(lines.includes('a=candidate:t1 1 tcp 8 media.example.org 50000 typ host tcptype passive'));
    assert.ok(lines.includes('a=end-of-candidates'));
    assert.ok(text.endsWith('\r\n'));
  });

  it('keeps the order and mids of the offer, and leaves rejected sections out of the bundle', () => {
    const data: Section = { ...offered('last'), ...emptySection('last', 'application') };
    const sections = [
      offered('9', { rejected: true }),
      offered('2'),
      { ...offered('t'), kind: 'other' as const, media: 'text' },
      data,
    ];
    const parsed = parseDescription(answer(sections, { accepted: ['2'] }));
    assert.deepEqual(
      parsed.sections.map(({ mid, rejected }) => [mid, rejected]),
      [
        ['9', true],
        ['2', false],
        ['t', true],
        ['last', false],
      ],
    );
    assert.deepEqual(parsed.bundle, ['2', 'last']);
    assert.equal(parsed.sections[0]?.ice, undefined);
    assert.equal(parsed.sections[1]?.candidates.length, 2, 'candidates stand in the first live section');
    assert.deepEqual(parsed.sections[3]?.sctp, { port: 5000, maxMessageSize: 262_144 });
    assert.equal(parsed.sections[3]?.candidates.length, 0);
  });

  it('lets a remembered section rest with its codec and extensions, so that Chromium can use it again', () => {
    for (const direction of ['inactive', 'recvonly', 'sendonly'] as const) {
      const [section] = parseDescription(answer([offered('0', { direction })], { remembered: ['0'] })).sections;
      assert.equal(section?.direction, 'inactive');
      assert.deepEqual(section?.codecs, [vp8]);
      assert.deepEqual(section?.extensions, [{ id: 10, uri: ridUri }]);
      assert.deepEqual(section?.rids, []);
    }
  });

  it('lets a section rest that never carried anything, with VP8 rather than the first codec', () => {
    const [section] = parseDescription(answer([offered('0', { direction: 'recvonly' })])).sections;
    assert.equal(section?.direction, 'inactive');
    assert.deepEqual(
      section?.codecs.map(({ name }) => name),
      ['VP8'],
    );
    assert.deepEqual(section?.extensions, [{ id: 10, uri: ridUri }]);
  });

  it('does not answer with payload types that are no longer offered', () => {
    const renumbered = offered('0', {
      formats: ['101'],
      codecs: [{ ...vp8, payloadType: 101 }],
      direction: 'inactive',
    });
    const [section] = parseDescription(answer([renumbered], { remembered: ['0'] })).sections;
    assert.deepEqual(
      section?.codecs.map(({ payloadType }) => payloadType),
      [101],
    );
  });

  it('takes the active part when the offer insists on the passive one', () => {
    assert.match(answer([offered('0', { setup: 'passive' })]), /a=setup:active/);
    assert.match(answer([offered('0', { setup: 'active' })]), /a=setup:passive/);
  });

  it('refuses offers that no single transport can serve', () => {
    const { ice: _ice, ...withoutIce } = offered('0');
    assert.equal(
      reasonOf(() => answer([withoutIce])),
      'sdp-missing-ice',
    );
    assert.equal(
      reasonOf(() => answer([offered('0', { fingerprints: [] })])),
      'sdp-missing-dtls',
    );
    assert.equal(
      reasonOf(() => answer([offered('0'), offered('1')], { bundle: ['0'] })),
      'sdp-not-bundled',
    );
    assert.equal(
      reasonOf(() => answer([offered('0')], { bundle: [] })),
      'none',
    );
  });
});

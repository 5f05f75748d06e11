import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { PlenumError } from '../../src/lib/errors.ts';
import { type Section, type SessionDescription, emptySection } from '../../src/sdp/description.ts';
import { formatDescription } from '../../src/sdp/format.ts';
import { offerLimits, parseDescription } from '../../src/sdp/parse.ts';
import { readSubscriberAnswer } from '../../src/sdp/subscriber-answer.ts';
import { answerGolden } from './expected.ts';
import { type Wish, goldenOffers, goldenSubscriberAnswers } from './golden.ts';

const offers = goldenOffers();
const answers = goldenSubscriberAnswers();
const slowestMs = 250;

/** Runs what the network can reach; only a PlenumError may come out, and soon. */
function survives(run: () => unknown): void {
  const started = performance.now();
  try {
    run();
  } catch (error) {
    if (!(error instanceof PlenumError)) {
      throw error;
    }
  }
  const tookMs = performance.now() - started;
  assert.ok(tookMs < slowestMs, `took ${tookMs} ms`);
}

/** One way to damage a description: by line or by character. */
const damage = fc.oneof(
  fc.record({ kind: fc.constant('drop' as const), at: fc.nat() }),
  fc.record({ kind: fc.constant('repeat' as const), at: fc.nat(), times: fc.integer({ min: 1, max: 300 }) }),
  fc.record({ kind: fc.constant('swap' as const), at: fc.nat(), to: fc.nat() }),
  fc.record({ kind: fc.constant('cut' as const), at: fc.nat() }),
  fc.record({ kind: fc.constant('write' as const), at: fc.nat(), text: fc.string({ maxLength: 40 }) }),
  fc.record({
    kind: fc.constant('insert' as const),
    at: fc.nat(),
    line: fc.constantFrom(
      'm=video 9 UDP/TLS/RTP/SAVPF 96 97',
      'm=audio 0 X',
      'a=mid:0',
      'a=simulcast:send ~;~~q,;;h',
      'a=ssrc-group:SIM 1 1 1 1',
      'a=ssrc-group:FID 4294967295 4294967295',
      'a=rtpmap:96 VP8/90000/99',
      'a=fmtp:96 apt=96;apt=97;=;;profile-level-id=',
      'a=rtcp-fb:* ',
      'a=extmap:255 urn:ietf:params:rtp-hdrext:sdes:mid',
      'a=candidate:',
      'a=group:BUNDLE',
      'a=inactive',
    ),
  }),
);

function apply(sdp: string, steps: (typeof damage extends fc.Arbitrary<infer Step> ? Step : never)[]): string {
  const lines = sdp.split('\r\n');
  for (const step of steps) {
    const index = step.at % Math.max(lines.length, 1);
    const line = lines[index] ?? '';
    switch (step.kind) {
      case 'drop':
        lines.splice(index, 1);
        break;
      case 'repeat':
        lines.splice(index, 0, ...Array.from({ length: step.times }, () => line));
        break;
      case 'swap':
        lines[index] = lines[step.to % lines.length] ?? '';
        lines[step.to % lines.length] = line;
        break;
      case 'cut':
        lines[index] = line.slice(0, step.at % (line.length + 1));
        break;
      case 'write':
        lines[index] = line.slice(0, step.at % (line.length + 1)) + step.text + line.slice(step.at % (line.length + 1));
        break;
      case 'insert':
        lines.splice(index, 0, step.line);
        break;
    }
  }
  return lines.join('\r\n');
}

it('garbage only ever gives a PlenumError', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 3000, unit: 'binary' }), (text) => survives(() => parseDescription(text))),
    { numRuns: 300 },
  );
  const words = fc.constantFrom(
    'v=0',
    'm=',
    'a=',
    'mid:',
    'video',
    ' ',
    ':',
    ';',
    '\r\n',
    '\n',
    '9',
    '96',
    'UDP/TLS/RTP/SAVPF',
    'rtpmap:',
    'VP8/90000',
    '~',
  );
  const soup = fc.array(words, { maxLength: 400 }).map((parts) => `v=0\r\n${parts.join('')}`);
  fc.assert(
    fc.property(soup, (text) => survives(() => parseDescription(text))),
    { numRuns: 300 },
  );
});

it('damaged recordings are planned and answered, or refused with a PlenumError', () => {
  const property = fc.property(
    fc.constantFrom(...offers),
    fc.array(damage, { minLength: 1, maxLength: 12 }),
    ({ sdp, wishes }, steps) => {
      survives(() => {
        const { answer } = answerGolden({ sdp: apply(sdp, steps), wishes });
        assert.equal(
          formatDescription(parseDescription(answer)),
          answer,
          'what goes out is well-formed whatever came in',
        );
      });
    },
  );
  fc.assert(property, { numRuns: 400 });
});

it('damaged answers are read, or refused with a PlenumError', () => {
  const property = fc.property(
    fc.constantFrom(...answers),
    fc.array(damage, { minLength: 1, maxLength: 12 }),
    ({ sdp, slots }, steps) => {
      survives(() =>
        readSubscriberAnswer({
          answer: parseDescription(apply(sdp, steps)),
          offered: { data: true, probator: true, slots },
        }),
      );
    },
  );
  fc.assert(property, { numRuns: 200 });
});

it('the largest hostile offers that pass the limits take no longer than honest ones of their size', () => {
  const sections = (count: number, lines: string[]): string =>
    [
      'v=0',
      ...Array.from({ length: count }, (_, index) => [
        'm=video 9 UDP/TLS/RTP/SAVPF 96',
        `a=mid:${index}`,
        ...lines,
      ]).flat(),
    ].join('\r\n');
  const wishes: Wish[] = Array.from({ length: 200 }, (_, index) => ({
    kind: 'video',
    cid: `c${index}`,
    codec: { codec: 'vp8', cid: `c${index}`, layers: [] },
    stereo: false,
    disableDtx: false,
  }));
  const transport = [
    'a=ice-ufrag:abcd',
    `a=ice-pwd:${'p'.repeat(22)}`,
    `a=fingerprint:sha-256 ${Array.from({ length: 32 }, () => 'AB').join(':')}`,
  ];
  const many = sections(offerLimits.maxSections, [
    ...transport,
    'a=rtpmap:96 VP8/90000',
    ...Array.from({ length: 40 }, () => 'a=extmap:1 u'),
  ]);
  survives(() => answerGolden({ sdp: many, wishes }));
  survives(() =>
    answerGolden({
      sdp: many.replace('v=0', `v=0\r\na=group:BUNDLE ${Array.from({ length: 200 }, (_, index) => index).join(' ')}`),
      wishes,
    }),
  );
  survives(() =>
    parseDescription(`v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=simulcast:send ${';'.repeat(4000)}`),
  );
  survives(() => parseDescription(`v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF${' 96'.repeat(1300)} !\r\na=mid:0`));
});

it('every description comes back the same through format and parse', () => {
  const token = fc.stringMatching(/^[A-Za-z0-9_-]{1,12}$/);
  const rid = fc.stringMatching(/^[a-z0-9]{1,8}$/);
  const codec = fc.record({
    payloadType: fc.integer({ min: 0, max: 127 }),
    name: fc.constantFrom('VP8', 'H264', 'opus', 'rtx'),
    clockRate: fc.constantFrom(48_000, 90_000),
    parameters: fc.dictionary(
      fc.stringMatching(/^[a-z][a-z-]{0,8}$/),
      fc.oneof(
        fc.integer({ min: 0, max: 99_999 }),
        rid.filter((text) => !/^\d+$/.test(text)),
      ),
    ),
    feedback: fc.uniqueArray(fc.record({ type: fc.constantFrom('nack', 'ccm', 'transport-cc') }), {
      selector: ({ type }) => type,
    }),
  });
  const section: fc.Arbitrary<Section> = fc
    .record({
      kind: fc.constantFrom('audio' as const, 'video' as const),
      direction: fc.constantFrom('sendrecv' as const, 'sendonly' as const, 'recvonly' as const, 'inactive' as const),
      codecs: fc.uniqueArray(codec, { minLength: 1, maxLength: 6, selector: ({ payloadType }) => payloadType }),
      extensions: fc.uniqueArray(fc.record({ id: fc.integer({ min: 1, max: 14 }), uri: token }), {
        selector: ({ id }) => id,
      }),
      msids: fc.array(fc.record({ streamId: token, trackId: token }), { maxLength: 2 }),
      rids: fc.uniqueArray(fc.record({ rid, direction: fc.constantFrom('send' as const, 'recv' as const) }), {
        maxLength: 4,
        selector: (each) => each.rid,
      }),
      ssrcs: fc.uniqueArray(fc.record({ ssrc: fc.integer({ min: 1, max: 0xffff_ffff }), cname: token }), {
        maxLength: 4,
        selector: ({ ssrc }) => ssrc,
      }),
      setup: fc.constantFrom('actpass' as const, 'active' as const, 'passive' as const),
      candidates: fc.array(token, { maxLength: 3 }),
      endOfCandidates: fc.boolean(),
    })
    .map(({ kind, ...rest }) => ({
      ...emptySection('', kind),
      ...rest,
      formats: rest.codecs.map(({ payloadType }) => String(payloadType)),
    }));
  const description: fc.Arbitrary<SessionDescription> = fc
    .array(section, { minLength: 1, maxLength: 5 })
    .map((sections) => ({
      sessionId: '1',
      version: '2',
      iceLite: true,
      extmapAllowMixed: true,
      bundle: sections.map((_, index) => String(index)),
      sections: sections.map((each, index) => ({ ...each, mid: String(index) })),
    }));
  // Through JSON, because fast-check also makes objects without a prototype.
  const plain = (each: SessionDescription): unknown => JSON.parse(JSON.stringify(each));
  const property = fc.property(description, (each) =>
    assert.deepEqual(plain(parseDescription(formatDescription(each))), plain(each)),
  );
  fc.assert(property, { numRuns: 200 });
});

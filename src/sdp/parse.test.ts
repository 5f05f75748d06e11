import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PlenumError } from '../lib/errors.ts';
import { answerLimits, offerLimits, parseDescription } from './parse.ts';

const head = ['v=0', 'o=- 17 3 IN IP4 127.0.0.1', 's=-', 't=0 0'];
const audio = ['m=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=mid:0', 'a=rtpmap:111 opus/48000/2'];
const video = [
  'm=video 9 UDP/TLS/RTP/SAVPF 96 97',
  'a=mid:1',
  'a=rtpmap:96 VP8/90000',
  'a=rtpmap:97 rtx/90000',
  'a=fmtp:97 apt=96',
];

function sdp(...lines: string[]): string {
  return `${[...head, ...lines].join('\r\n')}\r\n`;
}

function reasonOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof PlenumError, String(error));
    return error.reason;
  }
  return 'none';
}

describe('parseDescription', () => {
  it('reads sections with their codecs in the order of the m= line', () => {
    const turned = ['m=video 9 UDP/TLS/RTP/SAVPF 97 96 96 5', ...video.slice(1)];
    const { sessionId, version, sections } = parseDescription(sdp(...audio, ...turned));
    assert.equal(sessionId, '17');
    assert.equal(version, '3');
    assert.deepEqual(sections[0]?.codecs, [
      { payloadType: 111, name: 'opus', clockRate: 48_000, channels: 2, parameters: {}, feedback: [] },
    ]);
    assert.deepEqual(
      sections[1]?.codecs.map(({ name }) => name),
      ['rtx', 'VP8'],
    );
  });

  it('reads numbers in format parameters as numbers, but not profile-level-id', () => {
    const lines = ['m=video 9 UDP/TLS/RTP/SAVPF 96', 'a=mid:0', 'a=rtpmap:96 H264/90000'];
    const fmtp = 'a=fmtp:96 packetization-mode=1;profile-level-id=420034; level-asymmetry-allowed=1;x=007;flag';
    assert.deepEqual(parseDescription(sdp(...lines, fmtp)).sections[0]?.codecs[0]?.parameters, {
      'packetization-mode': 1,
      'profile-level-id': '420034',
      'level-asymmetry-allowed': 1,
      x: '007',
      flag: '',
    });
  });

  it('gives wildcard feedback to every codec of its section only', () => {
    const { sections } = parseDescription(sdp(...video, 'a=rtcp-fb:* nack pli', 'a=rtcp-fb:96 nack pli', ...audio));
    const pli = [{ type: 'nack', parameter: 'pli' }];
    assert.deepEqual(
      sections[0]?.codecs.map(({ feedback }) => feedback),
      [pli, pli],
    );
    assert.deepEqual(sections[1]?.codecs[0]?.feedback, []);
  });

  it('copies session-level transport lines to sections that have none of their own', () => {
    const fingerprint = Array.from({ length: 32 }, () => 'ab').join(':');
    const session = [
      'a=ice-ufrag:abcd',
      'a=ice-pwd:0123456789012345678901',
      `a=fingerprint:SHA-256 ${fingerprint}`,
      'a=setup:actpass',
    ];
    const { sections } = parseDescription(sdp(...session, ...audio, ...video, 'a=ice-ufrag:wxyz', 'a=setup:active'));
    assert.deepEqual(sections[0]?.ice, { usernameFragment: 'abcd', password: '0123456789012345678901' });
    assert.equal(sections[0]?.setup, 'actpass');
    assert.deepEqual(sections[0]?.fingerprints, [{ algorithm: 'sha-256', value: fingerprint.toUpperCase() }]);
    assert.equal(sections[1]?.ice?.usernameFragment, 'wxyz');
    assert.equal(sections[1]?.setup, 'active');
  });

  it('reads rids and simulcast with paused streams and alternatives', () => {
    const lines = ['a=rid:q send', 'a=rid:h send max-width=640', 'a=rid:f send', 'a=simulcast:send f;~h,x;q recv z'];
    const section = parseDescription(sdp(...video, ...lines)).sections[0];
    assert.deepEqual(
      section?.rids.map(({ rid }) => rid),
      ['q', 'h', 'f'],
    );
    assert.deepEqual(section?.simulcast, {
      send: [
        { rid: 'f', paused: false },
        { rid: 'h', paused: true },
        { rid: 'q', paused: false },
      ],
      recv: [{ rid: 'z', paused: false }],
    });
  });

  it('takes a bundle-only section with port 0 as a live one', () => {
    const port0 = ['m=audio 0 UDP/TLS/RTP/SAVPF 111', 'a=rtpmap:111 opus/48000/2'];
    const { sections } = parseDescription(sdp(...port0, 'a=mid:0', 'a=bundle-only', ...port0, 'a=mid:1'));
    assert.deepEqual(
      sections.map(({ rejected }) => rejected),
      [false, true],
    );
  });

  it('finds the track id of old clients in the SSRC lines', () => {
    const { sections } = parseDescription(sdp(...audio, 'a=ssrc:5 cname:c', 'a=ssrc:5 msid:stream track'));
    assert.deepEqual(sections[0]?.msids, [{ streamId: 'stream', trackId: 'track' }]);
    assert.deepEqual(sections[0]?.ssrcs, [{ ssrc: 5, cname: 'c' }]);
  });

  it('reads the direction of header extensions', () => {
    const { sections } = parseDescription(
      sdp(...audio, 'a=extmap:9/sendonly urn:rid', 'a=extmap:1 urn:level vad=on', 'a=extmap:9 urn:twice'),
    );
    assert.deepEqual(sections[0]?.extensions, [
      { id: 9, uri: 'urn:rid', direction: 'sendonly' },
      { id: 1, uri: 'urn:level' },
    ]);
  });

  it('skips attributes that are unknown or broken', () => {
    const broken = [
      'a=ssrc:0 cname:x',
      'a=ssrc:99999999999',
      'a=extmap:15 urn:x',
      'a=extmap:0 urn:x',
      'a=rtpmap:128 x/1',
      'a=fmtp:x',
      'a=',
      'a',
      'z',
      'a=rid:"bad" send',
      'a=setup:sideways',
      'a=fingerprint:md5 00',
      'a=simulcast:',
      'a=constructor:1',
      'a=fmtp:111 __proto__=1',
      'a=ssrc-group:FID 1 x',
      'a=sctp-port:99999',
      'a=ice-ufrag:with space',
    ];
    const clean = parseDescription(sdp(...audio)).sections;
    assert.deepEqual(parseDescription(sdp(...audio, ...broken)).sections, clean);
  });

  it('knows sections of other media only to reject them', () => {
    const { sections } = parseDescription(
      sdp('m=text 9 UDP/TLS/RTP/SAVPF 98', 'a=mid:t', 'm=audio 9 RTP/AVP 0', 'a=mid:a'),
    );
    assert.deepEqual(
      sections.map(({ kind }) => kind),
      ['other', 'other'],
    );
  });
});

describe('hostile descriptions', () => {
  const cases: [string, string, string][] = [
    ['nothing', '', 'sdp-malformed'],
    ['text that is not SDP', 'GET / HTTP/1.1\r\n\r\n', 'sdp-malformed'],
    ['no section', sdp(), 'sdp-malformed'],
    ['an m= line without formats', sdp('m=audio 9 UDP/TLS/RTP/SAVPF', 'a=mid:0'), 'sdp-malformed'],
    ['a section without mid', sdp('m=audio 9 UDP/TLS/RTP/SAVPF 111'), 'sdp-malformed'],
    [
      'a mid that fits no header extension',
      sdp('m=audio 9 UDP/TLS/RTP/SAVPF 111', `a=mid:${'m'.repeat(17)}`),
      'sdp-malformed',
    ],
    ['two sections with one mid', sdp(...audio, ...audio), 'sdp-duplicate-mid'],
    ['too many bytes', sdp(...audio, `a=x:${'y'.repeat(offerLimits.maxBytes)}`), 'sdp-too-large'],
    ['a giant line', sdp(...audio, `a=x:${'y'.repeat(5000)}`), 'sdp-too-large'],
    ['too many lines', sdp(...audio, ...Array.from({ length: offerLimits.maxLines }, () => 'a=x')), 'sdp-too-large'],
    [
      'thousands of sections',
      sdp(...Array.from({ length: 3000 }, (_, index) => `m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:${index}`)),
      'sdp-too-large',
    ],
  ];
  for (const [name, text, reason] of cases) {
    it(`are refused with ${reason}: ${name}`, () => {
      assert.equal(
        reasonOf(() => parseDescription(text)),
        reason,
      );
    });
  }

  it('cost no more than their length when they repeat lists, codecs and feedback', () => {
    const formats = Array.from({ length: 128 }, (_, index) => index).join(' ');
    const codecs = Array.from({ length: 128 }, (_, index) => `a=rtpmap:${index} X/1`);
    const rest = Array.from({ length: 9000 }, (_, index) => `a=rtcp-fb:* t${index}`);
    const started = performance.now();
    const section = parseDescription(sdp(`m=video 9 UDP/TLS/RTP/SAVPF ${formats}`, 'a=mid:0', ...codecs, ...rest))
      .sections[0];
    assert.equal(section?.codecs.length, 128);
    assert.ok((section?.codecs[0]?.feedback.length ?? 99) <= 32);
    assert.ok(performance.now() - started < 500);
  });

  it('may have as many sections in an answer as a large room has tracks', () => {
    const sections = Array.from({ length: 1500 }, (_, index) => `m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:${index}`);
    assert.equal(parseDescription(sdp(...sections), answerLimits).sections.length, 1500);
  });
});

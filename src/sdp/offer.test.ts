import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PlenumError } from '../lib/errors.ts';
import { type SubscriberOffer, type SubscriberSlot, formatSubscriberOffer } from './offer.ts';
import { parseDescription } from './parse.ts';
import type { LocalTransport, RtpParameters } from './rtp.ts';
import { readSubscriberAnswer } from './subscriber-answer.ts';

const transport: LocalTransport = {
  ice: { usernameFragment: 'local', password: 'p'.repeat(24) },
  candidates: [{ foundation: 'u1', priority: 9, address: '192.0.2.1', protocol: 'udp', port: 50_000, type: 'host' }],
  fingerprint: { algorithm: 'sha-256', value: Array.from({ length: 32 }, () => 'AB').join(':') },
  sctpPort: 5000,
  maxMessageSize: 262_144,
};

const ddUri = 'https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension';

function parameters(mimeType: string, payloadType = 101): RtpParameters {
  return {
    codecs: [
      {
        mimeType,
        payloadType,
        clockRate: 90_000,
        parameters: {},
        rtcpFeedback: [
          { type: 'nack', parameter: '' },
          { type: 'nack', parameter: 'pli' },
        ],
      },
      {
        mimeType: 'video/rtx',
        payloadType: payloadType + 1,
        clockRate: 90_000,
        parameters: { apt: payloadType },
        rtcpFeedback: [],
      },
    ],
    headerExtensions: [{ uri: 'urn:ietf:params:rtp-hdrext:sdes:mid', id: 1 }],
    encodings: [{ ssrc: 500, rtx: { ssrc: 501 } }],
    rtcp: { cname: 'cn', reducedSize: true },
  };
}

function slot(mid: string, changes: Partial<SubscriberSlot> = {}): SubscriberSlot {
  const track = { streamId: `PA_x|TR_${mid}`, trackId: `TR_${mid}` };
  return { mid, kind: 'video', rtpParameters: parameters('video/VP8'), track, ...changes };
}

function idle(mid: string): SubscriberSlot {
  const { track: _track, ...rest } = slot(mid);
  return rest;
}

function offer(
  slots: SubscriberSlot[],
  options: Pick<SubscriberOffer, 'data' | 'probator' | 'probatorStream'> = { data: true, probator: true },
): string {
  return formatSubscriberOffer({ transport, sessionId: '5', version: 6, slots, ...options });
}

describe('formatSubscriberOffer', () => {
  it('begins with the data section and the probator, then the slots, all bundled', () => {
    const { bundle, sections, iceLite } = parseDescription(offer([slot('1'), slot('2')]));
    assert.deepEqual(
      sections.map(({ mid, kind }) => `${mid} ${kind}`),
      ['0 application', 'probator video', '1 video', '2 video'],
    );
    assert.deepEqual(bundle, ['0', 'probator', '1', '2']);
    assert.ok(iceLite);
    assert.deepEqual(
      sections.map(({ candidates }) => candidates.length),
      [1, 0, 0, 0],
    );
    assert.ok(sections.every(({ setup, ice }) => setup === 'actpass' && ice?.usernameFragment === 'local'));
    assert.deepEqual(
      parseDescription(offer([slot('1')], { data: false, probator: false })).sections.map(({ mid }) => mid),
      ['1'],
    );
  });

  it('has the probes in no stream, or in the one that the client needs', () => {
    const streamOf = (options: { probatorStream?: string }): unknown =>
      parseDescription(offer([], { data: true, probator: true, ...options })).sections[1]?.msids;
    assert.deepEqual(streamOf({}), [{ streamId: '-', trackId: 'probator' }]);
    assert.deepEqual(streamOf({ probatorStream: 'PA_x' }), [{ streamId: 'PA_x', trackId: 'probator' }]);
  });

  it('rejects a retired section and leaves it out of the bundle', () => {
    const text = offer([{ ...idle('1'), retired: true }, slot('2')]);
    assert.ok(text.includes('m=video 0 UDP/TLS/RTP/SAVPF 101 102'));
    const { bundle, sections } = parseDescription(text);
    assert.deepEqual(bundle, ['0', 'probator', '2']);
    assert.deepEqual(
      sections.map(({ mid, rejected }) => `${mid} ${rejected}`),
      ['0 false', 'probator false', '1 true', '2 false'],
    );
  });

  it('describes a track by its consumer: codec, RTX, SSRCs, msid', () => {
    const lines = offer([slot('1')]).split('\r\n');
    const expected = [
      'm=video 9 UDP/TLS/RTP/SAVPF 101 102',
      'a=mid:1',
      'a=sendonly',
      'a=msid:PA_x|TR_1 TR_1',
      'a=rtpmap:101 VP8/90000',
      'a=rtcp-fb:101 nack',
      'a=rtcp-fb:101 nack pli',
      'a=rtpmap:102 rtx/90000',
      'a=fmtp:102 apt=101',
      'a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid',
      'a=ssrc-group:FID 500 501',
      'a=ssrc:500 cname:cn',
      'a=ssrc:501 cname:cn',
    ];
    assert.deepEqual(
      expected.filter((line) => !lines.includes(line)),
      [],
    );
  });

  it('keeps the codecs of an idle slot but nothing of its track', () => {
    const section = parseDescription(offer([idle('1'), slot('2')])).sections[2];
    assert.equal(section?.direction, 'inactive');
    assert.deepEqual(
      section?.codecs.map(({ name }) => name),
      ['VP8', 'rtx'],
    );
    assert.deepEqual([section?.msids, section?.ssrcs, section?.ssrcGroups], [[], [], []]);
  });

  it('announces the dependency descriptor for AV1, which the worker sends unannounced', () => {
    const extensions = (mimeType: string): { id: number; uri: string }[] | undefined =>
      parseDescription(offer([slot('1', { rtpParameters: parameters(mimeType) })])).sections[2]?.extensions;
    assert.deepEqual(extensions('video/AV1')?.[1], { id: 7, uri: ddUri });
    assert.equal(extensions('video/VP9')?.length, 1);
  });

  it('does not let a stream name break out of its line', () => {
    const track = { streamId: 'PA_x|my camera\r\na=ice-ufrag:evil', trackId: '' };
    const text = offer([slot('1', { track })]);
    assert.ok(!text.includes('\r\na=ice-ufrag:evil'));
    assert.deepEqual(parseDescription(text).sections[2]?.msids, [
      { streamId: 'PA_x|my_camera__a_ice-ufrag_evil', trackId: '-' },
    ]);
  });
});

describe('readSubscriberAnswer', () => {
  const slots = [slot('1'), slot('2'), idle('3'), slot('4'), slot('5')];

  /** A client's answer in the least words, with some sections changed. */
  function answer(changes: Record<string, (section: string) => string> = {}): ReturnType<typeof parseDescription> {
    const [head = '', ...sections] = offer(slots).split(/(?=m=)/);
    const answered = sections.map((text) => text.replace('a=sendonly', 'a=recvonly').replace('actpass', 'active'));
    const changed = answered.map((text) => changes[/a=mid:(.*)\r/.exec(text)?.[1] ?? '']?.(text) ?? text);
    return parseDescription(head + changed.join(''));
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

  const offered = { data: true, probator: true, slots };

  it('sorts carrying slots into accepted and refused', () => {
    const read = readSubscriberAnswer({
      answer: answer({
        '2': (text) => text.replace('m=video 9', 'm=video 0'),
        '4': (text) => text.replace('a=recvonly', 'a=inactive'),
        '5': (text) => text.replace('SAVPF 101 102', 'SAVPF 102'),
      }),
      offered,
    });
    assert.deepEqual([...read.accepted], ['1']);
    assert.deepEqual([...read.refused], ['2', '4', '5']);
    assert.equal(read.data, true);
    assert.equal(read.transport.dtlsRole, 'client');
  });

  it('reads the role of the client and a refused data section', () => {
    const passive = (text: string): string => text.replace('setup:active', 'setup:passive');
    const refuse = (text: string): string => text.replace('m=application 9', 'm=application 0');
    assert.equal(readSubscriberAnswer({ answer: answer({ '0': passive }), offered }).transport.dtlsRole, 'server');
    assert.equal(readSubscriberAnswer({ answer: answer({ '0': refuse }), offered }).data, false);
  });

  it('refuses an answer to another offer', () => {
    assert.equal(
      reasonOf(() => readSubscriberAnswer({ answer: answer(), offered: { ...offered, probator: false } })),
      'sdp-answer-mismatch',
    );
    const swapped = { ...offered, slots: slots.toReversed() };
    assert.equal(
      reasonOf(() => readSubscriberAnswer({ answer: answer(), offered: swapped })),
      'sdp-answer-mismatch',
    );
  });
});

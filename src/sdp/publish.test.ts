import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { DeclaredLayer, Quality } from '../protocol/leg-messages.ts';
import { type Section, emptySection } from './description.ts';
import { type PublicationPlan, type PublicationWish, planPublication } from './publish.ts';
import type { RtpCapabilities, RtpCodecCapability } from './rtp.ts';

const capability = (mimeType: string, parameters: Record<string, string | number> = {}): RtpCodecCapability => ({
  kind: mimeType.startsWith('audio') ? 'audio' : 'video',
  mimeType,
  preferredPayloadType: 100,
  clockRate: mimeType.startsWith('audio') ? 48_000 : 90_000,
  ...(mimeType.startsWith('audio') ? { channels: 2 } : {}),
  parameters,
});
const h264 = { 'packetization-mode': 1, 'level-asymmetry-allowed': 1 };
const router: RtpCapabilities = {
  codecs: [
    capability('audio/opus'),
    capability('video/VP8'),
    capability('video/VP9', { 'profile-id': 0 }),
    capability('video/H264', { ...h264, 'profile-level-id': '42e01f' }),
    capability('video/H264', { ...h264, 'profile-level-id': '4d001f' }),
    capability('video/AV1'),
  ],
};

const midUri = 'urn:ietf:params:rtp-hdrext:sdes:mid';
const ridUri = 'urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id';
const ddUri = 'https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension';
const ccUri = 'http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01';
const timeUri = 'http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time';

function videoSection(names: string[], changes: Partial<Section> = {}): Section {
  const codecs = names.flatMap((name, index) => [
    {
      payloadType: 90 + 2 * index,
      name,
      clockRate: 90_000,
      parameters: { 'x-google-start-bitrate': 1000 },
      feedback: [{ type: 'goog-remb' }, { type: 'transport-cc' }, { type: 'ccm', parameter: 'fir' }, { type: 'nack' }],
    },
    { payloadType: 91 + 2 * index, name: 'rtx', clockRate: 90_000, parameters: { apt: 90 + 2 * index }, feedback: [] },
  ]);
  const uris = ['urn:3gpp:video-orientation', midUri, ridUri, ddUri, ccUri, timeUri];
  return {
    ...emptySection('7', 'video'),
    direction: 'sendonly',
    codecs,
    extensions: uris.map((uri, index) => ({ id: index + 3, uri })),
    ...changes,
  };
}

const simulcast = (...rids: string[]): Partial<Section> => ({
  rids: rids.map((rid) => ({ rid, direction: 'send' })),
  simulcast: { send: rids.map((rid) => ({ rid, paused: false })), recv: [] },
});

const layers = (...qualities: Quality[]): DeclaredLayer[] =>
  qualities.map((quality) => ({ quality, width: 1, height: 1, bitrateBps: 1 }));

function videoWish(codec: string, declared = layers(0, 1, 2)): PublicationWish {
  return { kind: 'video', codec: { codec, cid: 'c', layers: declared }, stereo: false, disableDtx: false };
}

function plan(section: Section, wish: PublicationWish): PublicationPlan {
  const result = planPublication({ section, wish, router });
  assert.ok(result.kind === 'plan', `refused: ${JSON.stringify(result)}`);
  return result;
}

describe('planPublication of video', () => {
  it('orders simulcast streams from low to high whatever the offer does', () => {
    for (const rids of [
      ['q', 'h', 'f'],
      ['f', 'h', 'q'],
      ['h', 'q', 'f'],
    ]) {
      const {
        rtpParameters,
        layers: published,
        accepted,
      } = plan(videoSection(['VP8'], simulcast(...rids)), videoWish('vp8'));
      assert.deepEqual(
        rtpParameters.encodings,
        ['q', 'h', 'f'].map((rid) => ({ rid, scalabilityMode: 'L1T3' })),
      );
      assert.deepEqual(
        published,
        [0, 1, 2].map((quality) => ({ quality, rid: 'qhf'[quality], ssrc: 0 })),
      );
      assert.deepEqual(accepted.rids, rids, 'the answer mirrors the offer');
    }
    const numbered = plan(videoSection(['VP8'], simulcast('0', '2', '1')), videoWish('vp8'));
    assert.deepEqual(
      numbered.layers.map(({ rid }) => rid),
      ['2', '1', '0'],
    );
  });

  it('pairs fewer streams with the lower of the declared layers, and a lone one with the best', () => {
    const qualities = (section: Section, ...declared: Quality[]): Quality[] =>
      plan(section, videoWish('vp8', layers(...declared))).layers.map(({ quality }) => quality);
    assert.deepEqual(qualities(videoSection(['VP8'], simulcast('h', 'q')), 2, 1, 0), [0, 1]);
    assert.deepEqual(qualities(videoSection(['VP8'], simulcast('q', 'h')), 0, 2), [0, 2]);
    assert.deepEqual(qualities(videoSection(['VP8']), 0, 1), [1]);
    assert.deepEqual(qualities(videoSection(['VP8'])), [2]);
    assert.deepEqual(qualities(videoSection(['VP8'], simulcast('q', 'h', 'f'))), [0, 1, 2]);
  });

  it('takes simulcast by SSRC as well, with RTX by FID groups', () => {
    const section = videoSection(['VP8'], {
      ssrcs: [{ ssrc: 1, cname: 'c' }, { ssrc: 2 }, { ssrc: 3 }, { ssrc: 4 }],
      ssrcGroups: [
        { semantics: 'SIM', ssrcs: [1, 2] },
        { semantics: 'FID', ssrcs: [1, 3] },
        { semantics: 'FID', ssrcs: [2, 4] },
      ],
    });
    const { rtpParameters } = plan(section, videoWish('vp8'));
    assert.deepEqual(rtpParameters.encodings, [
      { ssrc: 1, rtx: { ssrc: 3 }, scalabilityMode: 'L1T3' },
      { ssrc: 2, rtx: { ssrc: 4 }, scalabilityMode: 'L1T3' },
    ]);
    assert.deepEqual(rtpParameters.rtcp, { reducedSize: true, cname: 'c' });
  });

  it('infers SVC from the declared layers, which SDP cannot show', () => {
    const section = videoSection(['VP8', 'VP9'], {
      ssrcs: [{ ssrc: 5 }, { ssrc: 6 }],
      ssrcGroups: [{ semantics: 'FID', ssrcs: [5, 6] }],
    });
    const layered = plan(section, videoWish('vp9', layers(2, 1, 0)));
    assert.equal(layered.mimeType, 'video/VP9');
    assert.ok(layered.svc);
    assert.deepEqual(layered.rtpParameters.encodings, [{ ssrc: 5, rtx: { ssrc: 6 }, scalabilityMode: 'L3T3_KEY' }]);
    assert.deepEqual(
      layered.layers,
      [0, 1, 2].map((quality) => ({ quality, rid: '', ssrc: 5 })),
    );
    const flat = plan(section, videoWish('vp9', layers(2)));
    assert.equal(flat.rtpParameters.encodings?.[0]?.scalabilityMode, 'L1T3');
  });

  it('accepts only the best of several VP9 streams, which mediasoup does not take as simulcast', () => {
    const {
      accepted,
      rtpParameters,
      layers: published,
    } = plan(videoSection(['VP9'], simulcast('f', 'h', 'q')), videoWish('vp9'));
    assert.deepEqual(accepted.rids, ['f']);
    assert.deepEqual(rtpParameters.encodings, [{ rid: 'f', scalabilityMode: 'L1T3' }]);
    assert.deepEqual(published, [{ quality: 2, rid: 'f', ssrc: 0 }]);
  });

  it('keeps the client its payload types and extension ids, and passes nothing private on to subscribers', () => {
    const { rtpParameters, accepted } = plan(videoSection(['AV1', 'VP8'], { ssrcs: [{ ssrc: 5 }] }), videoWish('vp8'));
    assert.deepEqual(
      rtpParameters.codecs.map(({ mimeType, payloadType }) => [mimeType, payloadType]),
      [
        ['video/VP8', 92],
        ['video/rtx', 93],
      ],
    );
    assert.deepEqual(rtpParameters.codecs[0]?.parameters, {});
    assert.deepEqual(rtpParameters.codecs[0]?.rtcpFeedback, [
      { type: 'transport-cc' },
      { type: 'ccm', parameter: 'fir' },
      { type: 'nack' },
    ]);
    assert.deepEqual(accepted.codecs[0]?.parameters, { 'x-google-start-bitrate': 1000 });
    assert.deepEqual(accepted.extensions, [
      { id: 4, uri: midUri },
      { id: 5, uri: ridUri },
      { id: 7, uri: ccUri },
    ]);
  });

  it('states no layers for AV1 without the dependency descriptor, in which alone the worker finds them', () => {
    const extensions = [{ id: 4, uri: midUri }];
    const bare = plan(videoSection(['AV1'], { ssrcs: [{ ssrc: 5 }], extensions }), videoWish('av1'));
    assert.equal(bare.svc, false);
    assert.deepEqual(bare.rtpParameters.encodings, [{ ssrc: 5 }]);
    const described = plan(videoSection(['AV1'], { ssrcs: [{ ssrc: 5 }] }), videoWish('av1'));
    assert.equal(described.svc, true);
    assert.equal(described.rtpParameters.encodings?.[0]?.scalabilityMode, 'L3T3_KEY');
  });

  it('accepts the dependency descriptor for AV1 alone', () => {
    const uris = (codec: string): string[] =>
      plan(videoSection([codec]), videoWish(codec)).accepted.extensions.map(({ uri }) => uri);
    assert.ok(uris('AV1').includes(ddUri));
    assert.ok(!uris('VP8').includes(ddUri));
    assert.ok(!uris('VP9').includes(ddUri));
  });

  it('turns around extensions that the client only sends, and leaves those that it only receives', () => {
    const extensions = [
      { id: 3, uri: midUri, direction: 'recvonly' as const },
      { id: 9, uri: ridUri, direction: 'sendonly' as const },
    ];
    assert.deepEqual(plan(videoSection(['VP8'], { extensions }), videoWish('vp8')).accepted.extensions, [
      { id: 9, uri: ridUri, direction: 'recvonly' },
    ]);
  });

  it('falls back to REMB for clients without transport-cc', () => {
    const section = videoSection(['VP8'], { extensions: [{ id: 2, uri: timeUri }] });
    const { rtpParameters } = plan(section, videoWish('vp8'));
    assert.deepEqual(rtpParameters.headerExtensions, [{ id: 2, uri: timeUri }]);
    assert.ok(rtpParameters.codecs[0]?.rtcpFeedback?.some(({ type }) => type === 'goog-remb'));
    assert.ok(!rtpParameters.codecs[0]?.rtcpFeedback?.some(({ type }) => type === 'transport-cc'));
  });

  it('does without RTX where none is offered', () => {
    const section = videoSection(['VP8'], {
      ssrcs: [{ ssrc: 1 }, { ssrc: 2 }],
      ssrcGroups: [{ semantics: 'FID', ssrcs: [1, 2] }],
    });
    section.codecs.splice(1);
    const { rtpParameters } = plan(section, videoWish('vp8'));
    assert.equal(rtpParameters.codecs.length, 1);
    assert.deepEqual(rtpParameters.encodings, [{ ssrc: 1 }], 'a lone VP8 stream states no layers');
  });

  it('prefers constrained baseline in packetization mode 1 among H264 formats', () => {
    const section = videoSection(['H264', 'H264', 'H264', 'H264']);
    const ids = ['4d001f', '42e01f', '42e01f', '640c1f'];
    for (const [index, id] of ids.entries()) {
      Object.assign(section.codecs[2 * index]?.parameters ?? {}, {
        'profile-level-id': id,
        'packetization-mode': index === 1 ? 0 : 1,
      });
    }
    assert.equal(plan(section, videoWish('h264')).rtpParameters.codecs[0]?.payloadType, 94);
  });

  it('takes another common codec when the declared one is not offered', () => {
    assert.equal(plan(videoSection(['H266', 'AV1', 'VP8']), videoWish('vp9')).mimeType, 'video/AV1');
  });

  it('refuses what cannot be received', () => {
    const reason = (section: Section, wish = videoWish('vp8')): string => {
      const result = planPublication({ section, wish, router });
      return result.kind === 'refused' ? result.reason : 'none';
    };
    assert.equal(reason(videoSection(['VP8'], { direction: 'recvonly' })), 'not-sending');
    assert.equal(reason(videoSection(['VP8'], { rejected: true })), 'not-sending');
    assert.equal(reason(videoSection(['VP8']), { ...videoWish('vp8'), kind: 'audio' }), 'kind-mismatch');
    assert.equal(reason(videoSection(['H265', 'rtx'])), 'no-common-codec');
    assert.equal(reason(videoSection(['VP8'], simulcast('a', 'b', 'c', 'd'))), 'too-many-layers');
    assert.equal(
      reason(videoSection(['VP8'], { ...simulcast('q', 'h'), extensions: [{ id: 1, uri: midUri }] })),
      'no-rid-extension',
    );
  });
});

describe('planPublication of audio', () => {
  const section: Section = {
    ...emptySection('0', 'audio'),
    codecs: [
      { payloadType: 63, name: 'red', clockRate: 48_000, channels: 2, parameters: { '111/111': '' }, feedback: [] },
      {
        payloadType: 111,
        name: 'opus',
        clockRate: 48_000,
        channels: 2,
        parameters: { minptime: 10, useinbandfec: 1, stereo: 1 },
        feedback: [{ type: 'transport-cc' }],
      },
    ],
    ssrcs: [{ ssrc: 9, cname: 'c' }],
  };
  const wish: PublicationWish = {
    kind: 'audio',
    codec: { codec: '', cid: 'm', layers: [] },
    stereo: false,
    disableDtx: false,
  };

  it('asks for DTX unless the track wants none, and for stereo only when announced', () => {
    const mono = plan(section, wish);
    assert.deepEqual(mono.accepted.codecs[0]?.parameters, { minptime: 10, useinbandfec: 1, usedtx: 1 });
    assert.deepEqual(mono.rtpParameters.codecs[0]?.parameters, { minptime: 10, useinbandfec: 1 });
    assert.deepEqual(mono.rtpParameters.encodings, [{ ssrc: 9, dtx: true }]);
    const stereo = plan(section, { ...wish, stereo: true, disableDtx: true });
    assert.deepEqual(stereo.accepted.codecs[0]?.parameters, {
      minptime: 10,
      useinbandfec: 1,
      stereo: 1,
      maxaveragebitrate: 510_000,
    });
    assert.deepEqual(stereo.rtpParameters.codecs[0]?.parameters, { minptime: 10, useinbandfec: 1, 'sprop-stereo': 1 });
    assert.deepEqual(stereo.rtpParameters.encodings, [{ ssrc: 9 }]);
  });

  it('takes plain opus where RED comes first, and has no layers', () => {
    const { mimeType, layers: none, svc } = plan(section, { ...wish, codec: { ...wish.codec, codec: 'red' } });
    assert.equal(mimeType, 'audio/opus');
    assert.deepEqual(none, []);
    assert.equal(svc, false);
  });
});

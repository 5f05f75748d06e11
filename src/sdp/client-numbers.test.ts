import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatPublisherAnswer } from './answer.ts';
import { audioLevelUri, dependencyDescriptorUri, midUri, ridUri, sendTimeUri, transportCcUri } from './capabilities.ts';
import { clientNumberKey, keptExtensions, readClientNumbers, toClientParameters } from './client-numbers.ts';
import { type Codec, type Section, emptySection } from './description.ts';
import { parseDescription } from './parse.ts';
import type { MediaKind, RtpCapabilities, RtpCodecCapability, RtpHeaderExtensionUri, RtpParameters } from './rtp.ts';

const feedback = [{ type: 'nack' }, { type: 'nack', parameter: 'pli' }, { type: 'transport-cc' }];

function capability(mimeType: string, preferredPayloadType: number, apt?: number): RtpCodecCapability {
  const kind = mimeType.startsWith('audio') ? 'audio' : 'video';
  const clockRate = kind === 'audio' ? 48_000 : 90_000;
  const parameters = apt === undefined ? {} : { apt };
  const channels = kind === 'audio' ? { channels: 2 } : {};
  return { kind, mimeType, preferredPayloadType, clockRate, ...channels, parameters, rtcpFeedback: feedback };
}

const extension = (kind: MediaKind, uri: RtpHeaderExtensionUri, preferredId: number) => ({ kind, uri, preferredId });

const router: RtpCapabilities = {
  codecs: [
    capability('audio/opus', 100),
    capability('video/VP8', 101),
    capability('video/rtx', 102, 101),
    capability('video/VP9', 103),
    capability('video/rtx', 104, 103),
    capability('video/AV1', 105),
    capability('video/rtx', 106, 105),
  ],
  headerExtensions: [
    extension('audio', midUri, 1),
    extension('video', midUri, 1),
    extension('video', ridUri, 2),
    extension('video', sendTimeUri, 4),
    extension('video', transportCcUri, 5),
    extension('audio', audioLevelUri, 6),
  ],
};

function codec(payloadType: number, name: string, parameters: Codec['parameters'] = {}): Codec {
  const isAudio = name === 'opus';
  const clockRate = isAudio ? 48_000 : 90_000;
  return { payloadType, name, clockRate, ...(isAudio ? { channels: 2 } : {}), parameters, feedback };
}

/** As Chromium offers it, with the router's numbers used for something else. */
function receiving(mid = '3', changes: Partial<Section> = {}): Section {
  return {
    ...emptySection(mid, 'video'),
    direction: 'recvonly',
    formats: ['96', '97', '101', '45'],
    codecs: [codec(96, 'VP8'), codec(97, 'rtx', { apt: 96 }), codec(101, 'VP9'), codec(45, 'AV1')],
    extensions: [
      { id: 1, uri: 'urn:ietf:params:rtp-hdrext:toffset' },
      { id: 2, uri: sendTimeUri },
      { id: 3, uri: transportCcUri },
      { id: 4, uri: midUri },
      { id: 12, uri: dependencyDescriptorUri },
    ],
    ice: { usernameFragment: 'remote', password: 'q'.repeat(24) },
    fingerprints: [{ algorithm: 'sha-256', value: Array.from({ length: 32 }, () => 'AB').join(':') }],
    setup: 'actpass',
    ...changes,
  };
}

const sent: RtpParameters = {
  mid: '3',
  codecs: [
    {
      mimeType: 'video/VP8',
      payloadType: 101,
      clockRate: 90_000,
      parameters: { [clientNumberKey]: 96 },
      rtcpFeedback: [{ type: 'nack' }],
    },
    { mimeType: 'video/rtx', payloadType: 102, clockRate: 90_000, parameters: { apt: 101, [clientNumberKey]: 97 } },
  ],
  headerExtensions: [
    { uri: midUri, id: 1 },
    { uri: transportCcUri, id: 5 },
  ],
  encodings: [{ ssrc: 7, rtx: { ssrc: 8 } }],
  rtcp: { cname: 'c' },
};

describe('numbers of a client', () => {
  it('are read for what both ends know, media and repair', () => {
    const { payloadTypes, capabilities } = readClientNumbers(receiving(), router, { bandwidthEstimation: false });
    assert.deepEqual(
      [...payloadTypes],
      [
        [101, 96],
        [103, 101],
        [105, 45],
        [102, 97],
      ],
    );
    assert.deepEqual(
      capabilities.codecs?.map(({ preferredPayloadType }) => preferredPayloadType),
      [101, 103, 105, 102],
      'in the numbers of the router, without repair that the client does not know',
    );
  });

  it('of extensions leave out those of bandwidth estimation where there is none', () => {
    const without = readClientNumbers(receiving(), router, { bandwidthEstimation: false });
    assert.deepEqual([...without.extensionIds.keys()], [midUri, dependencyDescriptorUri]);
    const withIt = readClientNumbers(receiving(), router, { bandwidthEstimation: true });
    assert.equal(withIt.extensionIds.get(transportCcUri), 3);
    assert.equal(withIt.extensionIds.get(midUri), 4);
  });

  it('above 14 are passed over: they fit only one form of header extensions', () => {
    const section = receiving('3', { extensions: [{ id: 15 + 1, uri: midUri }] });
    assert.equal(readClientNumbers(section, router, { bandwidthEstimation: true }).extensionIds.size, 0);
  });

  it('replace those of the router in what the client is told, and nothing of ours is left', () => {
    const numbers = readClientNumbers(receiving(), router, { bandwidthEstimation: true });
    const told = toClientParameters(sent, numbers);
    assert.deepEqual(
      told.codecs.map(({ payloadType, parameters }) => [payloadType, parameters]),
      [
        [96, {}],
        [97, { apt: 96 }],
      ],
    );
    assert.deepEqual(told.headerExtensions, [
      { uri: midUri, id: 4 },
      { uri: transportCcUri, id: 3 },
    ]);
  });

  it('are kept for every extension that a later track may need', () => {
    const offered = receiving();
    offered.extensions.push({ id: 10, uri: ridUri });
    const uris = keptExtensions(offered).map(({ uri }) => uri);
    const kept = [midUri, ridUri, sendTimeUri, transportCcUri, dependencyDescriptorUri];
    assert.deepEqual(uris.toSorted(), kept.toSorted());
  });
});

describe('the answer on a single peer connection', () => {
  function answer(slot: { track?: { streamId: string; trackId: string }; retired?: boolean }): Section | undefined {
    const numbers = readClientNumbers(receiving(), router, { bandwidthEstimation: true });
    const rtpParameters = toClientParameters(sent, numbers);
    const text = formatPublisherAnswer({
      offer: {
        sessionId: '1',
        version: '1',
        iceLite: false,
        extmapAllowMixed: true,
        bundle: ['3', '4'],
        sections: [receiving('3'), receiving('4')],
      },
      transport: {
        ice: { usernameFragment: 'local', password: 'p'.repeat(24) },
        candidates: [],
        fingerprint: { algorithm: 'sha-256', value: Array.from({ length: 32 }, () => 'CD').join(':') },
        sctpPort: 5000,
        maxMessageSize: 262_144,
      },
      accepted: new Map(),
      remembered: new Map(),
      receiving: new Map([['3', { mid: '3', kind: 'video', rtpParameters, ...slot }]]),
      sessionId: '7',
      version: 1,
    });
    const { sections } = parseDescription(text);
    assert.deepEqual(
      sections.map(({ mid }) => mid),
      ['3', '4'],
    );
    assert.equal(sections[1]?.direction, 'inactive');
    assert.ok(
      sections[1].extensions.some(({ uri }) => uri === dependencyDescriptorUri),
      'kept for later',
    );
    return sections[0];
  }

  it('sends a track in a section that the client receives in', () => {
    const section = answer({ track: { streamId: 'PA_1|TR_1', trackId: 'TR_1' } });
    assert.equal(section?.direction, 'sendonly');
    assert.deepEqual(section.msids, [{ streamId: 'PA_1|TR_1', trackId: 'TR_1' }]);
    assert.deepEqual(section.formats, ['96', '97']);
    assert.deepEqual(section.ssrcGroups, [{ semantics: 'FID', ssrcs: [7, 8] }]);
  });

  it('rests a section whose track ended, and gives up one that cannot be used again', () => {
    const resting = answer({});
    assert.equal(resting?.direction, 'inactive');
    assert.equal(resting.rejected, false);
    assert.equal(answer({ retired: true })?.rejected, true);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { consumerCapabilities, mimeOf, routerCodecs, sendTimeUri, transportCcUri } from './capabilities.ts';
import type { RtpCapabilities } from './rtp.ts';

describe('routerCodecs', () => {
  it('knows the enabled codecs in any case and drops what mediasoup does not forward', () => {
    const codecs = routerCodecs(['AUDIO/OPUS', 'audio/red', 'video/h264', 'video/H265']);
    assert.deepEqual([...new Set(codecs.map(({ mimeType }) => mimeType))], ['audio/opus', 'video/H264']);
    assert.ok(codecs.every(({ kind, parameters }) => kind === 'audio' || parameters?.['packetization-mode'] === 1));
  });
});

describe('mimeOf', () => {
  it('reads the codec names of AddTrack', () => {
    assert.equal(mimeOf('', 'video'), 'video/vp8');
    assert.equal(mimeOf('AV1', 'video'), 'video/av1');
    assert.equal(mimeOf('video/VP9', 'video'), 'video/vp9');
    assert.equal(mimeOf('', 'audio'), 'audio/opus');
    assert.equal(mimeOf('red', 'audio'), 'audio/opus');
  });
});

describe('consumerCapabilities', () => {
  const feedback = [{ type: 'nack' }, { type: 'goog-remb' }, { type: 'transport-cc' }];
  const router: RtpCapabilities = {
    codecs: [
      { kind: 'video', mimeType: 'video/VP8', preferredPayloadType: 101, clockRate: 90_000, rtcpFeedback: feedback },
    ],
    headerExtensions: [
      { kind: 'video', uri: 'urn:ietf:params:rtp-hdrext:sdes:mid', preferredId: 1 },
      { kind: 'video', uri: sendTimeUri, preferredId: 4 },
      { kind: 'video', uri: transportCcUri, preferredId: 5 },
      { kind: 'video', uri: 'urn:ietf:params:rtp-hdrext:toffset', preferredId: 9 },
    ],
  };

  it('keeps transport-cc only where bandwidth is estimated, and never REMB', () => {
    const on = consumerCapabilities(router, { bandwidthEstimation: true });
    assert.deepEqual(
      on.headerExtensions?.map(({ preferredId }) => preferredId),
      [1, 4, 5],
    );
    assert.deepEqual(
      on.codecs?.[0]?.rtcpFeedback?.map(({ type }) => type),
      ['nack', 'transport-cc'],
    );
    const off = consumerCapabilities(router, { bandwidthEstimation: false });
    assert.deepEqual(
      off.headerExtensions?.map(({ preferredId }) => preferredId),
      [1],
    );
    assert.deepEqual(
      off.codecs?.[0]?.rtcpFeedback?.map(({ type }) => type),
      ['nack'],
    );
  });
});

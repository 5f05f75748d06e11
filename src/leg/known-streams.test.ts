import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { withKnownStreams } from './known-streams.ts';

const codecs = [{ mimeType: 'video/VP8', payloadType: 96, clockRate: 90_000 }];

describe('streams that a next producer is told of', () => {
  it('have the SSRCs that came for each rid', () => {
    const encodings = ['q', 'h', 'f'].map((rid) => ({ rid, scalabilityMode: 'L1T3' }));
    const known = withKnownStreams({ codecs, encodings }, [
      { rid: 'f', ssrc: 3, rtxSsrc: 33 },
      { rid: 'q', ssrc: 1, rtxSsrc: undefined },
    ]);
    assert.deepEqual(known.encodings, [
      { rid: 'q', scalabilityMode: 'L1T3', ssrc: 1 },
      { rid: 'h', scalabilityMode: 'L1T3' },
      { rid: 'f', scalabilityMode: 'L1T3', ssrc: 3, rtx: { ssrc: 33 } },
    ]);
  });

  it('keep what the description said, and learn the SSRC of a stream that was known by its mid alone', () => {
    const described = { codecs, encodings: [{ ssrc: 5, rtx: { ssrc: 6 } }] };
    assert.deepEqual(withKnownStreams(described, [{ rid: '', ssrc: 5, rtxSsrc: undefined }]), described);
    assert.deepEqual(withKnownStreams(described, []), described);
    const byMid = withKnownStreams({ codecs, encodings: [{}] }, [{ rid: '', ssrc: 7, rtxSsrc: 8 }]);
    assert.deepEqual(byMid.encodings, [{ ssrc: 7, rtx: { ssrc: 8 } }]);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { encodeAck, encodeOpen, parseDcep } from './dcep.ts';

describe('data channel establishment', () => {
  it('writes OPEN as RFC 8832 has it', () => {
    assert.equal(
      encodeOpen('_lossy', 'no-retransmits-unordered').toString('hex'),
      '03810100000000000006' + '0000' + Buffer.from('_lossy').toString('hex'),
    );
  });

  it('reads back what it writes', () => {
    assert.deepEqual(parseDcep(encodeOpen('_reliable', 'reliable-ordered')), {
      kind: 'open',
      label: '_reliable',
      ordered: true,
    });
    assert.deepEqual(parseDcep(encodeOpen('ä', 'no-retransmits-unordered')), {
      kind: 'open',
      label: 'ä',
      ordered: false,
    });
    assert.deepEqual(parseDcep(encodeAck()), { kind: 'ack' });
  });

  it('calls everything else unknown', () => {
    assert.deepEqual(parseDcep(new Uint8Array()), { kind: 'unknown' });
    assert.deepEqual(parseDcep(encodeOpen('_reliable', 'reliable-ordered').subarray(0, 15)), { kind: 'unknown' });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) =>
        ['open', 'ack', 'unknown'].includes(parseDcep(bytes).kind),
      ),
    );
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LossyLimit, patienceWithFrames, patienceWithMessages, type LossyPatience } from './lossy-limit.ts';

/** A path that was seen to carry so much while there was a backlog. */
function measured(patience: LossyPatience, bytesPerMs: number): LossyLimit {
  const clock = { nowMs: 0 };
  const limit = new LossyLimit(() => clock.nowMs, patience);
  clock.nowMs = 100;
  limit.observe({ confirmedBytes: 1_000_000, sentBytes: 0, bufferedBytes: 1_000_000 - bytesPerMs * 100 });
  return limit;
}

const message = (confirmedBytes: number): Parameters<LossyLimit['allows']>[0] => ({
  confirmedBytes,
  unconfirmedBytes: 0,
  messageBytes: 16_000,
});

describe('what may wait for a path that is slower than its sender', () => {
  it('is a whole frame of a data track where that leaves in a tenth of a second', () => {
    const limit = measured(patienceWithFrames, 2500);
    assert.deepEqual([limit.allows(message(190_000)), limit.allows(message(240_000))], [true, false]);
  });

  it('is little for single messages, however fast the path', () => {
    const limit = measured(patienceWithMessages, 9000);
    assert.deepEqual([limit.allows(message(40_000)), limit.allows(message(60_000))], [true, false]);
  });
});

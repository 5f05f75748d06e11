import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StreamStates } from './stream-states.ts';

function observed(sequence: boolean[]): (boolean | undefined)[] {
  const states = new StreamStates();
  return sequence.map((stalled) => states.observe([{ trackSid: 'TR', stalled }])[0]?.paused);
}

describe('stream states', () => {
  it('tells a stop once it lasted, and its end at once', () => {
    assert.deepEqual(observed([false, true, true, true, false, false]), [
      undefined,
      undefined,
      true,
      undefined,
      false,
      undefined,
    ]);
  });

  it('says nothing of a moment between two layers', () => {
    assert.deepEqual(observed([true, false, true, false]), [undefined, undefined, undefined, undefined]);
  });

  it('tells at once what was stopped on purpose', () => {
    const states = new StreamStates();
    assert.deepEqual(states.observe([{ trackSid: 'TR', stalled: true, certain: true }]), [
      { trackSid: 'TR', paused: true },
    ]);
  });

  it('tells of each track that flows once after a move, since the client may believe that it stopped', () => {
    const states = new StreamStates({ continues: true });
    const tracks = [{ trackSid: 'TR', stalled: false }];
    assert.deepEqual(states.observe(tracks), [{ trackSid: 'TR', paused: false }]);
    assert.deepEqual(states.observe(tracks), []);
  });

  it('forgets tracks that are not there any more', () => {
    const states = new StreamStates();
    states.observe([{ trackSid: 'TR', stalled: true }]);
    states.observe([]);
    assert.deepEqual(states.observe([{ trackSid: 'TR', stalled: true }]), []);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { planPipe, type PipeAction, type ReceivedTrack, type WantedTrack } from './plan-pipe.ts';

type State = {
  wanted: Record<string, WantedTrack>;
  received: Record<string, Partial<ReceivedTrack>>;
  retryAtMs?: Record<string, number>;
};

const settled: ReceivedTrack = { flows: true, sourcePaused: false, paused: false, unconfirmed: false };

function plan({ wanted, received, retryAtMs = {} }: State) {
  return planPipe({
    wanted: new Map(Object.entries(wanted)),
    received: new Map(Object.entries(received).map(([id, track]) => [id, { ...settled, ...track }])),
    retryAtMs: new Map(Object.entries(retryAtMs)),
    nowMs: 100,
  });
}

describe('plan of a pipe', () => {
  it('asks for what is wanted and not there', () => {
    assert.deepEqual(plan({ wanted: { x: { flows: true } }, received: {} }).actions, [
      { kind: 'request', producerId: 'x' },
    ]);
  });

  it('drops what is there and not wanted', () => {
    assert.deepEqual(plan({ wanted: {}, received: { x: {} } }).actions, [{ kind: 'drop', producerId: 'x' }]);
  });

  it('waits before it asks again, and says how long', () => {
    const wanted = { x: { flows: false }, y: { flows: false }, z: { flows: false } };
    const { actions, wakeMs } = plan({ wanted, received: {}, retryAtMs: { x: 300, y: 200, z: 100 } });
    assert.deepEqual(actions, [{ kind: 'request', producerId: 'z' }]);
    assert.equal(wakeMs, 200);
  });

  it('opens the copy before it tells the source to send', () => {
    const received = { x: { flows: false, paused: true } };
    assert.deepEqual(plan({ wanted: { x: { flows: true } }, received }).actions, [
      { kind: 'setPaused', producerId: 'x', paused: false },
      { kind: 'tellFlow', producerId: 'x', flows: true },
    ]);
  });

  it('follows pauses of the source without telling it anything', () => {
    const received = { x: { sourcePaused: true } };
    assert.deepEqual(plan({ wanted: { x: { flows: true } }, received }).actions, [
      { kind: 'setPaused', producerId: 'x', paused: true },
    ]);
  });

  it('asks again for what is there when the link was made anew', () => {
    const received = { x: { unconfirmed: true } };
    assert.deepEqual(plan({ wanted: { x: { flows: true } }, received }).actions, [
      { kind: 'request', producerId: 'x' },
    ]);
  });

  it('reaches, from any state, one in which nothing is left to do', () => {
    const ids = fc.constantFrom('u', 'v', 'w');
    const track = fc.record({
      flows: fc.boolean(),
      sourcePaused: fc.boolean(),
      paused: fc.boolean(),
      unconfirmed: fc.boolean(),
    });
    const state = fc.record({
      wanted: fc.dictionary(ids, fc.record({ flows: fc.boolean() })),
      received: fc.dictionary(ids, track),
    });
    fc.assert(
      fc.property(state, ({ wanted, received }) => {
        const tracks = { ...received };
        for (let round = 0; round < 3; round += 1) {
          for (const action of plan({ wanted, received: tracks }).actions) {
            apply(tracks, action);
          }
        }
        assert.deepEqual(plan({ wanted, received: tracks }).actions, []);
        assert.deepEqual(Object.keys(tracks).toSorted(), Object.keys(wanted).toSorted());
        for (const [id, { flows, paused, sourcePaused }] of Object.entries(tracks)) {
          assert.equal(flows, wanted[id]?.flows);
          assert.equal(paused, sourcePaused || !flows);
        }
      }),
    );
  });
});

/** What carrying it out does when everything works. */
function apply(tracks: Record<string, ReceivedTrack>, action: PipeAction): void {
  const { producerId } = action;
  const track = tracks[producerId];
  switch (action.kind) {
    case 'drop':
      delete tracks[producerId];
      break;
    case 'request':
      tracks[producerId] = { ...(track ?? { sourcePaused: false, paused: true }), flows: false, unconfirmed: false };
      break;
    case 'setPaused':
      tracks[producerId] = { ...(track ?? settled), paused: action.paused };
      break;
    case 'tellFlow':
      tracks[producerId] = { ...(track ?? settled), flows: action.flows };
      break;
  }
}

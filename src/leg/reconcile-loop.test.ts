import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, it } from 'node:test';
import { ReconcileLoop } from './reconcile-loop.ts';

function gatedLoop() {
  const gates: (() => void)[] = [];
  const errors: unknown[] = [];
  let running = 0;
  let overlap = false;
  const loop = new ReconcileLoop({
    pass: async () => {
      running += 1;
      overlap ||= running > 1;
      await new Promise<void>((resolve) => gates.push(resolve));
      running -= 1;
    },
    onError: (error) => errors.push(error),
  });
  return { loop, gates, errors, overlapped: () => overlap };
}

describe('reconcile loop', () => {
  it('joins the requests of one turn into one pass and those during a pass into one more', async () => {
    const { loop, gates, overlapped } = gatedLoop();
    loop.request();
    loop.request();
    await turn();
    assert.equal(gates.length, 1);
    loop.request();
    loop.request();
    await turn();
    assert.equal(gates.length, 1, 'the pass under way is not joined by another');
    gates[0]?.();
    await turn();
    assert.equal(gates.length, 2);
    gates[1]?.();
    await turn();
    assert.equal(gates.length, 2);
    assert.equal(overlapped(), false);
  });

  it('reports what a pass throws and goes on', async () => {
    const errors: unknown[] = [];
    let passes = 0;
    const loop = new ReconcileLoop({
      pass: async () => {
        passes += 1;
        throw new Error(`pass ${passes}`);
      },
      onError: (error) => errors.push(error),
    });
    loop.request();
    await turn();
    loop.request();
    await turn();
    assert.deepEqual(errors.map(String), ['Error: pass 1', 'Error: pass 2']);
  });

  it('starts no pass after it was closed', async () => {
    const { loop, gates } = gatedLoop();
    loop.request();
    await turn();
    loop.request();
    const closed = loop.close();
    gates[0]?.();
    loop.request();
    await closed;
    assert.equal(gates.length, 1);
  });

  it('is closed only when the pass under way has ended', async () => {
    const { loop, gates } = gatedLoop();
    loop.request();
    await turn();
    let closed = false;
    const closing = loop.close().then(() => (closed = true));
    await turn();
    assert.equal(closed, false);
    gates[0]?.();
    await closing;
  });
});

/** As `cluster.test.ts`, with seeds that no short run has seen. SEED=N replays one. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { complaint, report, seedsToRun, simulate } from './simulate.ts';

const batch = 500;

it('a simulated cluster keeps its promises in 20,000 runs', { timeout: 50 * 60_000 }, async (test) => {
  const seeds = seedsToRun(20_000);
  for (let first = 0; first < seeds.length; first += batch) {
    const some = seeds.slice(first, first + batch);
    const summary = simulate(some);
    test.diagnostic(report(summary, some));
    assert.equal(summary.failed.length, 0, complaint(summary));
    // Lets the runner print.
    await new Promise((resolve) => setImmediate(resolve));
  }
});

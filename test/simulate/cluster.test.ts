/**
 * The cluster's rules (store, placement, takeover, drain) in virtual time: three masters, four media nodes and up to
 * thirty participants, with messages that get lost and overtake each other, processes that crash and stand still,
 * islands, and a Redis that is away, fails over and forgets. A run is a function of its seed.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { run, type RunOptions } from './run.ts';
import type { BrokenPromise } from './monitor.ts';
import type { Mutant } from './rules.ts';
import { complaint, report, seedsToRun, simulate } from './simulate.ts';

describe('a simulated cluster', () => {
  it('keeps its promises whatever happens to it', (test) => {
    const seeds = seedsToRun(200);
    const summary = simulate(seeds);
    test.diagnostic(report(summary, seeds));
    assert.equal(summary.failed.length, 0, complaint(summary));
    if (seeds.length > 1) {
      const { takeovers, handovers, legsMoved, reconnects, drains, undrains } = summary.totals;
      const figures = { takeovers, handovers, legsMoved, reconnects, drains, undrains };
      for (const [name, count] of Object.entries(figures)) {
        assert.ok(count > 10, `the runs must exercise ${name}, and had ${count}`);
      }
    }
  });

  it('goes on with all its rooms when Redis comes back empty', (test) => {
    const seeds = seedsToRun(30);
    const summary = simulate(seeds, { faults: ['redis-wiped'] });
    test.diagnostic(report(summary, seeds));
    assert.equal(summary.failed.length, 0, complaint(summary));
    assert.equal(summary.totals.takeovers, 0);
  });

  it('takes no room from a host that only Redis cannot be reached from', () => {
    const seeds = seedsToRun(30);
    const summary = simulate(seeds, {
      faults: ['cut-node-from-redis', 'redis-away', 'cut-master-from-redis'],
      lossRate: 0,
    });
    assert.equal(summary.failed.length, 0, complaint(summary));
    assert.equal(summary.totals.takeovers, 0);
  });

  it('empties every node that drains, also when each leader of the drain is killed', (test) => {
    const seeds = seedsToRun(50);
    const summary = simulate(seeds, { faults: ['drain', 'drain', 'undrain', 'crash-leader', 'replace-node'] });
    test.diagnostic(report(summary, seeds));
    assert.equal(summary.failed.length, 0, complaint(summary));
  });

  it('runs the same way again from the same seed', () => {
    const [first, second] = [run({ seed: 7 }), run({ seed: 7 })];
    assert.deepEqual(first, second);
    assert.notDeepEqual(run({ seed: 8 }).events, first.events);
  });
});

type Trap = Omit<RunOptions, 'seed' | 'mutant'> & {
  /** What must be seen to break. */
  breaks: readonly BrokenPromise[];
};

/** Where each mistake has its best chance to show. */
const traps: Record<Mutant, Trap> = {
  'skips-epoch-checks': { breaks: ['old-host-speaks'] },
  'always-speaks': { breaks: ['old-host-speaks'] },
  'takes-over-live-leases': { breaks: ['old-host-speaks', 'room-lost'] },
  'asks-no-master': { breaks: ['old-host-speaks'], faults: ['cut-node-from-redis'], lossRate: 0 },
  'affirms-disowned-hosts': { breaks: ['old-host-speaks'], faults: ['pause-node', 'redis-away'], redisLossRate: 0.05 },
  'counts-stale-pongs': { breaks: ['old-host-speaks'], faults: ['pause-node', 'redis-away'] },
  'reuses-epochs': { breaks: ['two-hosts-at-one-epoch'], faults: ['crash-node', 'pause-node'] },
  'speaks-before-renewal': { breaks: ['old-host-speaks'], faults: ['pause-node', 'redis-failover'], maxLagMs: 4_000 },
  'places-on-draining': { breaks: ['work-on-draining-node'], faults: ['drain', 'undrain'] },
  'forgets-legs-when-drained': { breaks: ['drained-with-work'], faults: ['drain'] },
  'never-falls-back': { breaks: ['drain-does-not-end'], faults: ['drain'] },
  'leaves-preparations': { breaks: ['left-over'], faults: ['drain', 'undrain'] },
  'never-restates': { breaks: ['room-lost'], faults: ['redis-wiped'] },
  'one-leader-only': { breaks: ['drain-does-not-end'], faults: ['drain', 'crash-leader'] },
};

describe('the simulation notices a cluster that', () => {
  for (const [mutant, { breaks, ...options }] of Object.entries(traps) as [Mutant, Trap][]) {
    it(mutant.replaceAll('-', ' '), (test) => {
      for (let seed = 1; seed <= 300; seed += 1) {
        const { violations } = run({ ...options, seed, mutant });
        const found = violations.find(({ promise }) => breaks.includes(promise));
        if (found !== undefined) {
          test.diagnostic(`seed ${seed}: ${found.promise}, ${found.detail}`);
          return;
        }
      }
      assert.fail('300 runs with this mistake broke no promise that it should');
    });
  }
});

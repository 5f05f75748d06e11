import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LagWindow, measureLoad, type LoadSample, type WorkerSample } from './measure-load.ts';

function worker(index: number, facts: Partial<WorkerSample> = {}): WorkerSample {
  return { index, cpuMs: 0, tracks: 0, bytes: 0, packets: 0, ...facts };
}

function sample(atMs: number, ownCpuMs: number, ...workers: WorkerSample[]): LoadSample {
  return { atMs, ownCpuMs, workers };
}

describe('measured load', () => {
  it('is what each worker used and moved in the time between two looks, and their sum', () => {
    const load = measureLoad(
      sample(5_000, 100, worker(0, { cpuMs: 1_000, bytes: 10, packets: 1 }), worker(1, { cpuMs: 50 })),
      sample(
        7_000,
        500,
        worker(0, { cpuMs: 2_000, bytes: 500_010, packets: 1_001, tracks: 3 }),
        worker(1, { cpuMs: 250, bytes: 250_000, packets: 500, tracks: 4 }),
      ),
      4,
    );
    assert.deepEqual(load, {
      cores: 4,
      // 0.2 of a core for the process itself, 0.5 and 0.1 for the workers.
      cpu: 0.2,
      bitrateBps: 3_000_000,
      packetsPerSecond: 750,
      tracks: 7,
      workers: [
        { workerIndex: 0, cpu: 0.5, bitrateBps: 2_000_000, tracks: 3 },
        { workerIndex: 1, cpu: 0.1, bitrateBps: 1_000_000, tracks: 4 },
      ],
    });
  });

  it('takes a worker that began anew, or was not there before, as one that has done nothing yet', () => {
    const load = measureLoad(
      sample(0, 0, worker(0, { cpuMs: 9_000, bytes: 9_000_000, packets: 9_000 })),
      sample(1_000, 0, worker(0, { cpuMs: 20, bytes: 100, packets: 1 }), worker(1, { cpuMs: 5_000, tracks: 2 })),
      2,
    );
    assert.equal(load.bitrateBps, 0);
    assert.equal(load.packetsPerSecond, 0);
    assert.equal(load.cpu, 0);
    assert.deepEqual(
      load.workers.map(({ workerIndex, tracks }) => [workerIndex, tracks]),
      [
        [0, 0],
        [1, 2],
      ],
    );
  });

  it('never says more than a whole core for a worker, nor more than all for the node', () => {
    const load = measureLoad(sample(0, 0, worker(0)), sample(1_000, 5_000, worker(0, { cpuMs: 1_400 })), 2);
    assert.equal(load.workers[0]?.cpu, 1);
    assert.equal(load.cpu, 1);
  });
});

describe('event-loop lag of a node', () => {
  it('ignores one long pause and tells of a loop that is late again and again', () => {
    const window = new LagWindow();
    const stated = [900, 3, 2, 400, 350, 500, 1, 0].map((worstMs) => {
      window.add(worstMs);
      return window.lagMs;
    });
    assert.deepEqual(stated, [0, 0, 2, 2, 2, 350, 1, 0]);
  });
});

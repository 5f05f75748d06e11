import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { chooseWorker, type WorkerCandidate } from './choose-worker.ts';

const cap = 10;

function worker(workerIndex: number, facts: Partial<WorkerCandidate> = {}): WorkerCandidate {
  return { workerIndex, load: 0, roomLegs: 0, roomTracks: 0, ...facts };
}

describe('choice of a worker', () => {
  it('puts a new room on the least loaded worker, the first of equals', () => {
    assert.equal(chooseWorker([worker(0, { load: 9 }), worker(1, { load: 2 }), worker(2, { load: 2 })], cap), 1);
  });

  it('keeps a room on its worker while another one is idle', () => {
    assert.equal(chooseWorker([worker(0), worker(1, { load: 100, roomLegs: 5 })], cap), 1);
  });

  it('takes one more worker when that of the room carries much more', () => {
    assert.equal(chooseWorker([worker(0), worker(1, { load: 151, roomLegs: 5 })], cap), 0);
  });

  it('prefers the worker of the publishers among those of the room', () => {
    const others = worker(0, { load: 20, roomLegs: 5 });
    assert.equal(chooseWorker([others, worker(1, { load: 160, roomLegs: 5, roomTracks: 2 })], cap), 1);
    assert.equal(chooseWorker([others, worker(1, { load: 180, roomLegs: 5, roomTracks: 2 })], cap), 0);
  });

  it('goes on to the next worker when one has its full number of participants', () => {
    const full = worker(0, { load: 10, roomLegs: cap, roomTracks: 1 });
    assert.equal(chooseWorker([full, worker(1, { load: 5000 })], cap), 1);
    assert.equal(chooseWorker([full, worker(1, { load: 5000, roomLegs: cap - 1 }), worker(2, { load: 4900 })], cap), 1);
  });

  it('spreads evenly when all are full', () => {
    const legs = [cap + 1, cap, cap].map((roomLegs, index) => worker(index, { load: index === 1 ? 9 : 5, roomLegs }));
    assert.equal(chooseWorker(legs, cap), 2);
  });

  it('fills workers one after the other up to the number', () => {
    const legs = [0, 0, 0];
    for (let count = 0; count < 3 * cap; count += 1) {
      const index = chooseWorker(
        legs.map((roomLegs, workerIndex) =>
          worker(workerIndex, { load: roomLegs, roomLegs, roomTracks: workerIndex === 0 ? 1 : 0 }),
        ),
        cap,
      );
      assert.ok(index !== undefined);
      legs[index] = (legs[index] ?? 0) + 1;
      assert.ok(Math.max(...legs) <= cap);
    }
    assert.deepEqual(legs, [cap, cap, cap]);
  });

  it('finds none among none', () => {
    assert.equal(chooseWorker([], cap), undefined);
  });
});

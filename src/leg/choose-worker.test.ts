import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { chooseWorker } from './choose-worker.ts';

const loads = [
  { workerIndex: 0, load: 5 },
  { workerIndex: 1, load: 2 },
  { workerIndex: 2, load: 2 },
];

describe('worker choice', () => {
  it('puts a new room on the least loaded worker, the first of equals', () => {
    assert.equal(chooseWorker(loads, new Set()), 1);
  });

  it('keeps a room on its worker however loaded it is', () => {
    assert.equal(chooseWorker(loads, new Set([0])), 0);
  });

  it("moves on when the room's worker is gone, and has no answer without workers", () => {
    assert.equal(chooseWorker(loads, new Set([7])), 1);
    assert.equal(chooseWorker([], new Set()), undefined);
  });
});

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { growthPerLife, judgeGrowth, type MemorySample } from './memory-growth.ts';

const samples = (residentKb: (lives: number) => number): MemorySample[] =>
  Array.from({ length: 100 }, (_, index) => ({ lives: index * 10, byKind: { node: residentKb(index * 10) } }));

it('sees what grows with every life through the ups and downs of garbage', () => {
  const leaking = samples((lives) => 100_000 + lives * 3 + (lives % 50 === 0 ? 0 : 4_000));
  assert.equal(growthPerLife(leaking)['node'], 3);
});

it('does not count how a server warms up', () => {
  const warming = samples((lives) => 100_000 + Math.min(lives, 400) * 100);
  assert.equal(growthPerLife(warming)['node'], 0);
});

it('calls memory flat when no kind of process grows by more than it may', () => {
  assert.deepEqual(judgeGrowth({ node: 1.9, worker: -0.1 }, 2), {
    isFlat: true,
    text: 'Memory is flat: node 1.90, worker -0.10 KB a life over the second half; flat is at most 2.',
  });
  assert.ok(!judgeGrowth({ node: 0.1, worker: 2.1 }, 2).isFlat);
});

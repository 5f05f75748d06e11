import assert from 'node:assert/strict';
import { it } from 'node:test';
import { median, percentile, slope } from './statistics.ts';

it('finds the middle of odd and even counts, whatever the order', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.ok(Number.isNaN(median([])));
});

it('takes a percentile from the values themselves', () => {
  const values = Array.from({ length: 100 }, (_, index) => 99 - index);
  assert.equal(percentile(values, 0.5), 50);
  assert.equal(percentile(values, 0.99), 99);
  assert.equal(percentile(values, 1), 99);
});

it('fits a line, and knows that one point has none', () => {
  const points = [
    { x: 10, y: 5 },
    { x: 20, y: 25 },
    { x: 30, y: 45 },
  ];
  assert.equal(slope(points), 2);
  assert.ok(Number.isNaN(slope(points.slice(1, 2))));
});

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { until, withDeadline } from './until.ts';

it('waits until nothing is wrong any more', async () => {
  let looks = 0;
  await until(() => ((looks += 1) < 3 ? 'too early' : ''), { intervalMs: 1 });
  assert.equal(looks, 3);
});

it('throws the last complaint when the time is over', async () => {
  let looks = 0;
  await assert.rejects(
    until(() => `complaint ${(looks += 1) > 1 ? 'late' : 'early'}`, { timeoutMs: 20, intervalMs: 5 }),
    /still wrong after 20 ms: complaint late/,
  );
});

it('takes an exception of the check for a complaint', async () => {
  await assert.rejects(
    until(
      () => {
        throw new Error('no such thing');
      },
      { timeoutMs: 5, intervalMs: 1 },
    ),
    /no such thing/,
  );
});

it('names what did not happen by a deadline', async () => {
  await assert.rejects(withDeadline(new Promise(() => {}), 'the impossible', 5), /not within 5 ms: the impossible/);
  assert.equal(await withDeadline(Promise.resolve(7), 'seven', 1000), 7);
});

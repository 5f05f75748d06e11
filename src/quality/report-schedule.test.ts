import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { dueReports, reportIntervalMs, reportRequestsPerSecond, type Measured } from './report-schedule.ts';

type Leg = Measured & { name: string };

/** Runs the seconds. @returns when each leg was measured, and how many requests each second took, by worker */
function run(legs: Leg[], seconds: number): { times: Map<string, number[]>; requests: Map<number, number>[] } {
  const times = new Map<string, number[]>(legs.map(({ name }) => [name, []]));
  const requests: Map<number, number>[] = [];
  for (let second = 0; second < seconds; second += 1) {
    const nowMs = second * 1_000;
    const taken = new Map<number, number>();
    for (const leg of dueReports(legs, nowMs)) {
      leg.reportedAtMs = nowMs;
      times.get(leg.name)?.push(nowMs);
      taken.set(leg.workerIndex, (taken.get(leg.workerIndex) ?? 0) + leg.requests);
    }
    requests.push(taken);
  }
  return { times, requests };
}

function crowd(count: number, requests: number, workerIndex = 0): Leg[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `${workerIndex}/${index}`,
    workerIndex,
    requests,
    reportedAtMs: 0,
  }));
}

/** Between two measurements of one leg. */
function longestWaitMs(times: Map<string, number[]>): number {
  return Math.max(
    ...[...times.values()].map((at) => Math.max(...at.map((time, index) => time - (at[index - 1] ?? 0)))),
  );
}

describe('schedule of measurements', () => {
  it('measures the few every five seconds, and those without tracks never', () => {
    const { times } = run([...crowd(10, 8), { name: 'silent', workerIndex: 0, requests: 0, reportedAtMs: 0 }], 21);
    assert.deepEqual(times.get('0/3'), [5_000, 10_000, 15_000, 20_000]);
    assert.deepEqual(times.get('silent'), []);
  });

  it('takes no more requests a second of a worker than it may, however large the room', () => {
    const { times, requests } = run(crowd(1_000, 30), 200);
    assert.ok(requests.every((taken) => (taken.get(0) ?? 0) <= reportRequestsPerSecond));
    // 30,000 requests for all: everybody's turn comes within a minute and the interval.
    assert.ok(longestWaitMs(times) <= (30_000 / 480) * 1_000 + reportIntervalMs, `${longestWaitMs(times)} ms`);
  });

  it('lets a full worker delay nobody on another one', () => {
    const { times } = run([...crowd(1_000, 30), ...crowd(3, 4, 1)], 60);
    assert.equal(times.get('1/0')?.length, 11);
  });

  it('measures one that takes more than all there is, and lets the others have their turn too', () => {
    const giant: Leg = { name: 'giant', workerIndex: 0, requests: 3 * reportRequestsPerSecond, reportedAtMs: 0 };
    const { times } = run([giant, ...crowd(10, 5)], 60);
    assert.ok((times.get('giant')?.length ?? 0) >= 8);
    assert.ok((times.get('0/9')?.length ?? 0) >= 8);
  });
});

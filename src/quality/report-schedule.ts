/**
 * Which participants' connections are measured next. Measuring asks the engine once per track, which takes some 20 µs of
 * this process and 5 µs of the worker, so in large rooms it is done less often instead of taking ever more.
 */

/** So often, unless there are too many tracks. */
export const reportIntervalMs = 5_000;
/**
 * Per media worker: about 1 % of this process's core. Up to 2,500 tracks of a worker are measured every five seconds,
 * 10,000 every twenty.
 */
export const reportRequestsPerSecond = 500;

export type Measured = {
  workerIndex: number;
  /** That one measurement takes; 0 = there is nothing to measure. */
  requests: number;
  /** Of the last measurement, or when there was none, of the beginning. */
  reportedAtMs: number;
};

/** To be called every second. Those who waited longest come first, so that everybody's turn comes. */
export function dueReports<Leg extends Measured>(legs: readonly Leg[], nowMs: number): Leg[] {
  const due = legs.filter(({ requests, reportedAtMs }) => requests > 0 && nowMs - reportedAtMs >= reportIntervalMs);
  const taken = new Map<number, number>();
  return due
    .toSorted((left, right) => left.reportedAtMs - right.reportedAtMs)
    .filter(({ workerIndex, requests }) => {
      const before = taken.get(workerIndex) ?? 0;
      // One that takes more than all there is must not wait for ever.
      const fits = before === 0 || before + requests <= reportRequestsPerSecond;
      taken.set(workerIndex, fits ? before + requests : Math.max(before, reportRequestsPerSecond));
      return fits;
    });
}

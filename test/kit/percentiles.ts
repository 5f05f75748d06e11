/** Nearest-rank percentile. @param share 0–1 */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((left, right) => left - right);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** p50, p95 and the largest, in whole milliseconds. */
export function summary(samplesMs: readonly number[]): string {
  const [p50, p95, max] = [0.5, 0.95, 1].map((share) => Math.round(percentile(samplesMs, share)));
  return `p50 ${p50} ms, p95 ${p95} ms, max ${max} ms of ${samplesMs.length}`;
}

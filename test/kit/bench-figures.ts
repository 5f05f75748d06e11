/** Figures that tests of whole clusters find and `./plenum bench` shows, in the form in which its scenarios tell theirs. */
import { appendFileSync } from 'node:fs';
import type { Row } from '../../bench/results.ts';
import { percentile } from './percentiles.ts';

/**
 * Tells a row of figures to the benchmark that runs this test; without one it does nothing.
 * @param series what was measured, e.g. `RECONNECT after a node died`
 */
export function tellBench(series: string, figures: Row['figures']): void {
  const file = process.env['PLENUM_BENCH_FIGURES'];
  if (file !== undefined && file !== '') {
    appendFileSync(file, `${JSON.stringify({ series, figures } satisfies Row)}\n`);
  }
}

/** Columns for delays, in milliseconds. */
export function delayFigures(samplesMs: readonly number[]): Row['figures'] {
  return {
    'p50 ms': percentile(samplesMs, 0.5),
    'p95 ms': percentile(samplesMs, 0.95),
    'largest ms': percentile(samplesMs, 1),
    count: samplesMs.length,
  };
}

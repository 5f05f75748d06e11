/** Many runs, and what to print of them. */
import type { Counters } from './monitor.ts';
import { run, type RunOptions, type RunResult } from './run.ts';

export type Summary = { runs: number; failed: RunResult[]; totals: Counters };

/** `--seed N` or SEED=N replays one run. */
export function seedsToRun(count: number): number[] {
  const at = process.argv.indexOf('--seed');
  const given = at === -1 ? process.env.SEED : process.argv[at + 1];
  return given === undefined ? Array.from({ length: count }, (_, index) => index + 1) : [Number(given)];
}

export function simulate(seeds: readonly number[], options: Omit<RunOptions, 'seed'> = {}): Summary {
  const results = seeds.map((seed) => run({ ...options, seed }));
  const totals = results.map(({ counters }) => counters).reduce(add);
  return { runs: results.length, failed: results.filter(({ violations }) => violations.length > 0), totals };
}

function add(left: Counters, right: Counters): Counters {
  const sum = { ...left };
  for (const name of Object.keys(sum) as (keyof Counters)[]) {
    sum[name] = name.startsWith('longest') ? Math.max(left[name], right[name]) : left[name] + right[name];
  }
  return sum;
}

/** The first failed runs, with all it takes to understand and replay them. */
export function complaint({ failed, runs }: Summary): string {
  const shown = failed
    .slice(0, 3)
    .map(({ seed, violations, log }) =>
      [
        `seed ${seed} (replay it with SEED=${seed}):`,
        ...violations.map(({ atMs, promise, detail }) => `  ${(atMs / 1_000).toFixed(2)} s  ${promise}: ${detail}`),
        '  what happened to it:',
        ...log.map((line) => `  ${line}`),
      ].join('\n'),
    );
  return [
    `${failed.length} of ${runs} runs broke a promise; seeds ${failed.map(({ seed }) => seed).join(' ')}`,
    ...shown,
  ].join('\n');
}

export function report({ runs, totals }: Summary, seeds: readonly number[]): string {
  const figures = Object.entries(totals).map(([name, value]) => `${name} ${Math.round(value)}`);
  return `seeds ${seeds[0]} to ${seeds.at(-1)} (${runs} runs): ${figures.join(', ')}`;
}

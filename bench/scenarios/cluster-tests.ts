/** Scenarios that are tests of a whole cluster: they check what they measure, and tell their figures by `test/kit/bench-figures.ts`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Row } from '../results.ts';
import type { Bench, Scenario } from '../scenario.ts';

const root = path.join(import.meta.dirname, '../..');
/** Of one file; they end by themselves long before. */
const deadlineMs = 10 * 60_000;

export const failover: Scenario = {
  name: 'failover',
  title: 'media nodes and hosts die, fall silent or are cut off: until everybody is told and has media',
  byDefault: false,
  run: async (bench) =>
    runTests(
      bench,
      ['crowd-death', 'host-death', 'media-death', 'network-partition'].map((name) => `test/cluster/${name}.test.ts`),
    ),
};

export const drain: Scenario = {
  name: 'drain',
  title: 'media nodes with running calls are taken out of service',
  byDefault: false,
  run: async (bench) => runTests(bench, ['test/cluster/drain*.test.ts']),
};

export const joinRate: Scenario = {
  name: 'join-rate',
  title: '300 participants in rooms of 3 join a cluster of two masters and three media nodes',
  byDefault: false,
  run: async (bench) => runTests(bench, ['test/cluster/join-rate.long.test.ts']),
};

async function runTests(bench: Bench, patterns: readonly string[]): Promise<Row[]> {
  if (!bench.isOwnServer) {
    throw new Error('This kills processes of the cluster, so it measures only one of its own: leave --url out.');
  }
  const rows: Row[] = [];
  for (const file of globSync([...patterns], { cwd: root }).toSorted()) {
    bench.progress(file);
    const { found, failure, diagnostics } = await runTest(file);
    rows.push(...found);
    if (failure !== undefined) {
      // The others go on: their figures count all the same.
      process.exitCode = 1;
      bench.note(`${file} FAILED: ${failure}`);
    }
    for (const text of diagnostics) {
      bench.note(`${path.basename(file, '.test.ts')}: ${text}`);
    }
  }
  return rows;
}

type Finding = { found: Row[]; failure: string | undefined; diagnostics: string[] };

async function runTest(file: string): Promise<Finding> {
  const folder = mkdtempSync(path.join(tmpdir(), 'plenum-bench-'));
  const figures = path.join(folder, 'figures');
  try {
    const child = spawn(process.execPath, ['--test', '--test-reporter=tap', file], {
      cwd: root,
      env: { ...process.env, PLENUM_BENCH_FIGURES: figures },
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: deadlineMs,
    });
    let tap = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (tap += chunk));
    const [code] = (await once(child, 'close')) as [number | null];
    const lines = existsSync(figures) ? readFileSync(figures, 'utf8').trim().split('\n') : [];
    return {
      found: lines.map((line) => JSON.parse(line) as Row),
      failure: code === 0 ? undefined : (/error: [|>-]*\s*'?(.*?)'?$/m.exec(tap)?.[1] ?? `it ended with ${code}`),
      diagnostics: lines.length > 0 ? [] : diagnosticsOf(tap),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What a test that tells no figures says in words; the runner's own summary is left out. */
function diagnosticsOf(tap: string): string[] {
  const summary = /^(?:Subtest:|tests |suites |pass |fail |cancelled |skipped |todo |duration_ms )/;
  return [...tap.matchAll(/^\s*# (.*)$/gm)].map(([, text = '']) => text).filter((text) => !summary.test(text));
}

/** `./plenum test`: the checks, then every test, in stages. See `--help`. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './source-files.ts';
import { testStages, type TestStage } from './test-files.ts';
import { killRunningTests, runTestFiles, type TestRun } from './test-process.ts';
import type { TestOutcome } from './test-reporter.ts';

const HELP = `Usage: ./plenum test [--only <part of a path>] [--long] [--once]

Runs the checks (./plenum check) and all tests, and ends with "N passed, N failed, N skipped".

  --only <part>  only the test files whose path contains this, without the checks
  --long         also the long tests (*.long.test.ts), which take up to an hour; implies --once
  --once         no second run for a file that failed; for hunting down what fails now and then

  src/**/x.test.ts        needs nothing; all of these run in one process
  src/**/x.redis.test.ts  needs redis-server
  src/**/x.media.test.ts  needs the media worker; these and test/** run one file at a time
                          and, up to three of them, once more at the end when they failed
  test/cluster/**         real clusters on this machine: redis-server, masters, media nodes
`;

const SLOWEST = 10;

/**
 * Files that may fail and pass in a second run. They hold real calls to real time on a machine that others may load too;
 * more than a few are no accident. The summary names them, and the first failure is printed whole.
 */
const MAX_SECOND_RUNS = 3;

type SecondRun = { file: string; deadlineMs: number };

class Results {
  readonly #outcomes: TestOutcome[] = [];
  readonly #secondRuns: SecondRun[] = [];
  #brokenFiles = 0;
  #checkFailed = false;

  get maySecondRun(): boolean {
    return this.#secondRuns.length < MAX_SECOND_RUNS;
  }

  /** In the order in which they failed. */
  get secondRuns(): readonly SecondRun[] {
    return this.#secondRuns;
  }

  /** Prints what failed in the first run of a file; the second one counts. */
  addFirstRun(again: SecondRun, run: TestRun): void {
    this.#secondRuns.push(again);
    console.log(`again ${again.file} (${(run.durationMs / 1000).toFixed(2)} s) failed, and runs once more at the end`);
    printFailures(again.file, run);
  }

  /** Prints and counts what became of one file. */
  add(file: string, run: TestRun): void {
    // Node reports a file without tests as a test that is named after the file and passes.
    const real = run.outcomes.filter(({ name, kind }) => kind !== 'pass' || shown(name) !== file);
    const mine = real.filter((outcome) => !outcome.suite || outcome.kind === 'fail');
    const failed = mine.filter((outcome) => outcome.kind === 'fail');
    const skipped = mine.filter((outcome) => outcome.kind === 'skip');
    const complaint = run.complaint ?? (mine.length === 0 ? 'ran no tests' : undefined);
    const ok = failed.length === 0 && complaint === undefined;
    const skips = skipped.length > 0 ? `, ${skipped.length} skipped` : '';
    const seconds = (run.durationMs / 1000).toFixed(2);
    console.log(`${ok ? '  ok ' : 'FAIL '} ${file} (${mine.length} tests${skips}, ${seconds} s)`);
    for (const { name, detail } of skipped) {
      console.log(`        skipped: ${name}${detail === '' ? '' : ` (${detail})`}`);
    }
    this.#brokenFiles += complaint === undefined ? 0 : 1;
    if (!ok) {
      printFailures(file, { ...run, complaint });
    }
    this.#outcomes.push(...mine);
  }

  /** The checks count as one more file: failed ones fail the run, but the tests still say what they have to say. */
  addCheck(ok: boolean): void {
    this.#brokenFiles += ok ? 0 : 1;
    this.#checkFailed = !ok;
  }

  /** Prints the summary; true when everything passed. */
  finish(): boolean {
    const timed = this.#outcomes.filter((outcome) => !outcome.suite);
    console.log(`\nThe ${SLOWEST} slowest tests:`);
    for (const { durationMs, file, name } of timed.toSorted((a, b) => b.durationMs - a.durationMs).slice(0, SLOWEST)) {
      console.log(`  ${(durationMs / 1000).toFixed(2).padStart(7)} s  ${shown(file)}: ${name}`);
    }
    const count = (kind: TestOutcome['kind']): number => this.#outcomes.filter((it) => it.kind === kind).length;
    const failed = count('fail') + this.#brokenFiles;
    if (this.#outcomes.length === 0) {
      console.log('No test ran.');
    }
    if (this.#checkFailed) {
      console.log('The checks at the top failed; they count as one failure.');
    }
    if (this.#secondRuns.length > 0) {
      console.log(
        `Ran twice, because they failed in the first run: ${this.#secondRuns.map(({ file }) => file).join(', ')}`,
      );
    }
    console.log(`\n${count('pass')} passed, ${failed} failed, ${count('skip')} skipped`);
    return failed === 0 && this.#outcomes.length > 0;
  }
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '      ');
}

function printFailures(file: string, { outcomes, complaint, output }: TestRun): void {
  for (const { name, detail } of outcomes.filter(({ kind }) => kind === 'fail')) {
    console.log(`\n  ✖ ${name}\n${indent(detail)}`);
  }
  if (complaint !== undefined) {
    console.log(`\n  ✖ ${file} ${complaint}`);
  }
  printOutput(output);
}

function hasFailed({ outcomes, complaint }: TestRun): boolean {
  return complaint !== undefined || outcomes.some(({ kind }) => kind === 'fail');
}

function printOutput(output: string): void {
  if (output.trim() !== '') {
    console.log(`\n  output:\n${indent(output.trimEnd())}\n`);
  }
}

function shown(file: string): string {
  return file.startsWith(ROOT) ? file.slice(ROOT.length + 1) : file;
}

/** Splits a run of many files in one process into one result per file. What they printed cannot be told apart. */
function addTogether(results: Results, files: string[], run: TestRun): void {
  for (const file of files) {
    const outcomes = run.outcomes.filter((outcome) => shown(outcome.file) === file);
    const durationMs = outcomes.filter(({ depth }) => depth === 0).reduce((sum, it) => sum + it.durationMs, 0);
    // After a crash the files that did not come to their turn are not to blame.
    const complaint =
      outcomes.length === 0 && run.complaint !== undefined ? `did not run: ${run.complaint}` : undefined;
    results.add(file, { outcomes, durationMs, output: '', complaint });
  }
  const known = new Set(files);
  const strays = run.outcomes.filter((outcome) => !known.has(shown(outcome.file)));
  const failed = run.complaint !== undefined || run.outcomes.some(({ kind }) => kind === 'fail');
  if (strays.length > 0 || run.complaint !== undefined) {
    results.add(`process of ${files.length} files`, { ...run, outcomes: strays });
  } else if (failed) {
    printOutput(run.output);
  }
}

async function runStage(results: Results, stage: TestStage, once: boolean): Promise<void> {
  if (stage.files.length === 0) {
    return;
  }
  if (stage.together) {
    addTogether(results, stage.files, await runTestFiles(stage.files, stage.deadlineMs));
    return;
  }
  for (const file of stage.files) {
    const first = await runTestFiles([file], stage.deadlineMs);
    if (once || !hasFailed(first) || !results.maySecondRun) {
      results.add(file, first);
      continue;
    }
    results.addFirstRun({ file, deadlineMs: stage.deadlineMs }, first);
  }
}

/** After all others: what held up the first run, such as another load on the machine, may be over. */
async function runAgain(results: Results): Promise<void> {
  for (const { file, deadlineMs } of results.secondRuns) {
    results.add(file, await runTestFiles([file], deadlineMs));
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: '' },
      long: { type: 'boolean', default: false },
      once: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      killRunningTests();
      process.exit(130);
    });
  }
  const results = new Results();
  if (values.only === '') {
    results.addCheck(spawnSync(process.execPath, [join(ROOT, 'scripts/check.ts')], { stdio: 'inherit' }).status === 0);
  }
  const startedMs = performance.now();
  for (const stage of testStages(values)) {
    await runStage(results, stage, values.once || values.long);
  }
  await runAgain(results);
  console.log(`\nAll tests took ${((performance.now() - startedMs) / 1000).toFixed(1)} s.`);
  return results.finish() ? 0 : 1;
}

process.exitCode = await main();

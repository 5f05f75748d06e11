import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './source-files.ts';
import type { TestOutcome } from './test-reporter.ts';

/** What one process of tests came to. */
export type TestRun = {
  outcomes: TestOutcome[];
  /** Standard output and error, in the order in which they arrived. */
  output: string;
  durationMs: number;
  /** Why the process is a failure whatever its tests say, such as a crash or the deadline. */
  complaint: string | undefined;
};

const OUTPUT_LIMIT_CHARS = 200_000;

/** Process groups that run now; all are ended with this process. */
const running = new Set<number>();

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Everything in the group has ended, as it should.
  }
}

/** Ends every test process and its children: their group is not the terminal's, so that Ctrl-C does not reach them. */
export function killRunningTests(): void {
  for (const pid of running) {
    killGroup(pid);
  }
}

function readOutcomes(path: string): TestOutcome[] {
  const lines = readFileSync(path, { encoding: 'utf8', flag: 'a+' }).split('\n');
  return lines.filter((line) => line.endsWith('}')).map((line) => JSON.parse(line) as TestOutcome);
}

/**
 * Runs test files in one Node process of its own process group. When it has ended or its deadline has passed, whatever is
 * left of the group is killed: browsers, media workers and servers that a test forgot must not disturb the next one.
 */
export async function runTestFiles(files: string[], deadlineMs: number): Promise<TestRun> {
  const folder = mkdtempSync(join(tmpdir(), 'plenum-test-'));
  const events = join(folder, 'outcomes.jsonl');
  const startedMs = performance.now();
  const child = spawn(
    process.execPath,
    [
      '--test',
      '--test-isolation=none',
      `--test-reporter=${join(ROOT, 'scripts/test-reporter.ts')}`,
      `--test-reporter-destination=${events}`,
      ...files,
    ],
    { cwd: ROOT, detached: true, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const pid = child.pid ?? 0;
  running.add(pid);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-OUTPUT_LIMIT_CHARS)));
  }
  let complaint: string | undefined;
  const timer = setTimeout(() => {
    complaint = `did not end within ${deadlineMs / 1000} s and was killed`;
    killGroup(pid);
  }, deadlineMs);
  // `exit`, not `close`: a forgotten grandchild may hold the pipes open for ever.
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => {
    child.on('exit', (...ended) => setImmediate(() => resolve(ended)));
  });
  clearTimeout(timer);
  killGroup(pid);
  running.delete(pid);
  const outcomes = readOutcomes(events);
  rmSync(folder, { recursive: true });
  if (complaint === undefined && code !== 0 && !outcomes.some((outcome) => outcome.kind === 'fail')) {
    complaint = `ended with ${signal ?? `exit code ${code}`} although no test failed`;
  }
  return { outcomes, output, durationMs: performance.now() - startedMs, complaint };
}

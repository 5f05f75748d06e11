/**
 * A reporter of node:test that writes one JSON object per finished test, for scripts/test.ts to read. It goes to a file
 * of its own (--test-reporter-destination), so that what the tests print cannot be mistaken for it.
 */
import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';

/** One finished test or suite. */
export type TestOutcome = {
  file: string;
  name: string;
  kind: 'pass' | 'fail' | 'skip';
  suite: boolean;
  durationMs: number;
  /** Nesting of the test: 0 is the file's top level. */
  depth: number;
  /** The error with its stack, or why the test was skipped. */
  detail: string;
};

function outcomeOf(event: Extract<TestEvent, { type: 'test:pass' | 'test:fail' }>): TestOutcome | undefined {
  const { name, file, skip, todo, nesting, details } = event.data;
  const suite = details.type === 'suite';
  const common = { file: file ?? '', name, suite, durationMs: details.duration_ms, depth: nesting };
  if (event.type === 'test:fail') {
    // Node wraps what was thrown; a suite that only failed because a test in it did says nothing new.
    const error = event.data.details.error as Error & { failureType?: string };
    if (suite && error.failureType === 'subtestsFailed') {
      return undefined;
    }
    return { ...common, kind: 'fail', detail: inspect(error.cause ?? error, { depth: 6 }) };
  }
  const reason = [skip, todo].find((value) => value !== undefined && value !== false);
  return reason === undefined
    ? { ...common, kind: 'pass', detail: '' }
    : { ...common, kind: 'skip', detail: reason === true ? '' : reason };
}

const LINGER_MS = 10_000;

/**
 * Ends a process that has no test left to run but does not end, because a test left something open, and says what kind of
 * thing it is. Node itself would wait: it sums up only when nothing is left that could add tests.
 */
class LingerGuard {
  #unfinished = 0;
  #timer: NodeJS.Timeout | undefined;

  see(type: TestEvent['type']): void {
    this.#unfinished += type === 'test:enqueue' ? 1 : type === 'test:complete' ? -1 : 0;
    clearTimeout(this.#timer);
    this.#timer = this.#unfinished > 0 ? undefined : setTimeout(() => this.#end(), LINGER_MS).unref();
  }

  #end(): void {
    const open = process.getActiveResourcesInfo().join(', ');
    process.stderr.write(`\nThe tests are over, but the process does not end. Open are: ${open}\n`);
    process.exit(1);
  }
}

const SUMMARY = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/;

/** Turns the events of a run into lines of JSON. Node wants the reporter as default export. */
export default async function* reportTests(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const guard = new LingerGuard();
  for await (const event of events) {
    guard.see(event.type);
    // Errors thrown outside of any test come as diagnostics only.
    if (event.type === 'test:diagnostic' && !SUMMARY.test(event.data.message)) {
      process.stderr.write(`${event.data.message}\n`);
    }
    const outcome = event.type === 'test:pass' || event.type === 'test:fail' ? outcomeOf(event) : undefined;
    if (outcome !== undefined) {
      yield `${JSON.stringify(outcome)}\n`;
    }
  }
}

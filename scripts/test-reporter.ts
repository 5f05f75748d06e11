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

/** Ends a process that something which a test left open keeps alive, and says what kind of thing it is. */
function endLingeringProcess(): void {
  const timer = setTimeout(() => {
    const open = process.getActiveResourcesInfo().filter((kind) => kind !== 'PipeWrap');
    process.stderr.write(`\nThe tests are over, but something is left open: ${open.join(', ')}\n`);
    process.exit(1);
  }, LINGER_MS);
  timer.unref();
}

/** Turns the events of a run into lines of JSON. Node wants the reporter as default export. */
export default async function* reportTests(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of events) {
    const outcome = event.type === 'test:pass' || event.type === 'test:fail' ? outcomeOf(event) : undefined;
    if (outcome !== undefined) {
      yield `${JSON.stringify(outcome)}\n`;
    }
    if (event.type === 'test:summary' && event.data.file === undefined) {
      endLingeringProcess();
    }
  }
}

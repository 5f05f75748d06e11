/** `./plenum check`: everything that can be said about the sources without running them. Each step prints its command. */
import { spawnSync } from 'node:child_process';
import { openSync, readSync, closeSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT, sourceFiles } from './source-files.ts';

const HELP = `Usage: ./plenum check [--fix]

Formatting, lint with types, types, unused code, shell scripts, and the house rules in scripts/tidy.test.ts.

  --fix  formats, and applies the fixes that lint is sure of
`;

function isShellScript(path: string): boolean {
  if (path.endsWith('.sh')) {
    return true;
  }
  if (/\.[a-z0-9]+$/i.test(path)) {
    return false;
  }
  const head = Buffer.alloc(32);
  const file = openSync(join(ROOT, path), 'r');
  readSync(file, head);
  closeSync(file);
  return /^#!.*\b(ba)?sh\b/.test(head.toString('latin1'));
}

function steps(fix: boolean): string[][] {
  const bin = (name: string): string => join('node_modules', '.bin', name);
  return [
    [bin('oxfmt'), fix ? '--write' : '--check', '.'],
    // Warnings are errors: what nobody must act on would only hide what somebody must.
    [bin('oxlint'), '--type-aware', '--deny-warnings', '--report-unused-disable-directives', ...(fix ? ['--fix'] : [])],
    [bin('tsc'), '--noEmit'],
    ...sourceFiles('web')
      .filter((path) => /^web\/[^/]+\/tsconfig\.json$/.test(path))
      .map((path) => [bin('tsc'), '--noEmit', '-p', path]),
    [bin('knip'), '--no-progress', '--no-config-hints'],
    ['shellcheck', ...sourceFiles().filter(isShellScript)],
    ['node', '--test', '--test-reporter=dot', 'scripts/tidy.test.ts', 'scripts/docs.test.ts'],
  ];
}

function main(): number {
  const { values } = parseArgs({
    options: { fix: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  let failed = 0;
  for (const [program = '', ...args] of steps(values.fix)) {
    const startedMs = performance.now();
    const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: ROOT, encoding: 'utf8' });
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    const line = [program, ...args].join(' ').replace('node_modules/.bin/', '');
    console.log(`${status === 0 ? '  ok ' : 'FAIL '} ${line} (${seconds} s)`);
    if (status !== 0) {
      failed += 1;
      console.log(error === undefined ? `${stdout}${stderr}` : `${program} could not be started: ${error.message}`);
    }
  }
  if (failed > 0) {
    console.log(`${failed} of the checks failed.`);
  }
  return failed === 0 ? 0 : 1;
}

process.exitCode = main();

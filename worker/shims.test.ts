import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';

const HERE = import.meta.dirname;

it('the hash containers behave as the standard ones over a million random operations, clean under sanitizers', () => {
  const folder = mkdtempSync(join(tmpdir(), 'plenum-shims-'));
  try {
    const program = join(folder, 'unordered-dense');
    const flags = ['-std=c++20', '-O1', '-g', '-Wall', '-Wextra', '-Werror', '-fsanitize=address,undefined'];
    const source = join(HERE, 'test', 'unordered-dense.cpp');
    const compiled = spawnSync('g++', [...flags, `-I${join(HERE, 'shim')}`, source, '-o', program], {
      encoding: 'utf8',
    });
    assert.equal(compiled.status, 0, compiled.stderr);
    const run = spawnSync(program, { encoding: 'utf8', env: { UBSAN_OPTIONS: 'halt_on_error=1' } });
    assert.equal(run.status, 0, run.stderr);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

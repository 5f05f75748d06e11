import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';

const HERE = import.meta.dirname;

/** The file that the patch adds. */
function addedFile(patch: string, path: string): string {
  const [, rest = ''] = readFileSync(join(HERE, 'patches', patch), 'utf8').split(`+++ b/${path}\n`);
  const lines = rest.split('\n').slice(1);
  const end = lines.findIndex((line) => !line.startsWith('+'));
  return lines
    .slice(0, end)
    .map((line) => `${line.slice(1)}\n`)
    .join('');
}

it('packets get the numbers of a client, and what it has no number for becomes padding', () => {
  const folder = mkdtempSync(join(tmpdir(), 'plenum-numbers-'));
  try {
    mkdirSync(join(folder, 'RTC'));
    writeFileSync(
      join(folder, 'RTC/ClientNumbers.hpp'),
      addedFile('21-client-numbers.patch', 'include/RTC/ClientNumbers.hpp'),
    );
    for (const header of ['common.hpp', 'RTC/RtpDictionaries.hpp']) writeFileSync(join(folder, header), '');
    const program = join(folder, 'client-numbers');
    const flags = ['-std=c++20', '-O1', '-g', '-Wall', '-Wextra', '-Werror', '-fsanitize=address,undefined'];
    const source = join(HERE, 'test', 'client-numbers.cpp');
    const compiled = spawnSync('g++', [...flags, `-I${folder}`, source, '-o', program], { encoding: 'utf8' });
    assert.equal(compiled.status, 0, compiled.stderr);
    const run = spawnSync(program, { encoding: 'utf8', env: { UBSAN_OPTIONS: 'halt_on_error=1' } });
    assert.equal(run.status, 0, run.stderr);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

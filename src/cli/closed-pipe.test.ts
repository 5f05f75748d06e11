import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';

describe('output that nobody reads any more', () => {
  for (const program of ['src/main.ts', 'bench/main.ts']) {
    it(`ends ${program} without a word`, () => {
      // The reader is gone before the program writes.
      const script = '"$1" "$2" --help | exec true';
      const { stderr, signal } = spawnSync('bash', ['-c', script, 'bash', process.execPath, program], {
        cwd: new URL('../..', import.meta.url),
        encoding: 'utf8',
        timeout: 30_000,
      });
      assert.equal(signal, null);
      assert.equal(stderr, '');
    });
  }
});

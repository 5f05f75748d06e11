import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import path from 'node:path';
import { findWorker } from '../test/kit/light/build.ts';
import type { Machine } from './results.ts';

export async function describeMachine(): Promise<Machine> {
  const all = cpus();
  const worker = (await findWorker()) ?? '';
  return {
    cpu: `${all[0]?.model.trim() ?? 'unknown'}${modelNumber()}`,
    cores: all.length,
    memoryMb: Math.round(totalmem() / 1e6),
    kernel: release(),
    node: process.version,
    // The folder names mediasoup's version and the recipe of the build.
    worker: path.basename(path.dirname(worker)),
    commit: commit(),
  };
}

/** Virtual machines hide the name of their CPU behind a general one; family and model tell more. */
function modelNumber(): string {
  const text = readFileSync('/proc/cpuinfo', 'latin1');
  const value = (key: string): string => new RegExp(`^${key}\\s*: (.*)$`, 'm').exec(text)?.[1] ?? '?';
  return ` (family ${value('cpu family')}, model ${value('model')}, ${value('cpu MHz')} MHz)`;
}

function git(...args: string[]): string {
  const output = execFileSync('git', args, { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'ignore'] });
  return output.toString().trim();
}

function commit(): string {
  try {
    const dirty = git('status', '--porcelain') === '' ? '' : '+';
    return git('rev-parse', '--short', 'HEAD') + dirty;
  } catch {
    return 'unknown';
  }
}

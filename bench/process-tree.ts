/** CPU time and memory of processes by the kernel's own accounting, whoever started them. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

const pageBytes = 4096;
const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

export type ProcessSample = { pid: number; kind: string; cpuS: number; rssBytes: number };

type Stat = { pid: number; parent: number; name: string; cpuTicks: number; rssPages: number };

/** The given processes with all their descendants. */
export function sampleTree(roots: readonly number[]): ProcessSample[] {
  const all = new Map<number, Stat>();
  for (const entry of readdirSync('/proc')) {
    const stat = /^\d+$/.test(entry) ? readStat(Number(entry)) : undefined;
    if (stat !== undefined) {
      all.set(stat.pid, stat);
    }
  }
  const isInTree = (stat: Stat | undefined): boolean =>
    stat !== undefined && (roots.includes(stat.pid) || isInTree(all.get(stat.parent)));
  return [...all.values()].filter(isInTree).map((stat) => ({
    pid: stat.pid,
    kind: kindOf(stat.name),
    cpuS: stat.cpuTicks / ticksPerSecond,
    rssBytes: stat.rssPages * pageBytes,
  }));
}

function readStat(pid: number): Stat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined; // It has just ended.
  }
  // The name may hold spaces and brackets.
  const end = text.lastIndexOf(')');
  const fields = text
    .slice(end + 2)
    .split(' ')
    .map(Number);
  return {
    pid,
    name: text.slice(text.indexOf('(') + 1, end),
    parent: fields[1] ?? 0,
    cpuTicks: (fields[11] ?? 0) + (fields[12] ?? 0),
    rssPages: fields[21] ?? 0,
  };
}

function kindOf(name: string): string {
  if (name === 'node' || name === 'MainThread') {
    return 'node';
  }
  return name.startsWith('mediasoup') ? 'worker' : name;
}

/** Seconds that all cores together were busy, the hypervisor's stealing included, and that passed in all. */
export function sampleMachine(): { busyS: number; stolenS: number } {
  const fields = (readFileSync('/proc/stat', 'latin1').split('\n')[0] ?? '').trim().split(/\s+/).slice(1).map(Number);
  const [user = 0, nice = 0, system = 0, , , interrupt = 0, softInterrupt = 0, stolen = 0] = fields;
  return {
    busyS: (user + nice + system + interrupt + softInterrupt + stolen) / ticksPerSecond,
    stolenS: stolen / ticksPerSecond,
  };
}

/** Keeps processes, all their threads included, on one core. */
export function pin(pids: readonly number[], core: number): void {
  for (const pid of pids) {
    execFileSync('taskset', ['-a', '-c', '-p', String(core), String(pid)], { stdio: 'ignore' });
  }
}

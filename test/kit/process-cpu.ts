import { readFile } from 'node:fs/promises';

/** Of Linux on every architecture that we know. */
const ticksPerSecond = 100;

/** CPU time that a process has taken so far, its threads included, its children not. */
export async function cpuMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The name of the program may hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond;
}

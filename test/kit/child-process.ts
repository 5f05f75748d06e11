import { readFile } from 'node:fs/promises';

/** Process ids of the children of a process that run this program. */
export async function childrenNamed(pid: number, program: string): Promise<number[]> {
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ').filter(Boolean);
  const found: number[] = [];
  for (const child of children) {
    const name = await readFile(`/proc/${child}/comm`, 'utf8').catch(() => '');
    if (name.trim() === program) found.push(Number(child));
  }
  return found;
}

/** kill -9 for the one child that runs this program. @returns its process id */
export async function killChild(pid: number, program: string): Promise<number> {
  const [child, ...more] = await childrenNamed(pid, program);
  if (child === undefined || more.length > 0) throw new Error(`not exactly one child of ${pid} runs ${program}`);
  process.kill(child, 'SIGKILL');
  return child;
}

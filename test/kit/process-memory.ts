import { readFile } from 'node:fs/promises';

const pageBytes = 4096;

/** Resident bytes of a server process and of its media workers together. */
export async function treeMemory(pid: number): Promise<{ node: number; worker: number }> {
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ');
  const workers = await Promise.all(
    children.filter((child) => child !== '').map((child) => residentBytes(Number(child))),
  );
  return { node: await residentBytes(pid), worker: workers.reduce((sum, bytes) => sum + bytes, 0) };
}

export async function residentBytes(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/statm`, 'utf8')).split(' ');
  return Number(fields[1]) * pageBytes;
}

import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { stateUnusable } from './errors.ts';

/** The secret of a node that is alone, made when it is first needed. Rejects with `bad-config` when the folder is of no use. */
export async function localSecret(folder: string): Promise<string> {
  const file = path.join(folder, 'secret');
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const secret = randomBytes(32).toString('hex');
    // Whoever comes second reads what the first one wrote.
    await writeFile(file, secret, { mode: 0o600, flag: 'wx', flush: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    return await readFile(file, 'utf8');
  } catch (error) {
    throw stateUnusable(folder, error);
  }
}

import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { stateUnusable } from './errors.ts';

/** The secret of a node that is alone, made when it is first needed. Rejects with `bad-config` when the folder is of no use. */
export async function localSecret(folder: string): Promise<string> {
  const file = path.join(folder, 'secret');
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const draft = path.join(folder, `secret.${randomBytes(6).toString('hex')}`);
    await writeFile(draft, randomBytes(32).toString('hex'), { mode: 0o600, flush: true });
    // Whole or not at all, and of several that come at once the first one counts.
    await link(draft, file).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    await rm(draft);
    return await readFile(file, 'utf8');
  } catch (error) {
    throw stateUnusable(folder, error);
  }
}

/** Writes the files of a node, and says which of them it had to change. */
import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { NodeFile } from './node-files.ts';

const run = promisify(execFile);

export class NodeDisk {
  readonly #root: string;
  /** A simulation runs as whoever started it, and has the folders of several nodes beside each other. */
  readonly #isShared: boolean;

  /** @param root below which all paths are; `/` on a machine that is the node's own */
  constructor(root = '/') {
    this.#root = root;
    this.#isShared = root !== '/';
  }

  at(file: string): string {
    return path.join(this.#root, file);
  }

  /** @returns false when it was there already, with the same content and rights */
  async write(file: NodeFile): Promise<boolean> {
    const target = this.at(file.path);
    const content = this.#isShared ? movedBelow(this.#root, file.content) : file.content;
    const existing = await readFile(target, 'utf8').catch(() => undefined);
    if (existing !== undefined && (file.once === true || existing === content)) {
      return (await this.#setRights(target, file)) && file.once !== true;
    }
    await mkdir(path.dirname(target), { recursive: true, mode: 0o755 });
    // The rights come before the content is where others look.
    const fresh = `${target}.new`;
    await writeFile(fresh, content, { mode: file.mode });
    await this.#setRights(fresh, file);
    await rename(fresh, target);
    return true;
  }

  async #setRights(target: string, { mode, owner }: NodeFile): Promise<boolean> {
    const before = await stat(target);
    await chmod(target, mode);
    if (this.#isShared) {
      return (before.mode & 0o777) !== mode;
    }
    const { uid, gid } = await idsOf(owner);
    await chown(target, uid, gid);
    return (before.mode & 0o777) !== mode || before.uid !== uid || before.gid !== gid;
  }

  /** A folder that a program writes to before its service ever ran. */
  async makeFolder(folder: string, owner: NodeFile['owner']): Promise<void> {
    const target = this.at(folder);
    await mkdir(target, { recursive: true, mode: 0o700 });
    if (!this.#isShared) {
      const { uid, gid } = await idsOf(owner);
      await chown(target, uid, gid);
    }
  }
}

async function idsOf(user: string): Promise<{ uid: number; gid: number }> {
  if (user === 'root') {
    return { uid: 0, gid: 0 };
  }
  const [uid, gid] = await Promise.all(
    ['-u', '-g'].map(async (flag) => Number((await run('id', [flag, user])).stdout)),
  );
  return { uid: uid ?? 0, gid: gid ?? 0 };
}

/** The text of a file for a node whose files are below a folder: files name each other. */
export function movedBelow(root: string, content: string): string {
  return content.replaceAll(/(?<![\w.])\/(?=(?:etc|var\/lib|opt)\/plenum)/g, `${root}/`);
}

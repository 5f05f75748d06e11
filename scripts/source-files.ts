import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';

/** The root of the checkout. */
export const ROOT = join(import.meta.dirname, '..');

const NOT_OURS = new Set(['node_modules', 'dist', '.git', 'tmp']);

/** Every file of the project below a folder, as sorted paths relative to the root. A missing folder has none. */
export function sourceFiles(folder = '.'): string[] {
  const found: string[] = [];
  const visit = (path: string): void => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (entry.isDirectory() && !NOT_OURS.has(entry.name)) {
        visit(join(path, entry.name));
      } else if (entry.isFile()) {
        found.push(relative(ROOT, join(path, entry.name)));
      }
    }
  };
  try {
    visit(join(ROOT, folder));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw error;
    }
  }
  return found.toSorted();
}

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

type Manifest = { dependencies?: Record<string, string>; optionalDependencies?: Record<string, string> };

/**
 * Folders of the npm packages that run in production, as `node_modules/…` below the root.
 * @param workspace whose they are; the main one when left out
 */
export function productionModules(root: string, workspace = '.'): string[] {
  const found = new Set<string>();
  const visit = (from: string, name: string, isOptional: boolean): void => {
    const folder = resolve(root, from, name);
    if (folder === undefined) {
      if (isOptional) return;
      throw new Error(`the npm package ${name}, which ${from} needs, is not installed`);
    }
    if (!found.has(folder)) {
      found.add(folder);
      visitAll(folder);
    }
  };
  const visitAll = (folder: string): void => {
    const manifest = JSON.parse(readFileSync(path.join(root, folder, 'package.json'), 'utf8')) as Manifest;
    const optional = Object.keys(manifest.optionalDependencies ?? {});
    for (const name of new Set([...Object.keys(manifest.dependencies ?? {}), ...optional])) {
      visit(folder, name, optional.includes(name));
    }
  };
  visitAll(workspace);
  return [...found].toSorted();
}

/** As Node looks for it: beside the package that asks, then further up. */
function resolve(root: string, from: string, name: string): string | undefined {
  let folder = from;
  for (;;) {
    const candidate = path.join(folder, 'node_modules', name);
    if (existsSync(path.join(root, candidate, 'package.json'))) {
      return candidate;
    }
    if (folder === '.') {
      return undefined;
    }
    folder = path.dirname(folder);
  }
}

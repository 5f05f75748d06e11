/** What a release consists of, as CycloneDX, for those who look for vulnerable parts. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { productionModules } from './production-modules.ts';

type Component = { 'bom-ref': string; type: string; name: string; version: string; [key: string]: unknown };
export type PartsList = {
  components: Component[];
  dependencies: { ref: string; dependsOn?: string[] }[];
  [key: string]: unknown;
};

/**
 * All that the lock file names, by npm 10 or newer, less what is not in a release. npm's own `--omit dev` leaves out every package that some
 * development package needs as well (npm 11.19).
 */
export function partsList(root: string): PartsList {
  const npm = process.env['PLENUM_NPM_CLI'];
  const [program = 'npm', ...first] = npm === undefined ? ['npm'] : [process.execPath, npm];
  const args = [...first, 'sbom', '--sbom-format', 'cyclonedx', '--package-lock-only'];
  const made = spawnSync(program, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (made.status !== 0) {
    throw new Error(`npm sbom failed: ${made.error?.message ?? made.stderr}`);
  }
  const everything = JSON.parse(made.stdout) as PartsList;
  const released = releasedPackages(root);
  const components = everything.components.filter(({ name, version }) => released.has(`${name}@${version}`));
  const missing = [...released].filter((id) => !components.some(({ name, version }) => `${name}@${version}` === id));
  if (missing.length > 0) {
    throw new Error(`package-lock.json does not name ${missing.join(', ')}: node_modules is not what it says`);
  }
  const refs = new Set(components.map((component) => component['bom-ref']));
  const dependencies = everything.dependencies
    .filter(({ ref }) => refs.has(ref))
    .map((entry) => ({ ...entry, dependsOn: (entry.dependsOn ?? []).filter((ref) => refs.has(ref)) }));
  return { ...everything, components: [...components, ...programs(root)], dependencies };
}

/** As `name@version`: what nodes run, and what the meeting page was built from. */
export function releasedPackages(root: string): Set<string> {
  const folders = [...productionModules(root), ...productionModules(root, 'web/meet')];
  return new Set(folders.map((folder) => describe(root, folder)).map(({ name, version }) => `${name}@${version}`));
}

function describe(root: string, folder: string): { name: string; version: string } {
  return JSON.parse(readFileSync(path.join(root, folder, 'package.json'), 'utf8')) as { name: string; version: string };
}

/** Beside the npm packages. What the worker links to is Debian's, and updated with the machine. */
function programs(root: string): Component[] {
  const versions = {
    node: process.versions.node,
    'mediasoup-worker': describe(root, 'node_modules/mediasoup').version,
  };
  return Object.entries(versions).map(([name, version]) => ({
    'bom-ref': `${name}@${version}#program`,
    type: 'application',
    name,
    version,
    purl: `pkg:generic/${name}@${version}`,
  }));
}

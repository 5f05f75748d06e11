/** `./plenum release`: one file with everything that a node needs, its checksum, its parts list, and the filled template. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { generatedFiles } from '../deploy/azure/generated-files.ts';
import { partsList } from './parts-list.ts';
import { productionModules } from './production-modules.ts';
import { ROOT } from './source-files.ts';

const HELP = `Usage: ./plenum release [--out <folder>] [--base-url <url>] [--name <text>]

Makes plenum-<version>-linux-x64.tar.gz: the program, the media worker, the npm packages that it runs with, and Node.
Beside it: its SHA-256, a list of its parts (CycloneDX), and the Azure template and form with its address filled in.

  --out <folder>    where to write (default: dist/release)
  --base-url <url>  https address of the folder that the file will be served from
  --name <text>     added to the version (default: the commit)
`;

export type ReleaseOptions = { out: string; baseUrl: string; name: string; worker: string; compression?: number };
export type Release = { version: string; file: string; sha256: string };

export function makeRelease({ out, baseUrl, name, worker, compression = 6 }: ReleaseOptions): Release {
  const stage = mkdtempSync(path.join(tmpdir(), 'plenum-release-'));
  try {
    const version = stageProgram(stage, name);
    stageModules(stage);
    cpSync(process.execPath, path.join(stage, 'node'));
    cpSync(worker, path.join(stage, 'mediasoup-worker'));
    mkdirSync(path.join(stage, 'bin'));
    writeFileSync(path.join(stage, 'bin/plenum'), starter);
    chmodSync(path.join(stage, 'bin/plenum'), 0o755);
    mkdirSync(out, { recursive: true });
    const file = path.join(out, `plenum-${version}-linux-x64.tar.gz`);
    pack(stage, file, compression);
    const sha256 = createHash('sha256').update(readFileSync(file)).digest('hex');
    writeFileSync(`${file}.sha256`, `${sha256}  ${path.basename(file)}\n`);
    const url = `${baseUrl.replace(/\/$/, '')}/${encodeURIComponent(path.basename(file))}`;
    for (const [generated, content] of Object.entries(generatedFiles({ url, sha256 }))) {
      writeFileSync(path.join(out, generated), content);
    }
    return { version, file, sha256 };
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

const starter = `#!/bin/sh
# Starts Plenum with the Node and the media worker that it was released with.
here=$(dirname "$(readlink -f "$0")")/..
export MEDIASOUP_WORKER_BIN="$here/mediasoup-worker"
export NODE_COMPILE_CACHE="\${NODE_COMPILE_CACHE:-/var/lib/plenum/compile}"
exec "$here/node" "$here/src/main.ts" "$@"
`;

function stageProgram(stage: string, name: string): string {
  const manifest = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as Record<string, unknown>;
  const version = `${String(manifest['version'])}${name === '' ? '' : `+${name}`}`;
  const { devDependencies: _, workspaces: __, scripts: ___, ...kept } = manifest;
  writeFileSync(path.join(stage, 'package.json'), `${JSON.stringify({ ...kept, version }, null, 2)}\n`);
  cpSync(path.join(ROOT, 'LICENSE'), path.join(stage, 'LICENSE'));
  const isTest = /\.test\.ts$|-(test-kit|test-server|fixtures)\.ts$/;
  cpSync(path.join(ROOT, 'src'), path.join(stage, 'src'), { recursive: true, filter: (from) => !isTest.test(from) });
  const page = path.join(ROOT, 'web/meet/dist');
  if (existsSync(page)) {
    cpSync(page, path.join(stage, 'web/meet/dist'), { recursive: true });
  }
  return version;
}

/** What browsers, bundlers and debuggers would read is half of it. */
const unused = /\.(map|d\.ts|d\.mts|d\.cts|tsbuildinfo|md)$|\/dist\/(browser|react-native)(\/|$)/;

function stageModules(stage: string): void {
  for (const folder of productionModules(ROOT)) {
    const isNested = (from: string): boolean =>
      path.relative(path.join(ROOT, folder), from).split('/')[0] === 'node_modules';
    cpSync(path.join(ROOT, folder), path.join(stage, folder), {
      recursive: true,
      dereference: true,
      filter: (from) => !isNested(from) && !unused.test(from.slice(path.join(ROOT, folder).length)),
    });
  }
}

/** The same inputs give the same bytes. */
function pack(stage: string, file: string, compression: number): void {
  const order = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=go=rX,u+rw'];
  const env = { ...process.env, GZIP: '' };
  const compress = ['-I', `gzip -n -${compression}`];
  execFileSync('tar', [...order, ...compress, '-cf', file, '-C', stage, '.'], { stdio: 'inherit', env });
}

function main(): number {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: path.join(ROOT, 'dist/release') },
      'base-url': { type: 'string', default: 'https://example.com/releases' },
      name: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const worker = process.env['MEDIASOUP_WORKER_BIN'];
  if (worker === undefined) {
    console.error('plenum: MEDIASOUP_WORKER_BIN is not set; run this as ./plenum release');
    return 1;
  }
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }).trim();
  const out = path.resolve(values.out);
  const release = makeRelease({ out, baseUrl: values['base-url'], name: values.name ?? commit, worker });
  writeFileSync(path.join(out, 'sbom.cdx.json'), `${JSON.stringify(partsList(ROOT), null, 2)}\n`);
  console.log(`${release.file}\n  version ${release.version}\n  sha256  ${release.sha256}`);
  console.log(`The template for it is ${path.join(out, 'azuredeploy.json')}.`);
  return 0;
}

if (import.meta.main) {
  process.exitCode = main();
}

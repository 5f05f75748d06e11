/**
 * Compiles the light endpoint into the cache on demand: gcc, libssl-dev, libusrsctp-dev and a libsrtp. The OpenSSL-backed
 * libsrtp of the worker build is preferred, since Debian's (NSS) costs four times as much per packet.
 */
import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const sourceFolder = import.meta.dirname;

function cacheFolder(): string {
  return path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'plenum');
}

/** Finds the media worker as the server does: the variable, else the newest build in the cache. */
export async function findWorker(): Promise<string | undefined> {
  const named = process.env['MEDIASOUP_WORKER_BIN'];
  if (named) return named;
  const root = path.join(cacheFolder(), 'worker');
  const builds: { file: string; changedMs: number }[] = [];
  for (const name of existsSync(root) ? await readdir(root) : []) {
    const file = path.join(root, name, 'mediasoup-worker');
    if (existsSync(file)) builds.push({ file, changedMs: (await stat(file)).mtimeMs });
  }
  return builds.toSorted((a, b) => b.changedMs - a.changedMs)[0]?.file;
}

type Libsrtp = { flags: string[]; libraries: string[] };

async function findLibsrtp(): Promise<Libsrtp> {
  const worker = await findWorker();
  const folder = worker !== undefined && existsSync(worker) ? path.dirname(await realpath(worker)) : '';
  const archive = path.join(folder, 'libsrtp2.a');
  if (folder !== '' && existsSync(archive)) {
    return { flags: ['-I', path.join(folder, 'include')], libraries: [archive] };
  }
  return { flags: [], libraries: ['-lsrtp2'] };
}

/** Path of the compiled endpoint; the first call after a change of its sources compiles it (a few seconds). */
export async function lightEndpointBinary(): Promise<string> {
  const names = (await readdir(sourceFolder)).filter((name) => /\.[ch]$/.test(name)).toSorted();
  const libsrtp = await findLibsrtp();
  const hash = createHash('sha256').update(JSON.stringify(libsrtp));
  for (const name of names) hash.update(name).update(await readFile(path.join(sourceFolder, name)));
  const folder = path.join(cacheFolder(), 'light', hash.digest('hex').slice(0, 16));
  const binary = path.join(folder, 'light-endpoint');
  if (existsSync(binary)) return binary;
  await mkdir(folder, { recursive: true });
  const unfinished = `${binary}.${randomUUID()}`;
  const sources = names.filter((name) => name.endsWith('.c')).map((name) => path.join(sourceFolder, name));
  const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', ...libsrtp.flags];
  try {
    await run('gcc', [...flags, '-o', unfinished, ...sources, ...libsrtp.libraries, '-lusrsctp', '-lssl', '-lcrypto']);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw new Error(
      'the light endpoint does not compile; it needs the Debian packages gcc, libssl-dev, libusrsctp-dev and, without a ' +
        `worker build in the cache, libsrtp2-dev: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  await rename(unfinished, binary);
  return binary;
}

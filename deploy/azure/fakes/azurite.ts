/** Azure's storage for blobs, on this machine, reached with tokens as in a real deployment. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ServerCertificate } from './server-certificate.ts';

const startMs = 30_000;

export class Azurite {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #port: number;
  readonly #host: string;

  static async start(certificate: ServerCertificate, host = '127.0.0.1'): Promise<Azurite> {
    const folder = await mkdtemp(path.join(tmpdir(), 'plenum-azurite-'));
    const [keyFile, certFile] = [path.join(folder, 'key.pem'), path.join(folder, 'cert.pem')];
    await writeFile(keyFile, certificate.key);
    await writeFile(certFile, certificate.cert);
    const program = createRequire(import.meta.url).resolve('azurite/dist/src/blob/main.js');
    const where = ['--blobHost', host, '--blobPort', '0', '--inMemoryPersistence'];
    // Without these it asks Application Insights, and refuses versions of the API that are newer than itself.
    const flags = [
      '--disableTelemetry',
      '--skipApiVersionCheck',
      '--oauth',
      'basic',
      '--cert',
      certFile,
      '--key',
      keyFile,
    ];
    const child = spawn(process.execPath, [program, ...where, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
    const port = await portOf(child);
    return new Azurite({ child, folder, port, host });
  }

  private constructor(parts: { child: ChildProcess; folder: string; port: number; host: string }) {
    this.#child = parts.child;
    this.#folder = parts.folder;
    this.#port = parts.port;
    this.#host = parts.host;
  }

  /** Of the account that Azurite always has. */
  get url(): string {
    return `https://${this.#host}:${this.#port}/devstoreaccount1/`;
  }

  async close(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGKILL');
      await once(this.#child, 'exit');
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function portOf(child: ChildProcess): Promise<number> {
  let output = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stdout?.setEncoding('utf8');
  const found = Promise.withResolvers<number>();
  child.stdout?.on('data', (text: string) => {
    output += text;
    const match = /listens on https:\/\/[^\s]*?:(\d+)/.exec(output);
    if (match !== null) {
      found.resolve(Number(match[1]));
    }
  });
  child.once('exit', () => found.reject(new Error(`Azurite ended: ${output}`)));
  const late = setTimeout(() => found.reject(new Error(`Azurite does not start: ${output}`)), startMs);
  return found.promise.finally(() => clearTimeout(late));
}

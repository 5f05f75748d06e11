/** Pebble, the ACME authority for tests, and the DNS in which every name leads to this machine. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, get } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createSelfSigned } from '../../src/certificates/self-signed.ts';
import { freePort } from './free-ports.ts';
import { until } from './until.ts';

export type PebbleOptions = {
  /** Where it asks for HTTP-01 answers: on 127.0.0.1, whatever the name. */
  httpPort: number;
  /** Life of the certificates that it issues. */
  validityS?: number;
  /** Percentage of requests that it refuses because of their nonce, as authorities do now and then. */
  nonceRejects?: number;
  refusedDomains?: string[];
  port?: number;
};

export class Pebble {
  readonly directoryUrl: string;
  /** PEM file of the certificate of its API, for `NODE_EXTRA_CA_CERTS`. */
  readonly caFile: string;
  readonly #managementPort: number;
  readonly #children: ChildProcess[];
  readonly #folder: string;
  readonly #agent: Agent;
  #output = '';

  static async start(options: PebbleOptions): Promise<Pebble> {
    const folder = await mkdtemp(path.join(tmpdir(), 'plenum-pebble-'));
    const { chain, key } = await createSelfSigned(['localhost', '127.0.0.1'], Date.now());
    const caFile = path.join(folder, 'api.pem');
    await writeFile(caFile, chain);
    await writeFile(path.join(folder, 'api.key'), key);
    const [port, managementPort, dnsPort, dnsManagement] = [
      options.port ?? (await freePort()),
      await freePort(),
      await freePort(),
      await freePort(),
    ];
    await writeFile(
      path.join(folder, 'config.json'),
      JSON.stringify({
        pebble: {
          listenAddress: `127.0.0.1:${port}`,
          managementListenAddress: `127.0.0.1:${managementPort}`,
          certificate: caFile,
          privateKey: path.join(folder, 'api.key'),
          httpPort: options.httpPort,
          tlsPort: 1,
          domainBlocklist: options.refusedDomains ?? [],
          certificateValidityPeriod: options.validityS ?? 90 * 24 * 3_600,
        },
      }),
    );
    const dns = spawn(
      'pebble-challtestsrv',
      [
        '-defaultIPv4',
        '127.0.0.1',
        '-defaultIPv6',
        '',
        '-http01',
        '',
        '-https01',
        '',
        '-tlsalpn01',
        '',
        '-dns01',
        `127.0.0.1:${dnsPort}`,
        '-management',
        `127.0.0.1:${dnsManagement}`,
      ],
      { stdio: 'ignore' },
    );
    const pebble = spawn(
      'pebble',
      ['-config', path.join(folder, 'config.json'), '-dnsserver', `127.0.0.1:${dnsPort}`],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          ...process.env,
          PEBBLE_VA_NOSLEEP: '1',
          PEBBLE_WFE_NONCEREJECT: String(options.nonceRejects ?? 20),
          PEBBLE_AUTHZREUSE: '0',
        },
      },
    );
    const started = new Pebble({ folder, caFile, ca: chain, port, managementPort, children: [pebble, dns] });
    await until(async () => ((await started.root()).includes('BEGIN') ? '' : 'no root'), { timeoutMs: 15_000 });
    return started;
  }

  private constructor(parts: {
    folder: string;
    caFile: string;
    ca: string;
    port: number;
    managementPort: number;
    children: ChildProcess[];
  }) {
    this.directoryUrl = `https://localhost:${parts.port}/dir`;
    this.caFile = parts.caFile;
    this.#managementPort = parts.managementPort;
    this.#children = parts.children;
    this.#folder = parts.folder;
    this.#agent = new Agent({ ca: parts.ca });
    for (const stream of [parts.children[0]?.stdout, parts.children[0]?.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#output += chunk.toString();
      });
    }
  }

  /** What it has logged. */
  get output(): string {
    return this.#output;
  }

  /** Makes it stand still in the middle of whatever it does. */
  pause(): void {
    this.#children[0]?.kill('SIGSTOP');
  }

  resume(): void {
    this.#children[0]?.kill('SIGCONT');
  }

  root(): Promise<string> {
    return this.#ask('/roots/0');
  }

  intermediate(): Promise<string> {
    return this.#ask('/intermediates/0');
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    for (const child of this.#children) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #ask(target: string): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    get({ host: 'localhost', port: this.#managementPort, path: target, agent: this.#agent }, (response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => (body += chunk.toString())).on('end', () => resolve(body));
    }).on('error', reject);
    return promise;
  }
}

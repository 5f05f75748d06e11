/** coturn as a child process: configured, watched, restarted, told about certificates and nodes. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { KeyPair } from '../certificates/certificate.ts';
import type { Logger } from '../observe/log.ts';
import { turnUnusable } from './errors.ts';
import { turnConfig } from './turn-config.ts';
import { readTurnLine, type TurnEvent } from './turn-log.ts';
import { TurnPeers } from './turn-peers.ts';
import { answersStun } from './turn-probe.ts';
import type { TurnSettings } from './turn-settings.ts';

export interface TurnObserver {
  turnEvent(event: TurnEvent): void;
  /** It answers, or does so no longer. */
  turnHealth(isHealthy: boolean): void;
  turnRestarted(): void;
}

export type TurnServerOptions = {
  settings: TurnSettings;
  observer: TurnObserver;
  /** It has ended and answers again: the relays that it had are gone. */
  onBack: () => void;
  log: Logger;
};

const timings = {
  /** For the first answer after a start; a machine that boots is slow. */
  startMs: 15_000,
  probeIntervalMs: 5_000,
  /** While it does not answer. */
  firstProbesMs: 250,
  probeTimeoutMs: 1_000,
  probeMisses: 3,
  firstRestartMs: 250,
  longestRestartMs: 30_000,
  /** A process that ran for so long did not fail because of its start. */
  settledMs: 60_000,
  endMs: 2_000,
} as const;

export class TurnServer {
  readonly #options: TurnServerOptions;
  readonly #folder: string;
  readonly #peers: TurnPeers;
  #certificate: KeyPair | undefined;
  #child: ChildProcess | undefined;
  #hasTls = false;
  #isHealthy = false;
  #hasAnswered = false;
  #failures = 0;
  #closed = false;
  readonly #abort = new AbortController();
  /** Ends the pause before the next probe. */
  #looks = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #probing: Promise<void> = Promise.resolve();

  /** Resolves when it answers. Rejects with `turn-unusable` when it does not get there. */
  static async start(options: TurnServerOptions & { certificate: KeyPair | undefined }): Promise<TurnServer> {
    const folder = await mkdtemp(path.join(tmpdir(), 'plenum-turn-'));
    const server = new TurnServer(options, folder);
    try {
      await server.#start(options.certificate);
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  private constructor(options: TurnServerOptions, folder: string) {
    this.#options = options;
    this.#folder = folder;
    this.#peers = new TurnPeers(this.#file('peers'));
  }

  get isHealthy(): boolean {
    return this.#isHealthy;
  }

  /** Undefined between an end and the next start. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Nodes that media may be relayed to, besides the networks of the configuration. It takes some seconds to hold. */
  allowPeers(addresses: readonly string[]): void {
    try {
      this.#peers.allow([...new Set(addresses)]);
    } catch (error) {
      this.#options.log.warn({ err: error }, 'the TURN server could not be told about a change of nodes');
    }
  }

  /** New connections get this certificate; open ones stay. */
  async use(certificate: KeyPair): Promise<void> {
    if (certificate.chain === this.#certificate?.chain || this.#options.settings.tlsPort === 0) {
      return;
    }
    this.#certificate = certificate;
    await this.#writeCertificate(certificate);
    if (this.#hasTls) {
      this.#child?.kill('SIGUSR2');
    } else {
      // It was started without TLS, so nobody came over TLS; calls over UDP find another way or come again.
      this.#child?.kill('SIGTERM');
    }
  }

  /** Safe to call twice. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#abort.abort();
    await this.#end();
    await Promise.all([this.#running, this.#probing]);
    this.#peers.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #start(certificate: KeyPair | undefined): Promise<void> {
    this.#certificate = certificate;
    if (certificate !== undefined) {
      await this.#writeCertificate(certificate);
    }
    this.#running = this.#run();
    const deadlineMs = performance.now() + timings.startMs;
    while (!(await this.#probe())) {
      if (this.#failures > 2 || performance.now() > deadlineMs) {
        throw turnUnusable(`${this.#options.settings.program} does not answer; its messages are in the log`);
      }
      await delay(50);
    }
    this.#setHealth(true);
    this.#probing = this.#watch();
  }

  /** Starts it again and again until the end. */
  async #run(): Promise<void> {
    while (!this.#closed) {
      const startedMs = performance.now();
      await this.#runOnce();
      if (this.#closed) {
        return;
      }
      this.#setHealth(false);
      this.#looks.abort();
      this.#failures = performance.now() - startedMs > timings.settledMs ? 1 : this.#failures + 1;
      const waitMs = Math.min(timings.firstRestartMs * 2 ** (this.#failures - 1), timings.longestRestartMs);
      this.#options.log.warn({ waitMs, failures: this.#failures }, 'the TURN server ended and is started again');
      this.#options.observer.turnRestarted();
      await delay(waitMs, undefined, { signal: this.#abort.signal }).catch(() => undefined);
    }
  }

  async #runOnce(): Promise<void> {
    const { settings, log } = this.#options;
    this.#hasTls = settings.tlsPort !== 0 && this.#certificate !== undefined;
    const config = this.#file('config');
    const text = turnConfig(settings, {
      certificate: this.#certificate === undefined ? undefined : this.#file('certificate'),
      key: this.#file('key'),
      peers: this.#file('peers'),
      pid: this.#file('pid'),
    });
    await writeFile(config, text, { mode: 0o600 });
    if (this.#closed) {
      return;
    }
    // The kernel ends it with us, however we end: nobody would watch it then, and its ports would be taken.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', settings.program, '-c', config], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: this.#folder,
    });
    this.#child = child;
    this.#listen(child);
    const [code, signal] = await ended(child);
    this.#child = undefined;
    log.debug({ code, signal }, 'the TURN server has ended');
  }

  #listen(child: ChildProcess): void {
    const { observer, log } = this.#options;
    child.on('error', (error) => log.error({ err: error }, 'the TURN server cannot be started'));
    for (const stream of [child.stdout, child.stderr]) {
      if (stream !== null) {
        createInterface({ input: stream }).on('line', (line) => {
          const event = readTurnLine(line);
          if (event !== undefined) {
            observer.turnEvent(event);
          }
          log.debug({ line: line.slice(0, 500) }, 'coturn');
        });
      }
    }
  }

  async #watch(): Promise<void> {
    let misses = 0;
    while (!this.#closed) {
      // After a restart nobody is led here until it answers.
      const pauseMs = this.#isHealthy ? timings.probeIntervalMs : timings.firstProbesMs;
      this.#looks = new AbortController();
      const signal = AbortSignal.any([this.#abort.signal, this.#looks.signal]);
      await delay(pauseMs, undefined, { signal }).catch(() => undefined);
      if (this.#closed) {
        return;
      }
      if (await this.#probe()) {
        misses = 0;
        this.#setHealth(true);
      } else if (!this.#closed && this.#child !== undefined && ++misses >= this.#patience()) {
        misses = 0;
        this.#options.log.warn('the TURN server does not answer and is ended');
        this.#child.kill('SIGKILL');
      }
    }
  }

  /** One that has just been started takes its time; one that has answered before answers at once or is stuck. */
  #patience(): number {
    return this.#isHealthy ? timings.probeMisses : timings.startMs / (timings.probeTimeoutMs + timings.firstProbesMs);
  }

  #probe(): Promise<boolean> {
    const { address, udpPort } = this.#options.settings;
    return answersStun(address, udpPort, timings.probeTimeoutMs);
  }

  #setHealth(isHealthy: boolean): void {
    if (isHealthy !== this.#isHealthy) {
      this.#isHealthy = isHealthy;
      if (isHealthy && this.#hasAnswered) {
        this.#options.log.info('the TURN server answers again');
        this.#options.onBack();
      }
      this.#hasAnswered = true;
      this.#options.observer.turnHealth(isHealthy);
    }
  }

  async #writeCertificate({ chain, key }: KeyPair): Promise<void> {
    await writeFile(this.#file('key'), key, { mode: 0o600 });
    await writeFile(this.#file('certificate'), chain, { mode: 0o600 });
  }

  async #end(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) {
      return;
    }
    const kill = setTimeout(() => child.kill('SIGKILL'), timings.endMs);
    const end = ended(child);
    child.kill('SIGTERM');
    await end;
    clearTimeout(kill);
  }

  #file(name: string): string {
    return path.join(this.#folder, name);
  }
}

async function ended(child: ChildProcess): Promise<[number | null, NodeJS.Signals | null]> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) {
    return [child.exitCode, child.signalCode];
  }
  const [code, signal] = await once(child, 'exit');
  return [code as number | null, signal as NodeJS.Signals | null];
}

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { configSchema, type Config } from '../../src/config/options.ts';
import type { RunningServer, StartOptions } from '../../src/roles/all.ts';
import { freePort, freePortRange } from './free-ports.ts';
import { findWorker } from './light/build.ts';
import { LogRecord } from './log-record.ts';
import { serverFlags } from './server-flags.ts';
import { devKey } from './tokens.ts';
import { until, withDeadline } from './until.ts';

/** Options as they stand in a configuration file. */
export type RawConfig = { [key: string]: unknown };

export type NodeOptions = {
  /** Merged over loopback addresses, one worker and the development key. */
  config?: RawConfig;
  logLevel?: string;
};

export type ProcessNodeOptions = NodeOptions & {
  /** A process group of its own, so that a test can signal all of it. It outlives a test process that is killed. */
  ownGroup?: boolean;
  env?: Record<string, string>;
  /** Program and arguments that run it, e.g. inside a network namespace. */
  prefix?: string[];
  /** Where its health is asked; 127.0.0.1 when left out. */
  host?: string;
};

/** A server under test. `close` stops it and fails on errors in its log that the test did not expect. */
export type TestNode = {
  /** `http://127.0.0.1:port` */
  url: string;
  /** `ws://127.0.0.1:port` */
  wsUrl: string;
  port: number;
  log: LogRecord;
  close(): Promise<void>;
};

export type InProcessNodeOptions = NodeOptions & {
  /** Applied to every message between gateway, host and legs. */
  transfer?: StartOptions['transfer'];
};

export type InProcessNode = TestNode & { config: Config; debug: RunningServer['debug'] };

export type ProcessNode = TestNode & {
  pid: number;
  /** Kills it without a chance to clean up. */
  kill(): Promise<void>;
  /** Signals its `ownGroup`, media workers included, as a terminal does. @returns its exit code; null after a signal */
  endGroup(signal: NodeJS.Signals): Promise<number | null>;
};

/** The server's composition root, inside this process: quick, and open to inspection through `debug`. */
export async function startNode(options: InProcessNodeOptions = {}): Promise<InProcessNode> {
  await provideWorker();
  const config = configSchema.parse(await testConfig(0, options.config));
  const log = new LogRecord();
  // mediasoup looks for its worker while it is being loaded, so it is loaded after `provideWorker`.
  const { startAll } = await import('../../src/roles/all.ts');
  const server = await startAll({ config, log: log.logger(options.logLevel), transfer: options.transfer });
  return {
    ...endpointsOf(server.port),
    config,
    log,
    debug: server.debug,
    close: async () => {
      await server.close();
      failOnErrors(log);
    },
  };
}

/** A real server process (`src/main.ts dev`), for what only a process shows: signals, memory, crashes. */
export async function startNodeProcess(options: ProcessNodeOptions = {}): Promise<ProcessNode> {
  await provideWorker();
  const port = await freePort();
  const config = await testConfig(port, {
    logging: { level: options.logLevel ?? 'info', json: true },
    ...options.config,
  });
  const folder = await mkdtemp(path.join(tmpdir(), 'plenum-node-'));
  const file = path.join(folder, 'config.yaml');
  await writeFile(file, JSON.stringify(config));
  const main = path.join(import.meta.dirname, '../../src/main.ts');
  const server = [process.execPath, ...serverFlags, main, 'dev', '--config', file];
  const [program, ...args] = [...(options.prefix ?? []), ...server];
  const child = spawn(program ?? process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    detached: options.ownGroup ?? false,
  });
  const log = new LogRecord();
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => log.write(chunk));
  const node = endpointsOf(port, options.host);
  try {
    await until(() => healthComplaint(node.url, child), { timeoutMs: 20_000, intervalMs: 50 });
  } catch (error) {
    child.kill('SIGKILL');
    throw new Error(
      `the server did not start: ${error instanceof Error ? error.message : String(error)}\n${log.tail()}`,
    );
  }
  const ended = async (): Promise<void> => {
    await withDeadline(exitOf(child), () => `end of the server\n${log.tail()}`, 15_000).finally(() => {
      child.kill('SIGKILL');
    });
    await rm(folder, { recursive: true, force: true });
  };
  return {
    ...node,
    pid: child.pid ?? 0,
    log,
    endGroup: async (signal) => {
      process.kill(-(child.pid ?? 0), signal);
      await ended();
      return child.exitCode;
    },
    kill: async () => {
      child.kill('SIGKILL');
      await exitOf(child);
      await rm(folder, { recursive: true });
    },
    close: async () => {
      child.kill('SIGTERM');
      await ended();
      failOnErrors(log);
    },
  };
}

async function provideWorker(): Promise<void> {
  const worker = await findWorker();
  if (worker !== undefined) process.env['MEDIASOUP_WORKER_BIN'] = worker;
}

async function testConfig(port: number, changes: RawConfig = {}): Promise<RawConfig> {
  const workers = 1;
  const firstMediaPort = await freePortRange(workers + 1);
  const base: RawConfig = {
    port,
    bind_addresses: ['127.0.0.1'],
    keys: { [devKey.apiKey]: devKey.apiSecret },
    rtc: {
      workers,
      node_ip: ['127.0.0.1'],
      bind_address: '127.0.0.1',
      port_range_start: firstMediaPort,
      port_range_end: firstMediaPort + workers,
    },
  };
  return mergeConfig(base, changes);
}

export function mergeConfig(base: RawConfig, changes: RawConfig): RawConfig {
  const merged = { ...base };
  for (const [key, value] of Object.entries(changes)) {
    const old = merged[key];
    merged[key] = isPlain(old) && isPlain(value) && key !== 'keys' ? mergeConfig(old, value) : value;
  }
  return merged;
}

function isPlain(value: unknown): value is RawConfig {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function endpointsOf(port: number, host = '127.0.0.1'): { url: string; wsUrl: string; port: number } {
  return { url: `http://${host}:${port}`, wsUrl: `ws://${host}:${port}`, port };
}

async function healthComplaint(url: string, child: ChildProcess): Promise<string> {
  if (child.exitCode !== null) return `it ended with code ${child.exitCode}`;
  const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
  return response.status === 200 ? '' : `health answers ${response.status}`;
}

async function exitOf(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

function failOnErrors(log: LogRecord): void {
  const errors = log.unexpectedErrors();
  if (errors.length > 0) {
    throw new Error(
      `the server logged ${errors.length} errors: ${errors
        .slice(0, 5)
        .map((line) => JSON.stringify(line))
        .join('\n')}`,
    );
  }
}

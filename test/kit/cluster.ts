/** A cluster of real processes on loopback: Redis, masters and media nodes, that tests may stop, kill and freeze. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort, freePortRange } from './free-ports.ts';
import { findWorker } from './light/build.ts';
import { LogRecord } from './log-record.ts';
import { serverFlags } from './server-flags.ts';
import { Scrape } from './metrics.ts';
import { mergeConfig, type RawConfig } from './node.ts';
import { startRedis, type RedisProcess, type SentinelSetup } from './redis.ts';
import { TcpProxy } from './tcp-proxy.ts';
import type { NetworkHost, ClusterNetwork } from './cluster-network.ts';
import { devKey } from './tokens.ts';
import { until, withDeadline } from './until.ts';

export type ClusterOptions = {
  masters?: number;
  media?: number;
  /** Merged into the options of every node. */
  config?: RawConfig;
  /** In place of a Redis of its own; the caller closes it. */
  sentinel?: SentinelSetup;
  /** Each node on a host of its own; the caller closes it after the cluster. */
  network?: ClusterNetwork;
  /** Of each media node; every room that it shares with another takes some. */
  pipePorts?: number;
  /** Called with the port of each node's relay before the node starts. */
  beforeStart?: (relayPort: number) => Promise<void>;
};

type Role = 'master' | 'media';

export const clusterName = 'test';
export const clusterSecret = 'the secret of a cluster under test';
const mediaPorts = 2;
const defaultPipePorts = 40;

type ProcessParts = {
  role: Role;
  name: string;
  host: NetworkHost | undefined;
  config: RawConfig;
  child: ChildProcess;
  folder: string;
};

/** One node of the cluster. */
export class ClusterProcess {
  readonly role: Role;
  readonly name: string;
  /** Undefined: on loopback, as all others. */
  readonly host: NetworkHost | undefined;
  readonly port: number;
  readonly relayPort: number;
  readonly metricsPort: number;
  /** The only media port of a media node: it runs one worker. */
  readonly mediaPortStart: number;
  readonly log = new LogRecord();
  readonly #child: ChildProcess;
  readonly #folder: string;
  /** Whatever ends it without having been told to is a failure. */
  #isEnding = false;

  static async start(role: Role, name: string, config: RawConfig, host?: NetworkHost): Promise<ClusterProcess> {
    const folder = await mkdtemp(path.join(tmpdir(), `plenum-${name}-`));
    const file = path.join(folder, 'config.yaml');
    await writeFile(file, JSON.stringify(config));
    const main = path.join(import.meta.dirname, '../../src/main.ts');
    const args = [...serverFlags, main, 'start', '--role', role, '--config', file];
    const command = host?.command(process.execPath, args) ?? ([process.execPath, args] as const);
    const child = spawn(...command, { stdio: ['ignore', 'pipe', 'pipe'] });
    return new ClusterProcess({ role, name, host, config, child, folder });
  }

  private constructor(parts: ProcessParts) {
    this.role = parts.role;
    this.name = parts.name;
    this.host = parts.host;
    this.port = Number(parts.config['port']);
    this.metricsPort = Number(parts.config['prometheus_port']);
    this.relayPort = Number((parts.config['cluster'] as RawConfig)['relay_port']);
    const { rtc } = parts.config as { rtc?: { port_range_start?: number } };
    this.mediaPortStart = rtc?.port_range_start ?? 0;
    this.#child = parts.child;
    this.#folder = parts.folder;
    for (const stream of [parts.child.stdout, parts.child.stderr])
      stream?.setEncoding('utf8').on('data', (chunk: string) => this.log.write(chunk));
  }

  get url(): string {
    return `http://${this.host?.address ?? '127.0.0.1'}:${this.port}`;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get nodeId(): string {
    const ready = this.log.lines.find((line) => line.msg === 'node is ready');
    return typeof ready?.['nodeId'] === 'string' ? ready['nodeId'] : '';
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async waitUntilReady(): Promise<void> {
    await until(
      () => {
        if (!this.isRunning) return `${this.name} ended with ${this.#child.exitCode}\n${this.log.tail()}`;
        return this.nodeId === '' ? `${this.name} is not ready\n${this.log.tail()}` : '';
      },
      { timeoutMs: 30_000 },
    );
  }

  /** kill -9. Its media workers end by themselves. */
  async kill(): Promise<void> {
    this.#isEnding = true;
    this.#child.kill('SIGKILL');
    await this.#ended();
  }

  pause(): void {
    this.#child.kill('SIGSTOP');
  }

  resume(): void {
    this.#child.kill('SIGCONT');
  }

  /** In good order: SIGTERM lets a media node be drained first, SIGINT ends it at once. @returns its exit code */
  async stop(signal: 'SIGTERM' | 'SIGINT' = 'SIGTERM'): Promise<number | null> {
    this.#isEnding = true;
    if (this.isRunning) this.#child.kill(signal);
    await withDeadline(this.#ended(), () => `end of ${this.name}\n${this.log.tail()}`, 30_000).finally(() =>
      this.#child.kill('SIGKILL'),
    );
    return this.#child.exitCode;
  }

  /** What the test did not expect. */
  complaints(): string[] {
    const crashed = this.#isEnding || this.isRunning ? [] : [`${this.name} ended: ${this.log.tail()}`];
    return [...crashed, ...this.log.unexpectedErrors().map((line) => `${this.name}: ${JSON.stringify(line)}`)];
  }

  async removeFiles(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #ended(): Promise<void> {
    if (this.isRunning) await once(this.#child, 'exit');
  }
}

type ClusterParts = {
  redis: RedisProcess;
  config: RawConfig;
  isRedisShared: boolean;
  network: ClusterNetwork | undefined;
  pipePorts: number;
  beforeStart: ClusterOptions['beforeStart'];
};

export class TestCluster {
  /** The one that is the master when the cluster starts. */
  readonly redis: RedisProcess;
  readonly masters: ClusterProcess[] = [];
  readonly media: ClusterProcess[] = [];
  readonly #config: RawConfig;
  readonly #isRedisShared: boolean;
  readonly #network: ClusterNetwork | undefined;
  readonly #pipePorts: number;
  readonly #beforeStart: ClusterOptions['beforeStart'];
  readonly #started = { master: 0, media: 0 };

  static async start(options: ClusterOptions = {}): Promise<TestCluster> {
    const worker = await findWorker();
    if (worker !== undefined) process.env['MEDIASOUP_WORKER_BIN'] = worker;
    const { sentinel } = options;
    const behindSentinel: RawConfig = {
      redis: {
        address: '',
        sentinel_master_name: sentinel?.masterName ?? '',
        sentinel_addresses: sentinel?.addresses.map(({ host, port }) => `${host}:${port}`) ?? [],
      },
    };
    const config = sentinel === undefined ? (options.config ?? {}) : mergeConfig(behindSentinel, options.config ?? {});
    const redis = (await sentinel?.master()) ?? (await startRedis(options.network?.address));
    const cluster = new TestCluster({
      redis,
      config,
      isRedisShared: sentinel !== undefined,
      network: options.network,
      pipePorts: options.pipePorts ?? defaultPipePorts,
      beforeStart: options.beforeStart,
    });
    try {
      const count = { master: options.masters ?? 2, media: options.media ?? 3 };
      const starting: Promise<unknown>[] = [];
      for (let index = 0; index < count.media; index += 1) starting.push(cluster.addMedia());
      for (let index = 0; index < count.master; index += 1) starting.push(cluster.addMaster());
      await Promise.all(starting);
      await cluster.waitUntilJoined(count.media);
    } catch (error) {
      await cluster.close().catch(() => undefined);
      throw error;
    }
    return cluster;
  }

  private constructor(parts: ClusterParts) {
    this.redis = parts.redis;
    this.#config = parts.config;
    this.#isRedisShared = parts.isRedisShared;
    this.#network = parts.network;
    this.#pipePorts = parts.pipePorts;
    this.#beforeStart = parts.beforeStart;
  }

  get nodes(): ClusterProcess[] {
    return [...this.masters, ...this.media];
  }

  /** @param index of the master */
  url(index: number): string {
    return this.masters[index]?.url ?? '';
  }

  /** What stands before the masters: takes connections to the first one that runs. */
  frontDoor(): Promise<TcpProxy> {
    return TcpProxy.start(() => this.masters.find((node) => node.isRunning)?.port ?? 0);
  }

  async addMaster(config: RawConfig = {}): Promise<ClusterProcess> {
    return this.#add('master', this.masters, { base: {}, config });
  }

  async addMedia(config: RawConfig = {}): Promise<ClusterProcess> {
    const first = await freePortRange(mediaPorts + this.#pipePorts);
    const ports: RawConfig = {
      rtc: {
        workers: 1,
        port_range_start: first,
        port_range_end: first + mediaPorts - 1,
        pipe_port_range_start: first + mediaPorts,
        pipe_port_range_end: first + mediaPorts + this.#pipePorts - 1,
      },
    };
    return this.#add('media', this.media, { base: ports, config });
  }

  /** Media nodes that host at least one room whose opening the log tells, by room name. */
  hostOf(roomName: string): ClusterProcess {
    let found: { node: ClusterProcess; at: number } | undefined;
    for (const node of this.media) {
      for (const line of node.log.lines) {
        const at = Number(line['time']);
        if (line.msg === 'room opened' && line['room'] === roomName && (found === undefined || at >= found.at)) {
          found = { node, at };
        }
      }
    }
    if (found === undefined) throw new Error(`nobody hosts ${roomName}`);
    return found.node;
  }

  /** Of all nodes that run, together. */
  async metrics(): Promise<Scrape> {
    const running = this.nodes.filter((node) => node.isRunning);
    return Scrape.merged(await Promise.all(running.map(({ metricsPort }) => Scrape.of(metricsPort))));
  }

  /** Every master places rooms once it has seen the media nodes. */
  async waitUntilJoined(count: number): Promise<void> {
    await until(async () => {
      const ids = await this.redis.ask(`SCARD ${clusterName}:nodes`);
      const expected = this.nodes.filter((node) => node.isRunning).length;
      return ids.startsWith(`:${expected}`) ? '' : `${ids.trim()} of ${expected} nodes, ${count} media`;
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.masters.map((node) => node.stop('SIGINT')));
    await Promise.all(this.media.map((node) => node.stop('SIGINT')));
    if (!this.#isRedisShared) await this.redis.close();
    await Promise.all(this.nodes.map((node) => node.removeFiles()));
    const complaints = this.nodes.flatMap((node) => node.complaints());
    if (complaints.length > 0) throw new Error(`the cluster complains:\n${complaints.slice(0, 8).join('\n')}`);
  }

  async #add(role: Role, list: ClusterProcess[], of: { base: RawConfig; config: RawConfig }): Promise<ClusterProcess> {
    const host = await this.#network?.addHost();
    const address = host?.address ?? '127.0.0.1';
    const rtc: RawConfig = role === 'media' ? { rtc: { node_ip: [address], bind_address: address } } : {};
    const relayPort = await freePort();
    await this.#beforeStart?.(relayPort);
    const base: RawConfig = {
      ...rtc,
      port: await freePort(),
      prometheus_port: await freePort(),
      bind_addresses: [address],
      keys: { [devKey.apiKey]: devKey.apiSecret },
      logging: { level: 'info', json: true },
      redis: { address: `${this.#network?.address ?? '127.0.0.1'}:${this.redis.port}` },
      // A machine that runs tests is never idle.
      node_limit: { cpu: 0, worker_cpu: 0, event_loop_lag: 0 },
      cluster: {
        name: clusterName,
        secret: clusterSecret,
        relay_port: relayPort,
        relay_bind_addresses: [address],
      },
    };
    this.#started[role] += 1;
    const name = `${role}-${this.#started[role]}`;
    const node = await ClusterProcess.start(
      role,
      name,
      [of.base, this.#config, of.config].reduce(mergeConfig, base),
      host,
    );
    list.push(node);
    await node.waitUntilReady();
    return node;
  }
}

/** Real redis-servers and Sentinels on free loopback ports, in temporary folders, that tests may hurt. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from './free-ports.ts';
import { until } from './until.ts';

export type RedisProcessOptions = {
  isSentinel?: boolean;
  port?: number;
  /** Where it listens besides loopback. */
  addresses?: string[];
  /** That its default user needs, for what the kit asks. */
  password?: string;
};

/** One process with its data; restarts keep port and folder. */
export class RedisProcess {
  readonly port: number;
  readonly #folder: string;
  readonly #file: string;
  readonly #isSentinel: boolean;
  readonly #password: string;
  #child: ChildProcess | undefined;
  #output = '';

  private constructor(port: number, folder: string, options: RedisProcessOptions) {
    this.port = port;
    this.#folder = folder;
    this.#file = path.join(folder, 'redis.conf');
    this.#isSentinel = options.isSentinel ?? false;
    this.#password = options.password ?? '';
  }

  static async create(lines: string[], options: RedisProcessOptions = {}): Promise<RedisProcess> {
    const port = options.port ?? (await freePort());
    const folder = await mkdtemp(path.join(tmpdir(), 'plenum-redis-'));
    const process = new RedisProcess(port, folder, options);
    const bound = ['127.0.0.1', ...(options.addresses ?? [])].join(' ');
    const common = [`port ${port}`, `bind ${bound}`, `dir ${folder}`, 'daemonize no', 'protected-mode no'];
    await writeFile(process.#file, [...common, ...lines, ''].join('\n'));
    return process;
  }

  /** 0 while it does not run. */
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async start(): Promise<void> {
    // The same program: `redis-sentinel` is a package of its own in Debian, and only a link to it.
    const args = this.#isSentinel ? [this.#file, '--sentinel'] : [this.#file];
    const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-4_000);
      });
    }
    await until(async () =>
      (await this.ask('PING')).startsWith('+PONG') ? '' : `redis-server does not answer\n${this.#output}`,
    );
  }

  /** One inline command over a fresh connection. @returns the raw start of the answer */
  async ask(command: string): Promise<string> {
    const socket = connect({ port: this.port, host: '127.0.0.1' });
    try {
      await once(socket, 'connect');
      if (this.#password !== '') {
        socket.write(`AUTH ${this.#password}\r\n`);
        await once(socket, 'data');
      }
      socket.write(`${command}\r\n`);
      const [chunk] = (await once(socket, 'data')) as [Buffer];
      return chunk.toString();
    } finally {
      socket.destroy();
    }
  }

  /** kill -9: what was not synced is lost. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Stops it in the middle of whatever it does; sockets stay open and nothing answers. */
  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  async close(): Promise<void> {
    await this.#end('SIGKILL');
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await once(child, 'exit');
    }
  }
}

/** A single Redis as a small installation has it. @param address on which it is reached besides loopback */
export async function startRedis(address?: string): Promise<RedisProcess> {
  const redis = await RedisProcess.create(durable, { addresses: address === undefined ? [] : [address] });
  await redis.start();
  return redis;
}

const durable = ['appendonly yes', 'appendfsync everysec', 'save ""', 'loglevel warning'];

export type SentinelOptions = {
  replicas?: number;
  sentinels?: number;
  /** `min-replicas-to-write` of each Redis. */
  minReplicas?: number;
  /** Silence after which Sentinel takes the master for dead. */
  downAfterMs?: number;
};

/** A master with replicas and the Sentinels that watch them, configured as masters of a cluster are. */
export class SentinelSetup {
  readonly masterName = 'plenum';
  readonly servers: RedisProcess[];
  readonly sentinels: RedisProcess[];

  constructor(servers: RedisProcess[], sentinels: RedisProcess[]) {
    this.servers = servers;
    this.sentinels = sentinels;
  }

  /** `host` and `port` of each Sentinel. */
  get addresses(): { host: string; port: number }[] {
    return this.sentinels.map(({ port }) => ({ host: '127.0.0.1', port }));
  }

  /** The server that the Sentinels name. */
  async master(): Promise<RedisProcess> {
    const answer = await this.#askAny(`SENTINEL GET-MASTER-ADDR-BY-NAME ${this.masterName}`);
    const found = this.servers.find(({ port }) => answer.includes(String(port)));
    if (found === undefined) throw new Error(`the Sentinels name no master of ours: ${answer}`);
    return found;
  }

  /**
   * Waits until nothing is under way any more: all Sentinels name the same master, and that has this many replicas.
   * Sentinel needs some ten seconds to take an old master back as a replica, and may fail over twice when it is slow.
   */
  async settled(replicas: number): Promise<RedisProcess> {
    let master = await this.master();
    await until(
      async () => {
        master = await this.master();
        const states = await Promise.all(
          this.sentinels.map((sentinel) => sentinel.ask(`SENTINEL MASTER ${this.masterName}`)),
        );
        const calm = states.filter(
          (state) =>
            state.includes(`$${String(master.port).length}\r\n${master.port}\r\n`) &&
            field(state, 'flags') === 'master',
        );
        if (calm.length < states.length) return 'the Sentinels do not agree on a master that is well';
        const following = Number(/^:(\d+)/.exec(await master.ask(`WAIT ${replicas} 100`))?.[1] ?? 0);
        return following >= replicas ? '' : `${following} replicas follow the master`;
      },
      { timeoutMs: 30_000, intervalMs: 50 },
    );
    return master;
  }

  /** Has Sentinel promote a replica, and waits until all name it. */
  async failover(): Promise<void> {
    const before = await this.master();
    await until(async () => {
      const answer = await this.#askAny(`SENTINEL FAILOVER ${this.masterName}`);
      return answer.startsWith('+OK') || answer.includes('INPROG') ? '' : answer;
    });
    await this.untilMasterIsNot(before);
  }

  async untilMasterIsNot(before: RedisProcess): Promise<void> {
    const name = `SENTINEL GET-MASTER-ADDR-BY-NAME ${this.masterName}`;
    await until(
      async () => {
        const answers = await Promise.all(this.sentinels.map((sentinel) => sentinel.ask(name).catch(() => '')));
        const old = answers.filter((answer) => answer.includes(String(before.port)));
        const asked = answers.filter((answer) => answer !== '');
        return asked.length > 0 && old.length === 0 ? '' : `${old.length} Sentinels still name the old master`;
      },
      { timeoutMs: 30_000, intervalMs: 50 },
    );
  }

  async close(): Promise<void> {
    await Promise.all([...this.sentinels, ...this.servers].map((process) => process.close()));
  }

  /** One after the other until one answers: a failover that is asked of several would be done by each. */
  async #askAny(command: string): Promise<string> {
    let failure: unknown;
    for (const sentinel of this.sentinels) {
      try {
        return await sentinel.ask(command);
      } catch (error) {
        failure = error;
      }
    }
    throw failure instanceof Error ? failure : new Error('there is no Sentinel');
  }
}

export async function startSentinel(options: SentinelOptions = {}): Promise<SentinelSetup> {
  const { replicas = 2, sentinels = 3, minReplicas = 1, downAfterMs = 1_000 } = options;
  const setup = new SentinelSetup([], []);
  try {
    await startServers(setup, replicas, minReplicas);
    await startSentinels(setup, sentinels, downAfterMs);
    await until(() => knownComplaint(setup, replicas, sentinels), { timeoutMs: 30_000, intervalMs: 50 });
    return setup;
  } catch (error) {
    await setup.close();
    throw error;
  }
}

async function startServers(setup: SentinelSetup, replicas: number, minReplicas: number): Promise<void> {
  const lines = [
    ...durable,
    `min-replicas-to-write ${minReplicas}`,
    'min-replicas-max-lag 2',
    'repl-ping-replica-period 1',
    'repl-timeout 5',
    'repl-diskless-sync-delay 0',
    'replica-serve-stale-data yes',
  ];
  const master = await RedisProcess.create(lines);
  setup.servers.push(master);
  await master.start();
  for (let index = 0; index < replicas; index += 1) {
    const replica = await RedisProcess.create([...lines, `replicaof 127.0.0.1 ${master.port}`]);
    setup.servers.push(replica);
    await replica.start();
  }
  await until(async () =>
    (await master.ask(`WAIT ${replicas} 500`)).startsWith(`:${replicas}`) ? '' : 'replicas do not follow',
  );
}

async function startSentinels(setup: SentinelSetup, count: number, downAfterMs: number): Promise<void> {
  const name = setup.masterName;
  const quorum = Math.floor(count / 2) + 1;
  for (let index = 0; index < count; index += 1) {
    const sentinel = await RedisProcess.create(
      [
        `sentinel monitor ${name} 127.0.0.1 ${setup.servers[0]?.port} ${quorum}`,
        `sentinel down-after-milliseconds ${name} ${downAfterMs}`,
        `sentinel failover-timeout ${name} 4000`,
        `sentinel parallel-syncs ${name} 2`,
      ],
      { isSentinel: true },
    );
    setup.sentinels.push(sentinel);
    await sentinel.start();
  }
}

async function knownComplaint(setup: SentinelSetup, replicas: number, sentinels: number): Promise<string> {
  for (const sentinel of setup.sentinels) {
    const state = await sentinel.ask(`SENTINEL MASTER ${setup.masterName}`);
    const [slaves, others] = [field(state, 'num-slaves'), field(state, 'num-other-sentinels')];
    if (slaves !== String(replicas)) return `a Sentinel knows ${slaves} replicas`;
    if (others !== String(sentinels - 1)) return `a Sentinel knows ${others} others`;
  }
  return '';
}

/** One field of Sentinel's flat answer. */
function field(answer: string, name: string): string {
  const lines = answer.split('\r\n');
  return lines[lines.indexOf(name) + 2] ?? '';
}

/**
 * Connections to one Redis process while it is the one to write to: one for commands, one for grants (WAIT holds up what
 * comes after it on a connection) and one for subscriptions. They live and die together; nothing in here reconnects.
 */
import { createClient, RESP_TYPES } from '@redis/client';
import type { Logger } from '../observe/log.ts';
import type { RedisScript } from './redis-scripts.ts';
import type { RedisCredentials, RedisMaster } from './redis-sentinel.ts';
import { tlsSocketOptions, type RedisTls } from './redis-tls.ts';
import { storeAway, storeNotReplicated } from './store-errors.ts';
import { withTimeout } from './store-timeout.ts';

export type RedisSessionOptions = RedisCredentials & {
  db: number;
  tls: RedisTls | undefined;
  /** Shown in CLIENT LIST. */
  clientName: string;
  minReplicas: number;
  commandTimeoutMs: number;
  log: Logger;
};

export type RedisReply = unknown;
type Client = ReturnType<typeof redisClient>;

export class RedisSession {
  readonly master: RedisMaster;
  /** Of the Redis process. */
  readonly runId: string;
  readonly #options: RedisSessionOptions;
  readonly #commands: Client;
  readonly #grants: Client;
  readonly #subscriber: Client;
  #replicated: Promise<void> | undefined;
  #grantsAnsweredMs = performance.now();
  #isEnded = false;
  #ended: ((error: unknown) => void) | undefined;

  private constructor(master: RedisMaster, runId: string, clients: Client[], options: RedisSessionOptions) {
    const [commands, grants, subscriber] = clients;
    if (commands === undefined || grants === undefined || subscriber === undefined) {
      throw new Error('a session has three connections');
    }
    this.master = master;
    this.runId = runId;
    this.#options = options;
    this.#commands = commands;
    this.#grants = grants;
    this.#subscriber = subscriber;
    for (const client of clients) {
      client.on('error', (error: unknown) => this.end(error));
      client.on('end', () => this.end(new Error('closed')));
    }
  }

  /** Connects within the command timeout, and only to a process that says it is a master. */
  static async open(master: RedisMaster, options: RedisSessionOptions): Promise<RedisSession> {
    const clients = [0, 1, 2].map(() => redisClient(master, options));
    try {
      return await withTimeout(RedisSession.#connect(master, clients, options), options.commandTimeoutMs, storeAway);
    } catch (error) {
      for (const client of clients) {
        client.destroy();
      }
      throw error;
    }
  }

  static async #connect(master: RedisMaster, clients: Client[], options: RedisSessionOptions): Promise<RedisSession> {
    // An emitter without a listener for its errors would end the process.
    clients.forEach((client) => client.on('error', (error: unknown) => options.log.debug({ err: error }, 'redis')));
    await Promise.all(clients.map((client) => client.connect()));
    const runIds = await Promise.all(clients.map(runIdOf));
    const role = await clients[0]?.sendCommand(['ROLE']);
    if (!Array.isArray(role) || role[0] !== 'master') {
      throw storeAway(new Error(`${master.host}:${master.port} is not a master`));
    }
    // Redis may have been restarted between two connects; the run id must be right for each of them.
    if (new Set(runIds).size !== 1) {
      throw storeAway(new Error(`${master.host}:${master.port} was restarted`));
    }
    return new RedisSession(master, runIds[0] ?? '', clients, options);
  }

  /** Told once when any of the connections breaks; not after `end()` by the owner. */
  onEnd(ended: (error: unknown) => void): void {
    this.#ended = ended;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  async run(script: RedisScript, keys: string[], args: (string | Uint8Array)[]): Promise<RedisReply> {
    return this.#run(this.#commands, script, [keys, args]);
  }

  /** Runs a script, and answers only when enough replicas have what it wrote. */
  async grant(script: RedisScript, keys: string[], args: (string | Uint8Array)[]): Promise<RedisReply> {
    const reply = await this.#run(this.#grants, script, [keys, args]);
    this.#grantsAnsweredMs = performance.now();
    if (this.#options.minReplicas > 0) {
      await this.#whenReplicated();
    }
    return reply;
  }

  /** Nothing has come back on the connection for grants for longer than a command may take. */
  grantsHang(): boolean {
    return performance.now() - this.#grantsAnsweredMs >= this.#options.commandTimeoutMs;
  }

  async publish(channel: string, message: Uint8Array): Promise<void> {
    await this.#commands.sendCommand(['PUBLISH', channel, asBuffer(message)]);
  }

  async subscribe(channel: string, listener: (message: Buffer, channel: Buffer) => void): Promise<void> {
    await this.#subscriber.subscribe(channel, listener, true);
  }

  async unsubscribe(channel: string, listener: (message: Buffer, channel: Buffer) => void): Promise<void> {
    await this.#subscriber.unsubscribe(channel, listener, true);
  }

  /** Closes all connections; what was under way is rejected. */
  end(error: unknown): void {
    if (this.#isEnded) {
      return;
    }
    this.#isEnded = true;
    for (const client of [this.#commands, this.#grants, this.#subscriber]) {
      client.destroy();
    }
    this.#ended?.(error);
  }

  async #run(
    client: Client,
    script: RedisScript,
    [keys, args]: [string[], (string | Uint8Array)[]],
  ): Promise<RedisReply> {
    const rest = [String(keys.length), ...keys, ...args.map((arg) => (typeof arg === 'string' ? arg : asBuffer(arg)))];
    try {
      return await client.sendCommand(['EVALSHA', script.sha, ...rest], binary);
    } catch (error) {
      if (error instanceof Error && error.message.startsWith('NOSCRIPT')) {
        return client.sendCommand(['EVAL', script.source, ...rest], binary);
      }
      throw error;
    }
  }

  /** One WAIT serves all grants whose scripts have answered before it is sent. */
  #whenReplicated(): Promise<void> {
    this.#replicated ??= new Promise<void>((resolve) => queueMicrotask(resolve)).then(async () => {
      this.#replicated = undefined;
      const waitMs = Math.max(1, Math.floor(this.#options.commandTimeoutMs / 2));
      const replicas = await this.#grants.sendCommand(['WAIT', String(this.#options.minReplicas), String(waitMs)]);
      this.#grantsAnsweredMs = performance.now();
      if (!(Number(replicas) >= this.#options.minReplicas)) {
        throw storeNotReplicated();
      }
    });
    return this.#replicated;
  }
}

const binary = { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } };

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

async function runIdOf(client: Client): Promise<string> {
  const info = await client.sendCommand(['INFO', 'server']);
  const runId = /^run_id:(\w+)/m.exec(typeof info === 'string' ? info : '')?.[1];
  if (runId === undefined) {
    throw storeAway(new Error('Redis does not tell its run_id'));
  }
  return runId;
}

function redisClient(master: RedisMaster, options: RedisSessionOptions) {
  return createClient({
    ...(options.username === '' ? {} : { username: options.username }),
    ...(options.password === '' ? {} : { password: options.password }),
    database: options.db,
    name: options.clientName,
    socket: {
      host: master.host,
      port: master.port,
      connectTimeout: options.commandTimeoutMs,
      reconnectStrategy: false,
      ...tlsSocketOptions(options.tls),
    },
    commandsQueueMaxLength: 20_000,
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled',
  });
}

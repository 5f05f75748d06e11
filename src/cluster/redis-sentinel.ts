/**
 * Asks Sentinel which Redis is the master, together with the config epoch under which it became that. The client
 * library's own Sentinel support is not used: it moves commands to a new master by itself, but a fencing token needs to
 * know under which epoch the connection was made that a command runs on.
 */
import { createClient } from '@redis/client';
import { z } from 'zod';
import type { Logger } from '../observe/log.ts';
import { tlsSocketOptions, type RedisTls } from './redis-tls.ts';
import { storeAway } from './store-errors.ts';
import { withTimeout } from './store-timeout.ts';

export type RedisHost = { host: string; port: number };
export type RedisCredentials = { username: string; password: string };

/** Where to connect. `configEpoch` is 0 without Sentinel. */
export type RedisMaster = RedisHost & { configEpoch: number };

export type SentinelOptions = RedisCredentials & {
  masterName: string;
  addresses: RedisHost[];
  tls: RedisTls | undefined;
  timeoutMs: number;
  log: Logger;
};

const masterReply = z
  .array(z.string())
  .transform((flat) => new Map(flat.flatMap((key, index) => (index % 2 === 0 ? [[key, flat[index + 1] ?? '']] : []))))
  .or(z.record(z.string(), z.string()).transform((fields) => new Map(Object.entries(fields))))
  .transform((fields) => z.coerce.number().int().min(0).parse(fields.get('config-epoch')));
const addressReply = z.tuple([z.string(), z.coerce.number()]);

export class RedisSentinel {
  readonly #peers: SentinelPeer[];

  constructor(options: SentinelOptions) {
    this.#peers = options.addresses.map((address) => new SentinelPeer(address, options));
  }

  /**
   * The master that the highest config epoch names, among the Sentinels that answer in time: one behind a partition
   * still names the old master. Does not wait for the slow ones when a majority has answered.
   */
  async master(): Promise<RedisMaster> {
    const answers: RedisMaster[] = [];
    const majority = Math.floor(this.#peers.length / 2) + 1;
    let lastFailure: unknown;
    await new Promise<void>((resolve) => {
      let pending = this.#peers.length;
      for (const peer of this.#peers) {
        peer
          .ask()
          .then((answer) => answers.push(answer))
          .catch((error: unknown) => {
            lastFailure = error;
          })
          .finally(() => {
            pending -= 1;
            if (pending === 0 || answers.length >= majority) resolve();
          });
      }
    });
    const best = answers.toSorted((left, right) => right.configEpoch - left.configEpoch)[0];
    if (best === undefined) {
      throw storeAway(lastFailure);
    }
    return best;
  }

  close(): void {
    for (const peer of this.#peers) {
      peer.close();
    }
  }
}

/** One connection to one Sentinel, kept while it works. */
class SentinelPeer {
  readonly #address: RedisHost;
  readonly #options: SentinelOptions;
  #client: ReturnType<typeof sentinelClient> | undefined;
  #asking: Promise<RedisMaster> | undefined;

  constructor(address: RedisHost, options: SentinelOptions) {
    this.#address = address;
    this.#options = options;
  }

  ask(): Promise<RedisMaster> {
    this.#asking ??= withTimeout(this.#ask(), this.#options.timeoutMs, storeAway)
      .catch((error: unknown) => {
        this.close();
        throw error;
      })
      .finally(() => {
        this.#asking = undefined;
      });
    return this.#asking;
  }

  async #ask(): Promise<RedisMaster> {
    const client = await this.#connected();
    const { masterName } = this.#options;
    const epoch = async (): Promise<number> =>
      masterReply.parse(await client.sendCommand(['SENTINEL', 'MASTER', masterName]));
    // While a failover is under way the new epoch may already stand beside the old address: an address only counts
    // between two looks at the same epoch.
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const before = await epoch();
      const [host, port] = addressReply.parse(
        await client.sendCommand(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', masterName]),
      );
      if ((await epoch()) === before) {
        return { host, port, configEpoch: before };
      }
    }
    throw storeAway(new Error('the epoch of the master keeps changing'));
  }

  async #connected(): Promise<ReturnType<typeof sentinelClient>> {
    if (this.#client?.isReady === true) {
      return this.#client;
    }
    this.close();
    const client = sentinelClient(this.#address, this.#options);
    this.#client = client;
    client.on('error', (error: unknown) => {
      this.#options.log.debug({ err: error, sentinel: this.#address }, 'sentinel does not answer');
    });
    await client.connect();
    return client;
  }

  close(): void {
    this.#client?.destroy();
    this.#client = undefined;
  }
}

function sentinelClient(address: RedisHost, options: SentinelOptions) {
  return createClient({
    ...(options.username === '' ? {} : { username: options.username }),
    ...(options.password === '' ? {} : { password: options.password }),
    socket: {
      host: address.host,
      port: address.port,
      connectTimeout: options.timeoutMs,
      reconnectStrategy: false,
      ...tlsSocketOptions(options.tls),
    },
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled',
  });
}

import { badConfig } from '../config/errors.ts';
import type { Config } from '../config/options.ts';
import type { Logger } from '../observe/log.ts';
import type { RedisHost } from './redis-sentinel.ts';
import type { RedisStoreOptions } from './redis-store.ts';
import { defaultStoreTimings, type StoreTimings } from './store.ts';

const defaultPort = { redis: 6379, sentinel: 26_379 };

/** Nodes state themselves to the store as often as to each other. */
function storeTimings(cluster: Config['cluster']): StoreTimings {
  const heartbeatMs = cluster.heartbeat_interval * 1_000;
  return { ...defaultStoreTimings, heartbeatMs, leaseMs: heartbeatMs * cluster.heartbeat_misses };
}

/** @returns undefined on a node without a cluster. @throws PlenumError `bad-config` */
export function redisOptions(
  config: Pick<Config, 'redis' | 'cluster'>,
  process: { clientName: string; log: Logger },
): RedisStoreOptions | undefined {
  const { redis, cluster } = config;
  const hasSentinel = redis.sentinel_master_name !== '';
  if (hasSentinel !== redis.sentinel_addresses.length > 0) {
    throw badConfig(['`redis.sentinel_master_name` and `redis.sentinel_addresses` belong together']);
  }
  if (!hasSentinel && redis.address === '') {
    return undefined;
  }
  return {
    address: hasSentinel ? { host: '', port: 0 } : parseAddress('redis.address', redis.address, defaultPort.redis),
    username: redis.username,
    password: redis.password,
    db: redis.db,
    useTls: redis.use_tls,
    sentinel: hasSentinel
      ? {
          masterName: redis.sentinel_master_name,
          addresses: redis.sentinel_addresses.map((address) =>
            parseAddress('redis.sentinel_addresses', address, defaultPort.sentinel),
          ),
          username: redis.sentinel_username,
          password: redis.sentinel_password,
        }
      : undefined,
    minReplicas: hasSentinel ? redis.min_replicas : 0,
    keyPrefix: cluster.name,
    timings: storeTimings(cluster),
    commandTimeoutMs: 1_000,
    ...process,
  };
}

/** `host`, `host:port` or `[v6]:port`. */
function parseAddress(option: string, address: string, port: number): RedisHost {
  const match = /^(?:\[([^\]]+)\]|([^:\s]+))(?::(\d{1,5}))?$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) {
    throw badConfig([`\`${option}\`: \`${address}\` is not \`host:port\``]);
  }
  return { host, port: match?.[3] === undefined ? port : Number(match[3]) };
}

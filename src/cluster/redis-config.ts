import { readFileSync } from 'node:fs';
import { badConfig } from '../config/errors.ts';
import type { Config } from '../config/options.ts';
import type { Logger } from '../observe/log.ts';
import type { RedisHost } from './redis-sentinel.ts';
import type { RedisTls } from './redis-tls.ts';
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
  const at = parseRedisUrl(redis.address);
  if (hasSentinel !== redis.sentinel_addresses.length > 0) {
    throw badConfig(['`redis.sentinel_master_name` and `redis.sentinel_addresses` belong together']);
  }
  if (!hasSentinel && redis.address === '') {
    return undefined;
  }
  return {
    address: hasSentinel ? { host: '', port: 0 } : parseAddress('redis.address', at.address, defaultPort.redis),
    username: redis.username,
    password: secretOf('redis.password_file', redis.password, redis.password_file),
    db: redis.db,
    tls: redis.use_tls || at.isTls ? readTls(redis.tls) : undefined,
    sentinel: hasSentinel
      ? {
          masterName: redis.sentinel_master_name,
          addresses: redis.sentinel_addresses.map((address) =>
            parseAddress('redis.sentinel_addresses', address, defaultPort.sentinel),
          ),
          username: redis.sentinel_username,
          password: secretOf('redis.sentinel_password_file', redis.sentinel_password, redis.sentinel_password_file),
        }
      : undefined,
    minReplicas: hasSentinel ? redis.min_replicas : 0,
    keyPrefix: cluster.name,
    timings: storeTimings(cluster),
    commandTimeoutMs: 1_000,
    ...process,
  };
}

/** Credentials do not belong into an address, which is logged: the scheme only says whether it is TLS. */
function parseRedisUrl(address: string): { address: string; isTls: boolean } {
  const [, scheme, rest] = /^(rediss?):\/\/([^/@]*)\/?$/.exec(address) ?? [];
  return scheme === undefined ? { address, isTls: false } : { address: rest ?? '', isTls: scheme === 'rediss' };
}

function readTls(tls: Config['redis']['tls']): RedisTls {
  if ((tls.client_cert_file === '') !== (tls.client_key_file === '')) {
    throw badConfig(['`redis.tls.client_cert_file` and `redis.tls.client_key_file` belong together']);
  }
  return {
    ca: optionalFile('redis.tls.ca_cert_file', tls.ca_cert_file),
    cert: optionalFile('redis.tls.client_cert_file', tls.client_cert_file),
    key: optionalFile('redis.tls.client_key_file', tls.client_key_file),
    serverName: tls.server_name === '' ? undefined : tls.server_name,
  };
}

function secretOf(option: string, given: string, path: string): string {
  return given === '' ? (optionalFile(option, path)?.trim() ?? '') : given;
}

function optionalFile(option: string, path: string): string | undefined {
  if (path === '') {
    return undefined;
  }
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw badConfig([`\`${option}\` cannot be read: ${error instanceof Error ? error.message : String(error)}`]);
  }
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

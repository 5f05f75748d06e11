/** Options of `redis`, a part of the table in `options.ts`. */
import { z } from 'zod';

const redisTls = z.strictObject({
  ca_cert_file: z
    .string()
    .default('')
    .describe('PEM file of the authority that signed the certificates of Redis; empty = those of the system.'),
  client_cert_file: z.string().default('').describe('PEM file of a certificate of ours, where Redis asks for one.'),
  client_key_file: z.string().default('').describe('PEM file of its private key.'),
  server_name: z
    .string()
    .default('')
    .describe('Name that the certificates carry, when it is not the host; Sentinel names addresses.'),
});

export const redis = z.strictObject({
  address: z
    .string()
    .default('')
    .describe(
      '`host:port` of a single Redis (7.0 or newer), or `redis://` and `rediss://` (TLS) with it; empty with Sentinel, and on a node that is alone.',
    ),
  username: z.string().default('').describe('Redis user; empty = the default one.'),
  password: z.string().default('').describe('Password of Redis; also `PLENUM_REDIS_PASSWORD`.'),
  password_file: z.string().default('').describe('File that holds the password, read when `redis.password` is empty.'),
  db: z.int().min(0).default(0).describe('Number of the Redis database.'),
  use_tls: z.boolean().default(false).describe('Reach Redis and Sentinel over TLS.'),
  tls: redisTls.prefault({}).describe('How TLS to Redis and Sentinel is checked.'),
  sentinel_master_name: z
    .string()
    .default('')
    .describe('Name under which Sentinel knows the master; set it to use Sentinel.'),
  sentinel_addresses: z.array(z.string().min(1)).default([]).describe('`host:port` of each Sentinel.'),
  sentinel_username: z.string().default('').describe('User at the Sentinels; empty = the default one.'),
  sentinel_password: z
    .string()
    .default('')
    .describe('Password at the Sentinels; also `PLENUM_REDIS_SENTINEL_PASSWORD`.'),
  sentinel_password_file: z
    .string()
    .default('')
    .describe('File that holds that password, read when `redis.sentinel_password` is empty.'),
  min_replicas: z
    .int()
    .min(0)
    .default(1)
    .describe('With Sentinel: replicas that must know who owns a room before anybody is told.'),
});

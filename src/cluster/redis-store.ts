/** The cluster's store in Redis, single or behind Sentinel (7.0 or newer). */
import { RedisBus } from './redis-bus.ts';
import { RedisConnection, type RedisConnectionOptions } from './redis-connection.ts';
import { RedisLeases } from './redis-leases.ts';
import { RedisNodeRegistry, RedisNodeStates } from './redis-nodes.ts';
import { RedisRecords } from './redis-records.ts';
import { RedisRooms } from './redis-rooms.ts';
import type { ClusterStore, StoreTimings } from './store.ts';

export type RedisStoreOptions = RedisConnectionOptions;

export class RedisStore implements ClusterStore {
  readonly timings: StoreTimings;
  readonly health: RedisConnection;
  readonly nodes: RedisNodeRegistry;
  readonly nodeStates: RedisNodeStates;
  readonly rooms: RedisRooms;
  readonly leases: RedisLeases;
  readonly records: RedisRecords;
  readonly bus: RedisBus;

  /** Starts to connect, and goes on trying for ever. */
  constructor(options: RedisStoreOptions) {
    const redis = new RedisConnection(options);
    this.timings = options.timings;
    this.health = redis;
    this.nodes = new RedisNodeRegistry({ redis, log: options.log });
    this.nodeStates = new RedisNodeStates(redis);
    this.rooms = new RedisRooms(redis);
    this.leases = new RedisLeases(redis);
    this.records = new RedisRecords(redis);
    this.bus = new RedisBus(redis);
    redis.start();
  }

  /** Resolves once Redis answers. A start may wait for it to say what is wrong; nothing needs to. */
  ready(timeoutMs: number): Promise<void> {
    return this.health.ready(timeoutMs);
  }

  close(): Promise<void> {
    return this.health.close();
  }
}

import { describe } from 'node:test';
import { redisAwaySuite } from './suites/redis-away.ts';

describe('a Redis that does not answer for longer than all leases', () => {
  redisAwaySuite({ config: { cluster: { heartbeat_interval: 0.2, heartbeat_misses: 4 } }, awayMs: 5_500 });
});

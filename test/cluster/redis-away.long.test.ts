import { describe } from 'node:test';
import { redisAwaySuite } from './suites/redis-away.ts';

describe('a Redis that does not answer for ten minutes', () => {
  redisAwaySuite({ config: {}, awayMs: 600_000 });
});

import { describe } from 'node:test';
import { edgeLoadSuite } from './suites/edge-load.ts';

describe('a public port under attack by 2,000 idle connections, 200 slow ones and a flood of bad tokens', () =>
  edgeLoadSuite({
    idle: { addresses: 20, each: 100 },
    slow: { addresses: 4, each: 50 },
    floods: 2,
    joins: 20,
    perAddress: 200,
  }));

import { describe } from 'node:test';
import { edgeLoadSuite } from './suites/edge-load.ts';

/** A tenth of what `edge-load.long.test.ts` brings. */
describe('a public port under a small attack', () =>
  edgeLoadSuite({
    idle: { addresses: 10, each: 20 },
    slow: { addresses: 2, each: 10 },
    floods: 1,
    joins: 10,
    perAddress: 40,
  }));

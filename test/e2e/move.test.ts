import { describe } from 'node:test';
import { startMoveCluster } from '../kit/move-cluster.ts';
import { moveSuite } from './suites/move.ts';

describe('real clients that are moved to another node', () => moveSuite(() => startMoveCluster(['from', 'to'])));

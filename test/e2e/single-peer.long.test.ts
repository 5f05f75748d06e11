/** Everything that real clients are tried with on two connections, on one. */
import { after, describe } from 'node:test';
import { startMoveCluster } from '../kit/move-cluster.ts';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { onOneConnection, startNodeTarget } from '../kit/target.ts';
import { codecsSuite } from './suites/codecs.ts';
import { dataBurstSuite } from './suites/data-burst.ts';
import { layersSuite } from './suites/layers.ts';
import { moderationSuite } from './suites/moderation.ts';
import { moveSuite } from './suites/move.ts';
import { permissionsSuite } from './suites/permissions.ts';
import { resumeSuite } from './suites/resume.ts';

const start = onOneConnection(startNodeTarget);

after(disposeRtcNode);
describe('on a single peer connection', () => {
  describe('codecs', () => codecsSuite(start));
  describe('layers', () => layersSuite(start));
  describe('a moderator', () => moderationSuite(start));
  describe('permissions', () => permissionsSuite(start));
  describe('a client that lost its signal socket', () => resumeSuite(start));
  describe('data', () => dataBurstSuite(start));
  describe('clients that are moved to another node', () =>
    moveSuite(() => startMoveCluster(['from', 'to'], { single_peer_connection: true })));
});

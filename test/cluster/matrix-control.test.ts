/** What clients and moderators do with one node, through the masters of a cluster. */
import { after, describe } from 'node:test';
import { dataBurstSuite } from '../e2e/suites/data-burst.ts';
import { moderationSuite } from '../e2e/suites/moderation.ts';
import { resumeSuite } from '../e2e/suites/resume.ts';
import { serverSdkSuite } from '../e2e/suites/server-sdk.ts';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { startClusterTarget } from '../kit/target.ts';

after(disposeRtcNode);
describe('through the masters of a cluster', () => {
  describe('livekit-server-sdk', () => serverSdkSuite(startClusterTarget));
  describe('a moderator', () => moderationSuite(startClusterTarget));
  describe('a client whose signal socket is cut', () => resumeSuite(startClusterTarget));
  describe('data under pressure', () => dataBurstSuite(startClusterTarget));
});

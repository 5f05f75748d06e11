import { after, describe } from 'node:test';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { startNodeTarget } from '../kit/target.ts';
import { moderationSuite } from './suites/moderation.ts';

after(disposeRtcNode);
describe('a moderator', () => moderationSuite(startNodeTarget));

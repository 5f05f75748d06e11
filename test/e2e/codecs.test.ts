import { after, describe } from 'node:test';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { startNodeTarget } from '../kit/target.ts';
import { codecsSuite } from './suites/codecs.ts';

after(disposeRtcNode);
describe('codecs', () => codecsSuite(startNodeTarget));

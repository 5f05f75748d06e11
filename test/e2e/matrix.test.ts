import { after, describe } from 'node:test';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { startNodeTarget } from '../kit/target.ts';
import { callSuite } from './suites/call.ts';

after(disposeRtcNode);
describe('a call', () => callSuite(startNodeTarget));

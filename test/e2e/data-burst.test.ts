import { after, describe } from 'node:test';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { startProcessTarget } from '../kit/target.ts';
import { dataBurstSuite } from './suites/data-burst.ts';

after(disposeRtcNode);
describe('data under pressure', () => dataBurstSuite(startProcessTarget));

import { after, describe } from 'node:test';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { startNodeTarget } from '../kit/target.ts';
import { resumeSuite } from './suites/resume.ts';

after(disposeRtcNode);
describe('a client whose signal socket is cut', () => resumeSuite(startNodeTarget));

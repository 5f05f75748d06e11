import { after, describe } from 'node:test';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { startNodeTarget } from '../kit/target.ts';
import { layersSuite } from './suites/layers.ts';

after(disposeRtcNode);
describe('layers', () => layersSuite(startNodeTarget));

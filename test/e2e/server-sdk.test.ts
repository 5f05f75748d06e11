import { after, describe } from 'node:test';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { startNodeTarget } from '../kit/target.ts';
import { serverSdkSuite } from './suites/server-sdk.ts';

after(disposeRtcNode);
describe('livekit-server-sdk', () => serverSdkSuite(startNodeTarget));

import { after, describe } from 'node:test';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { startNodeTarget } from '../kit/target.ts';
import { permissionsSuite } from './suites/permissions.ts';

after(disposeRtcNode);
describe('permissions', () => permissionsSuite(startNodeTarget));

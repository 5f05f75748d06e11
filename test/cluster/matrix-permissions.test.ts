/** Who may do what in a room, through the masters of a cluster. */
import { after, describe } from 'node:test';
import { permissionsSuite } from '../e2e/suites/permissions.ts';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { startClusterTarget } from '../kit/target.ts';

after(disposeRtcNode);
describe('permissions through the masters of a cluster', () => permissionsSuite(startClusterTarget));

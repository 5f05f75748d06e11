/** What real clients do in a call on one node, with each of them on a media node of its own. */
import { after, describe } from 'node:test';
import { callSuite } from '../e2e/suites/call.ts';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { startSpreadTarget } from '../kit/target.ts';

after(disposeRtcNode);
describe('through the masters of a cluster', () => {
  describe('a call', () => callSuite(startSpreadTarget));
});

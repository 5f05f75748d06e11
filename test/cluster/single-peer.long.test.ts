/** A call of real clients on a single peer connection each, with each of them on a media node of its own. */
import { after, describe } from 'node:test';
import { callSuite } from '../e2e/suites/call.ts';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { onOneConnection, startSpreadTarget } from '../kit/target.ts';

after(disposeRtcNode);
describe('on a single peer connection through the masters of a cluster', () => {
  describe('a call', () => callSuite(onOneConnection(startSpreadTarget)));
});

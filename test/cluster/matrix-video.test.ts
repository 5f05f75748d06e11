/** Codecs and layers between real clients, with each of them on a media node of its own. */
import { after, describe } from 'node:test';
import { codecsSuite } from '../e2e/suites/codecs.ts';
import { layersSuite } from '../e2e/suites/layers.ts';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { startSpreadTarget } from '../kit/target.ts';

after(disposeRtcNode);
describe('through the masters of a cluster', () => {
  describe('layers', () => layersSuite(startSpreadTarget));
  describe('codecs', () => codecsSuite(startSpreadTarget));
});

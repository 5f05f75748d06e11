import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { producerFacts } from './producer-facts.ts';

function facts(scalabilityMode: string | undefined, qualities: (0 | 1 | 2)[]) {
  return producerFacts({
    rtpParameters: { codecs: [], encodings: [scalabilityMode === undefined ? {} : { scalabilityMode }] },
    layers: qualities.map((quality) => ({ quality, rid: '', ssrc: 0 })),
  });
}

describe('producer facts', () => {
  it('reads temporal layers from the scalability mode and spatial ones from the published layers', () => {
    assert.deepEqual(facts('L3T3_KEY', [0, 1, 2]), { qualities: [0, 1, 2], temporalLayers: 3, maxFps: 30 });
    assert.equal(facts('L1T2', [2]).temporalLayers, 2);
    assert.equal(facts(undefined, [2]).temporalLayers, 1);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { chooseLayers, isAdaptable, spatialLayerFor, temporalLayerFor, type ProducerFacts } from './layers.ts';

const threeLayers: ProducerFacts = { qualities: [0, 1, 2], temporalLayers: 3, maxFps: 30 };

describe('layer choice', () => {
  it('takes the largest layer that is not above the wish', () => {
    assert.equal(spatialLayerFor([0, 1, 2], 2), 2);
    assert.equal(spatialLayerFor([0, 1, 2], 1), 1);
    assert.equal(spatialLayerFor([0, 2], 1), 0);
    assert.equal(spatialLayerFor([0, 2], 2), 1);
  });

  it('takes the lowest layer when all are above the wish', () => {
    assert.equal(spatialLayerFor([1, 2], 0), 0);
    assert.equal(spatialLayerFor([2], 0), 0);
    assert.equal(spatialLayerFor([], 2), 0);
  });

  it('keeps the frame rate within the bound, each temporal layer doubling it', () => {
    assert.equal(temporalLayerFor(threeLayers, 0), 2);
    assert.equal(temporalLayerFor(threeLayers, 30), 2);
    assert.equal(temporalLayerFor(threeLayers, 15), 1);
    assert.equal(temporalLayerFor(threeLayers, 14), 0);
    assert.equal(temporalLayerFor(threeLayers, 1), 0);
    assert.equal(temporalLayerFor({ ...threeLayers, temporalLayers: 0 }, 1), 0);
  });

  it('combines both', () => {
    assert.deepEqual(chooseLayers(threeLayers, { quality: 1, maxFps: 15 }), { spatialLayer: 1, temporalLayer: 1 });
  });

  it('calls a producer adaptable when it has several spatial layers', () => {
    assert.equal(isAdaptable(threeLayers), true);
    assert.equal(isAdaptable({ ...threeLayers, qualities: [2] }), false);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nodeId } from '../protocol/ids.ts';
import { RemoteLayers } from './remote-layers.ts';

const [one, two] = [nodeId('one'), nodeId('two')];

describe('layers that are taken on other nodes', () => {
  it('are the highest of all nodes, and none of those that are gone', () => {
    const layers = new RemoteLayers();
    assert.equal(layers.highest('x'), -1);
    layers.set(one, 'x', 0);
    layers.set(two, 'x', 2);
    assert.equal(layers.highest('x'), 2);
    layers.forgetNode(two);
    assert.equal(layers.highest('x'), 0);
    layers.forgetProducer('x');
    assert.equal(layers.highest('x'), -1);
  });

  it('are told when they change, and again after a while', () => {
    const layers = new RemoteLayers();
    const now = new Map([
      ['x', 1],
      ['y', -1],
    ]);
    const told = (): string =>
      layers
        .changesFor(now.keys(), (id) => now.get(id) ?? -1)
        .map(({ producerId, layer }) => producerId + layer)
        .join();
    assert.deepEqual([told(), told()], ['x1', '']);
    now.set('x', 2);
    assert.deepEqual([told(), told(), told()], ['x2', '', 'x2,y-1']);
    now.delete('x');
    told();
    now.set('x', 2);
    assert.equal(told(), 'x2');
  });
});

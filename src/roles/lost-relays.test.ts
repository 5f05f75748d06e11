import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import { configSchema } from '../config/options.ts';
import { LostRelays } from './lost-relays.ts';

describe('relays that are lost', () => {
  const config = configSchema.parse({ turn: { relay_range_start: 40_000, relay_range_end: 40_009 } });
  let lost: LostRelays;
  let told: ((address: string, port: number) => boolean)[];
  const count = (): number => told.length;
  beforeEach(() => {
    mock.timers.enable({ apis: ['setTimeout'] });
    lost = new LostRelays(config);
    told = [];
    lost.onLost((isRelay) => told.push(isRelay));
  });
  afterEach(() => {
    lost.close();
    mock.timers.reset();
  });

  it('are those of nodes that are no longer there, by their address and the range of ports', () => {
    lost.nodesAre(['10.0.0.1', '10.0.0.2']);
    lost.nodesAre(['10.0.0.2', '10.0.0.3', '10.0.0.1']);
    assert.equal(count(), 0);
    lost.nodesAre(['10.0.0.3', '10.0.0.2']);
    const [isRelay] = told;
    assert.ok(isRelay !== undefined && count() === 1);
    assert.deepEqual(
      [39_999, 40_000, 40_009, 40_010].map((port) => isRelay('10.0.0.1', port)),
      [false, true, true, false],
    );
    assert.equal(isRelay('10.0.0.2', 40_000), false);
  });

  it('are those of the own server, told once it has been back for a moment', () => {
    lost.serverEnded(['10.0.0.1']);
    mock.timers.tick(1_000);
    lost.serverEnded(['10.0.0.1']);
    mock.timers.tick(1_400);
    assert.equal(count(), 0);
    mock.timers.tick(100);
    assert.equal(count(), 1);
    assert.equal(told[0]?.('10.0.0.1', 40_005), true);
    lost.serverEnded(['10.0.0.1']);
    lost.close();
    mock.timers.tick(10_000);
    assert.equal(count(), 1);
  });
});

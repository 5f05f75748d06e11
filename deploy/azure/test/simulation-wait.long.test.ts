import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { ScaleScenario } from '../simulate/scale-scenario.ts';
import { simulateDeployment, type SimulatedDeployment } from './simulated-deployment.ts';

describe('a simulated deployment that lets calls end', () => {
  let deployment: SimulatedDeployment | undefined;
  after(() => deployment?.close());

  it('never deletes a node that has some, and deletes it when they have ended', async (context) => {
    deployment = await simulateDeployment({ drainPolicy: 'wait' }, { speed: 20, coresPerNode: 0.2 });
    const report = await new ScaleScenario({
      simulation: deployment.simulation,
      say: (line) => context.diagnostic(line),
      until: 2,
      roomsAtMost: 14,
      policy: 'wait',
      timeoutMs: 80_000,
    }).run();
    assert.deepEqual(report.lost, []);
    assert.deepEqual(report.rejoinGapsMs, [], 'somebody was moved');
    assert.ok(report.waitedMs >= 20_000);
    assert.equal(report.nodesAtTheEnd, 1);
    assert.equal(report.deleted.length, 1);
  });
});

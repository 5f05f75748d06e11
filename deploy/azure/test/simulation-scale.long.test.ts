import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { ScaleScenario } from '../simulate/scale-scenario.ts';
import { simulateDeployment, type SimulatedDeployment } from './simulated-deployment.ts';

describe('a simulated deployment under a load that rises and falls', () => {
  let deployment: SimulatedDeployment | undefined;
  after(() => deployment?.close());

  it('grows, and shrinks again without anybody losing a call', async (context) => {
    deployment = await simulateDeployment({}, { speed: 20, coresPerNode: 0.2 });
    const { simulation } = deployment;
    const lines: string[] = [];
    const options = {
      simulation,
      say: (line: string) => lines.push(line),
      until: 2,
      roomsAtMost: 14,
      timeoutMs: 70_000,
    };
    const report = await new ScaleScenario(options).run();
    context.diagnostic(`${JSON.stringify(report)}`);
    assert.deepEqual(report.lost, []);
    assert.equal(report.nodesAtMost, 2);
    assert.equal(report.nodesAtTheEnd, 1);
    assert.equal(report.deleted.length, 1);
  });
});

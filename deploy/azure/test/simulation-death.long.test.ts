import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { RoomServiceClient } from 'livekit-server-sdk';
import { until } from '../../../test/kit/until.ts';
import type { Machine } from '../simulate/machine.ts';
import { simulateDeployment, type SimulatedDeployment } from './simulated-deployment.ts';

describe('a simulated deployment whose first master dies in the middle of its first boot', () => {
  let deployment: SimulatedDeployment | undefined;
  after(() => deployment?.close());

  it('works without it after a minute, and with it when it is back, with one set of secrets', async (context) => {
    let dead: Machine | undefined;
    let finishedBy = '';
    deployment = await simulateDeployment(
      {},
      {
        speed: 1,
        coresPerNode: 2,
        masters: 3,
        wrote: (secret, machine) => {
          if (secret.endsWith('-keyvault/REDIS-PASSWORD') && dead === undefined) {
            dead = machine;
            void machine?.powerOff();
          }
          if (secret.endsWith('-keyvault/FINISH-MASTER-NODE')) finishedBy = machine?.name ?? '';
        },
      },
    );
    const { simulation } = deployment;
    assert.ok(dead !== undefined, 'nobody made secrets');
    assert.notEqual(finishedBy, '');
    assert.notEqual(finishedBy, dead.name);
    context.diagnostic(`${dead.name} died, ${finishedBy} went on`);
    const rooms = new RoomServiceClient(simulation.url, simulation.keys.apiKey, simulation.keys.apiSecret);
    await rooms.createRoom({ name: 'without-it' });
    dead.powerOn();
    await simulation.ready(60_000);
    assert.equal(simulation.healthyMasters, 4);
    await until(async () => ((await rooms.listRooms()).length === 1 ? '' : 'the room is not listed'));
    for (const vault of [`${simulation.stack}-keyvault`, `${simulation.stack}-nodes`]) {
      const names = simulation.vaults.names(vault);
      assert.ok(names.length >= 6, vault);
      for (const name of names)
        assert.equal(simulation.vaults.versions(vault, name).length, 1, `${name} was made twice`);
    }
  });

  it('empties a media node that Azure is about to take, tells Azure when it is empty, and makes another one', async (context) => {
    assert.ok(deployment !== undefined);
    const { simulation } = deployment;
    const [node] = simulation.media.values();
    assert.ok(node !== undefined);
    const { EventId } = node.metadata.schedule({ EventType: 'Terminate' });
    await until(() => (node.metadata.acknowledged.includes(EventId) ? '' : 'it is not acknowledged'), {
      timeoutMs: 90_000,
    });
    await until(
      async () => {
        const phases = (await simulation.capacity()).machines.map(({ machineId, phase }) => `${machineId} ${phase}`);
        const isServed = phases.some((text) => !text.startsWith(node.computerName) && text.endsWith(' serving'));
        return isServed && !phases.includes(`${node.computerName} serving`) ? '' : phases.join();
      },
      { timeoutMs: 60_000 },
    );
    const { decisions } = await simulation.capacity();
    context.diagnostic(decisions.map(({ what, reason }) => `${what}: ${reason}`).join('; '));
    // The room has moved: it was made without a participant, and nobody has come since.
    const rooms = new RoomServiceClient(simulation.url, simulation.keys.apiKey, simulation.keys.apiSecret);
    const names = (await rooms.listRooms()).map(({ name }) => name);
    assert.deepEqual(names, ['without-it']);
  });
});

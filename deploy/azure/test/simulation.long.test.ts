import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { RoomServiceClient } from 'livekit-server-sdk';
import { simulateDeployment, type SimulatedDeployment } from './simulated-deployment.ts';

describe('a simulated deployment', () => {
  let deployment: SimulatedDeployment;

  before(async () => {
    deployment = await simulateDeployment({}, { speed: 1, coresPerNode: 2 });
  });
  after(() => deployment?.close());

  const simulation = () => deployment.simulation;
  const plenum = (...args: string[]): string =>
    execFileSync(process.execPath, [path.join(import.meta.dirname, '../../../src/main.ts'), ...args], {
      encoding: 'utf8',
      timeout: 20_000,
    });

  it('comes up from the generated first boot: four masters behind the load balancer, and a media node', () => {
    assert.equal(simulation().healthyMasters, 4);
    assert.equal(simulation().servingMedia, 1);
    const sentinels = simulation().masters.filter(({ services }) => services.includes('plenum-sentinel.service'));
    assert.equal(sentinels.length, 3);
  });

  it('answers the server API through the load balancer with the key from the vault', async () => {
    const { apiKey, apiSecret } = simulation().keys;
    const service = new RoomServiceClient(simulation().url, apiKey, apiSecret);
    const room = await service.createRoom({ name: 'simulated' });
    assert.equal(room.name, 'simulated');
    assert.deepEqual(
      (await service.listRooms()).map(({ name }) => name),
      ['simulated'],
    );
    await service.deleteRoom('simulated');
  });

  it('tells on the command line who leads its capacity, and what it sees', () => {
    const config = path.join(simulation().masters[0]?.folder ?? '', 'etc/plenum/plenum.yaml');
    const report = JSON.parse(plenum('capacity', 'status', '--json', '--config', config)) as {
      provider: string;
      machines: { phase: string; instanceId: string }[];
    };
    assert.equal(report.provider, 'azure');
    assert.deepEqual(
      report.machines.map(({ phase, instanceId }) => [phase, instanceId]),
      [['serving', [...simulation().media.keys()][0]]],
    );
  });

  it('finds with plenum azure verify that rights, storage and control plane are as they should be', () => {
    const [master] = simulation().masters;
    assert.ok(master !== undefined);
    const files = ['deployment.json', 'plenum.yaml'].map((name) => path.join(master.folder, 'etc/plenum', name));
    const [deploymentFile = '', config = ''] = files;
    const env = { ...process.env, ...master.env };
    const args = ['azure', 'verify', '--json', '--deployment', deploymentFile, '--config', config];
    const program = path.join(import.meta.dirname, '../../../src/main.ts');
    const { stdout } = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8', env, timeout: 60_000 });
    const findings = JSON.parse(stdout) as { check: string; isGood: boolean; found: string }[];
    const failed = findings.filter(({ isGood }) => !isGood).map(({ check }) => check);
    // There is no address on the internet, and nobody vouches for a certificate here.
    assert.deepEqual(
      failed.filter((check) => !check.includes('through the load balancer')),
      [],
    );
    assert.equal(findings.length, 6);
  });

  it('changes nothing when every node is set up again', async () => {
    for (const machine of simulation().machines) {
      assert.equal((await machine.initAgain()).trim(), 'Nothing had to be changed.', machine.computerName);
    }
  });

  it('tells no secret in logs, command lines and user data', () => {
    const { vaults, machines, stack } = simulation();
    const secrets = ['LIVEKIT-API-SECRET', 'LIVEKIT-API-KEY', 'REDIS-PASSWORD', 'PLENUM-CLUSTER-SECRET'].flatMap(
      (name) => vaults.versions(`${stack}-keyvault`, name),
    );
    assert.equal(secrets.length, 4);
    const commands = execFileSync('ps', ['-eo', 'args', '-ww'], { encoding: 'utf8' });
    const places: [string, string][] = [
      ['the command lines', commands],
      ['the user data', simulation().userData()],
      ...machines.map((machine): [string, string] => [
        `the log of ${machine.computerName}`,
        readFileSync(machine.logFile, 'utf8'),
      ]),
    ];
    for (const [place, text] of places) {
      assert.ok(text.length > 100, `${place} is empty`);
      for (const secret of secrets) assert.ok(!text.includes(secret), `${place} holds a secret`);
    }
  });
});

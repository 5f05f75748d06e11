import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { after, before, describe, it } from 'node:test';
import { RoomServiceClient } from 'livekit-server-sdk';
import { ScaleScenario } from '../simulate/scale-scenario.ts';
import { until } from '../../../test/kit/until.ts';
import { simulateDeployment, type SimulatedDeployment } from './simulated-deployment.ts';

const run = promisify(execFile);
const program = path.join(import.meta.dirname, '../../../src/main.ts');

describe('a simulated deployment', () => {
  let deployment: SimulatedDeployment;

  /** Command lines of all processes, since before the first machine was started. */
  const seen = new Set<string>();
  const look = async (): Promise<void> => {
    const { stdout } = await run('ps', ['-eo', 'args', '-ww'], { maxBuffer: 1 << 26 });
    for (const line of stdout.split('\n')) seen.add(line);
  };
  const looking = setInterval(() => void look().catch(() => undefined), 1_000);

  before(async () => {
    deployment = await simulateDeployment({}, { speed: 20, coresPerNode: 0.2 });
  });
  after(async () => {
    clearInterval(looking);
    await deployment?.close();
  });

  const simulation = () => deployment.simulation;
  /** Not the synchronous kind: the fakes that it asks are in this process. @returns its output, however it ended */
  const plenum = (args: string[], env: NodeJS.ProcessEnv = {}): Promise<string> =>
    run(process.execPath, [program, ...args], { env: { ...process.env, ...env }, timeout: 60_000 }).then(
      ({ stdout }) => stdout,
      ({ stdout }: { stdout: string }) => stdout,
    );

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

  it('tells on the command line who leads its capacity, and what it sees', async () => {
    const config = path.join(simulation().masters[0]?.folder ?? '', 'etc/plenum/plenum.yaml');
    // The leader tells of its last look, which may have been before the media node reported in.
    await until(
      async () => {
        const answer = await plenum(['capacity', 'status', '--json', '--config', config]);
        const report = JSON.parse(answer) as { provider: string; machines: { phase: string; instanceId: string }[] };
        assert.equal(report.provider, 'azure');
        assert.deepEqual(
          report.machines.map(({ phase, instanceId }) => [phase, instanceId]),
          [['serving', [...simulation().media.keys()][0]]],
        );
        return '';
      },
      { timeoutMs: 60_000 },
    );
  });

  it('finds with plenum azure verify that rights, storage and control plane are as they should be', async () => {
    const [master] = simulation().masters;
    assert.ok(master !== undefined);
    const files = ['deployment.json', 'plenum.yaml'].map((name) => path.join(master.folder, 'etc/plenum', name));
    const [deploymentFile = '', config = ''] = files;
    const args = ['azure', 'verify', '--json', '--deployment', deploymentFile, '--config', config];
    const stdout = await plenum(args, master.env);
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
      const said = (await machine.initAgain()).split('\n');
      assert.ok(said.includes('Nothing had to be changed.'), `${machine.computerName}: ${said.join('\n')}`);
    }
  });

  it('grows with its load, and shrinks again by the node with the least work, without anybody losing a call', async (context) => {
    const report = await new ScaleScenario({
      simulation: simulation(),
      say: (line) => context.diagnostic(line),
      until: 2,
      roomsAtMost: 14,
      policy: 'migrate',
      timeoutMs: 80_000,
    }).run();
    context.diagnostic(JSON.stringify(report));
    assert.deepEqual(report.lost, []);
    assert.ok(report.nodesAtMost >= 2);
    assert.equal(report.nodesAtTheEnd, 1);
    assert.ok(report.deleted.length > 0);
    assert.ok(report.victims.length > 0);
    for (const { work, others } of report.victims) {
      assert.ok(
        others.length > 0 && others.every((other) => work <= other),
        `chosen with ${work}, not ${others.join()}`,
      );
    }
    // On a busy machine it may grow further, or take a node back for a moment.
    const steps = report.timeline.map((line) => line.split(' ')[0]);
    assert.equal(steps[0], 'add', report.timeline.join('; '));
    assert.equal(steps.at(-1), 'delete', report.timeline.join('; '));
    assert.ok(steps.indexOf('drain') < steps.indexOf('delete'), report.timeline.join('; '));
  });

  it('tells no secret in logs, command lines and user data', async () => {
    const { vaults, machines, stack } = simulation();
    const secrets = ['LIVEKIT-API-SECRET', 'LIVEKIT-API-KEY', 'REDIS-PASSWORD', 'PLENUM-CLUSTER-SECRET'].flatMap(
      (name) => vaults.versions(`${stack}-keyvault`, name),
    );
    assert.equal(secrets.length, 4);
    await look();
    // Also of machines that are gone.
    const logs = simulation().logFiles();
    assert.ok(logs.length > machines.length, `${logs.length} logs of more than ${machines.length} machines`);
    const places: [string, string][] = [
      ['the command lines', [...seen].join('\n')],
      ['the user data', simulation().userData()],
      ...logs.map((file): [string, string] => [file, readFileSync(file, 'utf8')]),
    ];
    assert.match([...seen].join('\n'), /plenum-bootstrap/);
    for (const [place, text] of places) {
      assert.ok(text.length > 100, `${place} is empty`);
      for (const secret of secrets) assert.ok(!text.includes(secret), `${place} holds a secret`);
    }
  });
});

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { parseDeployment, type Deployment } from '../../../src/azure/deployment.ts';
import {
  nodeFiles,
  plenumConfig,
  redisOwn,
  runsSentinel,
  sentinelOwn,
  type NodeFacts,
} from '../../../src/azure/node-files.ts';
import { nodeUnits } from '../../../src/azure/node-units.ts';
import { checkRole } from '../../../src/config/check-role.ts';
import { configSchema } from '../../../src/config/options.ts';
import { isObject, textOf, type Json } from '../expand/functions.ts';
import { cloudConfigOf, expand, goldenScenarios, matrix, parametersOf } from './scenarios.ts';

const secrets = new Map([
  ['LIVEKIT-API-KEY', 'APIsecretkey'],
  ['LIVEKIT-API-SECRET', 'SECRET-of-the-api-with-enough-letters-in-it'],
  ['REDIS-PASSWORD', 'SECRETofredis'],
  ['PLENUM-CLUSTER-SECRET', 'SECRET-of-the-cluster'],
  ['DOMAIN-NAME', 'meet.example.com'],
  ['OWN-PUBLIC-CERTIFICATE', 'UFVCTElD'],
  ['OWN-PRIVATE-CERTIFICATE', 'SECRET-key'],
]);

type FirstBoot = { deployments: Deployment[]; cloudConfigs: Record<string, Json>[] };

/** What the machines of a scenario find at their first boot. */
function firstBootOf(scenario: string): FirstBoot {
  const { resources } = expand(parametersOf(scenario));
  const cloudConfigs = resources.flatMap(({ body }) => {
    const properties = isObject(body['properties']) ? body['properties'] : {};
    const profile = isObject(properties['virtualMachineProfile']) ? properties['virtualMachineProfile'] : properties;
    return typeof profile['userData'] === 'string' ? [cloudConfigOf(profile['userData'])] : [];
  });
  return {
    cloudConfigs,
    deployments: cloudConfigs.map((config) =>
      parseDeployment(JSON.parse(fileOf(config, '/etc/plenum/deployment.json'))),
    ),
  };
}

function fileOf(config: Record<string, Json>, name: string): string {
  const files = config['write_files'] as { path: string; content: string }[];
  return files.find((file) => file.path === name)?.content ?? '';
}

const facts = (deployment: Deployment, index = 0): NodeFacts => ({
  privateAddress: deployment.role === 'master' ? (deployment.masters[index] ?? '') : '10.0.0.9',
  publicAddress: '203.0.113.99',
  zone: '2',
  machineName: 'calls-mediaNodeScaleSet_ab12',
  computerName: 'calls-mab12',
});

const production = firstBootOf(goldenScenarios['production'] ?? '');

describe('the files of a node', () => {
  it('are a configuration that each role accepts, for every combination of parameters', () => {
    for (const scenario of matrix().keys()) {
      for (const deployment of firstBootOf(scenario).deployments) {
        const config = plenumConfig(deployment, facts(deployment), secrets);
        checkRole(configSchema.parse(config), deployment.role);
      }
    }
  });

  it('keep secrets to files that their reader alone can open, and out of units and command lines', () => {
    for (const deployment of production.deployments) {
      const files = [
        ...nodeFiles(deployment, facts(deployment), secrets),
        ...nodeUnits(deployment, true),
        redisOwn('10.0.1.4'),
        sentinelOwn(facts(deployment), '10.0.1.4', secrets),
      ];
      for (const { path: name, content, mode } of files) {
        if (content.includes('SECRET')) assert.equal(mode, 0o600, name);
        if (name.startsWith('/etc/systemd')) assert.doesNotMatch(content, /SECRET/);
      }
    }
  });

  it('run Sentinel on three of the four masters', () => {
    const [master] = production.deployments;
    assert.ok(master !== undefined && master.role === 'master');
    assert.deepEqual(
      [0, 1, 2, 3].map((index) => runsSentinel(master, facts(master, index))),
      [true, true, true, false],
    );
  });

  it('show operators the credentials where they look for them', () => {
    const [master] = production.deployments;
    assert.ok(master !== undefined);
    const files = new Map(nodeFiles(master, facts(master), secrets).map((file) => [file.path, file.content]));
    assert.match(files.get('/opt/openvidu/config/cluster/openvidu.env') ?? '', /^LIVEKIT_API_KEY=APIsecretkey$/m);
    assert.match(files.get('/opt/openvidu/config/cluster/master_node/app.env') ?? '', /^LIVEKIT_URL=wss:\/\/meet/m);
  });

  it('are units that systemd takes without a word', (context) => {
    if (spawnSync('systemd-analyze', ['--version']).status !== 0) {
      context.skip('systemd-analyze is not installed');
      return;
    }
    const folder = mkdtempSync(path.join(tmpdir(), 'plenum-units-'));
    try {
      const units = production.deployments.flatMap((deployment) =>
        nodeUnits(deployment, true).map(({ path: name, content }) => ({ name: path.basename(name), content })),
      );
      const bootstrap = {
        name: 'plenum-bootstrap.service',
        content: fileOf(production.cloudConfigs[0] ?? {}, '/etc/systemd/system/plenum-bootstrap.service'),
      };
      for (const { name, content } of [...units, bootstrap]) {
        // The program must exist for systemd to be content, and is not installed here.
        const runnable = content.replaceAll(/^ExecStart=\S+/gm, 'ExecStart=/bin/true');
        writeFileSync(path.join(folder, name), runnable);
        const { stderr } = spawnSync('systemd-analyze', ['verify', path.join(folder, name)], { encoding: 'utf8' });
        // Units of this machine are looked at as well.
        const ours = stderr.split('\n').filter((line) => line.includes('plenum'));
        assert.deepEqual(ours, [], name);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('are units that are confined', (context) => {
    const version = /^systemd (\d+)/.exec(
      spawnSync('systemd-analyze', ['--version'], { encoding: 'utf8' }).stdout ?? '',
    );
    if (version === null || Number(version[1]) < 250) {
      context.skip('systemd-analyze cannot judge units here');
      return;
    }
    const folder = mkdtempSync(path.join(tmpdir(), 'plenum-units-'));
    try {
      for (const { path: name, content } of production.deployments.flatMap((deployment) =>
        nodeUnits(deployment, true),
      )) {
        const file = path.join(folder, path.basename(name));
        writeFileSync(file, content);
        const { status, stdout, stderr } = spawnSync(
          'systemd-analyze',
          ['security', '--offline=true', '--threshold=45', file],
          { encoding: 'utf8' },
        );
        assert.equal(status, 0, `${name} is not confined enough:\n${stdout.split('\n').slice(-3).join('\n')}${stderr}`);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

/** Of cloud-init 22.4; its schema does not complain about others. */
const cloudInitKeys = new Set(['write_files', 'runcmd', 'bootcmd', 'packages', 'package_update', 'mounts', 'growpart']);
const fileKeys = new Set(['path', 'permissions', 'owner', 'content']);

describe('cloud-init of a node', () => {
  it('uses keys that Debian 12 knows, in the form that it takes', () => {
    for (const scenario of Object.values(goldenScenarios)) {
      for (const config of firstBootOf(scenario).cloudConfigs) {
        assert.deepEqual(
          Object.keys(config).filter((key) => !cloudInitKeys.has(key)),
          [],
        );
        for (const file of config['write_files'] as Record<string, Json>[]) {
          assert.deepEqual(
            Object.keys(file).filter((key) => !fileKeys.has(key)),
            [],
          );
          assert.match(textOf(file['path']), /^\//);
          assert.match(textOf(file['permissions']), /^0[0-7]{3}$/);
        }
        for (const command of config['runcmd'] as Json[])
          assert.ok(Array.isArray(command) && command.every((word) => typeof word === 'string'));
      }
    }
  });

  it('is accepted by the schema of cloud-init, where that is installed', (context) => {
    if (spawnSync('cloud-init', ['--version']).error !== undefined) {
      context.skip('cloud-init is not installed');
      return;
    }
    const folder = mkdtempSync(path.join(tmpdir(), 'plenum-cloud-init-'));
    const file = path.join(folder, 'config.yaml');
    for (const config of production.cloudConfigs) {
      writeFileSync(file, `#cloud-config\n${JSON.stringify(config)}`);
      const { status, stdout, stderr } = spawnSync('cloud-init', ['schema', '--config-file', file], {
        encoding: 'utf8',
      });
      assert.equal(status, 0, `${stdout}${stderr}`);
    }
    rmSync(folder, { recursive: true, force: true });
  });

  it('has little shell, and that is clean', () => {
    const script = fileOf(production.cloudConfigs[0] ?? {}, '/usr/local/sbin/plenum-bootstrap');
    assert.equal(script, readFileSync(new URL('../cloud-init/plenum-bootstrap.sh', import.meta.url), 'utf8'));
    assert.ok(script.split('\n').length < 40);
    const { status, stdout } = spawnSync('shellcheck', ['-S', 'style', '-'], {
      input: script,
      encoding: 'utf8',
    });
    assert.equal(status, 0, stdout);
  });

  it('tells no secret to the machine', () => {
    for (const { cloudConfigs } of Object.values(goldenScenarios).map(firstBootOf)) {
      assert.doesNotMatch(JSON.stringify(cloudConfigs), /UFVCTElD|UFJJVkFURS1LRVk|VFVSTi1Q/);
    }
  });
});

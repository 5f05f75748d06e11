import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { z } from 'zod';
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

/** Its exit status says nothing: whatever it writes about our unit is a complaint. */
function complaintsAboutUnit(name: string, content: string): string[] {
  const folder = mkdtempSync(path.join(tmpdir(), 'plenum-units-'));
  try {
    // The program must exist for systemd to be content, and is not installed here.
    writeFileSync(path.join(folder, name), content.replaceAll(/^ExecStart=\/\S+/gm, 'ExecStart=/bin/true'));
    const { stderr } = spawnSync('systemd-analyze', ['verify', path.join(folder, name)], { encoding: 'utf8' });
    // Units of this machine are looked at as well.
    return stderr.split('\n').filter((line) => line.includes('plenum'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

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

  const withoutSystemd = spawnSync('systemd-analyze', ['--version']).status !== 0 && 'systemd-analyze is not installed';

  it('are units that systemd takes without a word', { skip: withoutSystemd }, () => {
    const bootstrap = fileOf(production.cloudConfigs[0] ?? {}, '/etc/systemd/system/plenum-bootstrap.service');
    assert.deepEqual(complaintsAboutUnit('plenum-bootstrap.service', bootstrap), []);
    for (const deployment of production.deployments) {
      for (const { path: name, content } of nodeUnits(deployment, true)) {
        assert.deepEqual(complaintsAboutUnit(path.basename(name), content), [], name);
      }
    }
  });

  const planted: [string, (unit: string) => string, RegExp][] = [
    ['a key that systemd does not know', (unit) => unit.replace('WatchdogSec=', 'WatchdogSecs='), /WatchdogSecs/],
    ['a value that it cannot read', (unit) => unit.replace('TimeoutStopSec=30', 'TimeoutStopSec=soon'), /soon/],
    ['a key in the wrong section', (unit) => unit.replace('[Unit]', '[Unit]\nUser=plenum'), /User/],
    ['a program that is named by no absolute path', (unit) => unit.replace(/^ExecStart=.*$/m, 'ExecStart=./x'), /x/],
  ];
  for (const [what, plant, message] of planted) {
    it(`would not pass with ${what}`, { skip: withoutSystemd }, () => {
      const unit = nodeUnits(production.deployments[0]!, true).at(-1)!.content;
      const broken = plant(unit);
      assert.notEqual(broken, unit);
      assert.match(complaintsAboutUnit('plenum.service', broken).join('\n'), message);
    });
  }

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

type CloudSchema = { $defs: Record<string, { properties?: object }>; allOf: object[] };
const cloudSchema = JSON.parse(
  readFileSync(new URL('cloud-config-22.4.2.schema.json', import.meta.url), 'utf8'),
) as CloudSchema;
const cloudInit = z.fromJSONSchema(cloudSchema as Parameters<typeof z.fromJSONSchema>[0]);
/** What some module reads; the schema takes other keys as well, and nobody does. */
const cloudInitKeys = new Set(
  Object.values(cloudSchema.$defs).flatMap(({ properties }) => Object.keys(properties ?? {})),
);

function complaintsAboutCloudConfig(config: Record<string, Json>): string[] {
  const unknown = Object.keys(config).filter((key) => !cloudInitKeys.has(key));
  const { error } = cloudInit.safeParse(config);
  const refused = error?.issues.map(({ path: at, message }) => `${at.join('.')}: ${message}`) ?? [];
  return [...unknown.map((key) => `${key}: nobody reads it`), ...refused];
}

function complaintsAboutShell(script: string): string {
  const { error, stdout } = spawnSync('shellcheck', ['-S', 'style', '-'], { input: script, encoding: 'utf8' });
  assert.equal(error, undefined);
  return stdout;
}

describe('cloud-init of a node', () => {
  it('is in the form that cloud-init of Debian 12 takes, and uses no key that it does not read', () => {
    assert.ok(cloudInitKeys.size > 100);
    for (const scenario of Object.values(goldenScenarios)) {
      for (const config of firstBootOf(scenario).cloudConfigs) {
        assert.deepEqual(complaintsAboutCloudConfig(config), [], scenario);
        for (const file of config['write_files'] as Record<string, Json>[]) {
          assert.match(textOf(file['path']), /^\//);
          assert.match(textOf(file['permissions']), /^0[0-7]{3}$/);
        }
      }
    }
  });

  const planted: [string, (config: Record<string, Json>, file: Record<string, Json>) => void, RegExp][] = [
    ['a misspelled module', (config) => (config['write_file'] = config['write_files'] ?? []), /write_file: nobody/],
    ['a misspelled property of a file', (_config, file) => (file['contents'] = 'x'), /write_files\.0: .*contents/],
    ['a file without a path', (_config, file) => delete file['path'], /write_files\.0\.path/],
    [
      'permissions that YAML reads as a number',
      (_config, file) => (file['permissions'] = 755),
      /permissions: .*string/,
    ],
    ['a command that is no list', (config) => (config['runcmd'] = 'reboot'), /runcmd: .*array/],
    ['a list of commands that is empty', (config) => (config['runcmd'] = []), /runcmd: /],
  ];
  for (const [what, plant, message] of planted) {
    it(`would not pass with ${what}`, () => {
      const config = structuredClone(production.cloudConfigs[0] ?? {});
      plant(config, (config['write_files'] as Record<string, Json>[])[0] ?? {});
      assert.match(complaintsAboutCloudConfig(config).join('\n'), message);
    });
  }

  it('has little shell, and that is clean', () => {
    const script = fileOf(production.cloudConfigs[0] ?? {}, '/usr/local/sbin/plenum-bootstrap');
    assert.equal(script, readFileSync(new URL('../cloud-init/plenum-bootstrap.sh', import.meta.url), 'utf8'));
    assert.ok(script.split('\n').length < 40);
    assert.equal(complaintsAboutShell(script), '');
  });

  it('would not pass with shell that breaks on a path with a blank, or reads what is not set', () => {
    const script = readFileSync(new URL('../cloud-init/plenum-bootstrap.sh', import.meta.url), 'utf8');
    const unquoted = script.replace('rm -rf "$target"', 'rm -rf $target');
    assert.notEqual(unquoted, script);
    assert.match(complaintsAboutShell(unquoted), /SC2086/);
    assert.match(complaintsAboutShell(script.replace('target=', 'targt=')), /SC2154|SC2034/);
  });

  it('tells no secret to the machine', () => {
    for (const { cloudConfigs } of Object.values(goldenScenarios).map(firstBootOf)) {
      assert.doesNotMatch(JSON.stringify(cloudConfigs), /UFVCTElD|UFJJVkFURS1LRVk|VFVSTi1Q/);
    }
  });
});

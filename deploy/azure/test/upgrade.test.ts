import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { releaseEnv } from '../../../src/azure/scale-set-release.ts';
import { upgradeCommand, type MasterMachine } from '../../../src/cli/upgrade.ts';
import { configSchema, type Config } from '../../../src/config/options.ts';
import { RedisProcess } from '../../../test/kit/redis.ts';
import { FakeMetadata } from '../fakes/metadata-server.ts';
import { trustCertificate } from '../fakes/server-certificate.ts';
import { certificate, ControlledSet, scaleSet, where } from './controlled-set.ts';

trustCertificate(certificate);
const old = { url: 'https://example.com/old.tar.gz', sha256: 'aa'.repeat(32) };
const fresh = { url: 'https://example.com/new.tar.gz', sha256: 'bb'.repeat(32) };
const toFresh = ['--release-url', fresh.url, '--sha256', fresh.sha256];

async function run(args: string[], config: Config, machine?: MasterMachine): Promise<string> {
  let text = '';
  const out = { write: (more: string) => void (text += more) };
  const command = upgradeCommand(() => config, out, machine);
  command.exitOverride().configureOutput({ writeErr: () => undefined });
  for (const child of command.commands) child.exitOverride().configureOutput({ writeErr: () => undefined });
  await command.parseAsync(args, { from: 'user' });
  return text;
}

describe('plenum upgrade media', () => {
  let metadata: FakeMetadata;
  let set: ControlledSet;
  let config: Config;
  before(async () => {
    const names = { machineName: 'calls-VM-MasterNode1', computerName: 'calls-master-1' };
    const addresses = { publicAddress: '203.0.113.7', privateAddress: '10.0.1.4' };
    metadata = await FakeMetadata.start({ ...names, ...addresses, tenantId: 't', zone: '1' });
    process.env['AZURE_POD_IDENTITY_AUTHORITY_HOST'] = metadata.url;
  });
  beforeEach(async () => {
    set = await ControlledSet.start({ min: 2, max: 4 });
    config = configSchema.parse({
      azure: {
        subscription_id: where.subscriptionId,
        resource_group: where.resourceGroup,
        scale_set: scaleSet().name,
        client_id: '55555555-5555-4555-8555-555555555555',
        arm_endpoint: set.compute.url,
      },
    });
    await set.lookUntil(() => set.count('serving') === 2, 'the minimum serves');
    set.people = Object.fromEntries(set.names.map((name) => [name, 3]));
  });
  afterEach(() => set.close());
  after(() => metadata.close());

  const versions = (): string[] => set.names.map((name) => set.versionOf(name)).toSorted();

  it('replaces nodes one by one, with one more meanwhile, each emptied before its machine goes', async () => {
    const before = set.names;
    const said = await run(['media', ...toFresh, '--release-version', 'two'], config);
    assert.match(said, /plenum capacity status/);
    assert.deepEqual(set.names, before, 'a machine was touched');
    let most = 0;
    await set.lookUntil(() => {
      most = Math.max(most, set.count('serving'));
      assert.ok(set.count('serving') >= 2, 'fewer than the minimum serve');
      assert.ok(set.count('draining') + set.count('drained') <= 1, 'two go at a time');
      return versions().join() === 'two,two';
    }, 'all nodes are replaced');
    assert.equal(most, 3);
    const steps = set.report.decisions.map(({ what }) => what.split(' ')[0]);
    assert.deepEqual(steps, ['add', 'add', 'drain', 'delete', 'add', 'drain', 'delete']);
  });

  it('stops with a warning when nodes of the new release do not come up, and the others go on', async () => {
    set.brokenVersion = 'two';
    await run(['media', ...toFresh, '--release-version', 'two'], config);
    await set.lookUntil(
      () => set.report.warnings.some((text) => text.includes('version two do not come up')),
      'it stops',
    );
    for (let look = 0; look < 60; look += 1) await set.look();
    assert.equal(versions().filter((version) => version === 'one').length, 2);
    assert.equal(set.count('serving'), 2);
    assert.ok(!set.report.decisions.some(({ what }) => what.startsWith('drain')));
    // A release that works takes the place of the broken one.
    await run(['media', ...toFresh, '--release-version', 'three'], config);
    await set.lookUntil(() => versions().join() === 'three,three', 'all nodes are replaced');
  });

  it('refuses what cannot be a release', async () => {
    const refused = { reason: 'bad-release' };
    const version = ['--release-version', 'two'];
    const http = ['--release-url', 'http://example.com/x', '--sha256', fresh.sha256];
    await assert.rejects(run(['media', ...http, ...version], config), { ...refused, message: /https/ });
    const short = ['--release-url', fresh.url, '--sha256', 'abc'];
    await assert.rejects(run(['media', ...short, ...version], config), { ...refused, message: /64 hex/ });
    await assert.rejects(run(['media', ...toFresh], config), { code: 'commander.missingMandatoryOptionValue' });
    assert.equal(set.compute.tags['plenum-version'], undefined);
  });
});

describe('plenum upgrade master', () => {
  let redis: RedisProcess;
  let server: Server;
  let config: Config;
  /** The release that the machine names, the one that runs, and what was done to it. */
  let state: { env: string; running: string; done: string[] };
  let machine: MasterMachine;

  before(async () => {
    redis = await RedisProcess.create([]);
    await redis.start();
  });
  beforeEach(async () => {
    state = { env: releaseEnv(old), running: releaseEnv(old), done: [] };
    const broken = releaseEnv({ ...fresh, url: 'https://example.com/broken.tar.gz' });
    server = createServer((_request, response) => {
      response.writeHead(state.running === broken ? 503 : 200).end();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    config = configSchema.parse({
      bind_addresses: ['127.0.0.1'],
      port: (server.address() as AddressInfo).port,
      redis: { address: `127.0.0.1:${redis.port}` },
    });
    machine = {
      readRelease: () => Promise.resolve(state.env),
      writeRelease: (env) => {
        state.env = env;
        return Promise.resolve();
      },
      bootstrap: () => {
        state.done.push('bootstrap');
        return Promise.resolve();
      },
      restart: () => {
        state.done.push('restart');
        state.running = state.env;
        return Promise.resolve();
      },
    };
  });
  afterEach(async () => {
    server.close();
    await once(server, 'close');
  });
  after(() => redis.close());

  it('changes this master, and is done when it answers; a second time there is nothing to do', async () => {
    assert.match(await run(['master', ...toFresh], config, machine), /Go on with the next one/);
    assert.equal(state.running, releaseEnv(fresh));
    assert.deepEqual(state.done, ['bootstrap', 'restart']);
    await run(['master', ...toFresh], config, machine);
    assert.equal(state.done.length, 2);
  });

  it('goes back when the release cannot be fetched, and says why', async () => {
    const bootstrap = (): Promise<void> =>
      state.env === releaseEnv(fresh) ? Promise.reject(new Error('sha256sum: no')) : machine.bootstrap();
    const failing = run(['master', ...toFresh], config, { ...machine, bootstrap });
    await assert.rejects(failing, { reason: 'upgrade-failed', message: /sha256sum: no/ });
    assert.equal(state.env, releaseEnv(old));
    assert.equal(state.running, releaseEnv(old));
  });

  it('goes one at a time through the cluster', async () => {
    const arrived = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const bootstrap = async (): Promise<void> => {
      arrived.resolve();
      await goOn.promise;
    };
    const first = run(['master', ...toFresh], config, { ...machine, bootstrap });
    await arrived.promise;
    await assert.rejects(run(['master', ...toFresh], config, machine), { reason: 'upgrade-under-way' });
    goOn.resolve();
    await first;
  });

  it('is refused where no cluster can be reached', async () => {
    const alone = configSchema.parse({});
    await assert.rejects(run(['master', ...toFresh], alone, machine), { reason: 'bad-config', message: /redis/ });
    assert.deepEqual(state.done, []);
  });
});

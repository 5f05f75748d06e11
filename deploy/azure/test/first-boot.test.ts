import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ManagedIdentityCredential } from '@azure/identity';
import { BlobServiceClient, type ContainerClient } from '@azure/storage-blob';
import { parseDeployment, type MasterDeployment } from '../../../src/azure/deployment.ts';
import { awaitNodeSecrets, firstBoot, type FirstBootOptions } from '../../../src/azure/first-boot.ts';
import { FirstBootLock } from '../../../src/azure/first-boot-lock.ts';
import { SecretVault, type Secret, type SecretVaultOptions } from '../../../src/azure/secret-vault.ts';
import { createLog } from '../../../src/observe/log.ts';
import { until } from '../../../test/kit/until.ts';
import { Azurite } from '../fakes/azurite.ts';
import { FakeMetadata } from '../fakes/metadata-server.ts';
import { makeServerCertificate, trustCertificate } from '../fakes/server-certificate.ts';
import { FakeVaults } from '../fakes/vault-server.ts';

const certificate = makeServerCertificate();
trustCertificate(certificate);
const log = createLog({ level: 'error', json: true });
const masters = ['10.0.1.4', '10.0.1.5', '10.0.1.6', '10.0.1.7'];

/** Of a machine: right before or right after the vault has taken a secret. */
class Death {
  readonly #step: number;
  readonly #came = Promise.withResolvers<void>();
  /** How many there are before which, and after which, it could come. */
  steps = 0;

  constructor(step: number) {
    this.#step = step;
  }

  get came(): Promise<void> {
    return this.#came.promise;
  }

  /** Does not return once the machine is dead. */
  async pass(): Promise<void> {
    if (this.steps >= this.#step) {
      this.#came.resolve();
      await new Promise(() => undefined);
    }
    this.steps += 1;
  }
}

class MortalVault extends SecretVault {
  readonly #death: Death;

  constructor(options: SecretVaultOptions, death: Death) {
    super(options);
    this.#death = death;
  }

  override async set(...args: Parameters<SecretVault['set']>): Promise<Secret> {
    await this.#death.pass();
    const secret = await super.set(...args);
    await this.#death.pass();
    return secret;
  }
}

describe('the first boot of a deployment', () => {
  let azurite: Azurite;
  let vaults: FakeVaults;
  let metadata: FakeMetadata;
  let container: ContainerClient;
  let deployment: MasterDeployment;
  /** Addresses at which a Redis answers. */
  let redis: Set<string>;
  let stops: AbortController;

  before(async () => {
    azurite = await Azurite.start(certificate);
    metadata = await FakeMetadata.start({
      machineName: 'calls-VM-MasterNode1',
      computerName: 'calls-master-1',
      publicAddress: '203.0.113.7',
      privateAddress: '10.0.1.4',
      tenantId: '22222222-2222-4222-8222-222222222222',
      zone: '1',
    });
    process.env['AZURE_POD_IDENTITY_AUTHORITY_HOST'] = metadata.url;
  });
  beforeEach(async () => {
    vaults = await FakeVaults.start(certificate);
    const service = new BlobServiceClient(azurite.url, credential());
    container = service.getContainerClient(`state-${Math.random().toString(36).slice(2)}`);
    await container.create();
    redis = new Set();
    stops = new AbortController();
    deployment = parseDeployment({
      version: 1,
      role: 'master',
      stack: 'calls',
      location: 'westeurope',
      identityClientId: '55555555-5555-4555-8555-555555555555',
      nodesVaultUrl: vaults.urlOf('calls-nodes'),
      vaultUrl: vaults.urlOf('calls-keyvault'),
      masters,
      turn: { domain: '', hasOwnAddress: false },
      subscriptionId: 's',
      resourceGroup: 'g',
      scaleSet: 'x',
      armEndpoint: 'https://management.azure.com/',
      storage: { blobUrl: azurite.url, container: 'openvidu-appdata', stateContainer: 'plenum-state' },
      publicAddress: '203.0.113.7',
      publicHost: 'meet.example.com',
      certificate: { type: 'letsencrypt', domain: 'meet.example.com', email: 'me@example.com' },
      capacity: { min: 1, max: 5, targetCpuPercent: 50, drainPolicy: 'migrate', drainDeadlineMinutes: 10 },
    }) as MasterDeployment;
  });
  afterEach(async () => {
    stops.abort();
    await vaults.close();
  });
  after(async () => {
    await metadata.close();
    await azurite.close();
  });

  const credential = (): ManagedIdentityCredential => new ManagedIdentityCredential({ clientId: 'x' });

  const mortal = (name: string, death = new Death(Infinity)): SecretVault =>
    new MortalVault({ url: vaults.urlOf(name), credential: credential(), isSimulated: true, pauseMs: 20 }, death);

  /** What one master runs. @param dying is asked before each step that others can see */
  function boot(ownAddress: string, changes: Partial<FirstBootOptions> = {}): ReturnType<typeof firstBoot> {
    const vault = (name: string): SecretVault =>
      new SecretVault({
        url: vaults.urlOf(name),
        credential: credential(),
        isSimulated: true,
        pauseMs: 20,
        patienceMs: 5_000,
      });
    return firstBoot({
      deployment,
      vault: vault('calls-keyvault'),
      nodesVault: vault('calls-nodes'),
      lock: new FirstBootLock(container),
      ownAddress,
      programVersion: '1.2.3',
      redisAnswers: (address) => Promise.resolve(redis.has(address)),
      startFirstRedis: () => {
        redis.add(ownAddress);
        return Promise.resolve();
      },
      log,
      signal: AbortSignal.any([stops.signal, AbortSignal.timeout(30_000)]),
      pauseMs: 50,
      ...changes,
    });
  }

  it('ends with one set of secrets and one Redis master, whichever of four masters is first', async () => {
    const results = await Promise.all(masters.map((address) => boot(address)));
    const [first] = results;
    assert.ok(first !== undefined);
    for (const { agreement, secrets } of results) {
      assert.deepEqual(agreement, first.agreement);
      assert.deepEqual(secrets, first.secrets);
    }
    assert.deepEqual([...redis], [first.agreement.redisMaster]);
    for (const name of vaults.names('calls-keyvault')) {
      assert.equal(vaults.versions('calls-keyvault', name).length, 1, `${name} was made twice`);
    }
    assert.match(first.secrets.get('LIVEKIT-API-KEY') ?? '', /^API[A-Za-z0-9]{12}$/);
    assert.match(first.secrets.get('LIVEKIT-API-SECRET') ?? '', /^[A-Za-z0-9]{44}$/);
    assert.deepEqual(vaults.versions('calls-keyvault', 'DOMAIN-NAME'), ['meet.example.com']);
    assert.deepEqual(vaults.versions('calls-keyvault', 'MASTER-NODE-4-PRIVATE-IP'), ['10.0.1.7']);
  });

  it('gives media nodes what they need to join and nothing else, the marker last', async () => {
    const nodesVault = new SecretVault({
      url: vaults.urlOf('calls-nodes'),
      credential: credential(),
      isSimulated: true,
    });
    const waiting = awaitNodeSecrets(nodesVault, AbortSignal.timeout(30_000), 20);
    const { secrets } = await boot('10.0.1.5');
    assert.equal((await waiting).get('REDIS-PASSWORD'), secrets.get('REDIS-PASSWORD'));
    assert.deepEqual(vaults.names('calls-nodes').toSorted(), [
      'ALL-SECRETS-GENERATED',
      'DOMAIN-NAME',
      'LIVEKIT-API-KEY',
      'LIVEKIT-API-SECRET',
      'PLENUM-CLUSTER-SECRET',
      'REDIS-PASSWORD',
    ]);
    const order = vaults.writes.filter((write) => write.startsWith('calls-nodes/'));
    assert.equal(order.at(-1), 'calls-nodes/ALL-SECRETS-GENERATED');
  });

  it('changes nothing when it runs again', async () => {
    const first = await boot('10.0.1.4');
    const writes = vaults.writes.length;
    const again = await boot('10.0.1.4');
    assert.deepEqual(again, first);
    assert.equal(vaults.writes.length, writes);
  });

  it('goes on with the secrets that a master made before it died, and begins Redis elsewhere', async () => {
    // It dies with its lease: the lock goes free when the lease ends, which the test does not wait for.
    const dying = boot('10.0.1.4', { startFirstRedis: () => new Promise(() => undefined) });
    dying.catch(() => undefined);
    await until(() => (vaults.versions('calls-keyvault', 'ALL-SECRETS-GENERATED').length === 1 ? '' : 'not that far'));
    const made = vaults.versions('calls-keyvault', 'REDIS-PASSWORD');
    await container.getBlobClient('first-boot.json').getBlobLeaseClient().breakLease(0);
    const { agreement, secrets } = await boot('10.0.1.6');
    assert.equal(agreement.redisMaster, '10.0.1.6');
    assert.equal(secrets.get('REDIS-PASSWORD'), made[0]);
    assert.deepEqual(vaults.versions('calls-keyvault', 'REDIS-PASSWORD'), made);
  });

  it('ends with one set of secrets wherever in its work the first master dies', async () => {
    const whole = new Death(Infinity);
    await boot('10.0.1.5', { vault: mortal('whole-keyvault', whole), nodesVault: mortal('whole-nodes', whole) });
    const { steps } = whole;
    assert.ok(steps > 20, `a boot has ${steps} steps`);
    for (let step = 0; step < steps; step += 1) {
      const stack = `calls${step}`;
      const name = `state-${step}-${Math.random().toString(36).slice(2)}`;
      const own = new BlobServiceClient(azurite.url, credential()).getContainerClient(name);
      await own.create();
      const lock = new FirstBootLock(own);
      const death = new Death(step);
      const dies = { vault: mortal(`${stack}-keyvault`, death), nodesVault: mortal(`${stack}-nodes`, death), lock };
      const dying = boot('10.0.1.4', dies);
      dying.catch(() => undefined);
      await Promise.race([dying, death.came]);
      await own.getBlobClient('first-boot.json').getBlobLeaseClient().breakLease(0);
      const survivor = { vault: mortal(`${stack}-keyvault`), nodesVault: mortal(`${stack}-nodes`), lock };
      const { secrets } = await boot('10.0.1.6', survivor);
      const all = vaults.names(`${stack}-keyvault`);
      assert.ok(all.includes('FINISH-MASTER-NODE') && all.length > 10, `step ${step}: ${all.join()}`);
      for (const vault of [`${stack}-keyvault`, `${stack}-nodes`]) {
        const twice = vaults.names(vault).filter((secret) => vaults.versions(vault, secret).length !== 1);
        assert.deepEqual(twice, [], `${vault}, step ${step}`);
      }
      for (const shared of ['REDIS-PASSWORD', 'PLENUM-CLUSTER-SECRET', 'LIVEKIT-API-SECRET']) {
        assert.deepEqual(vaults.versions(`${stack}-nodes`, shared), [secrets.get(shared)], `step ${step}`);
      }
    }
  });

  it('makes only what is missing when the first master dies in the middle of the secrets', async () => {
    for (const name of ['LIVEKIT-API-KEY', 'LIVEKIT-API-SECRET'])
      vaults.set('calls-keyvault', name, `half-made ${name}`);
    const { secrets } = await boot('10.0.1.7');
    assert.equal(secrets.get('LIVEKIT-API-KEY'), 'half-made LIVEKIT-API-KEY');
    assert.equal(vaults.versions('calls-keyvault', 'LIVEKIT-API-KEY').length, 1);
    assert.equal(vaults.versions('calls-keyvault', 'REDIS-PASSWORD').length, 1);
  });

  it('lets a master that slept through its lease change nothing any more', async () => {
    const lock = new FirstBootLock(container);
    const signal = AbortSignal.timeout(20_000);
    const sleeper = await lock.acquire(signal);
    assert.ok(sleeper !== undefined);
    assert.equal(await lock.acquire(signal), undefined);
    await container.getBlobClient('first-boot.json').getBlobLeaseClient().breakLease(0);
    const { agreement } = await boot('10.0.1.5');
    const stale = { ...agreement, redisMaster: '10.0.1.4' };
    await assert.rejects(sleeper.write(stale, signal), { reason: 'first-boot-lock-lost' });
    assert.deepEqual(await lock.read(signal), agreement);
    await sleeper.release();
  });

  it('uses the agreed version when a late writer made a secret again', async () => {
    const first = await boot('10.0.1.4');
    vaults.set('calls-keyvault', 'REDIS-PASSWORD', 'made by somebody who was late');
    const again = await boot('10.0.1.5');
    assert.equal(again.secrets.get('REDIS-PASSWORD'), first.secrets.get('REDIS-PASSWORD'));
  });

  it('takes a secret that an operator changed later', async () => {
    await boot('10.0.1.4');
    vaults.set('calls-keyvault', 'LIVEKIT-API-SECRET', 'chosen by the operator', new Date(Date.now() + 3_600_000));
    const again = await boot('10.0.1.4');
    assert.equal(again.secrets.get('LIVEKIT-API-SECRET'), 'chosen by the operator');
  });

  it('waits while its rights are on their way', async () => {
    vaults.refuse = 5;
    await boot('10.0.1.4');
    assert.equal(vaults.refuse, 0);
  });

  it('says what is wrong when the rights never come', async () => {
    vaults.refuse = 1_000_000;
    const vault = new SecretVault({
      url: vaults.urlOf('calls-keyvault'),
      credential: credential(),
      isSimulated: true,
      pauseMs: 10,
      patienceMs: 200,
    });
    await assert.rejects(boot('10.0.1.4', { vault }), { reason: 'vault-refuses' });
  });

  it('waits through an outage of the metadata service', async () => {
    const asleep = delay(300).then(() => {
      metadata.isAway = false;
    });
    metadata.isAway = true;
    const { agreement } = await boot('10.0.1.4');
    await asleep;
    assert.equal(agreement.redisMaster, '10.0.1.4');
  });
});

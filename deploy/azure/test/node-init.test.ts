import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { ManagedIdentityCredential } from '@azure/identity';
import { parseDeployment, type Deployment } from '../../../src/azure/deployment.ts';
import { nodeSecrets } from '../../../src/azure/deployment-secrets.ts';
import { NodeDisk } from '../../../src/azure/node-disk.ts';
import { initNode } from '../../../src/azure/node-init.ts';
import type { ServiceManager } from '../../../src/azure/service-manager.ts';
import { createLog } from '../../../src/observe/log.ts';
import { until } from '../../../test/kit/until.ts';
import { FakeMetadata } from '../fakes/metadata-server.ts';
import { makeServerCertificate, trustCertificate } from '../fakes/server-certificate.ts';
import { FakeVaults } from '../fakes/vault-server.ts';

const certificate = makeServerCertificate();
trustCertificate(certificate);

/** A machine whose services are names on a list. */
class Services implements ServiceManager {
  readonly done: string[] = [];
  readonly running = new Set<string>();

  mask = (units: readonly string[]): Promise<void> => this.#note(`mask ${units.join()}`);
  install = (packages: readonly string[]): Promise<void> => this.#note(`install ${packages.join()}`);
  addUser = (name: string): Promise<void> => this.#note(`user ${name}`);
  reload = (): Promise<void> => this.#note('reload');
  applySysctl = (): Promise<void> => this.#note('sysctl');
  isRunning = (unit: string): Promise<boolean> => Promise.resolve(this.running.has(unit));

  start(unit: string): Promise<void> {
    this.running.add(unit);
    return this.#note(`start ${unit}`);
  }

  restart = (unit: string): Promise<void> => this.#note(`restart ${unit}`);

  #note(what: string): Promise<void> {
    this.done.push(what);
    return Promise.resolve();
  }
}

describe('plenum node init on a media node', () => {
  let folder: string;
  let metadata: FakeMetadata;
  let vaults: FakeVaults;
  let services: Services;
  let deployment: Deployment;

  beforeEach(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'plenum-node-'));
    services = new Services();
    vaults = await FakeVaults.start(certificate);
    metadata = await FakeMetadata.start({
      machineName: 'calls-mediaNodeScaleSet_000001',
      computerName: 'media-000001',
      publicAddress: '203.0.113.9',
      privateAddress: '10.0.0.9',
      tenantId: '22222222-2222-4222-8222-222222222222',
      zone: '2',
    });
    process.env['AZURE_POD_IDENTITY_AUTHORITY_HOST'] = metadata.url;
    deployment = parseDeployment({
      version: 1,
      role: 'media',
      stack: 'calls',
      location: 'westeurope',
      identityClientId: '55555555-5555-4555-8555-555555555555',
      nodesVaultUrl: vaults.urlOf('calls-nodes'),
      metadataUrl: metadata.url,
      masters: ['10.0.1.4', '10.0.1.5', '10.0.1.6', '10.0.1.7'],
      turn: { domain: '', hasOwnAddress: false },
      simulated: { cores: 1, speed: 1 },
    });
    for (const name of nodeSecrets) vaults.set('calls-nodes', name, `value-of-${name}-with-enough-letters-in-it`);
    vaults.set('calls-nodes', 'ALL-SECRETS-GENERATED', 'true');
  });
  afterEach(async () => {
    await metadata.close();
    await vaults.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const init = (): Promise<string[]> =>
    initNode({
      deployment,
      credential: new ManagedIdentityCredential({ clientId: 'x' }),
      services,
      disk: new NodeDisk(folder),
      programVersion: '1.2.3',
      log: createLog({ level: 'silent', json: true }),
      signal: AbortSignal.timeout(30_000),
      pauseMs: 20,
    });
  const config = (): string => readFileSync(path.join(folder, 'etc/plenum/plenum.yaml'), 'utf8');

  it("keeps Debian's services off before their packages come, and starts its own with their files in place", async () => {
    const changed = await init();
    assert.ok(changed.includes('/etc/plenum/plenum.yaml'));
    assert.match(config(), /203\.0\.113\.9/);
    const order = ['mask coturn.service', 'install coturn,libuv1', 'user plenum', 'sysctl', 'reload'];
    assert.deepEqual(services.done, [...order, 'start plenum.service']);
    assert.deepEqual(vaults.writes, [], 'a media node has written to a vault');
  });

  it('changes nothing when it runs again, and restarts nothing', async () => {
    await init();
    const before = config();
    services.done.length = 0;
    assert.deepEqual(await init(), []);
    assert.equal(config(), before);
    assert.ok(!services.done.some((what) => /restart|reload|sysctl/.test(what)), services.done.join());
  });

  it('restarts what reads a file that has changed, and puts that file right', async () => {
    await init();
    const before = config();
    writeFileSync(path.join(folder, 'etc/plenum/plenum.yaml'), 'port: 1\n');
    services.done.length = 0;
    assert.deepEqual(await init(), ['/etc/plenum/plenum.yaml']);
    assert.equal(config(), before);
    assert.ok(services.done.includes('restart plenum.service'), services.done.join());
  });

  it('waits through an outage of the metadata service', async () => {
    metadata.isAway = true;
    const done = init();
    await until(() => (services.done.includes('user plenum') ? '' : 'it has not come to the question'));
    assert.ok(!services.running.has('plenum.service'));
    metadata.isAway = false;
    assert.notDeepEqual(await done, []);
    assert.ok(services.running.has('plenum.service'));
  });

  it('waits until its rights on the vault have come', async () => {
    vaults.refuse = 5;
    await init();
    assert.equal(vaults.refuse, 0);
    assert.ok(services.running.has('plenum.service'));
  });
});

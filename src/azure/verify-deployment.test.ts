import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { instance } from '../capacity/capacity-fixtures.ts';
import type { Instance } from '../capacity/observation.ts';
import type { CapacityProvider } from '../scaling/capacity-provider.ts';
import type { MasterDeployment } from './deployment.ts';
import { verifyDeployment, type VerifyOptions } from './verify-deployment.ts';

const deployment = { publicHost: 'meet.example.com', certificate: { type: 'letsencrypt' } } as MasterDeployment;
const trusted = { subject: 'DNS:meet.example.com', issuer: "Let's Encrypt", validUntil: 'May 1', isTrusted: true };

function options(changes: Partial<VerifyOptions> = {}): VerifyOptions {
  const secret = { get: () => Promise.resolve({ value: 'x', version: '1', madeAt: new Date() }) };
  return {
    deployment,
    vault: secret,
    nodesVault: secret,
    containers: [{ containerName: 'plenum-state', exists: () => Promise.resolve(true) }],
    provider: scaleSet(),
    withMachine: false,
    certificate: () => Promise.resolve(trusted),
    pauseMs: 1,
    ...changes,
  };
}

/** @param alsoTakes a machine that goes together with each that is deleted */
function scaleSet(alsoTakes?: string): CapacityProvider {
  let instances: Instance[] = [instance('a'), instance('b')];
  return {
    look: () => Promise.resolve({ instances, capacity: instances.length }),
    add: () => {
      instances = [...instances, instance('fresh')];
      return Promise.resolve();
    },
    delete: (instanceId) => {
      instances = instances.filter((one) => one.instanceId !== instanceId && one.instanceId !== alsoTakes);
      return Promise.resolve();
    },
    protect: () => Promise.resolve(),
  };
}

const failed = async (changes: Partial<VerifyOptions>): Promise<string[]> =>
  (await verifyDeployment(options(changes)))
    .filter(({ isGood }) => !isGood)
    .map(({ check, found }) => `${check}: ${found}`);

describe('the verification of a deployment', () => {
  it('finds nothing where everything is as it should be, and changes nothing', async () => {
    assert.deepEqual(await failed({}), []);
  });

  it('makes a machine and deletes it when it may, and leaves the others alone', async () => {
    const provider = scaleSet();
    assert.deepEqual(await failed({ provider, withMachine: true }), []);
    assert.deepEqual(
      (await provider.look(AbortSignal.timeout(1_000)))?.instances.map(({ machineId }) => machineId),
      ['a', 'b'],
    );
  });

  it('says what is wrong, and goes on', async () => {
    const refuses = { get: () => Promise.reject(new Error('the vault refuses access')) };
    const untrusted = { ...trusted, isTrusted: false };
    const said = await failed({
      nodesVault: refuses,
      containers: [{ containerName: 'plenum-state', exists: () => Promise.resolve(false) }],
      certificate: () => Promise.resolve(untrusted),
      provider: scaleSet('vm-a'),
      withMachine: true,
    });
    assert.equal(said.length, 4);
    assert.match(said.join('\n'), /refuses access.*it is missing.*not trusted.*also gone: vm-a/s);
  });
});

import assert from 'node:assert/strict';
import { after, afterEach, beforeEach, describe, it } from 'node:test';
import { ComputeManagementClient } from '@azure/arm-compute';
import { setRelease } from '../../../src/azure/scale-set-release.ts';
import { AzureProvider } from '../../../src/azure/azure-provider.ts';
import type { PlenumError } from '../../../src/lib/errors.ts';
import { until } from '../../../test/kit/until.ts';
import type { Json } from '../expand/functions.ts';
import { FakeCompute } from '../fakes/compute-server.ts';
import { makeServerCertificate } from '../fakes/server-certificate.ts';
import { ControlledSet, scaleSet } from './controlled-set.ts';
import { cloudConfigOf } from './scenarios.ts';
import { complaintsOf } from './sdk-round-trip.ts';

const certificate = makeServerCertificate();
const credential = { getToken: () => Promise.resolve({ token: 'x', expiresOnTimestamp: Date.now() + 3_600_000 }) };
const where = { subscriptionId: '11111111-1111-4111-8111-111111111111', resourceGroup: 'calls' };
const signal = (): AbortSignal => AbortSignal.timeout(20_000);

describe('the Azure provider, under the real SDK', () => {
  let compute: FakeCompute;
  let client: ComputeManagementClient;
  let provider: AzureProvider;

  beforeEach(async () => {
    const set = scaleSet();
    compute = await FakeCompute.start({
      ...where,
      scaleSet: set.name,
      location: 'westeurope',
      zones: ['1', '2', '3'],
      model: set.body as never,
      certificate,
    });
    client = new ComputeManagementClient(credential, where.subscriptionId, {
      endpoint: compute.url,
      tlsOptions: { ca: certificate.cert },
      retryOptions: { maxRetries: 1, retryDelayInMs: 1 },
    });
    provider = new AzureProvider({ client, ...where, scaleSet: set.name, now: Date.now });
    await until(() => ([...compute.machines.values()].every(isUp) ? '' : 'the first machine is not up'));
  });
  afterEach(() => compute.close());

  const isUp = ({ provisioningState }: { provisioningState: string }): boolean => provisioningState === 'Succeeded';
  const names = (): string[] => [...compute.machines.keys()];
  const settled = (count: number): Promise<void> =>
    until(() =>
      compute.machines.size === count && [...compute.machines.values()].every(isUp) ? '' : `${names().join()}`,
    );

  it('lists the machines of the set, with zone, state and age', async () => {
    const seen = await provider.look(signal());
    assert.equal(seen?.capacity, 1);
    const [first] = seen?.instances ?? [];
    assert.equal(first?.state, 'running');
    assert.match(first?.machineId ?? '', /^media-/);
    assert.match(first?.zone ?? '', /^[123]$/);
    assert.ok(first !== undefined && first.ageMs < 60_000);
  });

  it('raises capacity by a number', async () => {
    await provider.add(2, signal());
    await settled(3);
    assert.equal(compute.capacity, 3);
  });

  it('adds to what is there, not to what was seen', async () => {
    await provider.look(signal());
    compute.setCapacity(2);
    await provider.add(1, signal());
    assert.equal(compute.capacity, 3);
  });

  it('deletes one machine by name, and the one that is gone as well', async () => {
    await provider.add(1, signal());
    await settled(2);
    const [, second = ''] = names();
    await provider.delete(second, signal());
    await settled(1);
    assert.equal(compute.capacity, 1);
    await provider.delete(second, signal());
    assert.equal(compute.capacity, 1);
  });

  it('protects machines, so that a moved slider does not choose them', async () => {
    const [first = ''] = names();
    await provider.protect(first, signal());
    assert.equal((await provider.look(signal()))?.instances[0]?.isProtected, true);
    compute.setCapacity(0);
    assert.deepEqual(names(), [first]);
  });

  it('honours what Azure says when it is asked too often', async () => {
    compute.faults.throttle = 1;
    const started = performance.now();
    assert.equal((await provider.look(signal()))?.instances.length, 1);
    assert.ok(performance.now() - started >= 900, 'it did not wait for a second');
    compute.faults.throttle = 2;
    await assert.rejects(provider.look(signal()), { reason: 'provider-busy' });
  });

  it('comes back later when another operation runs, and when somebody else changed the set', async () => {
    compute.faults.conflict = 1;
    await assert.rejects(provider.add(1, signal()), { reason: 'provider-busy' });
    assert.equal(compute.capacity, 1);
    const racing = await Promise.allSettled([provider.add(1, signal()), provider.add(1, signal())]);
    const refused = racing.filter(({ status }) => status === 'rejected');
    assert.equal(compute.capacity, 1 + 2 - refused.length);
    assert.ok(
      refused.every((one) => one.status === 'rejected' && (one.reason as PlenumError).reason === 'provider-busy'),
    );
  });

  it('sees after a lost answer what became of its request', async () => {
    compute.faults.loseAnswer = true;
    await provider.add(1, signal()).catch(() => undefined);
    assert.ok(((await provider.look(signal()))?.capacity ?? 0) >= 2);
  });

  it('tells failed and stopped machines from those that run', async () => {
    compute.faults.fullZones = new Set(['1', '2', '3']);
    await provider.add(1, signal());
    await until(() =>
      [...compute.machines.values()].some(({ provisioningState }) => provisioningState === 'Failed')
        ? ''
        : 'none failed',
    );
    [...compute.machines.values()][0]!.powerState = 'deallocated';
    const states = (await provider.look(signal()))?.instances.map(({ state }) => state);
    assert.deepEqual(states, ['stopped', 'failed']);
  });

  it('makes new machines with another release, and tells which one it is', async () => {
    const release = { url: 'https://releases.example.com/two.tar.gz', sha256: 'cd'.repeat(32), version: '2.0.0' };
    await setRelease(client, { resourceGroup: 'calls', scaleSet: scaleSet().name }, release);
    assert.equal((await provider.look(signal()))?.version, '2.0.0');
    assert.equal(compute.machines.size, 1);
    const { properties } = (await fakeAnswer(compute)) as {
      properties: { virtualMachineProfile: { userData: string; osProfile: unknown } };
    };
    assert.ok(properties.virtualMachineProfile.osProfile, 'the rest of the model is gone');
    const config = cloudConfigOf(properties.virtualMachineProfile.userData);
    const files = config['write_files'] as { path: string; content: string }[];
    assert.match(
      files.find(({ path }) => path === '/etc/plenum/release.env')?.content ?? '',
      /two\.tar\.gz'\nRELEASE_SHA256=cdcd/,
    );
    assert.equal(files.length, 4);
  });

  it('is answered by the fake in the form that the SDK knows', async () => {
    const body = { ...scaleSet().body, ...(await client.virtualMachineScaleSets.get('calls', scaleSet().name)) };
    assert.ok(body);
    const raw = await fakeAnswer(compute);
    const { etag: _, ...sent } = raw;
    assert.deepEqual(await complaintsOf({ ...scaleSet(), body: sent as { [key: string]: Json } }), []);
  });
});

async function fakeAnswer(compute: FakeCompute): Promise<Record<string, unknown>> {
  const { request } = await import('node:https');
  const path = `/subscriptions/${where.subscriptionId}/resourceGroups/calls/providers/Microsoft.Compute/virtualMachineScaleSets/${scaleSet().name}`;
  const url = new URL(path, compute.url);
  return new Promise((resolve, reject) => {
    request(url, { ca: certificate.cert, headers: { authorization: 'Bearer x' } }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve(JSON.parse(text) as Record<string, unknown>));
    })
      .on('error', reject)
      .end();
  });
}

describe('the capacity controller over the Azure provider', () => {
  let set: ControlledSet;
  after(() => set.close());

  it('grows, empties the node with the least work, and deletes its machine and no other', async () => {
    set = await ControlledSet.start({}, ['1']);
    await set.lookUntil(() => set.machines[0]?.provisioningState === 'Succeeded', 'the first machine is up');
    const [first = ''] = set.names;
    set.people = { [first]: 9 };
    await set.lookUntil(() => set.count('serving') === 2, 'it grows');
    const second = set.names.find((name) => name !== first) ?? '';
    set.people = { [first]: 3, [second]: 1 };
    await set.lookUntil(() => set.machines.length === 1, 'it shrinks');
    assert.deepEqual(set.names, [first]);
    assert.equal(set.asked('DELETE'), 1);
    const said = set.report.decisions.map(({ what }) => what.replace(second, 'it'));
    assert.deepEqual(said, ['add 1 media nodes', 'drain it (migrate)', 'delete it']);
  });
});

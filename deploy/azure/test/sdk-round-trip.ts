/**
 * Checks the structure of expanded resources with Azure's own SDKs: what the SDK reads from our text and writes again
 * must be our text. What is lost on the way is misspelled, in the wrong place, or read-only.
 */
import { AuthorizationManagementClient } from '@azure/arm-authorization';
import { ComputeManagementClient } from '@azure/arm-compute';
import { KeyVaultManagementClient } from '@azure/arm-keyvault';
import { ManagedServiceIdentityClient } from '@azure/arm-msi';
import { NetworkManagementClient } from '@azure/arm-network';
import { StorageManagementClient } from '@azure/arm-storage';
import type { ExpandedResource } from '../expand/expand-template.ts';
import { textOf, type Json } from '../expand/functions.ts';

type Body = { [key: string]: Json };
type Request = { url: string; method: string; body?: unknown; headers: unknown };

/** Answers reads with one body and keeps what is written. */
class Mirror {
  readonly #body: Body;
  written: Body | undefined;

  constructor(body: Body) {
    this.#body = body;
  }

  get options() {
    // The SDKs take any implementation of their HTTP client; its exact type differs between their generations.
    return { httpClient: this as never, retryOptions: { maxRetries: 0 } };
  }

  sendRequest(request: Request & { headers: { get(name: string): string | undefined } }): Promise<unknown> {
    if (request.method === 'PUT' || request.method === 'PATCH') {
      this.written = JSON.parse(textOf(request.body)) as Body;
    }
    const headers = new Map([['content-type', 'application/json']]);
    const list = {
      get: (name: string) => headers.get(name.toLowerCase()),
      has: (name: string) => headers.has(name.toLowerCase()),
      toJSON: () => Object.fromEntries(headers),
      *[Symbol.iterator]() {
        yield* headers;
      },
    };
    return Promise.resolve({ request, status: 200, headers: list, bodyAsText: JSON.stringify(this.#body) });
  }
}

const credential = { getToken: () => Promise.resolve({ token: 'x', expiresOnTimestamp: Date.now() + 3_600_000 }) };
const subscription = '11111111-1111-4111-8111-111111111111';
const group = 'calls';

type Copy = (mirror: Mirror, names: string[], scope: string) => Promise<unknown>;

const compute = (mirror: Mirror): ComputeManagementClient =>
  new ComputeManagementClient(credential, subscription, mirror.options);
const net = (mirror: Mirror): NetworkManagementClient =>
  new NetworkManagementClient(credential, subscription, mirror.options);
const storage = (mirror: Mirror): StorageManagementClient =>
  new StorageManagementClient(credential, subscription, mirror.options);
const vaults = (mirror: Mirror): KeyVaultManagementClient =>
  new KeyVaultManagementClient(credential, subscription, mirror.options);

const copies: Readonly<Record<string, Copy>> = {
  'Microsoft.Compute/virtualMachines': async (mirror, [name = '']) => {
    const { virtualMachines } = compute(mirror);
    await virtualMachines.createOrUpdate(group, name, await virtualMachines.get(group, name));
  },
  'Microsoft.Compute/virtualMachineScaleSets': async (mirror, [name = '']) => {
    const { virtualMachineScaleSets } = compute(mirror);
    await virtualMachineScaleSets.createOrUpdate(group, name, await virtualMachineScaleSets.get(group, name));
  },
  'Microsoft.Compute/availabilitySets': async (mirror, [name = '']) => {
    const { availabilitySets } = compute(mirror);
    await availabilitySets.createOrUpdate(group, name, await availabilitySets.get(group, name));
  },
  'Microsoft.Network/networkSecurityGroups': async (mirror, [name = '']) => {
    const { networkSecurityGroups } = net(mirror);
    await networkSecurityGroups.createOrUpdate(group, name, await networkSecurityGroups.get(group, name));
  },
  'Microsoft.Network/natGateways': async (mirror, [name = '']) => {
    const { natGateways } = net(mirror);
    await natGateways.createOrUpdate(group, name, await natGateways.get(group, name));
  },
  'Microsoft.Network/publicIPAddresses': async (mirror, [name = '']) => {
    const { publicIPAddresses } = net(mirror);
    await publicIPAddresses.createOrUpdate(group, name, await publicIPAddresses.get(group, name));
  },
  'Microsoft.Network/virtualNetworks': async (mirror, [name = '']) => {
    const { virtualNetworks } = net(mirror);
    await virtualNetworks.createOrUpdate(group, name, await virtualNetworks.get(group, name));
  },
  'Microsoft.Network/loadBalancers': async (mirror, [name = '']) => {
    const { loadBalancers } = net(mirror);
    await loadBalancers.createOrUpdate(group, name, await loadBalancers.get(group, name));
  },
  'Microsoft.Network/networkInterfaces': async (mirror, [name = '']) => {
    const { networkInterfaces } = net(mirror);
    await networkInterfaces.createOrUpdate(group, name, await networkInterfaces.get(group, name));
  },
  'Microsoft.Storage/storageAccounts': async (mirror, [name = '']) => {
    const { storageAccounts } = storage(mirror);
    const model = await storageAccounts.getProperties(group, name);
    await storageAccounts.create(group, name, model as Parameters<typeof storageAccounts.create>[2]);
  },
  'Microsoft.Storage/storageAccounts/blobServices': async (mirror, [name = '']) => {
    const { blobServices } = storage(mirror);
    await blobServices.setServiceProperties(group, name, await blobServices.getServiceProperties(group, name));
  },
  'Microsoft.Storage/storageAccounts/blobServices/containers': async (mirror, [name = '', , container = '']) => {
    const { blobContainers } = storage(mirror);
    await blobContainers.create(group, name, container, await blobContainers.get(group, name, container));
  },
  'Microsoft.KeyVault/vaults': async (mirror, [name = '']) => {
    const client = vaults(mirror);
    const model = await client.vaults.get(group, name);
    await client.vaults.createOrUpdate(group, name, model as Parameters<typeof client.vaults.createOrUpdate>[2]);
  },
  'Microsoft.KeyVault/vaults/secrets': async (mirror, [name = '', secret = '']) => {
    const client = vaults(mirror);
    await client.secrets.createOrUpdate(group, name, secret, await client.secrets.get(group, name, secret));
  },
  'Microsoft.ManagedIdentity/userAssignedIdentities': async (mirror, [name = '']) => {
    const client = new ManagedServiceIdentityClient(credential, subscription, mirror.options);
    const model = await client.userAssignedIdentities.get(group, name);
    await client.userAssignedIdentities.createOrUpdate(group, name, model);
  },
  'Microsoft.Authorization/roleAssignments': async (mirror, [name = ''], scope) => {
    const client = new AuthorizationManagementClient(credential, subscription, mirror.options);
    const model = await client.roleAssignments.get(scope, name);
    await client.roleAssignments.create(scope, name, model as Parameters<typeof client.roleAssignments.create>[2]);
  },
};

/** Said in the request's address, or by the deployment alone. */
const outsideBody = new Set(['type', 'apiVersion', 'name', 'scope', 'id']);
/** What a name refers to inside its own resource may carry an id that Azure makes from the name. */
const scopeFallback = `/subscriptions/${subscription}/resourceGroups/${group}`;

/** @returns what Azure would not take as it stands, as paths */
export async function complaintsOf(resource: ExpandedResource): Promise<string[]> {
  const copy = copies[resource.type];
  if (copy === undefined) {
    return [`${resource.type} is not checked`];
  }
  const body = Object.fromEntries(Object.entries(resource.body).filter(([key]) => !outsideBody.has(key)));
  const mirror = new Mirror({ ...body, name: resource.name, id: resource.id });
  await copy(mirror, resource.name.split('/'), textOf(resource.body['scope'] ?? scopeFallback));
  return missing(body, mirror.written ?? {}, '').map((path) => `${resource.type} ${resource.name}: ${path}`);
}

function missing(ours: Json, theirs: Json | undefined, path: string): string[] {
  if (Array.isArray(ours)) {
    const list = Array.isArray(theirs) ? theirs : [];
    return ours.flatMap((item, index) => missing(item, list[index], `${path}[${index}]`));
  }
  if (typeof ours === 'object' && ours !== null) {
    const there = typeof theirs === 'object' && theirs !== null && !Array.isArray(theirs) ? theirs : undefined;
    if (there === undefined) {
      return [path];
    }
    return Object.entries(ours).flatMap(([key, value]) => missing(value, there[key], `${path}/${key}`));
  }
  return Object.is(ours, theirs) ? [] : [path];
}

/**
 * A whole deployment on this machine: the template expanded, its machines as folders with processes, Azure's services as
 * fakes under the real SDKs, the virtual network as loopback addresses or namespaces.
 */
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BlobServiceClient } from '@azure/storage-blob';
import { ManagedIdentityCredential } from '@azure/identity';
import { AdminClient } from '../../../src/cli/admin-client.ts';
import type { ShownCapacity } from '../../../src/protocol/capacity-report.ts';
import {
  expandTemplate,
  type DeploymentContext,
  type ExpandedResource,
  type ExpandedTemplate,
} from '../expand/expand-template.ts';
import { isObject, textOf, type Json } from '../expand/functions.ts';
import { Azurite } from '../fakes/azurite.ts';
import { FakeCompute, type FakeMachine } from '../fakes/compute-server.ts';
import { FakeMetadata } from '../fakes/metadata-server.ts';
import { makeServerCertificate, trustCertificate, type ServerCertificate } from '../fakes/server-certificate.ts';
import { FakeVaults } from '../fakes/vault-server.ts';
import { buildTemplate } from '../template/template.ts';
import { FileServer } from './file-server.ts';
import { LoadBalancer, planOf } from './load-balancer.ts';
import { askHealth } from './ask-health.ts';
import type { SimulatedNetwork } from './simulated-network.ts';
import { Machine, type MachineOptions } from './machine.ts';

export type SimulationOptions = {
  parameters: Record<string, Json>;
  release: { file: string; sha256: string };
  network: SimulatedNetwork;
  /** Timers of scaling run so many times faster. */
  speed: number;
  /** Of this machine, for each node. */
  coresPerNode: number;
  say: (line: string) => void;
  /** Is told of each secret that is written to a vault (`vault/name`), by which machine. */
  wrote?: (secret: string, machine: Machine | undefined) => void;
};

const tenantId = '22222222-2222-4222-8222-222222222222';
const subscriptionId = '11111111-1111-4111-8111-111111111111';
/** Between two machines of the scale set that come up at once. */
const createMs = 500;
const probeMs = 500;

export class Simulation {
  readonly masters: Machine[] = [];
  readonly media = new Map<string, Machine>();
  readonly #options: SimulationOptions;
  readonly #stack = new AsyncDisposableStack();
  readonly #folder: string;
  readonly #certificate: ServerCertificate;
  #expanded: ExpandedTemplate = { resources: [], declared: new Set(), outputs: {} };
  #vaults: FakeVaults | undefined;
  #azurite: Azurite | undefined;
  #compute: FakeCompute | undefined;
  #balancer: LoadBalancer | undefined;
  readonly #serving = new Set<string>();
  #mediaCount = 0;

  /** Resolves when the machines have been started; the cluster is ready some seconds later. */
  static async start(options: SimulationOptions): Promise<Simulation> {
    const folder = await mkdtemp(path.join(tmpdir(), 'plenum-azure-'));
    const simulation = new Simulation(options, folder);
    try {
      await simulation.#start();
      return simulation;
    } catch (error) {
      await simulation.close();
      throw error;
    }
  }

  private constructor(options: SimulationOptions, folder: string) {
    this.#options = options;
    this.#folder = folder;
    this.#certificate = makeServerCertificate([options.network.host]);
  }

  get compute(): FakeCompute {
    return must(this.#compute);
  }

  get vaults(): FakeVaults {
    return must(this.#vaults);
  }

  get stack(): string {
    return textOf(this.#options.parameters['stackName']);
  }

  get keys(): { apiKey: string; apiSecret: string } {
    const read = (name: string): string => this.vaults.versions(`${this.stack}-keyvault`, name).at(-1) ?? '';
    return { apiKey: read('LIVEKIT-API-KEY'), apiSecret: read('LIVEKIT-API-SECRET') };
  }

  /** Plain HTTP through the load balancer: pages on it may use camera and microphone only as `localhost`. */
  get url(): string {
    return `http://${this.#options.network.front}:7880`;
  }

  /** What the leading master decides about media nodes, as anybody may ask for it. */
  capacity(): Promise<ShownCapacity> {
    return new AdminClient({ url: this.url, ...this.keys }, { USER: 'simulation' }).capacity();
  }

  get healthyMasters(): number {
    return this.masters.filter(({ privateAddress }) => this.#balancer?.isHealthy(privateAddress) === true).length;
  }

  /** Nodes whose health check answers that they can work. */
  get servingMedia(): number {
    return [...this.media.values()].filter(({ privateAddress }) => this.#serving.has(privateAddress)).length;
  }

  /** Resolves when so many masters (all, when left out) and a first media node answer their health checks. */
  async ready(timeoutMs: number, masters = this.masters.length): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    while (this.healthyMasters < masters || this.servingMedia === 0) {
      if (performance.now() >= deadlineMs) {
        throw new Error(`the cluster is not ready: ${this.healthyMasters} masters, ${this.servingMedia} media nodes`);
      }
      await delay(200);
    }
  }

  get machines(): Machine[] {
    return [...this.masters, ...this.media.values()];
  }

  /** One of each machine that there ever was. */
  logFiles(): string[] {
    return readdirSync(this.#folder)
      .map((name) => path.join(this.#folder, name, 'machine.log'))
      .filter((file) => existsSync(file));
  }

  userData(): string {
    return this.#machineResources()
      .map((resource) => JSON.stringify(cloudConfigOf(resource)))
      .join('\n');
  }

  async close(): Promise<void> {
    this.#compute?.faults.fullZones.clear();
    await Promise.all(this.machines.map((machine) => machine.shutDown(5_000)));
    await this.#stack.disposeAsync();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #start(): Promise<void> {
    const { say, release, network } = this.#options;
    const { host } = network;
    const stack = this.#stack;
    trustCertificate(this.#certificate);
    await mkdir(path.join(this.#folder, 'releases'));
    await writeFile(path.join(this.#folder, 'ca.pem'), this.#certificate.cert);
    const files = stack.adopt(await FileServer.start(release.file, this.#certificate, host), (value) => value.close());
    this.#vaults = stack.adopt(await FakeVaults.start(this.#certificate, host), (value) => value.close());
    this.#vaults.wrote = (secret, name) =>
      this.#options.wrote?.(
        secret,
        this.machines.find((machine) => machine.name === name),
      );
    this.#azurite = stack.adopt(await Azurite.start(this.#certificate, host), (value) => value.close());
    const parameters = { ...this.#options.parameters, releaseUrl: files.url, releaseSha256: release.sha256 };
    this.#expanded = expandTemplate(buildTemplate(), parameters, contextOf(network));
    say(`the template expands to ${this.#expanded.resources.length} resources`);
    await this.#makeContainers();
    this.#balancer = stack.adopt(await this.#startBalancer(), (value) => value.close());
    const set = this.#resource('virtualMachineScaleSets');
    this.#compute = stack.adopt(
      await FakeCompute.start({
        subscriptionId,
        resourceGroup: context.resourceGroup,
        scaleSet: set.name,
        location: context.location,
        zones: context.zones,
        model: set.body as never,
        certificate: this.#certificate,
        host,
        createMs,
        deleteMs: createMs,
        started: (machine) => void this.#startMedia(machine),
        stopped: (machine) => void this.#stopMedia(machine),
      }),
      (value) => value.close(),
    );
    await this.#startMasters();
    this.#watchMedia();
  }

  #watchMedia(): void {
    const timer = setInterval(() => void this.#probeMedia(), probeMs);
    this.#stack.defer(() => clearInterval(timer));
  }

  async #probeMedia(): Promise<void> {
    for (const { privateAddress } of this.media.values()) {
      const { probeAddress: from } = this.#options.network;
      const status = await askHealth({ address: privateAddress, port: 7880, path: '/', from, deadlineMs: probeMs });
      if (status === 200) {
        this.#serving.add(privateAddress);
      } else {
        this.#serving.delete(privateAddress);
      }
    }
  }

  #resource(kind: string): ExpandedResource {
    return must(this.#expanded.resources.find(({ type }) => type.endsWith(`/${kind}`)));
  }

  #machineResources(): ExpandedResource[] {
    return this.#expanded.resources.filter(({ type }) => /\/virtualMachine(s|ScaleSets)$/.test(type));
  }

  /** As the template would make them, in the account that Azurite has. */
  async #makeContainers(): Promise<void> {
    const facts = {
      machineName: 'deployer',
      computerName: 'deployer',
      publicAddress: '',
      privateAddress: '',
      tenantId,
      zone: '',
      host: this.#options.network.host,
    };
    const metadata = this.#stack.adopt(await FakeMetadata.start(facts), (value) => value.close());
    process.env['AZURE_POD_IDENTITY_AUTHORITY_HOST'] = metadata.url;
    const service = new BlobServiceClient(
      must(this.#azurite).url,
      new ManagedIdentityCredential({ clientId: 'deployer' }),
    );
    for (const { type, name } of this.#expanded.resources) {
      if (type.endsWith('/containers')) {
        await service.getContainerClient(name.split('/').at(-1) ?? '').create();
      }
    }
  }

  async #startBalancer(): Promise<LoadBalancer> {
    const plan = planOf(this.#resource('loadBalancers'));
    const pool = must(plan.rules[0]).pool;
    // Beside the rules of the template: without a certificate that browsers trust, plain HTTP is what can be tried.
    const plain = { name: 'plain', frontendPort: plan.probe.port, backendPort: plan.probe.port, pool, isProbe: true };
    return LoadBalancer.start({
      plan: { ...plan, rules: [...plan.rules, plain] },
      front: this.#options.network.front,
      probeAddress: this.#options.network.probeAddress,
      backends: (name) =>
        (name === pool ? this.masters : [...this.media.values()]).map(({ privateAddress }) => privateAddress),
    });
  }

  async #startMasters(): Promise<void> {
    const resources = this.#expanded.resources.filter(({ type }) => type.endsWith('/virtualMachines'));
    for (const [index, resource] of resources.entries()) {
      const address = must(masterAddresses(this.#expanded)[index]);
      const { properties } = resource.body as { properties: { osProfile: { computerName: string } } };
      const machine = await this.#startMachine({
        name: resource.name,
        computerName: properties.osProfile.computerName,
        cloudConfig: cloudConfigOf(resource),
        privateAddress: this.#options.network.at(address),
        publicAddress: this.#options.network.front,
        rules: this.#rulesOf('master'),
        zone: textOf(Array.isArray(resource.body['zones']) ? resource.body['zones'][0] : ''),
      });
      this.masters.push(machine);
      // The others find what the first one has fetched.
      await this.#released();
    }
  }

  async #released(): Promise<void> {
    const program = path.join(this.#folder, 'releases', this.#options.release.sha256, 'bin/plenum');
    while (!existsSync(program)) {
      await delay(100);
    }
  }

  async #startMedia({ name, computerName, zone }: FakeMachine): Promise<void> {
    await this.#released();
    this.#mediaCount += 1;
    const address = this.#options.network.at(`10.0.0.${10 + this.#mediaCount}`);
    const cloudConfig = cloudConfigOf(this.#resource('virtualMachineScaleSets'));
    const machine = await this.#startMachine({
      name,
      computerName,
      cloudConfig,
      privateAddress: address,
      publicAddress: address,
      rules: this.#rulesOf('media'),
      zone,
    });
    this.media.set(name, machine);
    this.#options.say(`${computerName} starts in zone ${zone}`);
  }

  async #stopMedia({ name, computerName }: FakeMachine): Promise<void> {
    const machine = this.media.get(name);
    this.media.delete(name);
    this.#options.say(`${computerName} is taken away`);
    await machine?.cut();
    if (machine !== undefined) {
      await this.#options.network.detach(machine.privateAddress);
    }
  }

  /** Of the subnet that machines of this kind are in. */
  #rulesOf(kind: 'master' | 'media'): ExpandedResource {
    const groups = this.#expanded.resources.filter(({ type }) => type.endsWith('/networkSecurityGroups'));
    return must(groups.find(({ name }) => name.includes(kind)));
  }

  async #startMachine({
    rules,
    ...options
  }: Pick<MachineOptions, 'name' | 'computerName' | 'cloudConfig' | 'privateAddress' | 'publicAddress' | 'zone'> & {
    rules: ExpandedResource;
  }): Promise<Machine> {
    const { PATH = '', HOME = '' } = process.env;
    const { network } = this.#options;
    const ca = path.join(this.#folder, 'ca.pem');
    const compiled = path.join(this.#folder, 'compiled');
    return Machine.start({
      ...options,
      folder: path.join(this.#folder, options.computerName),
      releases: path.join(this.#folder, 'releases'),
      tenantId,
      host: network.host,
      adjust: (deployment, metadataUrl) => this.#adjust(deployment, metadataUrl),
      env: { PATH, HOME, NODE_EXTRA_CA_CERTS: ca, CURL_CA_BUNDLE: ca, NODE_COMPILE_CACHE: compiled },
      wrap: await network.attach(options.privateAddress, rules),
    });
  }

  #adjust(deployment: Record<string, Json>, metadataUrl: string): Record<string, Json> {
    const { speed, coresPerNode } = this.#options;
    const common = {
      ...deployment,
      metadataUrl,
      masters: (deployment['masters'] as string[]).map((address) => this.#options.network.at(address)),
      nodesVaultUrl: this.vaults.urlOf(`${this.stack}-nodes`),
      simulated: { cores: coresPerNode, speed },
    };
    if (deployment['role'] === 'media') {
      return common;
    }
    const storage = deployment['storage'];
    return {
      ...common,
      vaultUrl: this.vaults.urlOf(`${this.stack}-keyvault`),
      storage: { ...(isObject(storage) ? storage : {}), blobUrl: must(this.#azurite).url },
      armEndpoint: this.compute.url,
    };
  }
}

const context = {
  subscriptionId,
  tenantId,
  resourceGroup: 'simulated',
  location: 'simulated',
  deployerObjectId: '33333333-3333-4333-8333-333333333333',
  zones: ['1', '2', '3'],
};

function contextOf({ front }: SimulatedNetwork): DeploymentContext {
  const identity = {
    principalId: '44444444-4444-4444-8444-444444444444',
    clientId: '55555555-5555-4555-8555-555555555555',
  };
  return {
    ...context,
    reference: (id) => (id.includes('/publicIPAddresses/') ? { ipAddress: front } : identity),
  };
}

function masterAddresses({ resources }: ExpandedTemplate): string[] {
  return resources
    .filter(({ type }) => type.endsWith('/networkInterfaces'))
    .map(({ body }) => /"privateIPAddress":"([\d.]+)"/.exec(JSON.stringify(body))?.[1] ?? '');
}

function cloudConfigOf({ body }: ExpandedResource): Record<string, Json> {
  const properties = isObject(body['properties']) ? body['properties'] : {};
  const profile = isObject(properties['virtualMachineProfile']) ? properties['virtualMachineProfile'] : properties;
  const text = Buffer.from(textOf(profile['userData']), 'base64').toString();
  return JSON.parse(text.slice(text.indexOf('\n') + 1)) as Record<string, Json>;
}

function must<T>(value: T | undefined): T {
  if (value === undefined) {
    throw new Error('the simulation has not come so far');
  }
  return value;
}

/**
 * Azure's control plane for one Flexible scale set, as far as scaling needs it: long-running operations, capacity that
 * makes machines and takes them away, etags, and the faults that the real one has.
 */
import { randomUUID } from 'node:crypto';
import { JsonServer, type JsonRequest, type JsonResponse } from './json-server.ts';
import type { ServerCertificate } from './server-certificate.ts';

export type FakeMachine = {
  name: string;
  computerName: string;
  zone: string;
  provisioningState: 'Creating' | 'Succeeded' | 'Failed' | 'Deleting';
  powerState: 'running' | 'deallocated';
  createdAt: Date;
  protectFromScaleIn: boolean;
};

export type ComputeFaults = {
  /** That many requests are answered so, one after the other; in seconds for 429. */
  throttle: number;
  conflict: number;
  /** The next change of capacity is carried out, and its answer is lost. */
  loseAnswer: boolean;
  /** Nothing is answered but that it does not work. */
  isAway: boolean;
  /** Machines that do not go away. */
  stuck: Set<string>;
  /** Machines whose deletion is accepted and fails. */
  failedDeletes: Set<string>;
  /** That many deletions are refused. */
  refusedDeletes: number;
  /** Capacity is not raised. */
  noQuota: boolean;
  /** Zones in which no machine can be made. */
  fullZones: Set<string>;
};

export type FakeComputeOptions = {
  subscriptionId: string;
  resourceGroup: string;
  scaleSet: string;
  location: string;
  zones: readonly string[];
  /** The scale set as it was deployed. */
  model: Record<string, unknown> & { sku: { name: string; tier?: string; capacity: number } };
  certificate: ServerCertificate;
  host?: string;
  /** Until a new machine is `Succeeded`. */
  createMs?: number;
  deleteMs?: number;
  /** By which machines are dated. */
  now?: () => number;
  /** A machine has come up. */
  started?: (machine: FakeMachine) => void;
  /** A machine is being taken away, now. */
  stopped?: (machine: FakeMachine) => void;
};

export class FakeCompute {
  readonly #options: FakeComputeOptions;
  readonly machines = new Map<string, FakeMachine>();
  readonly faults: ComputeFaults = {
    throttle: 0,
    conflict: 0,
    loseAnswer: false,
    isAway: false,
    failedDeletes: new Set(),
    refusedDeletes: 0,
    noQuota: false,
    stuck: new Set(),
    fullZones: new Set(),
  };
  /** Every request that changes something, in order. */
  readonly changes: string[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  #server: JsonServer | undefined;
  #model: FakeComputeOptions['model'];
  #etag = randomUUID();
  #made = 0;

  static async start(options: FakeComputeOptions): Promise<FakeCompute> {
    const compute = new FakeCompute(options);
    const { certificate, host = '127.0.0.1' } = options;
    compute.#server = await JsonServer.start({ certificate, host, handler: (request) => compute.#answer(request) });
    compute.#resize(options.model.sku.capacity);
    return compute;
  }

  private constructor(options: FakeComputeOptions) {
    this.#options = options;
    this.#model = structuredClone(options.model);
  }

  get url(): string {
    return this.#server?.url ?? '';
  }

  get capacity(): number {
    return this.#model.sku.capacity;
  }

  get tags(): Record<string, string> {
    return (this.#model['tags'] ?? {}) as Record<string, string>;
  }

  /** As somebody in the portal moves the slider. */
  setCapacity(capacity: number): void {
    this.#resize(capacity);
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) {
      clearTimeout(timer);
    }
    await this.#server?.close();
  }

  #answer(request: JsonRequest): JsonResponse {
    const { method, url } = request;
    if (url.pathname.startsWith('/operations/')) {
      return { status: 200, body: { status: 'Succeeded' } };
    }
    if (!/^Bearer \S+/.test(request.headers.authorization ?? '')) {
      return { status: 401, body: { error: { code: 'AuthenticationFailed', message: 'no token' } } };
    }
    const fault = this.#fault(method);
    if (fault !== undefined) {
      return fault;
    }
    if (method !== 'GET') {
      this.changes.push(`${method} ${url.pathname.split('/providers/').at(-1)}`);
    }
    const base = `/subscriptions/${this.#options.subscriptionId}/resourceGroups/${this.#options.resourceGroup}/providers/Microsoft.Compute/`;
    const path = url.pathname.startsWith(base) ? url.pathname.slice(base.length) : '';
    const set = `virtualMachineScaleSets/${this.#options.scaleSet}`;
    if (path === set) {
      return this.#scaleSet(request);
    }
    if (path.startsWith(`${set}/virtualMachines/`)) {
      return this.#member(request, path.split('/').at(-1) ?? '');
    }
    if (path === 'virtualMachines') {
      return this.#list(url);
    }
    if (path.startsWith('virtualMachines/')) {
      return this.#machine(method, path.split('/').at(-1) ?? '');
    }
    return notFound();
  }

  #fault(method: string): JsonResponse | undefined {
    if (this.faults.isAway) {
      return { status: 503, body: { error: { code: 'ServiceUnavailable', message: 'the service is unavailable' } } };
    }
    if (this.faults.throttle > 0) {
      this.faults.throttle -= 1;
      const body = { error: { code: 'OperationNotAllowed', message: 'too many requests' } };
      return { status: 429, headers: { 'retry-after': '1' }, body };
    }
    if (this.faults.conflict > 0 && method !== 'GET') {
      this.faults.conflict -= 1;
      return { status: 409, body: { error: { code: 'OperationNotAllowed', message: 'another operation is running' } } };
    }
    return undefined;
  }

  #scaleSet({ method, headers, body }: JsonRequest): JsonResponse {
    if (method === 'GET') {
      return { status: 200, body: this.#setBody(), headers: { etag: this.#etag } };
    }
    if (method !== 'PATCH') {
      return { status: 405 };
    }
    if (headers['if-match'] !== undefined && headers['if-match'] !== this.#etag) {
      return { status: 412, body: { error: { code: 'PreconditionFailed', message: 'the etag is old' } } };
    }
    const { sku, ...rest } = body as { sku?: { capacity?: number }; [key: string]: unknown };
    this.#model = merge(this.#model, rest) as FakeComputeOptions['model'];
    if (sku?.capacity !== undefined && sku.capacity > this.#model.sku.capacity && this.faults.noQuota) {
      const message = 'Operation could not be completed as it results in exceeding approved cores quota.';
      return { status: 409, body: { error: { code: 'OperationNotAllowed', message } } };
    }
    if (sku?.capacity !== undefined) {
      this.#resize(sku.capacity);
    }
    this.#etag = randomUUID();
    if (this.faults.loseAnswer) {
      this.faults.loseAnswer = false;
      return { status: 0, lost: true };
    }
    return { status: 200, body: this.#setBody(), headers: this.#operation() };
  }

  #setBody(): Record<string, unknown> {
    const { location, scaleSet, zones } = this.#options;
    return { ...this.#model, id: this.#setId(), name: scaleSet, location, zones, etag: this.#etag };
  }

  #setId(): string {
    const { subscriptionId, resourceGroup, scaleSet } = this.#options;
    return `/subscriptions/${subscriptionId}/resourceGroups/${resourceGroup}/providers/Microsoft.Compute/virtualMachineScaleSets/${scaleSet}`;
  }

  #member({ method, body }: JsonRequest, name: string): JsonResponse {
    const machine = this.machines.get(name);
    if (machine === undefined) {
      return notFound();
    }
    if (method === 'PUT') {
      const { properties } = body as { properties?: { protectionPolicy?: { protectFromScaleIn?: boolean } } };
      machine.protectFromScaleIn = properties?.protectionPolicy?.protectFromScaleIn ?? machine.protectFromScaleIn;
      return { status: 200, body: this.#machineBody(machine), headers: this.#operation() };
    }
    return { status: 200, body: this.#machineBody(machine) };
  }

  #list(url: URL): JsonResponse {
    const filter = url.searchParams.get('$filter') ?? '';
    const isOurs = filter === `'virtualMachineScaleSet/id' eq '${this.#setId()}'`;
    const value = isOurs ? [...this.machines.values()].map((machine) => this.#machineBody(machine)) : [];
    return { status: 200, body: { value } };
  }

  #machine(method: string, name: string): JsonResponse {
    const machine = this.machines.get(name);
    if (machine === undefined) {
      return notFound();
    }
    if (method === 'DELETE' && this.faults.refusedDeletes > 0) {
      this.faults.refusedDeletes -= 1;
      return { status: 409, body: { error: { code: 'OperationNotAllowed', message: 'another operation is running' } } };
    }
    if (method === 'DELETE') {
      if (machine.provisioningState !== 'Deleting') {
        this.#model.sku.capacity = Math.max(0, this.#model.sku.capacity - 1);
      }
      this.#remove(machine);
      return { status: 202, headers: this.#operation() };
    }
    return { status: 200, body: this.#machineBody(machine) };
  }

  #machineBody(machine: FakeMachine): Record<string, unknown> {
    return {
      id: `${this.#setId().split('/virtualMachineScaleSets/')[0]}/virtualMachines/${machine.name}`,
      name: machine.name,
      type: 'Microsoft.Compute/virtualMachines',
      location: this.#options.location,
      zones: [machine.zone],
      properties: {
        vmId: machine.name,
        provisioningState: machine.provisioningState,
        timeCreated: machine.createdAt.toISOString(),
        osProfile: { computerName: machine.computerName },
        virtualMachineScaleSet: { id: this.#setId() },
        instanceView: { statuses: [{ code: `PowerState/${machine.powerState}` }] },
      },
    };
  }

  #operation(): Record<string, string> {
    return { 'azure-asyncoperation': `${this.url}/operations/${randomUUID()}?api-version=2025-04-01` };
  }

  /** Upwards it makes machines; downwards it chooses among those that are not protected, as Azure does. */
  #resize(capacity: number): void {
    const standing = [...this.machines.values()].filter(({ provisioningState }) => provisioningState !== 'Deleting');
    for (let count = standing.length; count < capacity; count += 1) {
      this.#make();
    }
    const surplus = standing.filter(({ protectFromScaleIn }) => !protectFromScaleIn);
    for (const machine of surplus.slice(0, Math.max(0, standing.length - capacity))) {
      this.#remove(machine);
    }
    this.#model.sku.capacity = capacity;
  }

  #make(): void {
    this.#made += 1;
    const suffix = this.#made.toString(36).padStart(6, '0');
    const inZone = (zone: string): number =>
      [...this.machines.values()].filter((machine) => machine.zone === zone).length;
    const zone = this.#options.zones.toSorted((one, other) => inZone(one) - inZone(other))[0] ?? '';
    const machine: FakeMachine = {
      name: `${this.#options.scaleSet}_${suffix}`,
      computerName: `media-${suffix}`,
      zone,
      provisioningState: 'Creating',
      powerState: 'running',
      createdAt: new Date(this.#options.now?.() ?? Date.now()),
      protectFromScaleIn: false,
    };
    this.machines.set(machine.name, machine);
    this.#after(this.#options.createMs ?? 0, () => {
      machine.provisioningState = this.faults.fullZones.has(zone) ? 'Failed' : 'Succeeded';
      if (machine.provisioningState === 'Succeeded') {
        this.#options.started?.(machine);
      }
    });
  }

  #remove(machine: FakeMachine): void {
    if (machine.provisioningState === 'Deleting') {
      return;
    }
    machine.provisioningState = 'Deleting';
    this.#options.stopped?.(machine);
    this.#after(this.#options.deleteMs ?? 0, () => {
      if (this.faults.failedDeletes.has(machine.name)) {
        machine.provisioningState = 'Failed';
        this.#model.sku.capacity += 1;
      } else if (!this.faults.stuck.has(machine.name)) {
        this.machines.delete(machine.name);
      }
    });
  }

  #after(ms: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, ms);
    this.#timers.add(timer);
  }
}

function notFound(): JsonResponse {
  return { status: 404, body: { error: { code: 'ResourceNotFound', message: 'there is no such resource' } } };
}

function merge(base: unknown, over: unknown): unknown {
  const isPlain = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isPlain(base) || !isPlain(over)) {
    return over ?? base;
  }
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    merged[key] = merge(base[key], value);
  }
  return merged;
}

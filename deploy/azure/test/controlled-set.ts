/**
 * For tests: a scale set of the fake control plane under the real SDK, nodes on its machines, and masters that look after
 * them, all in one process. Time of the controllers is virtual: half a minute passes between two looks.
 */
import assert from 'node:assert/strict';
import { ComputeManagementClient } from '@azure/arm-compute';
import { AzureProvider } from '../../../src/azure/azure-provider.ts';
import { releaseTags } from '../../../src/azure/scale-set-release.ts';
import { goals, load } from '../../../src/capacity/capacity-fixtures.ts';
import type { CapacityGoals } from '../../../src/capacity/observation.ts';
import { MemoryStoreServer } from '../../../src/cluster/memory-store.ts';
import { PlenumError } from '../../../src/lib/errors.ts';
import { createLog } from '../../../src/observe/log.ts';
import type { NodeId } from '../../../src/protocol/ids.ts';
import { CapacityController } from '../../../src/scaling/capacity-controller.ts';
import type { ExpandedResource } from '../expand/expand-template.ts';
import { FakeCompute, type FakeMachine } from '../fakes/compute-server.ts';
import { makeServerCertificate } from '../fakes/server-certificate.ts';
import { expand, goldenScenarios, parametersOf } from './scenarios.ts';

export const where = { subscriptionId: '11111111-1111-4111-8111-111111111111', resourceGroup: 'calls' };
const credential = { getToken: () => Promise.resolve({ token: 'x', expiresOnTimestamp: Date.now() + 3_600_000 }) };
export const certificate = makeServerCertificate();
const lookMs = 30_000;
const startMs = 1_000_000;

export function scaleSet(): ExpandedResource {
  const { resources } = expand(parametersOf(goldenScenarios['production'] ?? ''));
  const found = resources.find(({ type }) => type.endsWith('virtualMachineScaleSets'));
  assert.ok(found);
  return found;
}

export class ControlledSet {
  #nowMs = startMs;
  readonly compute: FakeCompute;
  /** People on the nodes, by name of their machine; each is a tenth of a node. */
  people: Record<string, number> = {};
  /** Nodes of this version do not come up. */
  brokenVersion = '';
  readonly #versions = new Map<string, string>();
  /** Reasons of the looks that failed, since they were asked for last. */
  failures: string[] = [];
  readonly #store = new MemoryStoreServer({
    timings: { heartbeatMs: 500, leaseMs: 60_000, keepMs: 60_000 },
    now: () => this.#nowMs,
    wait: (ms) => {
      this.#nowMs += ms;
      return Promise.resolve();
    },
  });
  readonly #nodes = this.#store.connect();
  readonly #drained = new Set<string>();
  readonly #goals: CapacityGoals;
  #controller: CapacityController;
  #masters = 0;

  static async start(changes: Partial<CapacityGoals> = {}, zones = ['1', '2', '3']): Promise<ControlledSet> {
    const set = scaleSet();
    const names = { ...where, scaleSet: set.name, location: 'westeurope', zones };
    let controlled: ControlledSet | undefined;
    const now = (): number => controlled?.wallMs ?? Date.now();
    const compute = await FakeCompute.start({ ...names, model: set.body as never, certificate, now });
    controlled = new ControlledSet(compute, set.name, { ...goals, scaleInAfterMs: 60_000, ...changes });
    return controlled;
  }

  private constructor(compute: FakeCompute, scaleSetName: string, wanted: CapacityGoals) {
    this.compute = compute;
    this.#goals = wanted;
    this.#controller = this.#master(scaleSetName);
    this.succeed = () => {
      this.#controller = this.#master(scaleSetName);
    };
  }

  /** The leading master dies; another one takes over when its lease has ended. */
  readonly succeed: () => void;

  get machines(): FakeMachine[] {
    return [...this.compute.machines.values()];
  }

  get names(): string[] {
    return this.machines.map(({ computerName }) => computerName);
  }

  get report(): NonNullable<ReturnType<CapacityController['report']>> {
    return this.#controller.report() ?? assert.fail('no master leads');
  }

  /** That its node runs: what the set said when the machine was made. */
  versionOf(computerName: string): string {
    const version = this.#versions.get(computerName) ?? this.compute.tags[releaseTags.version] ?? 'one';
    this.#versions.set(computerName, version);
    return version;
  }

  /** How many machines are in a phase of their life, as the leading master saw last. */
  count(phase: string): number {
    return this.#controller.report()?.phases[phase as 'serving'] ?? 0;
  }

  /** How often the control plane was told to do so. */
  asked(method: 'PATCH' | 'DELETE'): number {
    return this.compute.changes.filter((change) => change.startsWith(method)).length;
  }

  /** Half a minute later. What the look fails with is kept, as the log would. */
  async look(): Promise<void> {
    // The control plane carries out what it was asked for.
    await new Promise((resolve) => setTimeout(resolve, 2));
    await this.#beat();
    this.#nowMs += lookMs;
    await this.#beat();
    await this.#controller.tick().catch((error: unknown) => {
      this.failures.push(error instanceof PlenumError ? error.reason : String(error));
    });
    await this.#beat();
  }

  /** Looks until it is so; rejects when that takes longer than it can. */
  async lookUntil(isSo: () => boolean, what: string, looks = 100): Promise<void> {
    for (let count = 0; !isSo(); count += 1) {
      assert.ok(count < looks, `${what}: ${JSON.stringify([this.machines, this.failures])}`);
      await this.look();
    }
  }

  async close(): Promise<void> {
    await this.compute.close();
  }

  #master(scaleSetName: string): CapacityController {
    this.#masters += 1;
    const client = new ComputeManagementClient(credential, where.subscriptionId, {
      endpoint: this.compute.url,
      tlsOptions: { ca: certificate.cert },
      retryOptions: { maxRetries: 1, retryDelayInMs: 1 },
    });
    return new CapacityController({
      holder: `master-${this.#masters}`,
      store: this.#store.connect(),
      provider: new AzureProvider({ client, ...where, scaleSet: scaleSetName, now: () => this.wallMs }),
      goals: () => this.#goals,
      reaches: () => Promise.resolve(false),
      log: createLog({ level: 'silent', json: true }),
      now: () => this.#nowMs,
    });
  }

  /** By which machines are dated: the real clock, and as much as has passed here. */
  get wallMs(): number {
    return Date.now() + this.#nowMs - startMs;
  }

  /** Nodes on the machines, as the drain of the cluster would leave them. */
  async #beat(): Promise<void> {
    const running = this.machines.filter(({ provisioningState }) => provisioningState === 'Succeeded');
    for (const { computerName, zone } of running) {
      const version = this.versionOf(computerName);
      if (version === this.brokenVersion) {
        continue;
      }
      const count = this.people[computerName] ?? 0;
      const { state } = await this.#nodes.nodes.beat({
        nodeId: `ND_${computerName}` as NodeId,
        machineId: computerName,
        roles: ['media'],
        version,
        protocol: { min: 1, max: 1 },
        region: '',
        zone,
        relay: { host: '', port: 0 },
        publicAddress: '',
        state: this.#drained.has(computerName) ? 'DRAINED' : 'SERVING',
        load: { ...load({ cpu: count / 10, participants: count, rooms: count > 0 ? 1 : 0 }), workers: [] },
        uptimeMs: 1,
      });
      if (state?.state === 'DRAINING') {
        delete this.people[computerName];
        await this.#nodes.nodeStates.change(state.nodeId, state.epoch, { state: 'DRAINED' });
        this.#drained.add(computerName);
      }
    }
  }
}

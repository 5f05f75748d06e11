/**
 * Media nodes' machines as instances of a Flexible scale set. Capacity is only ever raised, under the set's etag, so that
 * of two requests one is refused; machines go one by one, by name.
 */
import type {
  ComputeManagementClient,
  VirtualMachine,
  VirtualMachineScaleSet,
  VirtualMachineScaleSetVM,
} from '@azure/arm-compute';
import type { Instance, Observation } from '../capacity/observation.ts';
import type { CapacityProvider } from '../scaling/capacity-provider.ts';
import { providerBusy, providerFailed } from '../scaling/errors.ts';
import { isGone, isToBeAskedLater } from './azure-errors.ts';
import { releaseTags } from './scale-set-release.ts';

export type AzureProviderOptions = {
  client: ComputeManagementClient;
  subscriptionId: string;
  resourceGroup: string;
  scaleSet: string;
  now: () => number;
};

export class AzureProvider implements CapacityProvider {
  readonly #options: AzureProviderOptions;
  /** The list of machines does not tell; asking once more after a change of leader does no harm. */
  readonly #protected = new Set<string>();

  constructor(options: AzureProviderOptions) {
    this.#options = options;
  }

  async look(signal: AbortSignal): Promise<Observation['machines']> {
    return this.#ask('listing the machines', async () => {
      const set = await this.#set(signal);
      const instances: Instance[] = [];
      for await (const machine of this.#machines(signal)) {
        instances.push(this.#describe(machine));
      }
      const version = set.tags?.[releaseTags.version];
      return { instances, capacity: set.sku?.capacity ?? 0, ...(version === undefined ? {} : { version }) };
    });
  }

  async add(count: number, signal: AbortSignal): Promise<void> {
    const { client, resourceGroup, scaleSet } = this.#options;
    await this.#ask(`asking for ${count} more machines`, async () => {
      const set = await this.#set(signal);
      const capacity = (set.sku?.capacity ?? 0) + count;
      const changed = { sku: { ...set.sku, capacity } };
      const etag = set.etag;
      const options = { abortSignal: signal, ...(etag === undefined ? {} : { ifMatch: etag }) };
      await client.virtualMachineScaleSets.update(resourceGroup, scaleSet, changed, options).submitted();
    });
  }

  async delete(instanceId: string, signal: AbortSignal): Promise<void> {
    const { client, resourceGroup } = this.#options;
    await this.#ask(`deleting ${instanceId}`, async () => {
      await client.virtualMachines.delete(resourceGroup, instanceId, { abortSignal: signal }).submitted();
    });
    this.#protected.delete(instanceId);
  }

  async protect(instanceId: string, signal: AbortSignal): Promise<void> {
    const { client, resourceGroup, scaleSet } = this.#options;
    await this.#ask(`protecting ${instanceId}`, async () => {
      const { virtualMachineScaleSetVMs } = client;
      const options = { abortSignal: signal };
      const { location } = await virtualMachineScaleSetVMs.get(resourceGroup, scaleSet, instanceId, options);
      const wanted: VirtualMachineScaleSetVM = { location, protectionPolicy: { protectFromScaleIn: true } };
      await virtualMachineScaleSetVMs.update(resourceGroup, scaleSet, instanceId, wanted, options).submitted();
    });
    this.#protected.add(instanceId);
  }

  #set(signal: AbortSignal): Promise<VirtualMachineScaleSet> {
    const { client, resourceGroup, scaleSet } = this.#options;
    return client.virtualMachineScaleSets.get(resourceGroup, scaleSet, { abortSignal: signal });
  }

  #machines(signal: AbortSignal): AsyncIterable<VirtualMachine> {
    const { client, subscriptionId, resourceGroup, scaleSet } = this.#options;
    const id = `/subscriptions/${subscriptionId}/resourceGroups/${resourceGroup}/providers/Microsoft.Compute/virtualMachineScaleSets/${scaleSet}`;
    return client.virtualMachines.list(resourceGroup, {
      filter: `'virtualMachineScaleSet/id' eq '${id}'`,
      expand: 'instanceView',
      abortSignal: signal,
    });
  }

  #describe(machine: VirtualMachine): Instance {
    const instanceId = machine.name ?? '';
    const madeAtMs = machine.timeCreated?.getTime() ?? this.#options.now();
    return {
      instanceId,
      machineId: machine.osProfile?.computerName ?? instanceId,
      zone: machine.zones?.[0] ?? '',
      state: stateOf(machine),
      ageMs: Math.max(0, this.#options.now() - madeAtMs),
      isProtected: this.#protected.has(instanceId),
    };
  }

  async #ask<Result>(what: string, work: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await work();
    } catch (error) {
      if (what.startsWith('deleting') && isGone(error)) {
        return undefined;
      }
      throw isToBeAskedLater(error) ? providerBusy(what, error) : providerFailed(what, error);
    }
  }
}

function stateOf({ provisioningState, instanceView }: VirtualMachine): Instance['state'] {
  const codes = instanceView?.statuses?.map(({ code }) => code ?? '') ?? [];
  switch (provisioningState) {
    case 'Deleting':
      return 'deleting';
    case 'Failed':
      return 'failed';
    case 'Creating':
      return 'creating';
    default:
      return codes.some((code) => /^PowerState\/(stopp|dealloc)/.test(code)) ? 'stopped' : 'running';
  }
}

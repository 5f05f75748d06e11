/** Looking after the number of media nodes, on masters; and after what the platform does to a media node. */
import { setTimeout as delay } from 'node:timers/promises';
import { HostReach } from '../cluster/host-reach.ts';
import type { CapacityGoals } from '../capacity/observation.ts';
import type { ClusterBus } from '../cluster/store.ts';
import type { Config } from '../config/options.ts';
import type { Logger } from '../observe/log.ts';
import type { NodeLoad } from '../placement/load.ts';
import { CapacityController } from '../scaling/capacity-controller.ts';
import type { CapacityProvider } from '../scaling/capacity-provider.ts';
import { askCapacityReport, serveCapacityReports } from '../scaling/capacity-reports.ts';
import { changeNode } from '../scaling/change-node.ts';
import { StaticProvider } from '../scaling/static-provider.ts';
import type { ClusterNode } from './cluster-node.ts';

type CapacityParts = { config: Config; log: Logger; node: ClusterNode; stack: AsyncDisposableStack };

export async function startCapacity({ config, log, node, stack }: CapacityParts): Promise<void> {
  const { provider } = config.capacity;
  if (provider === 'none') {
    return;
  }
  const { nodeId, store, nodes, relay } = node;
  const reach = new HostReach({ relay, nodes });
  const controller = new CapacityController({
    holder: nodeId,
    store,
    provider: provider === 'azure' ? await azureProvider(config) : new StaticProvider(),
    goals: () => capacityGoals(config),
    reaches: async (id) => (await reach.of(id)) === 'answers',
    log,
  });
  stack.defer(await serveCapacityReports({ bus: store.bus, provider, report: () => controller.report() }));
  stack.adopt(controller, (value) => value.close()).start();
}

/** Any master can tell what the one that leads decides; undefined where nobody decides anything. */
export function capacityReports({ capacity }: Config, bus: ClusterBus): (() => Promise<object>) | undefined {
  return capacity.provider === 'none' ? undefined : () => askCapacityReport(bus);
}

/** Azure's SDKs are loaded where they are needed alone: they are large. */
async function azureProvider({ azure }: Config): Promise<CapacityProvider> {
  const [{ AzureProvider }, { createComputeClient }] = await Promise.all([
    import('../azure/azure-provider.ts'),
    import('../azure/compute-client.ts'),
  ]);
  const { subscription_id: subscriptionId, resource_group: resourceGroup, scale_set: scaleSet } = azure;
  const client = createComputeClient(azure);
  return new AzureProvider({ client, subscriptionId, resourceGroup, scaleSet, now: Date.now });
}

function capacityGoals({ capacity }: Config): CapacityGoals {
  return {
    min: capacity.min,
    max: capacity.max,
    targetCpu: capacity.target_cpu,
    targetBitrateBps: capacity.target_bitrate_bps,
    targetTracks: capacity.target_tracks,
    drainPolicy: capacity.drain_policy,
    drainDeadlineMs: capacity.drain_deadline === 0 ? null : capacity.drain_deadline * 1_000,
    maxDrains: capacity.max_drains,
    scaleOutAfterMs: capacity.scale_out_after * 1_000,
    scaleInAfterMs: capacity.scale_in_after * 1_000,
  };
}

type PlatformParts = CapacityParts & { load: () => NodeLoad };

const emptyLookMs = 1_000;

/** On media nodes: what Azure announces leads to a drain within its notice. */
export async function watchPlatform({ config, log, node, stack, load }: PlatformParts): Promise<void> {
  const { azure } = config;
  if (!azure.scheduled_events) {
    return;
  }
  const { ScheduledEvents } = await import('../azure/scheduled-events.ts');
  const { nodeId, store } = node;
  const isEmpty = (): boolean => load().rooms === 0 && load().participants === 0;
  const events = new ScheduledEvents({
    url: azure.metadata_url,
    machineName: azure.machine_name,
    onEvent: async ({ type, remainingMs, takesMachine }) => {
      const reason = `Azure announces: ${type}`;
      const terms = { policy: 'migrate', deadlineMs: remainingMs, deadlineIsHard: true } as const;
      // A node that the cluster has emptied and deletes is past being drained.
      await changeNode(store.nodeStates, nodeId, { kind: 'drain', ...terms, owner: 'platform', reason }).catch(
        (error: unknown) => log.info({ err: error }, 'the node is not drained for the platform'),
      );
      const deadline = AbortSignal.timeout(remainingMs);
      while (!isEmpty() && !deadline.aborted) {
        await delay(emptyLookMs);
      }
      log.info({ type, takesMachine, isEmpty: isEmpty() }, 'the platform may go on');
    },
    log,
    now: Date.now,
  });
  stack.adopt(events, (value) => value.close()).start();
}

/**
 * Keeps the number of media nodes to what the load asks for. Of all masters the one that holds the lease acts; each look
 * starts from what the cluster and the provider say, so any master can go on from wherever the last one stopped.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { ClusterStore, Epoch } from '../cluster/store.ts';
import type { CapacityGoals, CapacityTimings, MediaNode, Observation } from '../capacity/observation.ts';
import {
  capacityOwner,
  freshMemory,
  type CapacityAction,
  type CapacityMemory,
  type SeenNode,
} from '../capacity/capacity-actions.ts';
import { planCapacity, type CapacityStatus } from '../capacity/plan-capacity.ts';
import { PlenumError } from '../lib/errors.ts';
import type { Logger } from '../observe/log.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { CapacityProvider } from './capacity-provider.ts';
import { changeNode } from './change-node.ts';
import { notLeading } from './errors.ts';

/** What was decided, newest last. */
export type CapacityDecision = { agoMs: number; what: string; reason: string };

export type CapacityReport = CapacityStatus & { leader: string; decisions: CapacityDecision[] };

export type CapacityControllerOptions = {
  /** This master. */
  holder: string;
  store: Pick<ClusterStore, 'nodes' | 'nodeStates' | 'leases' | 'timings'>;
  provider: CapacityProvider;
  goals: () => CapacityGoals;
  /** Whether a node that does not state itself answers us all the same. */
  reaches: (nodeId: NodeId) => Promise<boolean>;
  log: Logger;
  timings?: CapacityTimings;
  plan?: typeof planCapacity;
  now?: () => number;
};

const leaseName = 'capacity';
const tickMs = 5_000;
const providerDeadlineMs = 60_000;
const decisionsKept = 200;
/** What fails for so long is shown as a warning; a throttled request is none. */
const refusedForMs = 60_000;
const reasonLength = 300;

type Leading = { epoch: Epoch; memory: CapacityMemory };

export class CapacityController {
  readonly #options: CapacityControllerOptions;
  readonly #stop = new AbortController();
  readonly #now: () => number;
  #leading: Leading | undefined;
  #status: CapacityStatus | undefined;
  #decisions: { atMs: number; what: string; reason: string }[] = [];
  /** What the provider does not do, by kind of action. */
  readonly #refusals = new Map<string, { sinceMs: number; why: string }>();
  #running: Promise<unknown> | undefined;

  constructor(options: CapacityControllerOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  start(): void {
    this.#running ??= Promise.all([this.#keepLease(), this.#tickOn()]);
  }

  /** Gives the lease away, so that another master goes on at once. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    const leading = this.#leading;
    this.#leading = undefined;
    if (leading !== undefined) {
      await this.#options.store.leases.release(leaseName, this.#options.holder, leading.epoch).catch(() => undefined);
    }
  }

  /** Undefined on masters that do not lead. */
  report(): CapacityReport | undefined {
    if (this.#leading === undefined || this.#status === undefined) {
      return undefined;
    }
    const nowMs = this.#now();
    const decisions = this.#decisions.map(({ atMs, what, reason }) => ({
      agoMs: Math.round(nowMs - atMs),
      what,
      reason,
    }));
    const refused = [...this.#refusals]
      .filter(([, { sinceMs }]) => nowMs - sinceMs >= refusedForMs)
      .map(([what, { sinceMs, why }]) => `${what} has failed for ${Math.round((nowMs - sinceMs) / 1_000)} s: ${why}`);
    const warnings = [...this.#status.warnings, ...refused];
    return { ...this.#status, warnings, leader: this.#options.holder, decisions };
  }

  /** One look and what follows from it. Rejects when the store or the provider does not answer; the next one tries again. */
  async tick(): Promise<void> {
    const { store, holder, goals, timings, plan = planCapacity } = this.#options;
    const lease = await store.leases.acquire(leaseName, holder);
    if (lease.kind === 'taken') {
      this.#leading = undefined;
      this.#refusals.clear();
      return;
    }
    const nowMs = this.#now();
    // Who led before and lost it in between knows nothing of what others did.
    const known = this.#leading?.epoch === lease.epoch ? this.#leading.memory : freshMemory(nowMs);
    const leading = { epoch: lease.epoch, memory: known };
    this.#leading = leading;
    const observation = await this.#watched('look', () => this.#observe());
    const planned = plan({
      observation,
      goals: goals(),
      memory: known,
      nowMs,
      ...(timings === undefined ? {} : { timings }),
    });
    leading.memory = planned.memory;
    this.#status = planned.status;
    for (const action of planned.actions) {
      await this.#carryOut(action, leading);
    }
  }

  async #observe(): Promise<Observation> {
    const { store, provider, reaches } = this.#options;
    const [entries, records, machines] = await Promise.all([
      store.nodes.list(),
      store.nodeStates.list(),
      provider.look(AbortSignal.timeout(providerDeadlineMs)),
    ]);
    const byId = new Map(records.map((record) => [record.nodeId, record]));
    const media = entries.filter(({ record }) => record.roles.includes('media'));
    const nodes = await Promise.all(
      media.map(async ({ record, isLive, beatAgeMs }): Promise<MediaNode> => {
        const { nodeId, machineId, zone, state, load, version } = record;
        return {
          nodeId,
          machineId,
          zone,
          isLive,
          silentMs: beatAgeMs,
          isReached: !isLive && (await reaches(nodeId)),
          ownState: state,
          version,
          lifecycle: byId.get(nodeId),
          load: { ...load, workers: load.workers ?? [] },
        };
      }),
    );
    const listed = new Set(entries.map(({ record }) => record.nodeId));
    const left = records.filter(({ nodeId }) => !listed.has(nodeId as NodeId));
    return { machines, nodes: [...nodes, ...left.map(withRecordOnly)] };
  }

  async #carryOut(action: CapacityAction, leading: Leading): Promise<void> {
    try {
      await this.#watched(action.kind, () => this.#perform(action, leading));
    } catch (error) {
      const isOvertaken = error instanceof PlenumError && error.reason === 'node-changed';
      this.#options.log.info({ err: error, action: action.kind }, 'a step of scaling did not succeed');
      if (!isOvertaken) {
        throw error;
      }
    }
  }

  /** Remembers since when work of this kind does not succeed, and why. */
  async #watched<Result>(kind: string, work: () => Promise<Result>): Promise<Result> {
    try {
      const result = await work();
      this.#refusals.delete(kind);
      return result;
    } catch (error) {
      if (error instanceof PlenumError && error.reason.startsWith('provider-')) {
        const why = error.cause instanceof Error ? error.cause.message : error.message;
        const sinceMs = this.#refusals.get(kind)?.sinceMs ?? this.#now();
        this.#refusals.set(kind, { sinceMs, why: why.slice(0, reasonLength) });
      }
      throw error;
    }
  }

  async #perform(action: CapacityAction, leading: Leading): Promise<void> {
    const { provider, store } = this.#options;
    const { nodeStates } = store;
    await this.#mustLead(leading);
    const signal = AbortSignal.timeout(providerDeadlineMs);
    switch (action.kind) {
      case 'add':
        this.#decided(`add ${action.count} media nodes`, action.reason);
        return provider.add(action.count, signal);
      case 'protect':
        return provider.protect(action.instanceId, signal);
      case 'drain': {
        this.#decided(`drain ${action.machineId} (${action.policy})`, action.reason);
        const { policy, deadlineMs, reason } = action;
        return this.#changeAll(action.nodes, { kind: 'drain', policy, deadlineMs, owner: capacityOwner, reason });
      }
      case 'undrain':
        this.#decided(`take ${action.machineId} back`, action.reason);
        return this.#changeAll(action.nodes, { kind: 'undrain', owner: capacityOwner, reason: action.reason });
      case 'delete':
        this.#decided(`delete ${action.machineId}`, action.reason);
        await this.#changeAll(action.nodes, { kind: 'delete', owner: capacityOwner, reason: action.reason });
        // The change of a record took its time, and the record of a failed machine has none.
        await this.#mustLead(leading);
        return provider.delete(action.instanceId, signal);
      case 'record':
        await this.#changeAll([action.node], { kind: action.event, owner: capacityOwner, reason: action.reason });
        return;
      case 'forget':
        await nodeStates.remove(action.node.nodeId, action.node.epoch);
        return;
    }
  }

  async #changeAll(nodes: readonly SeenNode[], event: Parameters<typeof changeNode>[2]): Promise<void> {
    for (const { nodeId, epoch } of nodes) {
      await changeNode(this.#options.store.nodeStates, nodeId, { ...event, ifEpoch: epoch });
    }
  }

  /** Asks the store itself: a master that slept may have been replaced. */
  async #mustLead(leading: Leading): Promise<void> {
    const { store, holder } = this.#options;
    if (this.#leading !== leading || !(await store.leases.renew(leaseName, holder, leading.epoch))) {
      this.#leading = undefined;
      throw notLeading();
    }
  }

  #decided(what: string, reason: string): void {
    this.#options.log.info({ decision: what, reason }, 'capacity');
    this.#decisions = [...this.#decisions, { atMs: this.#now(), what, reason }].slice(-decisionsKept);
  }

  async #tickOn(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.tick().catch((error: unknown) => {
        const level = error instanceof PlenumError && error.logLevel === 'warn' ? 'warn' : 'debug';
        this.#options.log[level]({ err: error }, 'capacity could not be looked after');
      });
      await delay(tickMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Between two looks the lease would expire, and the lead would wander for no reason. */
  async #keepLease(): Promise<void> {
    const { signal } = this.#stop;
    const { store, holder } = this.#options;
    while (!signal.aborted) {
      await delay(store.timings.heartbeatMs, undefined, { signal }).catch(() => undefined);
      const leading = this.#leading;
      if (leading !== undefined) {
        const isHeld = await store.leases.renew(leaseName, holder, leading.epoch).catch(() => true);
        if (!isHeld && this.#leading === leading) {
          this.#leading = undefined;
        }
      }
    }
  }
}

function withRecordOnly(record: { nodeId: NodeId } & NonNullable<MediaNode['lifecycle']>): MediaNode {
  const load = { cpu: 0, cores: 1, bitrateBps: 0, packetsPerSecond: 0, tracks: 0, rooms: 0, participants: 0 };
  return {
    nodeId: record.nodeId,
    machineId: '',
    zone: '',
    isLive: false,
    silentMs: Number.MAX_SAFE_INTEGER,
    isReached: false,
    ownState: record.state,
    version: '',
    lifecycle: record,
    load: { ...load, eventLoopLagMs: 0, workers: [] },
  };
}

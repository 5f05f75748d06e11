/** Follows up what is under way: deletes what is drained, lost or failed, and lets records follow what is seen. */
import { isHeard, recordedState, type Machine } from './machines.ts';
import type { CapacityGoals, CapacityTimings, MediaNode } from './observation.ts';
import { seenNodes, type CapacityAction, type CapacityMemory } from './capacity-actions.ts';

type Settling = {
  machines: readonly Machine[];
  memory: CapacityMemory;
  nowMs: number;
  timings: CapacityTimings;
  goals: CapacityGoals;
};

export type Settled = { actions: CapacityAction[]; memory: CapacityMemory; warnings: string[] };

export function settleMachines(settling: Settling): Settled {
  const { machines, memory, nowMs } = settling;
  const actions: CapacityAction[] = [];
  const deletes = memory.deletes.filter(({ instanceId }) =>
    machines.some(({ instance }) => instance?.instanceId === instanceId),
  );
  for (const machine of machines) {
    actions.push(...followRecords(machine, settling.timings), ...finishDrain(machine));
    const reason = reasonToDelete(machine, settling);
    const { instance } = machine;
    if (instance === undefined) {
      continue;
    }
    if (reason !== undefined) {
      const before = deletes.findIndex(({ instanceId }) => instanceId === instance.instanceId);
      const tried = deletes[before];
      if (tried === undefined || nowMs - tried.triedMs >= settling.timings.retryDeleteMs) {
        actions.push({ ...deletion(machine, instance.instanceId), reason });
        const entry = { instanceId: instance.instanceId, triedMs: nowMs, firstMs: tried?.firstMs ?? nowMs };
        deletes.splice(before === -1 ? deletes.length : before, 1, entry);
      }
    } else if (machine.phase === 'serving' && !instance.isProtected) {
      actions.push({ kind: 'protect', instanceId: instance.instanceId });
    } else if (instance.state === 'deleting' && deletes.every(({ instanceId }) => instanceId !== instance.instanceId)) {
      // Whoever asked for it: from now on this leader sees how long it takes.
      deletes.push({ instanceId: instance.instanceId, triedMs: nowMs, firstMs: nowMs });
    }
  }
  return { actions, memory: { ...memory, deletes }, warnings: warningsOf(settling, deletes) };
}

function warningsOf({ machines, memory, nowMs, timings }: Settling, deletes: CapacityMemory['deletes']): string[] {
  const { failures, brokenVersion } = memory;
  const stuck = deletes.filter(({ firstMs }) => nowMs - firstMs >= timings.stuckDeleteMs);
  const warnings = stuck.map(({ instanceId }) => `${instanceId} does not go away; it costs money and carries no calls`);
  if (failures.count > 0 && machines.some(({ phase }) => phase === 'failed')) {
    const waitS = Math.max(0, Math.ceil((failures.addNotBeforeMs - nowMs) / 1_000));
    warnings.push(`machines do not come up (${failures.count} in a row); the next attempt is in ${waitS} s or later`);
  }
  if (brokenVersion !== '') {
    warnings.push(`nodes of version ${brokenVersion} do not come up; no more are replaced`);
  }
  return warnings;
}

/** Of several nodes on a machine, a leader may have drained one and then died. */
function finishDrain(machine: Machine): CapacityAction[] {
  const begun = machine.nodes.find((node) => recordedState(node) === 'DRAINING')?.lifecycle;
  const left = machine.nodes.filter((node) => recordedState(node) === 'SERVING');
  if (begun === undefined || left.length === 0) {
    return [];
  }
  const { policy, remainingMs, reason } = begun;
  const nodes = left.map(({ nodeId, lifecycle }) => ({ nodeId, epoch: lifecycle?.epoch ?? 0 }));
  return [{ kind: 'drain', nodes, machineId: machine.machineId, policy, deadlineMs: remainingMs, reason }];
}

function deletion(machine: Machine, instanceId: string): CapacityAction & { kind: 'delete' } {
  return { kind: 'delete', instanceId, nodes: seenNodes(machine), machineId: machine.machineId, reason: '' };
}

function reasonToDelete(machine: Machine, { memory, nowMs, timings, machines }: Settling): string | undefined {
  const { instance, phase, silentMs, nodes } = machine;
  switch (phase) {
    case 'drained':
      return nodes.every((node) => isConfirmedEmpty(node, timings)) ? 'it is empty' : undefined;
    case 'lost':
      if (instance?.state === 'stopped' || instance?.state === 'failed') {
        return 'its machine has stopped';
      }
      return silentMs >= timings.replaceAfterMs ? 'it has been silent for too long' : undefined;
    case 'failed':
      return mayStay(machine, { memory, nowMs, timings, machines }) ? undefined : 'it did not become a node';
    case 'leaving':
      // The request may have been lost.
      return instance !== undefined && instance.state !== 'deleting' ? 'its deletion has begun' : undefined;
    case 'coming':
    case 'serving':
    case 'cordoned':
    case 'draining':
    case 'gone':
      return undefined;
  }
}

/**
 * A machine that failed keeps its place in its zone, so that the next one is made in another zone; until that one serves,
 * or a newer failure takes the place.
 */
function mayStay(machine: Machine, { memory, nowMs, timings, machines }: Omit<Settling, 'goals'>): boolean {
  const ageMs = machine.instance?.ageMs ?? 0;
  const isNewest = machines.every(
    ({ phase, zone, instance }) => phase !== 'failed' || zone !== machine.zone || (instance?.ageMs ?? 0) >= ageMs,
  );
  // Its node is forgotten, but not that it was to go.
  const isToGo = memory.deletes.some(({ instanceId }) => instanceId === machine.instance?.instanceId);
  return !isToGo && isNewest && memory.failures.count > 0 && nowMs - memory.failures.lastMs < timings.bootTimeoutMs;
}

/** The node itself says so, and lately: a failover of the store may have lost that it was taken back. */
function isConfirmedEmpty(node: MediaNode, timings: CapacityTimings): boolean {
  return (
    node.isLive &&
    node.silentMs <= timings.confirmWithinMs &&
    node.ownState === 'DRAINED' &&
    node.load.rooms === 0 &&
    node.load.participants === 0
  );
}

function followRecords(machine: Machine, timings: CapacityTimings): CapacityAction[] {
  const current = machine.nodes.flatMap((node) => followRecord(node, machine, timings));
  const former = machine.formerNodes.flatMap((node) => forgetNode(node, 'another process runs on its machine'));
  return [...current, ...former];
}

function followRecord(node: MediaNode, machine: Machine, timings: CapacityTimings): CapacityAction[] {
  const state = recordedState(node);
  const seen = { nodeId: node.nodeId, epoch: node.lifecycle?.epoch ?? 0 };
  if (isHeard(node)) {
    if (state === 'BOOTING' && (machine.instance?.ageMs ?? 0) >= timings.bootTimeoutMs) {
      return [{ kind: 'record', node: seen, event: 'failed', reason: 'it does not get ready' }];
    }
    return state === 'LOST' ? [{ kind: 'record', node: seen, event: 'returned', reason: 'it is heard again' }] : [];
  }
  if (machine.phase === 'gone') {
    return forgetNode(node, 'its machine does not exist');
  }
  const mayBeLost = state !== 'LOST' && state !== 'FAILED' && state !== 'DELETING' && state !== 'GONE';
  return mayBeLost && node.lifecycle !== undefined && node.silentMs >= timings.lostAfterMs && state !== 'DRAINED'
    ? [{ kind: 'record', node: seen, event: 'lost', reason: 'it is silent and no master reaches it' }]
    : [];
}

/** Step by step, over the ticks: what has a record is LOST, then GONE, then forgotten. */
function forgetNode(node: MediaNode, reason: string): CapacityAction[] {
  const { lifecycle, nodeId } = node;
  if (lifecycle === undefined) {
    return [];
  }
  const seen = { nodeId, epoch: lifecycle.epoch };
  switch (lifecycle.state) {
    case 'GONE':
      return [{ kind: 'forget', node: seen }];
    case 'LOST':
    case 'FAILED':
    case 'DRAINED':
    case 'DELETING':
      return [{ kind: 'record', node: seen, event: 'deleted', reason }];
    case 'BOOTING':
    case 'SERVING':
    case 'CORDONED':
    case 'DRAINING':
      return [{ kind: 'record', node: seen, event: 'lost', reason }];
  }
}

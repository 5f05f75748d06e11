/** Joins what the provider and the cluster say about one machine, and says in which phase of its life it is. */
import type { NodeState } from '../placement/node-lifecycle.ts';
import type { CapacityTimings, Instance, MediaNode, Observation } from './observation.ts';

export type Phase = 'coming' | 'serving' | 'cordoned' | 'draining' | 'drained' | 'leaving' | 'lost' | 'failed' | 'gone';

export type Machine = {
  machineId: string;
  zone: string;
  /** Undefined when the provider does not have it (any more), or no provider is ours. */
  instance: Instance | undefined;
  /** The nodes that run there now, or ran there last. */
  nodes: readonly MediaNode[];
  /** Nodes of earlier processes on it. */
  formerNodes: readonly MediaNode[];
  phase: Phase;
  /** How long the best-heard of its nodes has been silent. */
  silentMs: number;
};

export function joinMachines(observation: Observation, timings: CapacityTimings): Machine[] {
  const instances = new Map(observation.machines?.instances.map((instance) => [instance.machineId, instance]));
  const nodes = Map.groupBy(observation.nodes, (node) => node.machineId);
  const ids = [...new Set([...instances.keys(), ...nodes.keys()])].toSorted();
  return ids.map((machineId) => {
    const all = nodes.get(machineId) ?? [];
    const current = currentNodes(all);
    const former = all.filter((node) => !current.includes(node));
    const instance = instances.get(machineId);
    const silentMs = Math.min(...current.map((node) => (isHeard(node) ? 0 : node.silentMs)));
    const isOurs = observation.machines !== undefined;
    return {
      machineId,
      zone: instance?.zone ?? current[0]?.zone ?? '',
      instance,
      nodes: current,
      formerNodes: former,
      silentMs,
      phase: machineId === '' ? 'gone' : phaseOf({ instance, nodes: current, silentMs, isOurs }, timings),
    };
  });
}

/** A node has an id per process: of a machine without a live one, the one that was heard last stands for it. */
function currentNodes(nodes: readonly MediaNode[]): MediaNode[] {
  const heard = nodes.filter(isHeard);
  if (heard.length > 0) {
    return heard;
  }
  const last = nodes.toSorted((one, other) => one.silentMs - other.silentMs)[0];
  return last === undefined ? [] : [last];
}

export function isHeard(node: MediaNode): boolean {
  return node.isLive || node.isReached;
}

/** Nobody ever decided anything about a node without a record: it serves. */
export function recordedState(node: MediaNode): NodeState {
  return node.lifecycle?.state ?? 'SERVING';
}

type Facts = { instance: Instance | undefined; nodes: readonly MediaNode[]; silentMs: number; isOurs: boolean };

function phaseOf({ instance, nodes, silentMs, isOurs }: Facts, timings: CapacityTimings): Phase {
  const states = new Set(nodes.map(recordedState));
  const isSilent = nodes.length > 0 && silentMs >= timings.lostAfterMs;
  if (isOurs && instance === undefined) {
    // It may have been heard before the provider lists it.
    return nodes.some(isHeard) ? phaseOfStates(states) : 'gone';
  }
  if (instance?.state === 'deleting' || states.has('DELETING')) {
    return 'leaving';
  }
  if (nodes.length === 0) {
    return phaseWithoutNode(instance, timings);
  }
  if (states.has('FAILED')) {
    return 'failed';
  }
  if (states.has('LOST') || isSilent) {
    return states.has('DRAINED') && !isSilent ? 'drained' : 'lost';
  }
  return phaseOfStates(states);
}

function phaseWithoutNode(instance: Instance | undefined, timings: CapacityTimings): Phase {
  switch (instance?.state) {
    case 'creating':
    case 'running':
      return instance.ageMs < timings.bootTimeoutMs ? 'coming' : 'failed';
    case 'stopped':
    case 'failed':
      return 'failed';
    case 'deleting':
      return 'leaving';
    case undefined:
      return 'gone';
  }
}

function phaseOfStates(states: ReadonlySet<NodeState>): Phase {
  if (states.has('GONE')) {
    return 'gone';
  }
  if (states.has('DELETING')) {
    return 'leaving';
  }
  if (states.has('DRAINING')) {
    return 'draining';
  }
  if (states.has('CORDONED')) {
    return 'cordoned';
  }
  if (states.has('DRAINED')) {
    return 'drained';
  }
  return states.has('BOOTING') ? 'coming' : 'serving';
}

/** What people on it would notice: the fewer, the sooner it is empty. */
export function workOn(machine: Machine): number {
  return machine.nodes.reduce((sum, { load }) => sum + load.participants * 1_000 + load.rooms * 100 + load.tracks, 0);
}

/** What the planner of capacity looks at: machines that a provider has, media nodes on them, wishes of the operator. */
import type { NodeLoad } from '../placement/load.ts';
import type { DrainPolicy, NodeLifecycle, NodeState } from '../placement/node-lifecycle.ts';
import type { NodeId } from '../protocol/ids.ts';

export type InstanceState = 'creating' | 'running' | 'stopped' | 'failed' | 'deleting';

/** A machine as its provider describes it. */
export type Instance = {
  /** The provider's name, by which it is deleted. */
  instanceId: string;
  /** What nodes on it call their machine. */
  machineId: string;
  zone: string;
  state: InstanceState;
  ageMs: number;
  /** The provider does not choose it when somebody else shrinks the set. */
  isProtected: boolean;
};

/** A media node as the registry and its lifecycle record describe it. */
export type MediaNode = {
  nodeId: NodeId;
  /** Empty when only its lifecycle record is left. */
  machineId: string;
  zone: string;
  /** It states itself. */
  isLive: boolean;
  /** Since it was last heard. */
  silentMs: number;
  /** A master has a connection to it, whatever the store says. */
  isReached: boolean;
  /** What the node says about itself, which is what it admits work by. */
  ownState: NodeState;
  /** Of the program that it runs. */
  version: string;
  /** What was decided about it; undefined when nobody ever did. */
  lifecycle: NodeLifecycle | undefined;
  load: NodeLoad;
};

export type Observation = {
  /** Undefined when machines are not ours to make and delete. */
  machines:
    | {
        instances: readonly Instance[];
        capacity: number;
        /** Of the program that new machines run, when the provider knows; nodes of others are replaced. */
        version?: string;
      }
    | undefined;
  nodes: readonly MediaNode[];
};

/** A load that scaling keeps to a target per node; further ones are added to `capacityMetrics`. */
export type CapacityMetric = {
  name: string;
  of: (load: NodeLoad) => number;
  targetOf: (goals: CapacityGoals) => number;
};

export type CapacityGoals = {
  min: number;
  max: number;
  /** Share of a node's cores, 0 to 1. */
  targetCpu: number;
  /** Per node; 0 = this does not count. */
  targetBitrateBps: number;
  targetTracks: number;
  drainPolicy: DrainPolicy;
  /** Null = none. */
  drainDeadlineMs: number | null;
  /** Nodes that are emptied at a time. */
  maxDrains: number;
  /** More nodes must have been needed for so long before one is added: a burst of a second is no load. */
  scaleOutAfterMs: number;
  /** Fewer nodes must have been enough for so long before one is taken away. */
  scaleInAfterMs: number;
};

export type CapacityTimings = {
  /** A machine that has not become a serving node by then has failed. */
  bootTimeoutMs: number;
  /** Silence after which a node counts as lost. */
  lostAfterMs: number;
  /** Silence after which the machine of a lost node is deleted although its provider says that it runs. */
  replaceAfterMs: number;
  /** A drained node must have confirmed that it is empty within this time. */
  confirmWithinMs: number;
  /** How long a machine that the provider accepted may be missing from its list. */
  unlistedMs: number;
  retryDeleteMs: number;
  stuckDeleteMs: number;
  backOffMs: { first: number; most: number };
};

export const defaultCapacityTimings: CapacityTimings = {
  bootTimeoutMs: 15 * 60_000,
  lostAfterMs: 30_000,
  replaceAfterMs: 10 * 60_000,
  confirmWithinMs: 10_000,
  unlistedMs: 5 * 60_000,
  retryDeleteMs: 60_000,
  stuckDeleteMs: 30 * 60_000,
  backOffMs: { first: 30_000, most: 15 * 60_000 },
};

export const capacityMetrics: readonly CapacityMetric[] = [
  { name: 'cpu', of: (load) => load.cpu, targetOf: (goals) => goals.targetCpu },
  { name: 'bitrate', of: (load) => load.bitrateBps, targetOf: (goals) => goals.targetBitrateBps },
  { name: 'tracks', of: (load) => load.tracks, targetOf: (goals) => goals.targetTracks },
];

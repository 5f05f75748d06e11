/** What the planner of capacity decides, and what it remembers. */
import type { DrainPolicy } from '../placement/node-lifecycle.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { Machine } from './machines.ts';

/** The name under which it changes the records of nodes. */
export const capacityOwner = 'capacity';

/** The record that a decision rests on: it is refused when the record has changed since. */
export type SeenNode = { nodeId: NodeId; epoch: number };

export type CapacityAction =
  | { kind: 'add'; count: number; reason: string }
  | { kind: 'undrain'; nodes: SeenNode[]; machineId: string; reason: string }
  | {
      kind: 'drain';
      nodes: SeenNode[];
      machineId: string;
      policy: DrainPolicy;
      deadlineMs: number | null;
      reason: string;
    }
  /** Deletes one named machine; nodes on it become DELETING first. */
  | { kind: 'delete'; instanceId: string; nodes: SeenNode[]; machineId: string; reason: string }
  | { kind: 'protect'; instanceId: string }
  /** The node's record follows what is seen. */
  | { kind: 'record'; node: SeenNode; event: 'lost' | 'returned' | 'failed' | 'deleted'; reason: string }
  | { kind: 'forget'; node: SeenNode };

/** What a leader remembers; a new one begins with `freshMemory`. */
export type CapacityMemory = {
  /** Since when demand is watched, and its highest value in each slot of time since. */
  watchedSinceMs: number;
  demands: readonly { slot: number; nodes: number }[];
  /** Demand at each of the latest looks. */
  recent: readonly { atMs: number; nodes: number }[];
  failures: { count: number; seen: readonly string[]; lastMs: number; addNotBeforeMs: number };
  /** Machines that the provider accepted and does not list. */
  unlisted: { count: number; sinceMs: number };
  deletes: readonly { instanceId: string; triedMs: number; firstMs: number }[];
  /** A version whose nodes do not come up; nothing is replaced by it any more. */
  brokenVersion: string;
};

export function freshMemory(nowMs: number): CapacityMemory {
  return {
    watchedSinceMs: nowMs,
    demands: [],
    recent: [],
    failures: { count: 0, seen: [], lastMs: 0, addNotBeforeMs: 0 },
    unlisted: { count: 0, sinceMs: nowMs },
    deletes: [],
    brokenVersion: '',
  };
}

export function seenNodes(machine: Machine): SeenNode[] {
  return machine.nodes.map(({ nodeId, lifecycle }) => ({ nodeId, epoch: lifecycle?.epoch ?? 0 }));
}

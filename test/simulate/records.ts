/** Node records and lifecycles as the simulation keeps them in the store: JSON, decoded once per writing. */
import type { StoreState } from '../../src/cluster/memory-store-state.ts';
import {
  nextLifecycle,
  type NodeEvent,
  type NodeLifecycle,
  type Transition,
} from '../../src/placement/node-lifecycle.ts';
import type { NodeView } from '../../src/placement/select-node.ts';
import type { NodeLoad } from '../../src/placement/load.ts';
import type { NodeId } from '../../src/protocol/ids.ts';

export type BeatRecord = { nodeId: NodeId; role: 'master' | 'media'; load: NodeLoad };

const decoded = new WeakMap<Uint8Array, unknown>();

function decodeOnce<Value>(bytes: Uint8Array): Value {
  let value = decoded.get(bytes);
  if (value === undefined) {
    value = JSON.parse(Buffer.from(bytes).toString());
    decoded.set(bytes, value);
  }
  return value as Value;
}

export function beat(state: StoreState, record: BeatRecord): NodeLifecycle | undefined {
  const bytes = Buffer.from(JSON.stringify(record));
  state.beat(record.nodeId, { stable: bytes, load: bytes });
  return lifecycleOf(state, record.nodeId);
}

export function lifecycleOf(state: StoreState, nodeId: NodeId): NodeLifecycle | undefined {
  const found = state.nodeState(nodeId);
  return found === undefined
    ? undefined
    : { ...decodeOnce<NodeLifecycle>(found.record), epoch: found.epoch, remainingMs: found.remainingMs };
}

/** Reads, decides and writes in one step, as compare-and-set with a repeat would. */
export function changeLifecycle(state: StoreState, nodeId: NodeId, event: NodeEvent): Transition {
  const current = lifecycleOf(state, nodeId);
  const transition = nextLifecycle(current, event);
  if (transition.kind === 'changed') {
    const record = { policy: 'migrate', ...current, ...transition.change };
    state.setNodeState(nodeId, Buffer.from(JSON.stringify(record)), transition.change.remainingMs);
  }
  return transition;
}

export type KnownNodes = {
  media: NodeView[];
  lifecycles: Map<NodeId, NodeLifecycle>;
  liveMasters: Set<NodeId>;
};

export function knownNodes(state: StoreState, nowMs: number): KnownNodes {
  const known: KnownNodes = { media: [], lifecycles: new Map(), liveMasters: new Set() };
  for (const { encoded, isLive } of state.nodes()) {
    const record = decodeOnce<BeatRecord>(encoded.load);
    if (record.role === 'master') {
      if (isLive) {
        known.liveMasters.add(record.nodeId);
      }
      continue;
    }
    const lifecycle = lifecycleOf(state, record.nodeId);
    if (lifecycle !== undefined) {
      known.lifecycles.set(record.nodeId, lifecycle);
    }
    known.media.push({
      nodeId: record.nodeId,
      isLive,
      state: lifecycle?.state ?? 'BOOTING',
      protocol: { min: 1, max: 1 },
      region: '',
      zone: '',
      load: record.load,
      reportedAtMs: nowMs,
    });
  }
  return known;
}

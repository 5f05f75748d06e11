/** Nodes in a few words, for tests of placement. */
import type { NodeId } from '../protocol/ids.ts';
import { defaultNodeLimits, type NodeLoad, type WorkerLoad } from './load.ts';
import type { HostRequest, NodeView } from './select-node.ts';

export function id(name: string): NodeId {
  return name as NodeId;
}

export function idleWorkers(count: number): WorkerLoad[] {
  return Array.from({ length: count }, (_, workerIndex) => ({ workerIndex, cpu: 0, bitrateBps: 0, tracks: 0 }));
}

export function loaded(changes: Partial<NodeLoad> = {}): NodeLoad {
  return {
    cpu: 0,
    cores: 4,
    bitrateBps: 0,
    packetsPerSecond: 0,
    tracks: 0,
    rooms: 0,
    participants: 0,
    eventLoopLagMs: 1,
    workers: idleWorkers(2),
    ...changes,
  };
}

export function serving(
  name: string,
  changes: Partial<NodeView> & { cpu?: number; workers?: WorkerLoad[] } = {},
): NodeView {
  const { cpu = 0, workers = idleWorkers(2), ...rest } = changes;
  return {
    nodeId: id(name),
    isLive: true,
    state: 'SERVING',
    protocol: { min: 1, max: 2 },
    region: '',
    zone: '',
    load: loaded({ cpu, workers }),
    reportedAtMs: 0,
    ...rest,
  };
}

export function among(...nodes: NodeView[]): HostRequest {
  return { nodes, placements: [], limits: defaultNodeLimits, nowMs: 0, key: 'lobby', protocol: { min: 1, max: 1 } };
}

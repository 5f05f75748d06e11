import type { NodeLoad } from '../placement/load.ts';
import type { NodeLifecycle, NodeState } from '../placement/node-lifecycle.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { CapacityGoals, Instance, MediaNode } from './observation.ts';

export const goals: CapacityGoals = {
  min: 1,
  max: 5,
  targetCpu: 0.5,
  targetBitrateBps: 0,
  targetTracks: 0,
  drainPolicy: 'migrate',
  drainDeadlineMs: 600_000,
  maxDrains: 2,
  scaleOutAfterMs: 0,
  scaleInAfterMs: 300_000,
};

export function load(changes: Partial<NodeLoad> = {}): NodeLoad {
  return {
    cpu: 0,
    cores: 4,
    bitrateBps: 0,
    packetsPerSecond: 0,
    tracks: 0,
    rooms: 0,
    participants: 0,
    eventLoopLagMs: 0,
    workers: [],
    ...changes,
  };
}

export function lifecycle(state: NodeState, changes: Partial<NodeLifecycle> = {}): NodeLifecycle {
  return { epoch: 7, state, owner: 'capacity', reason: 'test', policy: 'migrate', remainingMs: null, ...changes };
}

export function mediaNode(name: string, changes: Partial<MediaNode> = {}): MediaNode {
  return {
    nodeId: `ND_${name}` as NodeId,
    machineId: name,
    zone: '1',
    isLive: true,
    silentMs: 100,
    isReached: false,
    ownState: changes.lifecycle?.state ?? 'SERVING',
    version: 'one',
    lifecycle: undefined,
    load: load(),
    ...changes,
  };
}

export function instance(name: string, changes: Partial<Instance> = {}): Instance {
  return {
    instanceId: `vm-${name}`,
    machineId: name,
    zone: '1',
    state: 'running',
    ageMs: 3_600_000,
    isProtected: true,
    ...changes,
  };
}

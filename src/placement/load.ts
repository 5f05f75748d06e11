/**
 * What a media node says about its work, and the one number made of it. A node is as loaded as the scarcest thing it has,
 * so the parts are compared with their limits and the largest share counts.
 *
 * Reports are late: a burst of joins would all land on the node that looked empty a heartbeat ago. So what was placed on
 * a node is added to its load until a report has had time to show it.
 */
import type { NodeId } from '../protocol/ids.ts';

export type WorkerLoad = {
  workerIndex: number;
  /** Share of its core in use, 0 to 1. */
  cpu: number;
  /** Forwarded, in both directions. */
  bitrateBps: number;
  /** Producers and consumers. */
  tracks: number;
};

export type NodeLoad = {
  /** Share of all cores in use, 0 to 1. */
  cpu: number;
  cores: number;
  bitrateBps: number;
  packetsPerSecond: number;
  tracks: number;
  rooms: number;
  /** Legs whose home this node is. */
  participants: number;
  eventLoopLagMs: number;
  workers: readonly WorkerLoad[];
};

/** Where a node stops taking new work; 0 = this does not limit it. What runs goes on. */
export type NodeLimits = {
  cpu: number;
  workerCpu: number;
  bitrateBps: number;
  tracks: number;
  rooms: number;
  participants: number;
  eventLoopLagMs: number;
};

export const defaultNodeLimits: NodeLimits = {
  cpu: 0.85,
  workerCpu: 0.85,
  bitrateBps: 0,
  tracks: 0,
  rooms: 0,
  participants: 0,
  eventLoopLagMs: 200,
};

/** What one more room or leg is expected to cost before a report tells. */
export type WorkEstimate = {
  cpuOfCore: number;
  bitrateBps: number;
  tracks: number;
  rooms: number;
  participants: number;
};

/**
 * A host only moves messages. A leg is taken as a member of a small call: 12 forwarded streams of about 100 packets/s, at
 * 40,000 packets/s for a core.
 */
export const roomEstimate: WorkEstimate = { cpuOfCore: 0.005, bitrateBps: 0, tracks: 0, rooms: 1, participants: 0 };
export const legEstimate: WorkEstimate = {
  cpuOfCore: 0.03,
  bitrateBps: 4_000_000,
  tracks: 12,
  rooms: 0,
  participants: 1,
};

export type Placement = {
  nodeId: NodeId;
  /** Undefined for rooms: a host runs on no worker. */
  workerIndex?: number;
  estimate: WorkEstimate;
  /** Of whoever placed it, monotonic. */
  placedAtMs: number;
};

/** A join takes so long until its media shows in what a node measures over its last second. */
export const placementSettleMs = 4_000;

/** Drops what reports show by now. Call it whenever something is added: the list is then as long as a burst. */
export function pendingPlacements(placements: readonly Placement[], nowMs: number): Placement[] {
  return placements.filter((placement) => nowMs - placement.placedAtMs < 2 * placementSettleMs);
}

/**
 * The reported load plus what was placed and is not in it.
 * @param reportedAtMs when the report arrived, on the clock of the placements
 */
export function correctedLoad(load: NodeLoad, reportedAtMs: number, placements: readonly Placement[]): NodeLoad {
  const missing = placements.filter((placement) => reportedAtMs - placement.placedAtMs < placementSettleMs);
  if (missing.length === 0) {
    return load;
  }
  const total = sum(missing);
  const workers = load.workers.map((worker) => {
    const added = sum(missing.filter((placement) => placement.workerIndex === worker.workerIndex));
    return {
      ...worker,
      cpu: worker.cpu + added.cpuOfCore,
      bitrateBps: worker.bitrateBps + added.bitrateBps,
      tracks: worker.tracks + added.tracks,
    };
  });
  return {
    ...load,
    cpu: load.cpu + total.cpuOfCore / Math.max(load.cores, 1),
    bitrateBps: load.bitrateBps + total.bitrateBps,
    tracks: load.tracks + total.tracks,
    rooms: load.rooms + total.rooms,
    participants: load.participants + total.participants,
    workers,
  };
}

function sum(placements: readonly Placement[]): WorkEstimate {
  const total = { cpuOfCore: 0, bitrateBps: 0, tracks: 0, rooms: 0, participants: 0 };
  for (const { estimate } of placements) {
    total.cpuOfCore += estimate.cpuOfCore;
    total.bitrateBps += estimate.bitrateBps;
    total.tracks += estimate.tracks;
    total.rooms += estimate.rooms;
    total.participants += estimate.participants;
  }
  return total;
}

export function multiplied(estimate: WorkEstimate, factor: number): WorkEstimate {
  return {
    cpuOfCore: estimate.cpuOfCore * factor,
    bitrateBps: estimate.bitrateBps * factor,
    tracks: estimate.tracks * factor,
    rooms: estimate.rooms * factor,
    participants: estimate.participants * factor,
  };
}

type LimitName = keyof Omit<NodeLimits, 'workerCpu'>;

const limitNames: readonly LimitName[] = ['cpu', 'bitrateBps', 'tracks', 'rooms', 'participants', 'eventLoopLagMs'];

/** The first limit that a node has reached, or would exceed with `more`; undefined when it fits. */
export function exceededLimit(load: NodeLoad, limits: NodeLimits, more: WorkEstimate): LimitName | undefined {
  const with_: Record<LimitName, number> = {
    cpu: load.cpu + more.cpuOfCore / Math.max(load.cores, 1),
    bitrateBps: load.bitrateBps + more.bitrateBps,
    tracks: load.tracks + more.tracks,
    rooms: load.rooms + more.rooms,
    participants: load.participants + more.participants,
    eventLoopLagMs: load.eventLoopLagMs,
  };
  return limitNames.find((name) => limits[name] > 0 && with_[name] > limits[name]);
}

/** Share of its scarcest resource that a node uses: 0 idle, 1 at a limit. */
export function loadShare(load: NodeLoad, limits: NodeLimits): number {
  const shares = [load.cpu / (limits.cpu > 0 ? limits.cpu : 1)];
  for (const name of limitNames) {
    if (name !== 'cpu' && limits[name] > 0) {
      shares.push(load[name] / limits[name]);
    }
  }
  return Math.max(...shares);
}

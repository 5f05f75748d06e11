/**
 * Which node hosts a room, and which worker of which node is a participant's home. Both are a funnel: live, serving, able
 * to talk to us, under its limits; then region and zone where somebody asks for them; then the least loaded. Whoever falls
 * out is listed with the reason, so that "why this node" and "why none" can be answered.
 */
import type { NodeId } from '../protocol/ids.ts';
import type { ProducerHome } from '../protocol/leg-messages.ts';
import {
  correctedLoad,
  exceededLimit,
  legEstimate,
  loadShare,
  roomEstimate,
  type NodeLimits,
  type NodeLoad,
  type Placement,
  type WorkerLoad,
  type WorkEstimate,
} from './load.ts';
import { admitsWork, type NodeState } from './node-lifecycle.ts';

export type ProtocolRange = { min: number; max: number };

/** What is known about one media node. */
export type NodeView = {
  nodeId: NodeId;
  /** It has not missed its beats. */
  isLive: boolean;
  state: NodeState;
  protocol: ProtocolRange;
  region: string;
  zone: string;
  load: NodeLoad;
  /** When its last report arrived, on the clock of the placements. */
  reportedAtMs: number;
};

export type RejectReason =
  | 'not-live'
  | 'not-serving'
  | 'excluded'
  | 'incompatible'
  | 'at-limit'
  | 'workers-at-limit'
  | 'other-region'
  | 'other-zone'
  | 'more-loaded';

export type Rejection = { nodeId: NodeId; reason: RejectReason; detail: string };

export type PlacementView = {
  nodes: readonly NodeView[];
  /** What was placed lately, see `pendingPlacements`. */
  placements: readonly Placement[];
  limits: NodeLimits;
};

/** A report that is older may be of a node that is drained or dead by now. */
const maxReportAgeMs = 2_000;

export type HostRequest = PlacementView & {
  /**
   * On the clock of the placements: a room is placed by fresh reports only. (A leg is placed by what is known, because
   * people join while Redis is away, and its node knows best whether it takes one.)
   */
  nowMs: number;
  /** The room's name. It decides between nodes of about the same load, so that several masters do not all pick one. */
  key: string;
  /** Protocol versions that all who have to talk to the node share. */
  protocol: ProtocolRange;
  /** Preferred, not demanded: a call in another region is better than none. Empty or absent = no matter. */
  region?: string;
  zone?: string;
  exclude?: ReadonlySet<NodeId>;
  /** What comes along with the room; a host alone when absent. */
  work?: WorkEstimate;
};

export type HostSelection =
  | { kind: 'selected'; nodeId: NodeId; rejections: Rejection[] }
  | { kind: 'none'; rejections: Rejection[] };

/** Chooses the host of a room, from any number of nodes. */
export function selectHostNode(request: HostRequest): HostSelection {
  const rejections: Rejection[] = [];
  const fitting = admitted(request, request.work ?? roomEstimate, rejections);
  const near = preferNear(fitting, request, rejections);
  const best = leastLoaded(near, request, rejections);
  return best === undefined ? { kind: 'none', rejections } : { kind: 'selected', nodeId: best.nodeId, rejections };
}

/** Where a room already is. */
export type RoomUse = ProducerHome & {
  /** The most viewers that one track has on this worker, those included whose subscription is still being made. */
  fanout: number;
};

export type LegRequest = PlacementView & {
  /** The participant's identity and room, for the same purpose as a room's name. */
  key: string;
  protocol: ProtocolRange;
  region?: string;
  zone?: string;
  exclude?: ReadonlySet<NodeId>;
  room: readonly RoomUse[];
  /** Viewers of one track that a worker may have; 0 = no bound. */
  maxFanout: number;
};

export type LegSelection =
  | { kind: 'selected'; home: ProducerHome; rejections: Rejection[] }
  | { kind: 'none'; rejections: Rejection[] };

/**
 * Chooses a participant's home. The workers that the room uses come first while they have room to spare, because every
 * further worker costs a pipe per watched track; then other workers of its nodes, whose pipes stay on the machine.
 */
export function selectLegHome(request: LegRequest): LegSelection {
  const rejections: Rejection[] = [];
  const fitting = admitted(request, legEstimate, rejections).flatMap((candidate) => {
    const workers = fittingWorkers(candidate, request);
    if (workers.length === 0) {
      rejections.push(reject(candidate.nodeId, 'workers-at-limit', workersDetail(candidate, request)));
    }
    return workers;
  });
  const inRegion = preferNearRegion(fitting, request, rejections);
  const best = [...inRegion].sort(
    (left, right) =>
      left.tier - right.tier ||
      Number(right.isInZone) - Number(left.isInZone) ||
      shareStep(left.share) - shareStep(right.share) ||
      right.weight - left.weight,
  )[0];
  if (best === undefined) {
    return { kind: 'none', rejections };
  }
  const others = new Set(inRegion.map((worker) => worker.nodeId));
  others.delete(best.nodeId);
  for (const nodeId of others) {
    rejections.push(reject(nodeId, 'more-loaded', `or not used by the room, unlike ${best.nodeId}`));
  }
  return { kind: 'selected', home: { nodeId: best.nodeId, workerIndex: best.workerIndex }, rejections };
}

type Candidate = {
  nodeId: NodeId;
  region: string;
  zone: string;
  load: NodeLoad;
  share: number;
  /** `share`, and what people who are about to come to rooms placed lately will add. It ranks; it refuses nobody. */
  expectedShare: number;
};

type WorkerCandidate = {
  nodeId: NodeId;
  workerIndex: number;
  region: string;
  share: number;
  /** 0: used by the room, 1: beside one that is, 2: elsewhere, each with room to spare; 3–5: the same without. */
  tier: number;
  isInZone: boolean;
  weight: number;
};

/** A room that was placed begins on its host's node with about so many. */
const legsOfSmallRoom = 3;

/** Up to this share of a limit a worker that the room uses is better than an idle one. */
const spillShare = 0.75;

type Hard = PlacementView & { protocol: ProtocolRange; exclude?: ReadonlySet<NodeId>; nowMs?: number };

/** The part of the funnel that nobody passes for want of better ones. */
function admitted(request: Hard, work: WorkEstimate, rejections: Rejection[]): Candidate[] {
  const candidates: Candidate[] = [];
  for (const node of request.nodes) {
    const placements = request.placements.filter((placement) => placement.nodeId === node.nodeId);
    const load = correctedLoad(node.load, node.reportedAtMs, placements);
    const rejection = hardRejection(node, load, request, work);
    if (rejection === undefined) {
      const { nodeId, region, zone } = node;
      const share = loadShare(load, request.limits);
      const roomsToCome = Math.max(0, load.rooms - node.load.rooms);
      const expectedCpu = (roomsToCome * legsOfSmallRoom * legEstimate.cpuOfCore) / Math.max(load.cores, 1);
      candidates.push({ nodeId, region, zone, load, share, expectedShare: share + expectedCpu });
    } else {
      rejections.push(rejection);
    }
  }
  return candidates;
}

function hardRejection(node: NodeView, load: NodeLoad, request: Hard, work: WorkEstimate): Rejection | undefined {
  if (!node.isLive) {
    return reject(node.nodeId, 'not-live', 'it has missed its beats');
  }
  const ageMs = (request.nowMs ?? node.reportedAtMs) - node.reportedAtMs;
  if (ageMs >= maxReportAgeMs) {
    return reject(node.nodeId, 'not-live', `what is known of it is ${rounded(ageMs / 1_000)} s old`);
  }
  if (!admitsWork(node.state)) {
    return reject(node.nodeId, 'not-serving', `is ${node.state}`);
  }
  if (request.exclude?.has(node.nodeId) === true) {
    return reject(node.nodeId, 'excluded', 'work is leaving it, or it failed at this just now');
  }
  if (node.protocol.max < request.protocol.min || node.protocol.min > request.protocol.max) {
    const both = `${node.protocol.min}–${node.protocol.max}, wanted ${request.protocol.min}–${request.protocol.max}`;
    return reject(node.nodeId, 'incompatible', `speaks protocol ${both}`);
  }
  const limit = exceededLimit(load, request.limits, work);
  if (limit !== undefined) {
    return reject(node.nodeId, 'at-limit', `${limit} ${rounded(load[limit])} of ${request.limits[limit]}`);
  }
  return undefined;
}

function reject(nodeId: NodeId, reason: RejectReason, detail: string): Rejection {
  return { nodeId, reason, detail };
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

type Near = { region?: string; zone?: string };

function preferNear(candidates: Candidate[], near: Near, rejections: Rejection[]): Candidate[] {
  const inRegion = preferNearRegion(candidates, near, rejections);
  const { zone = '' } = near;
  const inZone = inRegion.filter((candidate) => candidate.zone === zone);
  if (zone === '' || inZone.length === 0) {
    return inRegion;
  }
  for (const candidate of inRegion.filter((other) => other.zone !== zone)) {
    rejections.push(reject(candidate.nodeId, 'other-zone', `${candidate.zone || 'none'}, preferred ${zone}`));
  }
  return inZone;
}

function preferNearRegion<Has extends { nodeId: NodeId; region: string }>(
  candidates: Has[],
  near: Near,
  rejections: Rejection[],
): Has[] {
  const { region = '' } = near;
  const inRegion = candidates.filter((candidate) => candidate.region === region);
  if (region === '' || inRegion.length === 0) {
    return candidates;
  }
  const outside = new Map(candidates.filter((other) => other.region !== region).map((other) => [other.nodeId, other]));
  for (const [nodeId, other] of outside) {
    rejections.push(reject(nodeId, 'other-region', `${other.region || 'none'}, preferred ${region}`));
  }
  return inRegion;
}

function leastLoaded(candidates: Candidate[], request: HostRequest, rejections: Rejection[]): Candidate | undefined {
  const ranked = candidates
    .map((candidate) => ({ candidate, weight: hashOf(`${request.key}\n${candidate.nodeId}`) }))
    .sort(
      (left, right) =>
        // A host needs no worker, but its people do.
        Number(hasNoWorker(left.candidate)) - Number(hasNoWorker(right.candidate)) ||
        shareStep(left.candidate.expectedShare) - shareStep(right.candidate.expectedShare) ||
        left.candidate.load.rooms - right.candidate.load.rooms ||
        right.weight - left.weight,
    );
  const [best, ...others] = ranked;
  for (const { candidate } of others) {
    rejections.push(
      reject(
        candidate.nodeId,
        'more-loaded',
        `load ${rounded(candidate.share)} against ${rounded(best?.candidate.share ?? 0)}`,
      ),
    );
  }
  return best?.candidate;
}

function hasNoWorker({ load }: Candidate): boolean {
  return load.workers.length === 0;
}

function fittingWorkers(candidate: Candidate, request: LegRequest): WorkerCandidate[] {
  const isUsedNode = request.room.some((use) => use.nodeId === candidate.nodeId);
  return candidate.load.workers
    .filter((worker) => isWorkerFitting(candidate.nodeId, worker, request))
    .map((worker) => {
      const { nodeId, region, zone } = candidate;
      const { workerIndex } = worker;
      const isUsed = fanoutAt(nodeId, workerIndex, request.room) !== undefined;
      const share = Math.max(candidate.share, workerShare(worker, request.limits));
      const nearness = isUsed ? 0 : isUsedNode ? 1 : 2;
      return {
        nodeId,
        workerIndex,
        region,
        share,
        tier: share < spillShare ? nearness : nearness + 3,
        isInZone: request.zone === undefined || request.zone === '' || zone === request.zone,
        weight: hashOf(`${request.key}\n${nodeId}\n${workerIndex}`),
      };
    });
}

function isWorkerFitting(nodeId: NodeId, worker: WorkerLoad, request: LegRequest): boolean {
  const fanout = fanoutAt(nodeId, worker.workerIndex, request.room) ?? 0;
  return !isWorkerFull(worker, request.limits) && (request.maxFanout === 0 || fanout < request.maxFanout);
}

function isWorkerFull(worker: WorkerLoad, limits: NodeLimits): boolean {
  return limits.workerCpu > 0 && worker.cpu >= limits.workerCpu;
}

function workerShare(worker: WorkerLoad, limits: NodeLimits): number {
  return worker.cpu / (limits.workerCpu > 0 ? limits.workerCpu : 1);
}

function fanoutAt(nodeId: NodeId, workerIndex: number, room: readonly RoomUse[]): number | undefined {
  return room.find((use) => use.nodeId === nodeId && use.workerIndex === workerIndex)?.fanout;
}

function workersDetail(candidate: Candidate, request: LegRequest): string {
  if (candidate.load.workers.length === 0) {
    return 'it has no media worker';
  }
  const full = candidate.load.workers.filter((worker) => isWorkerFull(worker, request.limits)).length;
  const count = candidate.load.workers.length;
  return full === count
    ? `all ${count} use ${request.limits.workerCpu} or more of their core`
    : `${count - full} of ${count} have ${request.maxFanout} viewers of one track already`;
}

/** Loads that differ by less than what a load report is worth count as equal. */
function shareStep(share: number): number {
  return Math.floor(share * 20);
}

/** FNV-1a with a final mix (murmur3's), which spreads keys that differ in their last character only. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * When the host of a room may be replaced, and when a host has to keep silent. Two promises make sure that no two hosts of
 * a room act at the same time:
 *
 * - *Redis's*: a lease that was renewed ends at least one lease period after the renewal was sent. A host counts from the
 *   sending, Redis from the arrival, so the host's end comes first.
 * - *the masters'*: a master that affirms a host (answers its ping so) does not call it unreachable for `affirmMs` after
 *   that answer. Again the host counts from the sending of its ping, the master from the answer.
 *
 * A host acts while either promise holds. It is replaced when neither does: the lease has expired in a Redis that answered
 * for a whole lease period, and every master says that it does not reach the host. So neither a silent Redis nor a cut
 * between a host and Redis ends a call. A master that has called a host unreachable *disowns* it: it affirms the host no
 * more until the host has renewed its leases after hearing so, because until then it may host rooms that others have.
 *
 * A host begins to act only when it has asked Redis itself for its grant with a call that waits for the replica (`claim`
 * of the room for itself), however it learned of it: a grant that only the primary knows is gone after a failover, and
 * messages about grants may be old. What was answered to a question from before that moment does not count for it.
 */
import type { NodeId } from '../protocol/ids.ts';
import { selectHostNode, type HostRequest, type Rejection } from './select-node.ts';

export type TakeoverTimings = {
  leaseMs: number;
  /** How long the answer of a master counts. Four missed beats. */
  affirmMs: number;
};

export const defaultTakeoverTimings: TakeoverTimings = { leaseMs: 2_000, affirmMs: 2_000 };

/** What a host knows about itself; all ages on its own monotonic clock. */
export type HostStanding = {
  /** Since the last renewal of this room's epoch that succeeded was *sent*. */
  renewalAgeMs: number;
  /**
   * Since the last ping that a master affirmed was *sent*. The receipt does not count: a process that stood still finds
   * answers in its socket that are as old as its sleep.
   */
  affirmationAgeMs: number;
  /** Somebody showed it a higher epoch of the room. */
  isSuperseded: boolean;
};

export type HostVoice = { kind: 'act' } | { kind: 'silent'; why: 'superseded' | 'unconfirmed' };

/** Whether a host may send, change or decide anything now. Ask before every act, not on a timer. */
export function hostVoice(standing: HostStanding, timings: TakeoverTimings): HostVoice {
  if (standing.isSuperseded) {
    return { kind: 'silent', why: 'superseded' };
  }
  const isConfirmed = standing.renewalAgeMs < timings.leaseMs || standing.affirmationAgeMs < timings.affirmMs;
  return isConfirmed ? { kind: 'act' } : { kind: 'silent', why: 'unconfirmed' };
}

/**
 * What a node does with a room that Redis says is its own. A failover may have brought back an old owner although others
 * have heard of a newer one since, who died before it could state itself again. Everybody would refuse the old epoch, so
 * the node asks for a new one (it hands the room over to itself); Redis grants higher ones after a failover.
 * @param highestSeen the highest epoch of the room that anybody has shown this node; undefined when nobody has
 */
export function judgeGrant(grantedEpoch: number, highestSeen: number | undefined): 'host' | 'ask-for-higher-epoch' {
  return highestSeen === undefined || grantedEpoch >= highestSeen ? 'host' : 'ask-for-higher-epoch';
}

/** When a node last heard what its own lifecycle is; ages on its own monotonic clock. */
export type AdmissionStanding = {
  /** Since the last beat that Redis answered was sent. */
  beatAgeMs: number;
  /** Since the last ping that a master affirmed was sent; masters tell with it what state they know the node in. */
  affirmationAgeMs: number;
};

/**
 * Whether a node knows its own state well enough to take more work. A node that slept, or is cut off, may be draining
 * without knowing. While Redis is away, people still join the rooms that exist; rooms themselves come from Redis.
 */
export function mayAdmit(what: 'room' | 'participant', standing: AdmissionStanding, timings: TakeoverTimings): boolean {
  const isBeating = standing.beatAgeMs < timings.leaseMs;
  return isBeating || (what === 'participant' && standing.affirmationAgeMs < timings.affirmMs);
}

/** What a master remembers about a node that hosts rooms. */
export type HostRelation = {
  isDisowned: boolean;
  /** Told to the node with each refusal. A late ping, or a renewal from before a disowning, carries an older one. */
  generation: number;
  affirmedAtMs: number;
};

/**
 * A relation with a node that this master has not met yet. A master that restarted may have disowned the node before, so
 * it begins by doubt.
 * @param generation any number that an earlier process of this master has not used, such as its start in Redis's time
 */
export function newHostRelation(generation: number): HostRelation {
  return { isDisowned: true, generation, affirmedAtMs: -Infinity };
}

/** @param confirmedGeneration the latest generation of this master that the node has renewed its leases after hearing of */
export function answerHostPing(
  relation: HostRelation,
  confirmedGeneration: number | undefined,
  nowMs: number,
): { relation: HostRelation; isAffirmed: boolean } {
  if (relation.isDisowned && confirmedGeneration !== relation.generation) {
    return { relation, isAffirmed: false };
  }
  return { relation: { ...relation, isDisowned: false, affirmedAtMs: nowMs }, isAffirmed: true };
}

/** What a master says to whoever wants to replace the hosts of a node. Saying `unreachable` disowns it. */
export function giveOpinion(
  relation: HostRelation,
  nowMs: number,
  timings: TakeoverTimings,
): { relation: HostRelation; opinion: 'reaches' | 'unreachable' } {
  if (!relation.isDisowned && nowMs - relation.affirmedAtMs < timings.affirmMs) {
    return { relation, opinion: 'reaches' };
  }
  // Each time a new one: a renewal that was sent before this opinion says nothing about what happens because of it.
  const generation = relation.generation + 1;
  return { relation: { ...relation, isDisowned: true, generation }, opinion: 'unreachable' };
}

export type MasterOpinion = {
  masterId: NodeId;
  opinion: 'reaches' | 'unreachable' | 'not-asked-yet';
  /**
   * Since it was asked. From one lease period on it counts no more: the host may have renewed and lost its lease again
   * in the meantime, and been affirmed by that master.
   */
  ageMs: number;
  /** It states itself in Redis. One that does not, and does not answer us either, is taken for dead. */
  isLive: boolean;
};

export type TakeoverView = {
  room: { roomName: string; hostNodeId: NodeId; epoch: number; isLeaseLive: boolean };
  /** Since when Redis answers us without a gap and without a failover; undefined while it does not. */
  redisAnsweringForMs: number | undefined;
  /** The old host said itself that it ends, or Redis says that its node is in a state in which nothing runs there. */
  hostResigned: boolean;
  masters: readonly MasterOpinion[];
  timings: TakeoverTimings;
  /** For the choice of the new host. */
  placement: Omit<HostRequest, 'key'>;
  /** Legs of the room by node, as far as known. */
  legs: readonly { nodeId: NodeId; legs: number; highestEpoch: number }[];
};

export type TakeoverDecision =
  | { kind: 'keep'; why: 'lease-lives' | 'host-reached' }
  | { kind: 'wait'; why: 'redis-away' | 'redis-grace' | 'masters-not-asked' | 'no-node'; rejections?: Rejection[] }
  /** `epochAbove`: the epoch to be granted has to be higher than this, whatever Redis remembers. */
  | { kind: 'replace'; nodeId: NodeId; expectedEpoch: number; epochAbove: number };

export function decideTakeover(view: TakeoverView): TakeoverDecision {
  const { room, redisAnsweringForMs, timings } = view;
  if (redisAnsweringForMs === undefined) {
    return { kind: 'wait', why: 'redis-away' };
  }
  if (room.isLeaseLive) {
    return { kind: 'keep', why: 'lease-lives' };
  }
  if (!view.hostResigned) {
    // A Redis that was away has let every lease run out; the hosts get one period to renew.
    if (redisAnsweringForMs < timings.leaseMs) {
      return { kind: 'wait', why: 'redis-grace' };
    }
    const fresh = view.masters.filter((master) => master.ageMs < timings.leaseMs && master.opinion !== 'not-asked-yet');
    if (fresh.some((master) => master.opinion === 'reaches')) {
      return { kind: 'keep', why: 'host-reached' };
    }
    if (view.masters.some((master) => master.isLive && !fresh.includes(master))) {
      return { kind: 'wait', why: 'masters-not-asked' };
    }
  }
  const chosen = chooseNewHost(view);
  if (chosen.nodeId === undefined) {
    return { kind: 'wait', why: 'no-node', rejections: chosen.rejections };
  }
  const epochAbove = Math.max(room.epoch, ...view.legs.map((on) => on.highestEpoch));
  return { kind: 'replace', nodeId: chosen.nodeId, expectedEpoch: room.epoch, epochAbove };
}

/** The node with most legs of the room, where most of its pipes are; any other that fits when none of them does. */
function chooseNewHost(view: TakeoverView): { nodeId?: NodeId; rejections: Rejection[] } {
  const { placement, room } = view;
  const exclude = new Set([...(placement.exclude ?? []), room.hostNodeId]);
  const byLegs = new Map(view.legs.filter((on) => on.legs > 0).map((on) => [on.nodeId, on.legs]));
  const most = Math.max(...byLegs.values());
  const preferred = placement.nodes.filter((node) => byLegs.get(node.nodeId) === most);
  const near = selectHostNode({ ...placement, exclude, nodes: preferred, key: room.roomName });
  if (near.kind === 'selected') {
    return near;
  }
  const any = selectHostNode({ ...placement, exclude, key: room.roomName });
  return any.kind === 'selected' ? any : { rejections: any.rejections };
}

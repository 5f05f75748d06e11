/** Who hosts a room whose owner may be gone: the owner while anybody reaches it, then one successor for all who ask. */
import type { Logger } from '../observe/log.ts';
import { decideTakeover, type TakeoverDecision, type TakeoverTimings } from '../placement/takeover.ts';
import type { HostRequest } from '../placement/select-node.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { ClusterNodes } from './cluster-nodes.ts';
import type { HostReach } from './host-reach.ts';
import type { HostRelations } from './host-relations.ts';
import type { MasterOpinions } from './master-opinions.ts';
import { encodeRoomNotice, roomNoticeTopic } from './room-notices.ts';
import { countRoomNodes } from './room-nodes.ts';
import type { ClusterStore, RoomOwner, RoomTakeOver } from './store.ts';

export type RoomSuccessionOptions = {
  nodeId: NodeId;
  store: ClusterStore;
  nodes: ClusterNodes;
  reach: HostReach;
  relations: HostRelations;
  opinions: MasterOpinions;
  placement: () => Omit<HostRequest, 'key'>;
  /** A node is to have a room: what is placed at the same time counts it. */
  chosen: (nodeId: NodeId) => void;
  log: Logger;
};

export type OwnerSeen = RoomOwner & { isLive: boolean };

/** `moved`: this call made another node the host. */
export type HostFound = { nodeId: NodeId; moved: boolean };

export class RoomSuccession {
  readonly #options: RoomSuccessionOptions;
  readonly #timings: TakeoverTimings;

  constructor(options: RoomSuccessionOptions) {
    this.#options = options;
    const { leaseMs } = options.store.timings;
    this.#timings = { leaseMs, affirmMs: leaseMs };
  }

  /** @returns undefined while it cannot be said. Rejects when the store does not answer. */
  async hostOf(roomName: string, owner: OwnerSeen): Promise<HostFound | undefined> {
    const { nodes, reach, relations, log } = this.#options;
    if (nodes.isTrusted(owner.nodeId)) {
      return { nodeId: owner.nodeId, moved: false };
    }
    const reached = await reach.of(owner.nodeId);
    // One that answers and may not act, neither by its lease nor by our word, is no host.
    if (reached === 'answers' && (owner.isLive || relations.affirms(owner.nodeId))) {
      return { nodeId: owner.nodeId, moved: false };
    }
    const isGone = reached === 'gone';
    if (isGone) {
      relations.disown(owner.nodeId);
    } else if (owner.isLive) {
      return undefined;
    }
    const decision = await this.#decide(roomName, owner, isGone);
    if (decision.kind !== 'replace') {
      log.debug({ room: roomName, owner, decision }, 'a room without a host stays as it is');
      return undefined;
    }
    const taken = await this.#take(roomName, owner, decision.nodeId);
    if (taken.kind !== 'taken') {
      return undefined;
    }
    const { epoch } = taken;
    log.info({ room: roomName, from: owner.nodeId, to: decision.nodeId, epoch }, 'room moves');
    this.#options.relations.taken(owner.nodeId, roomName, epoch);
    this.#options.opinions.tellMoved({ roomName, from: owner.nodeId, to: decision.nodeId, epoch });
    await this.#tell(roomName);
    return { nodeId: decision.nodeId, moved: true };
  }

  async #decide(roomName: string, owner: OwnerSeen, isGone: boolean): Promise<TakeoverDecision> {
    const { nodeId, store, opinions, relations, placement } = this.#options;
    const sinceMs = store.health.answeringSince();
    if (!isGone && (sinceMs === undefined || performance.now() - sinceMs < this.#timings.leaseMs)) {
      // To ask for opinions is to disown the host, which must not happen in a store's outage.
      return { kind: 'wait', why: sinceMs === undefined ? 'redis-away' : 'redis-grace' };
    }
    const own = isGone ? 'unreachable' : relations.opinion(owner.nodeId);
    const [others, saved] = await Promise.all([isGone ? [] : opinions.of(owner.nodeId), store.rooms.load(roomName)]);
    const legs = [...countRoomNodes(saved?.parts)];
    const decision = decideTakeover({
      // The lease of a process that is gone protects nobody.
      room: { roomName, hostNodeId: owner.nodeId, epoch: owner.epoch, isLeaseLive: owner.isLive && !isGone },
      redisAnsweringForMs: sinceMs === undefined ? undefined : performance.now() - sinceMs,
      hostResigned: isGone,
      masters: [{ masterId: nodeId, opinion: own, ageMs: 0, isLive: true }, ...others],
      timings: this.#timings,
      placement: placement(),
      legs: legs.map(([legNodeId, count]) => ({ nodeId: legNodeId, legs: count, highestEpoch: owner.epoch })),
    });
    if (decision.kind === 'replace') {
      // Before anything is awaited: the next decision has to count this one.
      this.#options.chosen(decision.nodeId);
    }
    return decision;
  }

  #take(roomName: string, owner: OwnerSeen, successor: NodeId): Promise<RoomTakeOver> {
    const { rooms } = this.#options.store;
    return owner.isLive
      ? rooms.handOver(roomName, owner.epoch, successor)
      : rooms.takeOver(roomName, owner.epoch, successor);
  }

  async #tell(roomName: string): Promise<void> {
    await this.#options.store.bus.publish(roomNoticeTopic, encodeRoomNotice([roomName])).catch(() => undefined);
  }
}

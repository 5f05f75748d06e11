/** A master as far as the rules go: gateway, placement, takeover, opinion on hosts, and, when it leads, the drain. */
import {
  defaultNodeLimits,
  pendingPlacements,
  roomEstimate,
  type NodeLoad,
  type Placement,
} from '../../src/placement/load.ts';
import { defaultDrainPacing, planDrain } from '../../src/placement/drain-plan.ts';
import { admitsWork, mayCarryWork, type NodeEvent } from '../../src/placement/node-lifecycle.ts';
import { selectHostNode, type HostRequest, type NodeView } from '../../src/placement/select-node.ts';
import {
  answerHostPing,
  decideTakeover,
  defaultTakeoverTimings,
  giveOpinion,
  newHostRelation,
  type HostRelation,
  type MasterOpinion,
} from '../../src/placement/takeover.ts';
import type { NodeId } from '../../src/protocol/ids.ts';
import { EpochGuard } from '../../src/cluster/relay-epoch.ts';
import type { RoomOwner } from '../../src/cluster/store.ts';
import type { Context } from './context.ts';
import type { LegAt, Message } from './messages.ts';
import { beat, changeLifecycle, knownNodes, type KnownNodes } from './records.ts';
import { breaks } from './rules.ts';
import type { VirtualClient } from './virtual-client.ts';
import { Process } from './virtual-network.ts';

type Session = {
  client: VirtualClient;
  roomName: string;
  leg: LegAt | undefined;
  isLegLost: boolean;
  sid: string | undefined;
  /** When its host was heard last. */
  heardMs: number;
};

type RoomView = { owner: RoomOwner | undefined; isLooking: boolean };

type Opinion = { opinion: 'reaches' | 'unreachable'; askedAtMs: number };

const idleLoad: NodeLoad = {
  cpu: 0,
  cores: 4,
  bitrateBps: 0,
  packetsPerSecond: 0,
  tracks: 0,
  rooms: 0,
  participants: 0,
  eventLoopLagMs: 0,
  workers: [],
};

export const protocol = { min: 1, max: 1 };
const staleMs = 1_200;

export class Master extends Process {
  readonly #context: Context;
  #sessions = new Map<string, Session>();
  #rooms = new Map<string, RoomView>();
  #guard = new EpochGuard();
  #relations = new Map<NodeId, HostRelation>();
  #opinions = new Map<NodeId, Map<NodeId, Opinion>>();
  /** Rooms that were taken from a node that has not renewed its leases since, with their new epochs. */
  #taken = new Map<NodeId, Map<string, number>>();
  #placements: Placement[] = [];
  #known: KnownNodes = { media: [], lifecycles: new Map(), liveMasters: new Set() };
  #answeringSinceMs: number | undefined;
  #leaderEpoch: number | undefined;
  /** Since when this leader knows that a node drains. */
  #drainingSinceMs = new Map<NodeId, number>();
  #starts = 0;

  constructor(id: NodeId, context: Context) {
    super(id, context.time);
    this.#context = context;
  }

  get isLeader(): boolean {
    return this.isRunning && this.#leaderEpoch !== undefined;
  }

  started(): void {
    this.#starts += 1;
    this.#answeringSinceMs = undefined;
    this.after(this.#context.random.between(0, 300), () => {
      this.every(500, () => this.#beat());
      this.every(300, () => this.#tendSessions());
      this.every(500, () => this.#lead());
    });
  }

  crashed(): void {
    this.#sessions = new Map();
    this.#rooms = new Map();
    this.#guard = new EpochGuard();
    this.#relations = new Map();
    this.#opinions = new Map();
    this.#taken = new Map();
    this.#placements = [];
    this.#leaderEpoch = undefined;
    this.#drainingSinceMs = new Map();
  }

  clientJoined(client: VirtualClient, leg: LegAt | undefined): void {
    if (!client.isOn(this)) {
      return; // Its socket has been closed before anybody looked at it.
    }
    const { roomName, clientId } = client.plan;
    const session = { client, roomName, leg, isLegLost: client.leg === undefined, sid: client.sid, heardMs: -Infinity };
    this.#sessions.set(clientId, session);
    this.#tend(roomName);
  }

  clientLeft(clientId: string): void {
    this.#sessions.delete(clientId);
  }

  receive(from: NodeId, message: Message): void {
    switch (message.kind) {
      case 'ping':
        return this.#pinged(from, message);
      case 'askOpinion':
        return this.#send(from, {
          kind: 'opinion',
          nodeId: message.nodeId,
          askedAtMs: message.askedAtMs,
          opinion: this.#ownOpinion(message.nodeId),
        });
      case 'opinion':
        return this.#noteOpinion(message.nodeId, from, message);
      case 'attached':
        return this.#attached(from, message);
      case 'act':
        return this.#hostActed(from, message);
      case 'observed':
        return this.#observed(from, message);
      case 'moved':
        return this.#moved(message.roomName, message.owner);
      case 'legRefused':
      case 'notHost':
      case 'superseded':
        return undefined;
      default:
        throw new Error(`a master got ${message.kind}`);
    }
  }

  // --- what it knows

  #send(to: NodeId, message: Message): void {
    this.#context.network.send(this.id, to, message);
  }

  #beat(): void {
    const sentAtMs = this.nowMs;
    this.#context.redis.call(
      this,
      (state) => {
        beat(state, { nodeId: this.id, role: 'master', load: idleLoad });
        return knownNodes(state, sentAtMs);
      },
      (answer) => {
        if (answer.ok) {
          this.#known = answer.value;
          this.#answeringSinceMs ??= this.nowMs;
        } else {
          this.#answeringSinceMs = undefined;
        }
      },
    );
  }

  #pinged(from: NodeId, { sentAtMs, confirmedGeneration }: Message & { kind: 'ping' }): void {
    const before = this.#relation(from);
    const { relation, isAffirmed } = answerHostPing(before, confirmedGeneration, this.nowMs);
    this.#relations.set(from, relation);
    const isToldSo = isAffirmed || breaks(this.#context.rules, 'affirms-disowned-hosts');
    const lifecycle = this.#known.lifecycles.get(from);
    this.#send(from, { kind: 'pong', sentAtMs, isAffirmed: isToldSo, generation: relation.generation, lifecycle });
    if (isAffirmed) {
      this.#taken.delete(from);
    }
    // It may serve its clients through a master that knew of nothing.
    for (const [roomName, epoch] of this.#taken.get(from) ?? []) {
      this.#send(from, { kind: 'superseded', roomName, epoch });
    }
  }

  #relation(nodeId: NodeId): HostRelation {
    return this.#relations.get(nodeId) ?? newHostRelation(this.#starts * 1_000_000);
  }

  #ownOpinion(nodeId: NodeId): 'reaches' | 'unreachable' {
    const { relation, opinion } = giveOpinion(this.#relation(nodeId), this.nowMs, defaultTakeoverTimings);
    this.#relations.set(nodeId, relation);
    return opinion;
  }

  #noteOpinion(nodeId: NodeId, masterId: NodeId, opinion: Opinion): void {
    const opinions = this.#opinions.get(nodeId) ?? new Map<NodeId, Opinion>();
    this.#opinions.set(nodeId, opinions.set(masterId, { opinion: opinion.opinion, askedAtMs: opinion.askedAtMs }));
  }

  // --- sessions

  #tendSessions(): void {
    for (const roomName of new Set([...this.#sessions.values()].map((session) => session.roomName))) {
      this.#tend(roomName);
    }
  }

  #stale(roomName: string): Session[] {
    return [...this.#sessions.values()].filter(
      (session) => session.roomName === roomName && this.nowMs - session.heardMs > staleMs,
    );
  }

  /** Looks for the room's host when somebody hears nothing of it. */
  #tend(roomName: string): void {
    const view = this.#rooms.get(roomName) ?? { owner: undefined, isLooking: false };
    this.#rooms.set(roomName, view);
    if (this.#stale(roomName).length === 0 || view.isLooking) {
      return;
    }
    view.isLooking = true;
    this.#context.redis.call(
      this,
      (state) => state.find(roomName),
      (answer) => {
        view.isLooking = false;
        if (!answer.ok) {
          // Without Redis, who hosted the room before is the best that is known.
          this.#attachAll(roomName, view.owner);
        } else if (answer.value === undefined) {
          this.#place(roomName, view);
        } else {
          view.owner = answer.value;
          this.#attachAll(roomName, view.owner);
          const isSuspect = !answer.value.isLive || breaks(this.#context.rules, 'takes-over-live-leases');
          if (isSuspect) {
            this.#considerTakeover(roomName, answer.value);
          }
        }
      },
    );
  }

  #moved(roomName: string, owner: RoomOwner): void {
    const view = this.#rooms.get(roomName);
    if (view !== undefined && owner.epoch > (view.owner?.epoch ?? 0)) {
      view.owner = owner;
      this.#attachAll(roomName, owner);
    }
  }

  #attachAll(roomName: string, owner: RoomOwner | undefined): void {
    for (const session of owner === undefined ? [] : this.#stale(roomName)) {
      const { client, leg, isLegLost, sid } = session;
      this.#send(owner!.nodeId, { kind: 'attach', roomName, client: client.facts, leg, isLegLost, sid });
    }
  }

  #attached(from: NodeId, message: Message & { kind: 'attached' }): void {
    const { roomName, epoch, clientId, sid, leg } = message;
    if (!this.#admits(from, roomName, epoch)) {
      return;
    }
    const session = this.#sessions.get(clientId);
    // A late answer may still tell of the leg that the client has lost.
    const isOld = session?.isLegLost === true && leg.generation <= (session.leg?.generation ?? 0);
    if (session !== undefined && !isOld) {
      session.leg = leg;
      session.isLegLost = false;
      this.#heard(session, sid, leg);
    }
  }

  #hostActed(from: NodeId, { roomName, epoch, clientIds, sid }: Message & { kind: 'act' }): void {
    if (!this.#admits(from, roomName, epoch)) {
      return;
    }
    const view = this.#rooms.get(roomName);
    if (view !== undefined) {
      view.owner = { nodeId: from, epoch };
    }
    for (const clientId of clientIds) {
      const session = this.#sessions.get(clientId);
      if (session !== undefined && !session.isLegLost) {
        this.#heard(session, sid, undefined);
      }
    }
  }

  #heard(session: Session, sid: string, leg: LegAt | undefined): void {
    session.heardMs = this.nowMs;
    session.sid = sid;
    this.#context.monitor.heard(session.roomName);
    session.client.heard(this, sid, leg);
  }

  #admits(from: NodeId, roomName: string, epoch: number): boolean {
    if (this.#guard.admit(roomName, epoch) || breaks(this.#context.rules, 'skips-epoch-checks')) {
      return true;
    }
    this.#send(from, { kind: 'superseded', roomName, epoch: this.#guard.current(roomName) ?? epoch });
    return false;
  }

  // --- placement and takeover

  #candidates(): NodeView[] {
    const { media } = this.#known;
    return breaks(this.#context.rules, 'places-on-draining')
      ? media.map((node) => ({ ...node, state: 'SERVING' }))
      : media;
  }

  #placement(): Omit<HostRequest, 'key'> {
    this.#placements = pendingPlacements(this.#placements, this.nowMs);
    return {
      nodes: this.#candidates(),
      placements: this.#placements,
      limits: defaultNodeLimits,
      protocol,
      nowMs: this.nowMs,
    };
  }

  #place(roomName: string, view: RoomView): void {
    const selection = selectHostNode({ ...this.#placement(), key: roomName });
    if (selection.kind === 'none') {
      return;
    }
    view.isLooking = true;
    const { nodeId } = selection;
    this.#context.redis.call(
      this,
      (state) => state.claim(roomName, nodeId),
      (answer) => {
        view.isLooking = false;
        if (answer.ok && answer.value.kind === 'owned') {
          const { created, nodeId: ownerId, epoch } = answer.value;
          view.owner = { nodeId: ownerId, epoch };
          if (created) {
            this.#placements.push({ nodeId: ownerId, estimate: roomEstimate, placedAtMs: this.nowMs });
            this.#send(ownerId, { kind: 'host', roomName, epoch, created });
          }
          this.#attachAll(roomName, view.owner);
        }
      },
      true,
    );
  }

  #considerTakeover(roomName: string, owner: RoomOwner & { isLive: boolean }): void {
    const decision = decideTakeover({
      room: {
        roomName,
        hostNodeId: owner.nodeId,
        epoch: owner.epoch,
        isLeaseLive: owner.isLive && !breaks(this.#context.rules, 'takes-over-live-leases'),
      },
      redisAnsweringForMs: this.#answeringSinceMs === undefined ? undefined : this.nowMs - this.#answeringSinceMs,
      hostResigned: !mayCarryWork(this.#known.lifecycles.get(owner.nodeId)?.state ?? 'SERVING'),
      masters: this.#gatherOpinions(owner.nodeId),
      timings: defaultTakeoverTimings,
      placement: this.#placement(),
      legs: this.#legsOf(roomName),
    });
    if (decision.kind === 'replace') {
      this.#takeOver(roomName, decision.nodeId, owner);
    }
  }

  #gatherOpinions(nodeId: NodeId): MasterOpinion[] {
    const { rules, masterIds } = this.#context;
    this.#noteOpinion(nodeId, this.id, { opinion: this.#ownOpinion(nodeId), askedAtMs: this.nowMs });
    if (breaks(rules, 'asks-no-master') || breaks(rules, 'takes-over-live-leases')) {
      return [{ masterId: this.id, opinion: 'unreachable', ageMs: 0, isLive: true }];
    }
    for (const masterId of masterIds) {
      if (masterId !== this.id) {
        this.#send(masterId, { kind: 'askOpinion', nodeId, askedAtMs: this.nowMs });
      }
    }
    return masterIds.map((masterId) => {
      const given = this.#opinions.get(nodeId)?.get(masterId);
      return {
        masterId,
        opinion: given?.opinion ?? 'not-asked-yet',
        ageMs: given === undefined ? Infinity : this.nowMs - given.askedAtMs,
        isLive: this.#known.liveMasters.has(masterId),
      };
    });
  }

  #legsOf(roomName: string): { nodeId: NodeId; legs: number; highestEpoch: number }[] {
    const highestEpoch = this.#guard.current(roomName) ?? 0;
    const counts = new Map<NodeId, number>();
    for (const { roomName: of, leg } of this.#sessions.values()) {
      if (of === roomName && leg !== undefined) {
        counts.set(leg.nodeId, (counts.get(leg.nodeId) ?? 0) + 1);
      }
    }
    return [...counts].map(([nodeId, legs]) => ({ nodeId, legs, highestEpoch }));
  }

  #takeOver(roomName: string, newNodeId: NodeId, { nodeId: oldNodeId, epoch: expectedEpoch }: RoomOwner): void {
    const { redis, rules, monitor } = this.#context;
    const isGiven = breaks(rules, 'takes-over-live-leases');
    redis.call(
      this,
      (state) => state.takeOver(roomName, expectedEpoch, { newNodeId, isGiven }),
      (answer) => {
        if (answer.ok && answer.value.kind === 'taken') {
          monitor.counters.takeovers += 1;
          const { epoch } = answer.value;
          const spoken = breaks(rules, 'reuses-epochs') ? { spokenEpoch: expectedEpoch } : {};
          this.#taken.set(oldNodeId, (this.#taken.get(oldNodeId) ?? new Map<string, number>()).set(roomName, epoch));
          this.#send(newNodeId, { kind: 'host', roomName, epoch, ...spoken, created: false });
          const owner = { nodeId: newNodeId, epoch };
          this.#moved(roomName, owner);
          for (const masterId of this.#context.masterIds) {
            this.#send(masterId, { kind: 'moved', roomName, owner });
          }
        }
      },
      true,
    );
  }

  // --- drain

  #lead(): void {
    const { redis, rules, masterIds } = this.#context;
    if (breaks(rules, 'one-leader-only') && (this.id !== masterIds[0] || this.#starts > 1)) {
      return;
    }
    redis.call(
      this,
      (state) => state.acquire('drain', this.id),
      (answer) => {
        this.#leaderEpoch = answer.ok && answer.value.kind === 'held' ? answer.value.epoch : undefined;
        if (this.#leaderEpoch === undefined) {
          this.#drainingSinceMs.clear();
        } else {
          this.#superviseNodes();
        }
      },
      true,
    );
  }

  #superviseNodes(): void {
    const graceMs = 4_000;
    for (const { nodeId, isLive, state } of this.#known.media) {
      if (!isLive && state !== 'LOST' && (this.#answeringSinceMs ?? Infinity) + graceMs < this.nowMs) {
        this.change(nodeId, { kind: 'lost', owner: this.id, reason: 'missed its beats' });
      } else if (isLive && state === 'LOST') {
        this.change(nodeId, { kind: 'returned', owner: this.id, reason: 'is heard again' });
      }
      if (state !== 'DRAINING') {
        this.#drainingSinceMs.delete(nodeId);
      } else if (isLive) {
        this.#drainingSinceMs.set(nodeId, this.#drainingSinceMs.get(nodeId) ?? this.nowMs);
        this.#send(nodeId, { kind: 'observe' });
      }
    }
  }

  /** A node that has just restarted may not know yet what it is to open. */
  #markDrained(nodeId: NodeId, ifEpoch: number): void {
    this.#context.redis.call(
      this,
      (state) =>
        state.ofNode(nodeId).some(({ isLive }) => isLive) ||
        changeLifecycle(state, nodeId, { kind: 'emptied', owner: this.id, reason: 'is empty', ifEpoch }),
      () => undefined,
    );
  }

  change(nodeId: NodeId, event: NodeEvent): void {
    this.#context.redis.call(
      this,
      (state) => changeLifecycle(state, nodeId, event),
      () => undefined,
    );
  }

  #observed(nodeId: NodeId, { stateEpoch, observed }: Message & { kind: 'observed' }): void {
    const lifecycle = this.#known.lifecycles.get(nodeId);
    if (this.#leaderEpoch === undefined || lifecycle?.state !== 'DRAINING' || lifecycle.epoch !== stateEpoch) {
      return;
    }
    const { rules } = this.#context;
    const { policy, remainingMs, deadlineIsHard = false } = lifecycle;
    const nodes = this.#candidates().filter((node) => node.nodeId !== nodeId || admitsWork(node.state));
    const plan = planDrain({
      ...observed,
      legs:
        breaks(rules, 'forgets-legs-when-drained') && observed.rooms.every((room) => room.hostNodeId !== nodeId)
          ? []
          : observed.legs,
      nodeId,
      drainingForMs: this.nowMs - (this.#drainingSinceMs.get(nodeId) ?? this.nowMs),
      drain: { policy, remainingMs, deadlineIsHard },
      placement: { ...this.#placement(), nodes },
      pacing: breaks(rules, 'never-falls-back')
        ? { ...defaultDrainPacing, connectTimeoutMs: Infinity }
        : defaultDrainPacing,
    });
    if (plan.actions.some((action) => action.kind === 'markDrained')) {
      this.#markDrained(nodeId, stateEpoch);
    }
    if (plan.actions.length > 0) {
      this.#send(nodeId, { kind: 'drainActions', stateEpoch, leaderEpoch: this.#leaderEpoch, actions: plan.actions });
    }
  }
}

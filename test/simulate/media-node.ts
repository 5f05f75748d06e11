/** A media node as far as the rules go: room hosts with their voice, participants' legs, and the hands of a drain. */
import {
  defaultNodeLimits,
  legEstimate,
  pendingPlacements,
  type NodeLoad,
  type Placement,
} from '../../src/placement/load.ts';
import {
  defaultDrainPacing,
  planDrain,
  type DrainAction,
  type DrainLeg,
  type DrainRoom,
  type LegMove,
} from '../../src/placement/drain-plan.ts';
import { admitsWork, type NodeLifecycle } from '../../src/placement/node-lifecycle.ts';
import { selectLegHome, type NodeView, type RoomUse } from '../../src/placement/select-node.ts';
import { defaultTakeoverTimings, hostVoice, judgeGrant, mayAdmit } from '../../src/placement/takeover.ts';
import type { ParticipantSid } from '../../src/protocol/ids.ts';
import type { NodeId } from '../../src/protocol/ids.ts';
import { EpochGuard } from '../../src/cluster/relay-epoch.ts';
import type { Context } from './context.ts';
import { protocol } from './master.ts';
import type { ClientFacts, LegAt, Message, Observed, RestatedMember } from './messages.ts';
import { beat, changeLifecycle, knownNodes } from './records.ts';
import { breaks } from './rules.ts';
import { Process } from './virtual-network.ts';

type Member = {
  client: ClientFacts;
  leg: LegAt | undefined;
  /** When that leg stated itself last. */
  legSeenMs: number;
  /** Of all legs that it ever had, as far as known. */
  highestGeneration: number;
  opening: { at: LegAt; sinceMs: number } | undefined;
  refused: Set<NodeId>;
  gateway: NodeId | undefined;
  seenMs: number;
};

type HostedRoom = {
  roomName: string;
  epoch: number;
  /** What it says its epoch is. */
  spokenEpoch: number;
  sid: string | undefined;
  /** It may make up a sid when nobody has one: the room is new. */
  isNew: boolean;
  /** Somebody gave it to this node just now. */
  isGiven: boolean;
  members: Map<string, Member>;
  /** When the last renewal that succeeded was sent; it does not speak before the first. */
  renewedMs: number;
  isSuperseded: boolean;
  emptySinceMs: number | undefined;
  move: { kind: 'staying'; failures: number; untilMs: number } | { kind: 'moving'; target: NodeId; sinceMs: number };
  /** It keeps silent from the moment that it hands the room over until it knows whether that happened. */
  frozenSinceMs: number | undefined;
};

type Timed<Move> = Move extends { ageMs: number } ? Omit<Move, 'ageMs'> & { sinceMs: number } : never;
type Moving = Timed<Exclude<LegMove, { kind: 'staying' }>> | { kind: 'staying'; failures: number; untilMs: number };

type Leg = {
  client: ClientFacts;
  roomName: string;
  sid: string;
  generation: number;
  epoch: number;
  hostNodeId: NodeId;
  hostHeardMs: number;
  mediaMs: number;
  move: Moving;
};

type Prepared = { leg: Leg; sinceMs: number };

const actIntervalMs = 250;
const memberLifeMs = 10_000;
/** Longer than a Redis outage of these runs, as 60 s are longer than an ordinary one. */
const legLifeWithoutHostMs = 25_000;

export class MediaNode extends Process {
  readonly #context: Context;
  #rooms = new Map<string, HostedRoom>();
  #legs = new Map<string, Leg>();
  #prepared = new Map<string, Prepared>();
  #seen = new EpochGuard();
  #lifecycle: NodeLifecycle | undefined;
  #nodes: NodeView[] = [];
  #placements: Placement[] = [];
  /** When the last ping that a master affirmed was sent. */
  #affirmedMs = -Infinity;
  /** When the last beat that Redis answered was sent. */
  #beatMs = -Infinity;
  #generations = new Map<NodeId, { heard: number; confirmed: number | undefined }>();
  #lastBatchMs: number | undefined;
  #leaderEpoch = 0;

  constructor(id: NodeId, context: Context) {
    super(id, context.time);
    this.#context = context;
  }

  started(): void {
    this.#context.redis.call(
      this,
      (state) => changeLifecycle(state, this.id, { kind: 'booted', owner: this.id, reason: 'started' }),
      () => undefined,
    );
    this.after(this.#context.random.between(0, 300), () => {
      this.every(500, () => this.#beat());
      this.every(actIntervalMs, () => this.#act());
      this.every(500, () => this.#sweep());
    });
  }

  crashed(): void {
    this.#rooms = new Map();
    this.#legs = new Map();
    this.#prepared = new Map();
    this.#seen = new EpochGuard();
    this.#lifecycle = undefined;
    this.#nodes = [];
    this.#placements = [];
    this.#affirmedMs = -Infinity;
    this.#beatMs = -Infinity;
    this.#generations = new Map();
    this.#lastBatchMs = undefined;
  }

  // --- for clients and invariants

  hasLeg(clientId: string, generation: number): boolean {
    return this.#legs.get(clientId)?.generation === generation;
  }

  get work(): { rooms: string[]; legs: string[]; prepared: string[]; moves: number } {
    const moves = [...this.#legs.values()].filter(({ move }) => move.kind !== 'staying').length;
    return {
      rooms: [...this.#rooms.keys()],
      legs: [...this.#legs.keys()],
      prepared: [...this.#prepared.keys()],
      moves,
    };
  }

  speaksFor(roomName: string): boolean {
    const room = this.#rooms.get(roomName);
    return this.isRunning && !this.isPaused && room !== undefined && this.#maySpeak(room);
  }

  membersOf(roomName: string): Map<string, LegAt | undefined> {
    return new Map([...(this.#rooms.get(roomName)?.members ?? [])].map(([id, member]) => [id, member.leg]));
  }

  /** A client's transports come up on what was prepared for it here. */
  connectPrepared(clientId: string, generation: number): boolean {
    const prepared = this.#prepared.get(clientId);
    if (!this.isRunning || this.isPaused || prepared?.leg.generation !== generation) {
      return false;
    }
    this.#prepared.delete(clientId);
    const leg = { ...prepared.leg, mediaMs: this.nowMs, hostHeardMs: this.nowMs };
    this.#legs.set(clientId, leg);
    this.#restate(leg);
    return true;
  }

  /** The client's media is elsewhere; its old transports are closed. */
  mediaMoved(clientId: string, generation: number): void {
    this.inThisLife(() => {
      if (this.#legs.get(clientId)?.generation === generation) {
        this.#legs.delete(clientId);
      }
    })();
  }

  receive(from: NodeId, message: Message): void {
    switch (message.kind) {
      case 'pong':
        return this.#ponged(from, message);
      case 'host':
        return this.#host(message);
      case 'attach':
        return this.#attach(from, message);
      case 'act':
        return this.#hostActed(from, message);
      case 'superseded':
        return this.#superseded(message.roomName, message.epoch);
      case 'openLeg':
        return this.#openLeg(from, message);
      case 'legRefused':
        return this.#legRefused(from, message);
      case 'legState':
        return this.#legState(message);
      case 'prepare':
        return this.#prepareHere(from, message);
      case 'prepareDone':
        return this.#preparedThere(from, message);
      case 'abortPrepare':
        return this.#abortHere(message.clientId, message.generation);
      case 'observe':
        return this.#send(from, {
          kind: 'observed',
          stateEpoch: this.#lifecycle?.epoch ?? 0,
          observed: this.#observe(),
        });
      case 'drainActions':
        return this.#carryOut(message);
      default:
        throw new Error(`a media node got ${message.kind}`);
    }
  }

  // --- beats and promises

  #send(to: NodeId, message: Message): void {
    this.#context.network.send(this.id, to, message);
  }

  get #load(): NodeLoad {
    const tracks = this.#legs.size * 4;
    const cpu = this.#legs.size * 0.01;
    return {
      cpu,
      cores: 4,
      bitrateBps: 0,
      packetsPerSecond: 0,
      tracks,
      rooms: this.#rooms.size,
      participants: this.#legs.size,
      eventLoopLagMs: 1,
      workers: [{ workerIndex: 0, cpu, bitrateBps: 0, tracks }],
    };
  }

  #beat(): void {
    const sentMs = this.nowMs;
    const { redis, masterIds } = this.#context;
    redis.call(
      this,
      (state) => ({
        lifecycle: beat(state, { nodeId: this.id, role: 'media', load: this.#load }),
        known: knownNodes(state, sentMs),
      }),
      (answer) => {
        if (answer.ok) {
          this.#beatMs = sentMs;
          this.#lifecycle = answer.value.lifecycle;
          this.#nodes = answer.value.known.media;
          this.#followLifecycle();
        }
      },
    );
    this.#renew();
    for (const masterId of masterIds) {
      this.#send(masterId, {
        kind: 'ping',
        sentAtMs: sentMs,
        confirmedGeneration: this.#generations.get(masterId)?.confirmed,
      });
    }
  }

  /** Masters may know less than Redis has told. */
  #learn(lifecycle: NodeLifecycle | undefined): void {
    if (lifecycle !== undefined && lifecycle.epoch >= (this.#lifecycle?.epoch ?? 0)) {
      this.#lifecycle = lifecycle;
    }
  }

  #mayAdmit(what: 'room' | 'participant'): boolean {
    const standing = { beatAgeMs: this.nowMs - this.#beatMs, affirmationAgeMs: this.nowMs - this.#affirmedMs };
    const isServing = this.#lifecycle !== undefined && admitsWork(this.#lifecycle.state);
    return (
      breaks(this.#context.rules, 'places-on-draining') ||
      (isServing && mayAdmit(what, standing, defaultTakeoverTimings))
    );
  }

  #followLifecycle(): void {
    const state = this.#lifecycle?.state;
    if (state === undefined || state === 'BOOTING') {
      const kind = state === undefined ? 'booted' : 'ready';
      this.#context.redis.call(
        this,
        (store) => changeLifecycle(store, this.id, { kind, owner: this.id, reason: 'is up' }),
        () => undefined,
      );
    } else if (state !== 'DRAINING') {
      this.#endDrain();
    }
  }

  #renew(): void {
    const { redis, rules } = this.#context;
    const sentMs = this.nowMs;
    const holdings = [...this.#rooms.values()].map(({ roomName, epoch }) => ({ roomName, epoch }));
    const heard = new Map([...this.#generations].map(([masterId, generation]) => [masterId, generation.heard]));
    redis.call(
      this,
      (state) => {
        const held = breaks(rules, 'never-restates')
          ? holdings.filter(({ roomName }) => state.find(roomName) !== undefined)
          : holdings;
        return state.renew(this.id, held);
      },
      (answer) => {
        if (answer.ok) {
          for (const { roomName, owner } of answer.value.lost) {
            this.#superseded(roomName, owner?.epoch ?? Infinity);
          }
          for (const [masterId, generation] of heard) {
            const known = this.#generations.get(masterId);
            if (known !== undefined) {
              known.confirmed = generation;
            }
          }
          this.#renewed(holdings, sentMs, answer.value.restated);
        }
      },
    );
  }

  #renewed(
    holdings: readonly { roomName: string; epoch: number }[],
    sentMs: number,
    restated: readonly string[],
  ): void {
    for (const { roomName, epoch } of holdings) {
      const room = this.#rooms.get(roomName);
      if (room?.epoch !== epoch || room.isSuperseded) {
        continue;
      }
      if (room.renewedMs === -Infinity) {
        this.#confirm(room);
        continue;
      }
      room.renewedMs = Math.max(room.renewedMs, sentMs);
      if (room.frozenSinceMs !== undefined && sentMs > room.frozenSinceMs && room.move.kind === 'staying') {
        room.frozenSinceMs = undefined;
      }
      if (restated.includes(roomName)) {
        this.#settleSid(room, room.sid);
      }
    }
  }

  /** Asks Redis, in a way that waits for the replica, whether the room is really given to this node. */
  #confirm(room: HostedRoom): void {
    const { redis, monitor, outOfServiceMs } = this.#context;
    const sentMs = this.nowMs;
    redis.call(
      this,
      (state) => state.claim(room.roomName, this.id),
      (answer) => {
        if (!answer.ok || answer.value.kind !== 'owned' || room.isSuperseded || room.renewedMs !== -Infinity) {
          return;
        }
        if (answer.value.nodeId === this.id && answer.value.epoch === room.epoch) {
          room.renewedMs = sentMs;
          if (room.isGiven) {
            monitor.admitted(this.id, `room ${room.roomName}`, outOfServiceMs(this.id));
          }
          this.#settleSid(room, room.sid ?? (room.isNew ? newSid(room) : undefined));
        } else {
          this.#superseded(room.roomName, answer.value.epoch);
        }
      },
      true,
    );
  }

  /**
   * The room's sid is in Redis before the first client is told it: otherwise a host that is lost in its first second
   * leaves clients behind who know a sid that nobody else does.
   */
  #settleSid(room: HostedRoom, proposed: string | undefined): void {
    this.#context.redis.call(
      this,
      (state) => {
        const saved = state.load(room.roomName)?.parts.get('sid');
        if (saved !== undefined) {
          return Buffer.from(saved).toString();
        }
        const isSaved =
          proposed !== undefined &&
          state.save(room.roomName, room.epoch, new Map([['sid', Buffer.from(proposed)]])) === 'written';
        return isSaved ? proposed : undefined;
      },
      (answer) => {
        if (answer.ok && room.sid === undefined) {
          room.sid = answer.value;
        }
      },
      true,
    );
  }

  #ponged(from: NodeId, { sentAtMs, isAffirmed, generation, lifecycle }: Message & { kind: 'pong' }): void {
    this.#learn(lifecycle);
    const known = this.#generations.get(from);
    if (known === undefined) {
      this.#generations.set(from, { heard: generation, confirmed: undefined });
    } else {
      known.heard = Math.max(known.heard, generation);
    }
    if (isAffirmed) {
      const countsFromMs = breaks(this.#context.rules, 'counts-stale-pongs') ? this.nowMs : sentAtMs;
      this.#affirmedMs = Math.max(this.#affirmedMs, countsFromMs);
    }
  }

  // --- hosts

  #maySpeak(room: HostedRoom): boolean {
    const { rules } = this.#context;
    if (breaks(rules, 'always-speaks')) {
      return !room.isSuperseded;
    }
    if (room.renewedMs === -Infinity && !breaks(rules, 'speaks-before-renewal')) {
      return false;
    }
    if (room.frozenSinceMs !== undefined && this.nowMs - room.frozenSinceMs < 2_000) {
      return false;
    }
    const standing = {
      renewalAgeMs: this.nowMs - room.renewedMs,
      affirmationAgeMs: this.nowMs - this.#affirmedMs,
      isSuperseded: room.isSuperseded,
    };
    return hostVoice(standing, defaultTakeoverTimings).kind === 'act';
  }

  #superseded(roomName: string, epoch: number): void {
    if (epoch < Infinity) {
      this.#seen.admit(roomName, epoch);
    }
    const room = this.#rooms.get(roomName);
    if (room !== undefined && room.epoch < epoch && !breaks(this.#context.rules, 'skips-epoch-checks')) {
      this.#rooms.delete(roomName);
      room.isSuperseded = true;
    }
  }

  #host(
    { roomName, epoch, spokenEpoch = epoch, created, sid, members = [] }: Message & { kind: 'host' },
    isGiven = true,
  ): void {
    const known = this.#rooms.get(roomName);
    if (known !== undefined && known.epoch >= epoch) {
      return;
    }
    const room: HostedRoom = {
      roomName,
      epoch,
      spokenEpoch,
      sid: sid ?? known?.sid,
      isNew: created,
      isGiven,
      members: new Map(),
      renewedMs: -Infinity,
      isSuperseded: false,
      emptySinceMs: undefined,
      move: { kind: 'staying', failures: 0, untilMs: 0 },
      frozenSinceMs: undefined,
    };
    this.#rooms.set(roomName, room);
    for (const { client, leg, gateway } of members) {
      room.members.set(client.clientId, {
        client,
        leg,
        gateway,
        legSeenMs: this.nowMs,
        highestGeneration: 0,
        opening: undefined,
        refused: new Set(),
        seenMs: this.nowMs,
      });
    }
    for (const leg of this.#legs.values()) {
      if (leg.roomName === roomName && leg.epoch <= epoch) {
        leg.hostNodeId = this.id;
        this.#restate(leg);
      }
    }
    this.#confirm(room);
  }

  #act(): void {
    for (const room of this.#rooms.values()) {
      if (!this.#maySpeak(room)) {
        continue;
      }
      this.#context.monitor.acted(room.roomName, room.spokenEpoch, this.id);
      const receivers = new Map<NodeId, string[]>();
      for (const [clientId, { gateway, leg }] of room.members) {
        for (const receiver of new Set([gateway, leg?.nodeId])) {
          if (receiver !== undefined) {
            receivers.set(receiver, [...(receivers.get(receiver) ?? []), clientId]);
          }
        }
      }
      for (const [receiver, clientIds] of room.sid === undefined ? [] : receivers) {
        this.#send(receiver, {
          kind: 'act',
          roomName: room.roomName,
          epoch: room.spokenEpoch,
          clientIds,
          sid: room.sid!,
        });
      }
    }
  }

  #attach(from: NodeId, { roomName, client, leg, isLegLost, sid }: Message & { kind: 'attach' }): void {
    const room = this.#rooms.get(roomName);
    if (room === undefined) {
      this.#send(from, { kind: 'notHost', roomName });
      this.#lookWhetherMine(roomName);
      return;
    }
    if (!this.#maySpeak(room)) {
      return;
    }
    room.sid ??= sid;
    if (room.sid === undefined) {
      this.#settleSid(room, newSid(room));
      return;
    }
    const member = this.#member(room, client);
    member.gateway = from;
    member.seenMs = this.nowMs;
    if (leg !== undefined && leg.generation > (member.leg?.generation ?? 0)) {
      member.leg = leg;
    }
    const isGone = isLegLost && (leg?.generation ?? 0) >= (member.leg?.generation ?? 0);
    if (member.leg === undefined || isGone) {
      this.#placeLeg(room, member);
    } else {
      this.#tellAttached(room, member);
    }
  }

  /** A grant whose message was lost: Redis knows. */
  #lookWhetherMine(roomName: string): void {
    this.#context.redis.call(
      this,
      (state) => state.find(roomName),
      (answer) => {
        if (answer.ok && answer.value?.nodeId === this.id) {
          this.#useGrant(roomName, answer.value.epoch);
        }
      },
    );
  }

  #useGrant(roomName: string, epoch: number): void {
    if (judgeGrant(epoch, this.#seen.current(roomName)) === 'host') {
      this.#host({ kind: 'host', roomName, epoch, created: false }, false);
      return;
    }
    this.#context.redis.call(
      this,
      (state) => state.takeOver(roomName, epoch, { newNodeId: this.id, isGiven: true }),
      (answer) => {
        if (answer.ok && answer.value.kind === 'taken') {
          this.#host({ kind: 'host', roomName, epoch: answer.value.epoch, created: false }, false);
        }
      },
      true,
    );
  }

  #member(room: HostedRoom, client: ClientFacts): Member {
    let member = room.members.get(client.clientId);
    if (member === undefined) {
      member = {
        client,
        leg: undefined,
        legSeenMs: this.nowMs,
        highestGeneration: 0,
        opening: undefined,
        refused: new Set(),
        gateway: undefined,
        seenMs: this.nowMs,
      };
      room.members.set(client.clientId, member);
    }
    return member;
  }

  #placeLeg(room: HostedRoom, member: Member): void {
    if (member.opening !== undefined && this.nowMs - member.opening.sinceMs < 1_000) {
      return;
    }
    const { rules } = this.#context;
    this.#placements = pendingPlacements(this.#placements, this.nowMs);
    const nodes = breaks(rules, 'places-on-draining')
      ? this.#nodes.map((node) => ({ ...node, state: 'SERVING' as const }))
      : this.#nodes;
    const exclude = new Set(member.refused);
    if (member.opening !== undefined) {
      exclude.add(member.opening.at.nodeId);
    }
    const request = {
      nodes,
      placements: this.#placements,
      limits: defaultNodeLimits,
      protocol,
      key: member.client.clientId,
    };
    const selection = selectLegHome({ ...request, exclude, room: usesOf(room), maxFanout: 0 });
    member.refused.clear();
    if (selection.kind === 'none') {
      member.opening = undefined;
      return;
    }
    const { nodeId } = selection.home;
    this.#placements.push({ nodeId, workerIndex: 0, estimate: legEstimate, placedAtMs: this.nowMs });
    const generation = nextGeneration(room, member);
    member.highestGeneration = generation;
    member.opening = { at: { nodeId, generation }, sinceMs: this.nowMs };
    const { roomName, spokenEpoch: epoch, sid } = room;
    this.#send(nodeId, { kind: 'openLeg', roomName, epoch, client: member.client, generation, sid: sid! });
  }

  #legRefused(from: NodeId, { roomName, clientId, generation }: Message & { kind: 'legRefused' }): void {
    const room = this.#rooms.get(roomName);
    const member = room?.members.get(clientId);
    if (room !== undefined && member?.opening?.at.generation === generation) {
      member.refused.add(from);
      member.opening.sinceMs = -Infinity;
      this.#placeLeg(room, member);
    }
  }

  #legState({ roomName, epoch, client, leg, sid }: Message & { kind: 'legState' }): void {
    const room = this.#rooms.get(roomName);
    if (room === undefined) {
      return;
    }
    if (epoch > room.epoch) {
      this.#superseded(roomName, epoch);
      return;
    }
    room.sid ??= sid;
    const member = this.#member(room, client);
    // A client that never heard of its newest leg stays where it was; the new one then ends for want of media.
    const isNewestSilent = this.nowMs - member.legSeenMs > 3_000;
    if (leg.generation >= (member.leg?.generation ?? 0) || isNewestSilent) {
      const isNew = member.leg?.generation !== leg.generation;
      member.leg = leg;
      member.legSeenMs = this.nowMs;
      member.highestGeneration = Math.max(member.highestGeneration, leg.generation);
      member.seenMs = this.nowMs;
      member.opening = undefined;
      if (isNew && this.#maySpeak(room)) {
        this.#tellAttached(room, member);
      }
    }
  }

  #tellAttached({ roomName, spokenEpoch: epoch, sid }: HostedRoom, { gateway, client, leg }: Member): void {
    if (gateway !== undefined && leg !== undefined && sid !== undefined) {
      this.#send(gateway, { kind: 'attached', roomName, epoch, clientId: client.clientId, sid, leg });
    }
  }

  // --- legs

  #openLeg(from: NodeId, { roomName, epoch, client, generation, sid }: Message & { kind: 'openLeg' }): void {
    const { monitor } = this.#context;
    const known = this.#legs.get(client.clientId);
    if (known !== undefined && (known.generation > generation || !this.#admits(from, known, epoch))) {
      return;
    }
    if (known === undefined && !this.#mayAdmit('participant')) {
      this.#send(from, { kind: 'legRefused', roomName, clientId: client.clientId, generation });
      return;
    }
    if (known?.generation !== generation) {
      monitor.admitted(
        this.id,
        `leg of ${client.clientId}`,
        known === undefined ? this.#context.outOfServiceMs(this.id) : 0,
      );
      this.#legs.set(client.clientId, this.#newLeg(from, { roomName, epoch, client, generation, sid }));
    }
    this.#restate(this.#legs.get(client.clientId)!);
  }

  #newLeg(hostNodeId: NodeId, facts: Pick<Leg, 'roomName' | 'epoch' | 'client' | 'generation' | 'sid'>): Leg {
    const { roomName, epoch, client, generation, sid } = facts;
    const move = { kind: 'staying', failures: 0, untilMs: 0 } as const;
    return { roomName, epoch, client, generation, sid, hostNodeId, hostHeardMs: this.nowMs, mediaMs: this.nowMs, move };
  }

  #hostActed(from: NodeId, { roomName, epoch, clientIds }: Message & { kind: 'act' }): void {
    for (const clientId of clientIds) {
      const leg = this.#legs.get(clientId);
      if (leg !== undefined && leg.roomName === roomName && this.#admits(from, leg, epoch)) {
        this.#context.monitor.heard(roomName);
      }
    }
  }

  #admits(from: NodeId, leg: Leg, epoch: number): boolean {
    if (epoch < leg.epoch && !breaks(this.#context.rules, 'skips-epoch-checks')) {
      this.#send(from, { kind: 'superseded', roomName: leg.roomName, epoch: leg.epoch });
      return false;
    }
    if (from !== this.id) {
      this.#superseded(leg.roomName, epoch);
    }
    leg.epoch = epoch;
    leg.hostNodeId = from;
    leg.hostHeardMs = this.nowMs;
    return true;
  }

  #restate({ roomName, epoch, client, generation, sid, hostNodeId }: Leg): void {
    const leg = { nodeId: this.id, generation };
    this.#send(hostNodeId, { kind: 'legState', roomName, epoch, client, leg, sid });
  }

  #sweep(): void {
    for (const [clientId, leg] of this.#legs) {
      const at = this.#context.clients.get(clientId)?.leg;
      if (at?.nodeId === this.id && at.generation === leg.generation) {
        leg.mediaMs = this.nowMs;
      }
      if (this.nowMs - leg.mediaMs > 5_000 || this.nowMs - leg.hostHeardMs > legLifeWithoutHostMs) {
        this.#legs.delete(clientId);
      } else {
        this.#restate(leg);
        if (this.nowMs - leg.hostHeardMs > 2_000) {
          this.#lookForHost(leg);
        }
      }
    }
    for (const [clientId, { sinceMs }] of this.#prepared) {
      if (this.nowMs - sinceMs > 1.3 * defaultDrainPacing.preparedLifeMs) {
        this.#prepared.delete(clientId);
      }
    }
    this.#sweepRooms();
  }

  /** A leg that moved while its room did may have a host that does not know where it is. */
  #lookForHost(leg: Leg): void {
    this.#context.redis.call(
      this,
      (state) => state.find(leg.roomName),
      (answer) => {
        if (answer.ok && answer.value !== undefined && answer.value.epoch >= leg.epoch) {
          leg.hostNodeId = answer.value.nodeId;
        }
      },
    );
  }

  #sweepRooms(): void {
    for (const room of this.#rooms.values()) {
      for (const [clientId, member] of room.members) {
        const isWanted = this.#context.clients.get(clientId)?.wants === true;
        if (this.nowMs - member.seenMs > memberLifeMs && !isWanted) {
          room.members.delete(clientId);
        }
      }
      room.emptySinceMs = room.members.size > 0 ? undefined : (room.emptySinceMs ?? this.nowMs);
      if (
        room.emptySinceMs !== undefined &&
        this.nowMs - room.emptySinceMs > emptyLifeMs(room) &&
        this.#maySpeak(room)
      ) {
        this.#release(room);
      }
    }
  }

  #release(room: HostedRoom): void {
    this.#context.redis.call(
      this,
      (state) => state.release(room.roomName, room.epoch),
      (answer) => {
        if (answer.ok && this.#rooms.get(room.roomName) === room) {
          this.#rooms.delete(room.roomName);
        }
      },
    );
  }

  // --- the hands of a drain

  #observe(): Observed {
    const rooms = new Map<string, DrainRoom>();
    const epochs = new Map<string, number>();
    for (const leg of this.#legs.values()) {
      if (leg.epoch >= (epochs.get(leg.roomName) ?? 0)) {
        epochs.set(leg.roomName, leg.epoch);
        const hostMove = { kind: 'staying', failures: 0, retryInMs: 0 } as const;
        rooms.set(leg.roomName, { roomName: leg.roomName, hostNodeId: leg.hostNodeId, hostMove });
      }
    }
    for (const { roomName, move } of this.#rooms.values()) {
      const hostMove: DrainRoom['hostMove'] =
        move.kind === 'staying'
          ? { kind: 'staying', failures: move.failures, retryInMs: Math.max(0, move.untilMs - this.nowMs) }
          : { kind: 'moving', target: move.target, ageMs: this.nowMs - move.sinceMs };
      rooms.set(roomName, { roomName, hostNodeId: this.id, hostMove });
    }
    const legs = [...this.#legs.values()].map((leg) => this.#observeLeg(leg));
    const sinceLastBatchMs = this.#lastBatchMs === undefined ? null : this.nowMs - this.#lastBatchMs;
    return { rooms: [...rooms.values()], legs, jobs: [], sinceLastBatchMs };
  }

  #observeLeg({ client, roomName, move }: Leg): DrainLeg {
    const { clientId, publishes, acceptsMove } = client;
    const at: LegMove =
      move.kind === 'staying'
        ? { kind: 'staying', failures: move.failures, retryInMs: Math.max(0, move.untilMs - this.nowMs) }
        : toAged(move, this.nowMs);
    return { participantSid: clientId as ParticipantSid, roomName, publishes, acceptsMove, move: at };
  }

  #carryOut({ stateEpoch, leaderEpoch, actions }: Message & { kind: 'drainActions' }): void {
    const isCurrent = this.#lifecycle?.state === 'DRAINING' && this.#lifecycle.epoch === stateEpoch;
    if (!isCurrent || leaderEpoch < this.#leaderEpoch) {
      return;
    }
    this.#leaderEpoch = leaderEpoch;
    for (const action of actions) {
      this.#step(action);
    }
  }

  /** The node is not draining: what a drain has begun here is taken back or comes to its end. */
  #endDrain(): void {
    const observed = this.#observe();
    const isIdle =
      observed.legs.every((leg) => leg.move.kind === 'staying') &&
      observed.rooms.every((room) => room.hostMove.kind === 'staying');
    if (isIdle || breaks(this.#context.rules, 'leaves-preparations')) {
      return;
    }
    const placement = { nodes: this.#nodes, placements: [], limits: defaultNodeLimits, protocol, nowMs: this.nowMs };
    const plan = planDrain({
      ...observed,
      nodeId: this.id,
      drain: undefined,
      drainingForMs: 0,
      placement,
      pacing: defaultDrainPacing,
    });
    for (const action of plan.actions) {
      this.#step(action);
    }
  }

  #step(action: DrainAction): void {
    switch (action.kind) {
      case 'moveHost':
        return this.#handOver(action.roomName, action.target);
      case 'abortHostMove':
        return undefined;
      case 'prepareLeg':
        return this.#prepareThere(action.participantSid, action.target);
      case 'abortPreparation':
        return this.#abortThere(action.participantSid);
      case 'triggerLegs':
        return action.legs.forEach(({ participantSid, how }) => this.#trigger(participantSid, how));
      case 'reconnectClient':
        return this.#reconnect(action.participantSid);
      case 'closeLeg':
        this.#legs.delete(action.participantSid);
        return undefined;
      case 'markDrained':
      case 'stopJob':
      case 'giveUp':
        return undefined;
    }
  }

  /** From the request on the room is frozen: the answer may be lost although the room has another host. */
  #handOver(roomName: string, target: NodeId): void {
    const room = this.#rooms.get(roomName);
    if (room === undefined || room.move.kind === 'moving' || !this.#maySpeak(room)) {
      return;
    }
    const failures = room.move.failures;
    room.move = { kind: 'moving', target, sinceMs: this.nowMs };
    room.frozenSinceMs = this.nowMs;
    this.#context.redis.call(
      this,
      (state) => state.takeOver(roomName, room.epoch, { newNodeId: target, isGiven: true }),
      (answer) => {
        room.move = { kind: 'staying', failures: failures + 1, untilMs: this.nowMs + 500 };
        if (answer.ok && answer.value.kind === 'taken' && !room.isSuperseded) {
          this.#context.monitor.counters.handovers += 1;
          const members = [...room.members.values()].map(({ client, leg, gateway }): RestatedMember => ({
            client,
            leg,
            gateway,
          }));
          const { sid } = room;
          const { epoch } = answer.value;
          this.#superseded(roomName, epoch);
          this.#send(target, {
            kind: 'host',
            roomName,
            epoch,
            created: false,
            ...(sid === undefined ? {} : { sid }),
            members,
          });
        }
      },
      true,
    );
  }

  #prepareThere(clientId: string, target: NodeId): void {
    const leg = this.#legs.get(clientId);
    if (leg?.move.kind === 'staying') {
      leg.move = { kind: 'preparing', target, sinceMs: this.nowMs };
      const { roomName, epoch, hostNodeId, client, sid } = leg;
      this.#send(target, {
        kind: 'prepare',
        roomName,
        epoch,
        hostNodeId,
        client,
        generation: preparedGeneration(leg),
        sid,
      });
    }
  }

  #prepareHere(from: NodeId, message: Message & { kind: 'prepare' }): void {
    const { roomName, epoch, hostNodeId, client, generation, sid } = message;
    const { random, monitor } = this.#context;
    const isOk = this.#mayAdmit('participant') && !random.chance(0.1);
    if (isOk) {
      monitor.admitted(this.id, `prepared leg of ${client.clientId}`, this.#context.outOfServiceMs(this.id));
      const leg = this.#newLeg(hostNodeId, { roomName, epoch, client, generation, sid });
      this.#prepared.set(client.clientId, { leg, sinceMs: this.nowMs });
    }
    this.after(random.between(5, 200), () =>
      this.#send(from, { kind: 'prepareDone', clientId: client.clientId, generation, isOk }),
    );
  }

  #preparedThere(from: NodeId, { clientId, generation, isOk }: Message & { kind: 'prepareDone' }): void {
    const leg = this.#legs.get(clientId);
    const isAwaited =
      leg?.move.kind === 'preparing' && leg.move.target === from && preparedGeneration(leg) === generation;
    if (leg !== undefined && isAwaited) {
      leg.move = isOk ? { kind: 'prepared', target: from, sinceMs: this.nowMs } : this.#failed(leg);
    } else if (isOk && leg?.move.kind !== 'triggered' && leg?.move.kind !== 'prepared') {
      this.#send(from, { kind: 'abortPrepare', clientId, generation });
    }
  }

  #failed(_leg: Leg): Moving {
    return { kind: 'staying', failures: 1, untilMs: this.nowMs + 500 };
  }

  #abortThere(clientId: string): void {
    const leg = this.#legs.get(clientId);
    if (leg !== undefined && (leg.move.kind === 'preparing' || leg.move.kind === 'prepared')) {
      const { target } = leg.move;
      leg.move = this.#failed(leg);
      for (const delayMs of [0, 500, 1_000]) {
        this.after(delayMs, () =>
          this.#send(target, { kind: 'abortPrepare', clientId, generation: preparedGeneration(leg) }),
        );
      }
    }
  }

  #abortHere(clientId: string, generation: number): void {
    if (this.#prepared.get(clientId)?.leg.generation === generation) {
      this.#prepared.delete(clientId);
    }
  }

  #trigger(clientId: string, how: 'in-place' | 'resume'): void {
    const leg = this.#legs.get(clientId);
    if (leg?.move.kind === 'prepared') {
      const { target } = leg.move;
      this.#lastBatchMs = this.nowMs;
      leg.move = { kind: 'triggered', how, target, sinceMs: this.nowMs };
      this.#context.clients.get(clientId)?.told(how, target, preparedGeneration(leg));
    }
  }

  #reconnect(clientId: string): void {
    const leg = this.#legs.get(clientId);
    if (leg === undefined) {
      return;
    }
    if (leg.move.kind === 'prepared' || leg.move.kind === 'preparing' || leg.move.kind === 'triggered') {
      this.#send(leg.move.target, { kind: 'abortPrepare', clientId, generation: preparedGeneration(leg) });
    }
    this.#lastBatchMs = this.nowMs;
    this.#legs.delete(clientId);
    const client = this.#context.clients.get(clientId);
    if (client?.leg?.nodeId === this.id && client.leg.generation === leg.generation) {
      this.#context.monitor.counters.reconnects += 1;
      client.reconnect();
    }
  }
}

/**
 * Legs of one participant are told apart by their generation, and the higher one counts. A later host begins above all
 * that an earlier one may have given; what a drain prepares lies below the next leg that the host opens.
 */
function nextGeneration({ epoch }: HostedRoom, { leg, highestGeneration }: Member): number {
  return Math.max(Math.floor(Math.max(leg?.generation ?? 0, highestGeneration)), epoch * 1_000) + 1;
}

function preparedGeneration({ generation }: Leg): number {
  return Math.floor(generation) === generation ? generation + 0.5 : generation + 0.01;
}

/** Nobody known does not mean nobody there: legs that lost their host are still looking for the new one. */
function emptyLifeMs({ isNew }: HostedRoom): number {
  return isNew ? 5_000 : legLifeWithoutHostMs;
}

function newSid({ roomName, epoch }: HostedRoom): string {
  return `RM_${roomName}_${epoch}`;
}

function usesOf(room: HostedRoom): RoomUse[] {
  const counts = new Map<NodeId, number>();
  for (const { leg } of room.members.values()) {
    if (leg !== undefined) {
      counts.set(leg.nodeId, (counts.get(leg.nodeId) ?? 0) + 1);
    }
  }
  return [...counts].map(([nodeId, fanout]) => ({ nodeId, workerIndex: 0, fanout }));
}

function toAged(move: Exclude<Moving, { kind: 'staying' }>, nowMs: number): LegMove {
  const { sinceMs, ...rest } = move;
  return { ...rest, ageMs: nowMs - sinceMs };
}

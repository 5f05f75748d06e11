/**
 * The drain of one node, as its leader carries it out: look, plan, act, tell, and again. Everything is read anew each
 * time, so it goes on from wherever another leader, or a failed step, has left it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { ClusterStore } from '../cluster/store.ts';
import type { NodeStateRecord } from '../cluster/store-records.ts';
import { PlenumError } from '../lib/errors.ts';
import type { Logger } from '../observe/log.ts';
import {
  defaultDrainPacing,
  planDrain,
  type DrainAction,
  type DrainPacing,
  type DrainPlan,
  type DrainTerms,
} from '../placement/drain-plan.ts';
import { gatherDrain, isUnderWay, type GatheredDrain } from '../placement/drain-view.ts';
import { describeWait } from '../placement/drain-words.ts';
import { legEstimate, roomEstimate, type WorkEstimate } from '../placement/load.ts';
import type { HostRequest } from '../placement/select-node.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { DrainObserver } from './drain-observer.ts';
import { tellProgress } from './drain-progress.ts';
import type { NodeLifecycles } from './node-lifecycles.ts';
import type { UnopenedRooms } from './unopened-rooms.ts';

export type DrainTools = {
  /** The leader. */
  nodeId: NodeId;
  store: ClusterStore;
  lifecycles: NodeLifecycles;
  observer: DrainObserver;
  unopened: UnopenedRooms;
  placement: () => Omit<HostRequest, 'key'>;
  /** Work that is on its way to a node, until the node reports it. */
  placed: (target: NodeId, estimate: WorkEstimate) => void;
  /** The room is another node's now, which may have no client that tells it so. */
  moved: (roomName: string, target: NodeId) => void;
  /** The fencing token; undefined when this node leads no more. */
  leaderEpoch: () => number | undefined;
  log: Logger;
  pacing?: DrainPacing;
};

/** While clients or rooms are being moved. */
const busyMs = 200;
const idleMs = 1_000;
const tellIntervalMs = 1_000;

export class NodeDrain {
  readonly #nodeId: NodeId;
  readonly #tools: DrainTools;
  readonly #end = new AbortController();
  #sleep = new AbortController();
  /** Hosts that are on their way, as far as this leader has sent them. */
  readonly #hostMoves = new Map<string, NodeId>();
  #sinceMs: number | undefined;
  #lastBatchMs: number | undefined;
  #toldAtMs = -Infinity;
  #complainedAtMs = -Infinity;

  constructor(nodeId: NodeId, tools: DrainTools) {
    this.#nodeId = nodeId;
    this.#tools = tools;
  }

  /** Resolves when there is nothing more to do, or when it is closed. Never rejects. */
  async run(): Promise<void> {
    while (!this.#end.signal.aborted) {
      const againInMs = await this.#stepSafely();
      if (againInMs === undefined) {
        return;
      }
      this.#sleep = new AbortController();
      const signal = AbortSignal.any([this.#end.signal, this.#sleep.signal]);
      await delay(againInMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Something changed: look now. */
  poke(): void {
    this.#sleep.abort();
  }

  close(): void {
    this.#end.abort();
  }

  async #stepSafely(): Promise<number | undefined> {
    try {
      return await this.#step();
    } catch (error) {
      const level = error instanceof PlenumError ? 'debug' : 'error';
      this.#tools.log[level]({ err: error, nodeId: this.#nodeId }, 'a drain could not go on; it is tried again');
      return idleMs;
    }
  }

  /** @returns when to look again; undefined when this is over */
  async #step(): Promise<number | undefined> {
    const { lifecycles, observer, store, unopened, leaderEpoch } = this.#tools;
    const record = await lifecycles.get(this.#nodeId);
    const drain = termsOf(record);
    if (record === undefined || (drain === undefined && record.state !== 'SERVING' && record.state !== 'CORDONED')) {
      return undefined;
    }
    this.#sinceMs = drain === undefined ? undefined : (this.#sinceMs ?? performance.now());
    // The store first: a room that is given away meanwhile is then told of by its new host.
    const stated = await store.rooms.ofNode(this.#nodeId);
    const seen = gatherDrain(this.#nodeId, await observer.of(this.#nodeId), stated);
    const epoch = leaderEpoch();
    if (epoch === undefined || this.#end.signal.aborted) {
      return undefined;
    }
    if (!seen.isComplete) {
      this.#complain('a node that drains does not answer');
      return idleMs;
    }
    if (drain !== undefined) {
      await unopened.settle(this.#nodeId, seen.unopened);
    }
    this.#noteMoved(seen);
    const plan = this.#plan(seen, drain);
    await this.#perform(plan, { seen, record, epoch });
    if (drain === undefined && !isUnderWay(seen)) {
      return undefined;
    }
    await this.#tell(plan, { seen, record });
    const isBusy = plan.actions.length > 0 || isUnderWay(seen);
    return Math.max(busyMs / 4, Math.min(plan.againInMs ?? idleMs, isBusy ? busyMs : idleMs));
  }

  #plan(seen: GatheredDrain, drain: DrainTerms | undefined): DrainPlan {
    const nowMs = performance.now();
    return planDrain({
      nodeId: this.#nodeId,
      drain,
      drainingForMs: nowMs - (this.#sinceMs ?? nowMs),
      rooms: seen.rooms,
      legs: seen.legs,
      // Recordings, inputs and agents state themselves here as they come.
      jobs: [],
      sinceLastBatchMs: this.#lastBatchMs === undefined ? null : nowMs - this.#lastBatchMs,
      placement: this.#tools.placement(),
      pacing: this.#tools.pacing ?? defaultDrainPacing,
    });
  }

  #noteMoved(seen: GatheredDrain): void {
    const here = new Set(seen.rooms.flatMap((room) => (room.hostNodeId === this.#nodeId ? [room.roomName] : [])));
    for (const [roomName, target] of this.#hostMoves) {
      if (!here.has(roomName)) {
        this.#hostMoves.delete(roomName);
        this.#tools.moved(roomName, target);
      }
    }
  }

  async #perform(plan: DrainPlan, at: { seen: GatheredDrain; record: NodeStateRecord; epoch: number }): Promise<void> {
    for (const action of plan.actions) {
      if ('roomName' in action) {
        this.#act(action, at.seen, at.epoch);
      } else if (action.kind === 'markDrained') {
        await this.#markDrained(at.record);
      } else if (action.kind === 'giveUp') {
        const { rooms, legs: participants, jobs } = action;
        this.#tools.log.warn({ nodeId: this.#nodeId, rooms, participants, jobs }, 'a drain ends at its deadline');
      }
    }
  }

  #act(action: Extract<DrainAction, { roomName: string }>, seen: GatheredDrain, epoch: number): void {
    const { observer, placed, log } = this.#tools;
    const hostId = seen.hosts.get(action.roomName);
    if (hostId === undefined) {
      return;
    }
    log.debug({ nodeId: this.#nodeId, ...action }, 'step of a drain');
    observer.send(hostId, action, epoch);
    if (action.kind === 'moveHost') {
      this.#hostMoves.set(action.roomName, action.target);
      placed(action.target, roomEstimate);
    } else if (action.kind === 'prepareLeg') {
      placed(action.target, legEstimate);
    } else if (action.kind === 'triggerLegs' || action.kind === 'reconnectClient') {
      this.#lastBatchMs = performance.now();
    }
  }

  async #markDrained({ epoch, owner, reason }: NodeStateRecord): Promise<void> {
    const { lifecycles, log } = this.#tools;
    // Owner and reason stay those of whoever wanted it.
    const { record } = await lifecycles.apply(this.#nodeId, { kind: 'emptied', owner, reason, ifEpoch: epoch });
    log.info({ nodeId: this.#nodeId, state: record.state, owner, reason }, 'a node is drained');
  }

  async #tell(plan: DrainPlan, { seen, record }: { seen: GatheredDrain; record: NodeStateRecord }): Promise<void> {
    const { store, nodeId: leader, log } = this.#tools;
    const waitingFor = plan.waitingFor.map(describeWait);
    if (plan.waitingFor.some(({ kind }) => kind === 'no-target')) {
      this.#complain(waitingFor.find((wait) => wait.startsWith('no media node')) ?? '');
    }
    const nowMs = performance.now();
    if (nowMs - this.#toldAtMs < tellIntervalMs && plan.actions.length === 0) {
      return;
    }
    this.#toldAtMs = nowMs;
    await tellProgress(store.bus, {
      nodeId: this.#nodeId,
      epoch: record.epoch,
      rooms: seen.rooms.filter(({ hostNodeId }) => hostNodeId === this.#nodeId).length,
      participants: seen.legs.length,
      jobs: 0,
      waitingFor,
      furtherWaits: 0,
      leader,
    }).catch((error: unknown) => log.debug({ err: error }, 'the progress of a drain could not be told'));
  }

  /** Now and then, as long as it lasts. */
  #complain(what: string): void {
    const nowMs = performance.now();
    if (nowMs - this.#complainedAtMs > 30_000) {
      this.#complainedAtMs = nowMs;
      this.#tools.log.warn({ nodeId: this.#nodeId, why: what }, 'a drain does not get on');
    }
  }
}

function termsOf(record: NodeStateRecord | undefined): DrainTerms | undefined {
  if (record?.state !== 'DRAINING') {
    return undefined;
  }
  const { policy, remainingMs, deadlineIsHard = false } = record;
  return { policy, remainingMs, deadlineIsHard };
}

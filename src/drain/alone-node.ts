/** The states of a node that is alone: the same steps as in a cluster, but calls have nowhere to go, so it waits for them. */
import type { Config } from '../config/options.ts';
import type { Logger } from '../observe/log.ts';
import {
  admitsWork,
  nextLifecycle,
  type NodeEvent,
  type NodeLifecycle,
  type NodeState,
} from '../placement/node-lifecycle.ts';
import { count } from '../placement/drain-words.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { NodeReport } from '../protocol/node-report.ts';
import { nodeIsEnding, stepRefused, unknownNode } from './errors.ts';
import type { NodeAdmin, NodeStep } from './node-admin.ts';
import { ownWish } from './own-lifecycle.ts';

export type AloneNodeOptions = {
  nodeId: NodeId;
  /** Rooms, those included that were placed and are not open yet. */
  counts: () => { rooms: number; participants: number };
  /** Whether new rooms are taken from now on. */
  admit: (isAdmitting: boolean) => void;
  /** What a report says besides. */
  about: () => Pick<NodeReport, 'machine' | 'address' | 'region' | 'zone' | 'version' | 'load'>;
  log: Logger;
};

const lookMs = 200;

export class AloneNode implements NodeAdmin {
  readonly #options: AloneNodeOptions;
  readonly #drained = Promise.withResolvers<void>();
  #lifecycle: NodeLifecycle;
  #deadlineAtMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: AloneNodeOptions) {
    this.#options = options;
    this.#lifecycle = { epoch: 1, state: 'SERVING', owner: '', reason: '', policy: 'wait', remainingMs: null };
  }

  /** Resolves when it was drained, or the deadline of its own end has come: nothing holds it any more. */
  get drained(): Promise<void> {
    return this.#drained.promise;
  }

  get state(): NodeState {
    return this.#lifecycle.state;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** What SIGTERM does: nothing but an end in order, unless the configuration asks for more. */
  drainOption({ alone, deadline }: Config['drain']): { drain?: () => Promise<void> } {
    return alone ? { drain: () => this.#drainForEnd(deadline * 1_000) } : {};
  }

  list(): Promise<NodeReport[]> {
    return Promise.resolve([this.#report()]);
  }

  async get(nodeId: string): Promise<NodeReport> {
    this.#check(nodeId);
    return this.#report();
  }

  async step(nodeId: string, step: NodeStep): Promise<NodeReport> {
    this.#check(nodeId);
    if (step.kind === 'undrain' && this.#lifecycle.state === 'DRAINING' && this.#lifecycle.owner === ownWish) {
      throw nodeIsEnding(nodeId);
    }
    this.#apply(step);
    return this.#report();
  }

  #drainForEnd(deadlineMs: number): Promise<void> {
    this.#apply({ kind: 'drain', owner: ownWish, reason: 'SIGTERM', policy: 'wait', deadlineMs, deadlineIsHard: true });
    return this.drained;
  }

  #check(nodeId: string): void {
    if (nodeId !== this.#options.nodeId) {
      throw unknownNode(nodeId);
    }
  }

  #apply(event: NodeEvent): void {
    const transition = nextLifecycle(this.#lifecycle, event);
    if (transition.kind === 'refused') {
      throw stepRefused(transition.refusal, transition.message);
    }
    if (transition.kind === 'unchanged') {
      return;
    }
    const { admit, log, nodeId } = this.#options;
    const { change } = transition;
    this.#lifecycle = { ...this.#lifecycle, ...change, epoch: this.#lifecycle.epoch + 1 };
    if (change.remainingMs !== undefined) {
      this.#deadlineAtMs = change.remainingMs === null ? undefined : performance.now() + change.remainingMs;
    }
    const { state, owner, reason } = this.#lifecycle;
    log.info({ nodeId, step: event.kind, state, owner, reason }, 'the state of this node changed');
    admit(admitsWork(state));
    clearInterval(this.#timer);
    if (state === 'DRAINING') {
      this.#timer = setInterval(() => this.#look(), lookMs);
      this.#look();
    }
  }

  #look(): void {
    const { counts, log } = this.#options;
    const { rooms, participants } = counts();
    const { owner, reason, deadlineIsHard } = this.#lifecycle;
    if (rooms === 0) {
      this.#apply({ kind: 'emptied', owner, reason });
      this.#drained.resolve();
    } else if (deadlineIsHard === true && this.#deadlineAtMs !== undefined && performance.now() >= this.#deadlineAtMs) {
      log.warn({ rooms, participants }, 'the wait for the last room ends at its deadline');
      clearInterval(this.#timer);
      this.#drained.resolve();
    }
  }

  #report(): NodeReport {
    const { nodeId, counts, about } = this.#options;
    const { state, owner, reason, policy, deadlineIsHard = false } = this.#lifecycle;
    const { rooms, participants } = counts();
    const leftMs = this.#deadlineAtMs === undefined ? undefined : this.#deadlineAtMs - performance.now();
    const waitingFor = rooms === 0 ? [] : [`${count(rooms, 'room')} to end: this node is alone, and nothing can move`];
    const drain = {
      policy,
      secondsLeft: leftMs === undefined ? null : Math.round(leftMs / 1_000),
      deadlineIsHard,
      rooms,
      participants,
      jobs: 0,
      waitingFor,
      furtherWaits: 0,
      leader: nodeId,
    };
    return {
      id: nodeId,
      roles: ['all'],
      state,
      owner,
      reason,
      live: true,
      lastSeenSeconds: 0,
      ...about(),
      drain: state === 'DRAINING' ? drain : null,
    };
  }
}

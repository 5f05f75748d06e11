/**
 * The end of a media node that was told to stop: it asks the cluster to drain it, like anybody who wants it drained, and
 * waits. Nobody has to be there: an empty node ends by itself, and at the deadline it ends whatever still runs.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../observe/log.ts';
import { count } from '../placement/drain-words.ts';
import { defaultDrainPacing } from '../placement/drain-plan.ts';
import { mayCarryWork, type DrainPolicy } from '../placement/node-lifecycle.ts';
import { ownWish, type OwnLifecycle } from './own-lifecycle.ts';

export type SelfDrainOptions = {
  own: OwnLifecycle;
  policy: DrainPolicy;
  deadlineMs: number;
  /** What runs here. */
  counts: () => { rooms: number; participants: number };
  /** Whether a master lives, as far as this node can see. */
  hasMaster: () => boolean;
  log: Logger;
};

export type SelfDrainEnd = 'drained' | 'empty' | 'deadline';

const lookMs = 200;
const askIntervalMs = 1_000;
const tellIntervalMs = 10_000;
const reason = 'SIGTERM';

export class SelfDrain {
  readonly #options: SelfDrainOptions;
  readonly #startedAtMs = performance.now();
  #askedAtMs = -Infinity;
  #emptySinceMs: number | undefined;
  #toldAtMs = -Infinity;

  constructor(options: SelfDrainOptions) {
    this.#options = options;
  }

  /** Resolves when the node may end. Never rejects. */
  async run(): Promise<SelfDrainEnd> {
    for (;;) {
      const end = this.#look();
      if (end !== undefined) {
        this.#options.log.info({ end, ...this.#options.counts() }, 'the wait for an empty node is over');
        return end;
      }
      await delay(lookMs);
    }
  }

  #look(): SelfDrainEnd | undefined {
    const { own, counts } = this.#options;
    const nowMs = performance.now();
    const { rooms, participants } = counts();
    const isEmpty = rooms === 0 && participants === 0;
    this.#emptySinceMs = isEmpty ? (this.#emptySinceMs ?? nowMs) : undefined;
    if (!mayCarryWork(own.state)) {
      return 'drained';
    }
    if (this.#leftMs <= 0) {
      return 'deadline';
    }
    // What others still place here by what they knew before the drain arrives within this time.
    if (nowMs - (this.#emptySinceMs ?? nowMs) >= defaultDrainPacing.settleMs && this.#isAlone) {
      void this.#state({ kind: 'emptied' });
      return 'empty';
    }
    if (own.record?.state !== 'DRAINING' || own.record.deadlineIsHard !== true) {
      this.#ask();
    }
    this.#tell();
    return undefined;
  }

  get #leftMs(): number {
    return this.#startedAtMs + this.#options.deadlineMs - performance.now();
  }

  /** Nobody is there who could carry out the drain. */
  get #isAlone(): boolean {
    return !this.#options.own.isFresh || !this.#options.hasMaster();
  }

  #ask(): void {
    const nowMs = performance.now();
    if (nowMs - this.#askedAtMs >= askIntervalMs) {
      this.#askedAtMs = nowMs;
      const { own } = this.#options;
      const policy = own.state === 'DRAINING' && own.record !== undefined ? own.record.policy : this.#options.policy;
      // The process ends then, whatever the policy says: so a drain that waits begins to move calls before.
      void this.#state({ kind: 'drain', policy, deadlineMs: this.#leftMs, deadlineIsHard: true });
    }
  }

  async #state(
    event: { kind: 'emptied' } | { kind: 'drain'; policy: DrainPolicy; deadlineMs: number; deadlineIsHard: true },
  ): Promise<void> {
    const { own } = this.#options;
    // Whoever wanted the node out of service before still does when its next process starts.
    const isWanted = own.state === 'CORDONED' || own.state === 'DRAINING';
    const whose = isWanted && own.record !== undefined ? own.record : { owner: ownWish, reason };
    try {
      await own.ask({ ...event, owner: whose.owner, reason: whose.reason });
    } catch (error) {
      this.#options.log.debug({ err: error }, 'the drain of this node could not be stated');
    }
  }

  #tell(): void {
    const { counts, log, own } = this.#options;
    const nowMs = performance.now();
    if (nowMs - this.#toldAtMs < tellIntervalMs) {
      return;
    }
    this.#toldAtMs = nowMs;
    const { rooms, participants } = counts();
    const left = { rooms, participants, endsInS: Math.round(this.#leftMs / 1_000) };
    if (!this.#isAlone) {
      log.info(left, `drains: ${count(rooms, 'room')} and ${count(participants, 'participant')} are left`);
    } else if (own.isFresh) {
      log.warn(left, 'no master is there to move calls to other nodes; they go on until the deadline');
    } else {
      log.warn(left, 'the cluster store does not answer, so nobody drains this node; calls go on until the deadline');
    }
  }
}

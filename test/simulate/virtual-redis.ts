/**
 * Redis with Sentinel: the store's own rules (`StoreState`) behind a connection that takes time and can fail. Grants are
 * answered only when the replica has them, so a failover loses what it loses before anybody was told.
 */
import { StoreState, type StoreData } from '../../src/cluster/memory-store-state.ts';
import { defaultStoreTimings } from '../../src/cluster/store.ts';
import type { NodeId } from '../../src/protocol/ids.ts';
import type { Random } from './random.ts';
import type { Process } from './virtual-network.ts';
import type { VirtualTime } from './virtual-time.ts';

export type Answer<Result> = { ok: true; value: Result } | { ok: false };

const timeoutMs = 800;

export class VirtualRedis {
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #state = new StoreState(defaultStoreTimings);
  #lastMs = 0;
  #isAway = false;
  #cutOff: ReadonlySet<NodeId> = new Set();
  /** What the replica that will take over has seen last. */
  #lagging: StoreData | undefined;
  /** Grants wait for that replica. */
  #isWithholding = false;
  lossRate = 0.005;
  #connection = 0;

  constructor(time: VirtualTime, random: Random) {
    this.#time = time;
    this.#random = random;
  }

  get isAway(): boolean {
    return this.#isAway;
  }

  /** An atomic step. Without an answer it may have been carried out nevertheless. */
  call<Result>(
    process: Process,
    step: (state: StoreState) => Result,
    done: (answer: Answer<Result>) => void,
    isGrant = false,
  ): void {
    const connection = this.#connection;
    const isLost = this.#random.chance(this.lossRate);
    let answer: Answer<Result> = { ok: false };
    const deliver = process.inThisLife(() => done(answer));
    this.#time.after(this.#random.between(0.5, 4), () => {
      const isReached = !this.#isAway && !this.#cutOff.has(process.id) && connection === this.#connection;
      const value = isReached ? step(this.#current()) : undefined;
      const isWithheld = isGrant && this.#isWithholding;
      const isAnswered = isReached && !isLost && !isWithheld;
      this.#time.after(isAnswered ? this.#random.between(0.5, 4) : timeoutMs, () => {
        if (isAnswered && connection === this.#connection) {
          answer = { ok: true, value: value as Result };
        }
        deliver();
      });
    });
  }

  cutOff(ids: ReadonlySet<NodeId>): void {
    this.#cutOff = ids;
  }

  stop(): void {
    this.#current();
    this.#isAway = true;
    this.#connection += 1;
  }

  start(): void {
    if (this.#isAway) {
      this.#state.elapseOutage(this.#time.nowMs - this.#lastMs);
      this.#lastMs = this.#time.nowMs;
      this.#isAway = false;
    }
  }

  /** From now on the replica that will take over falls behind. @param isAcknowledged another one does not, so grants go on */
  lag(isAcknowledged: boolean): void {
    this.#current();
    this.#lagging = this.#state.checkpoint();
    this.#isWithholding = !isAcknowledged;
  }

  /** The primary is gone; the replica takes over a moment later, with what it had. */
  failOver(): void {
    const known = this.#lagging ?? this.#state.checkpoint();
    this.stop();
    this.#lagging = undefined;
    this.#isWithholding = false;
    this.#time.after(this.#random.between(500, 4_000), () => {
      this.start();
      this.#state.failOver(known, true);
    });
  }

  wipe(): void {
    this.#lagging = new StoreState(defaultStoreTimings).checkpoint();
    this.failOver();
  }

  /** For invariants: what it knows, without taking part. */
  look<Result>(read: (state: StoreState) => Result): Result {
    return read(this.#isAway ? this.#state : this.#current());
  }

  #current(): StoreState {
    this.#state.elapse(this.#time.nowMs - this.#lastMs);
    this.#lastMs = this.#time.nowMs;
    return this.#state;
  }
}

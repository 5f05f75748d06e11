/** Who leads: one node of the cluster at a time, by a named lease in the store. */
import type { Epoch, Leases, StoreTimings } from '../cluster/store.ts';
import type { Logger } from '../observe/log.ts';
import type { NodeId } from '../protocol/ids.ts';

export type LeaderLeaseOptions = {
  leases: Leases;
  name: string;
  nodeId: NodeId;
  timings: StoreTimings;
  log: Logger;
};

export class LeaderLease {
  readonly #options: LeaderLeaseOptions;
  #held: { epoch: Epoch; sentAtMs: number } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #asking: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: LeaderLeaseOptions) {
    this.#options = options;
  }

  /** Resolves after the first question. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => void this.#ask(), this.#options.timings.heartbeatMs);
    await this.#ask();
  }

  /**
   * The fencing token while this node leads. The lease is counted from when it was asked for, which is before the store
   * granted it: here it ends first.
   */
  get epoch(): Epoch | undefined {
    const held = this.#held;
    const isHeld = held !== undefined && performance.now() - held.sentAtMs < this.#options.timings.leaseMs;
    return isHeld ? held.epoch : undefined;
  }

  /** Another may lead at once. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await this.#asking;
    const { leases, name, nodeId, log } = this.#options;
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined) {
      await leases.release(name, nodeId, held.epoch).catch((error: unknown) => {
        log.debug({ err: error }, 'the lease of the leader could not be given back');
      });
    }
  }

  #ask(): Promise<void> {
    this.#asking ??= this.#acquire().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #acquire(): Promise<void> {
    const { leases, name, nodeId, log } = this.#options;
    const sentAtMs = performance.now();
    try {
      const result = await leases.acquire(name, nodeId);
      if (this.#isClosed && result.kind !== 'held') {
        return;
      }
      const before = this.#held?.epoch;
      this.#held = result.kind === 'held' ? { epoch: result.epoch, sentAtMs } : undefined;
      if (this.#held !== undefined && this.#held.epoch !== before) {
        log.info({ nodeId, epoch: this.#held.epoch }, 'this master leads');
      } else if (this.#held === undefined && before !== undefined) {
        log.info({ nodeId }, 'another master leads');
      }
    } catch (error) {
      log.debug({ err: error }, 'who leads could not be asked');
    }
  }
}

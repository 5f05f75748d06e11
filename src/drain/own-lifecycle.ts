/**
 * What a media node knows about its own state, and what it says about it: that it boots, is ready, or cannot work. Each
 * beat brings the record that stands; whatever is missing from it is written again.
 */
import type { NodeStateRecord } from '../cluster/store-records.ts';
import type { Logger } from '../observe/log.ts';
import { admitsWork, type NodeEvent, type NodeState } from '../placement/node-lifecycle.ts';
import { defaultTakeoverTimings, mayAdmit } from '../placement/takeover.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { NodeLifecycles } from './node-lifecycles.ts';

export type OwnLifecycleOptions = {
  nodeId: NodeId;
  /** Machine and port: no two processes have the same at a time. */
  seat: string;
  lifecycles: NodeLifecycles;
  leaseMs: number;
  log: Logger;
  /** Monotonic milliseconds. */
  now?: () => number;
};

/** What a process asks about itself is nobody's wish that outlives it. */
export const ownWish = 'node';

export class OwnLifecycle {
  readonly #options: OwnLifecycleOptions;
  readonly #now: () => number;
  #known: NodeStateRecord | undefined;
  #knownAtMs = -Infinity;
  #isBegun = false;
  #isReady = false;
  #writing: Promise<void> | undefined;

  constructor(options: OwnLifecycleOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** As of the last beat, or of the last change made here. */
  get record(): NodeStateRecord | undefined {
    return this.#known;
  }

  get state(): NodeState {
    return this.#known?.state ?? 'BOOTING';
  }

  /** Whether the store has said lately what the state is. */
  get isFresh(): boolean {
    return this.#now() - this.#knownAtMs < this.#options.leaseMs;
  }

  /** Whether it may take a room now. A node that slept may be draining without knowing. */
  get admitsRooms(): boolean {
    const { leaseMs } = this.#options;
    const standing = { beatAgeMs: this.#now() - this.#knownAtMs, affirmationAgeMs: Infinity };
    return mayAdmit('room', standing, { ...defaultTakeoverTimings, leaseMs }) && admitsWork(this.state);
  }

  /** Everything runs. Resolves when that is written, or could not be; then the next beats try again. */
  async ready(): Promise<void> {
    this.#isReady = true;
    await this.#writing;
    await this.#write();
  }

  /** The answer to a beat. @param sentAtMs when the beat was sent */
  noteBeat(record: NodeStateRecord | undefined, sentAtMs: number): void {
    if (record !== undefined) {
      this.#note(record, sentAtMs);
    }
    if (record === undefined || (this.#isReady && record.state === 'BOOTING')) {
      void this.#write(record === undefined);
    }
  }

  /** Asks the cluster for something about this node. Rejects as `NodeLifecycles.apply` does. */
  async ask(event: NodeEvent): Promise<NodeStateRecord> {
    const { lifecycles, nodeId } = this.#options;
    const sentAtMs = this.#now();
    const { record } = await lifecycles.apply(nodeId, event);
    this.#note(record, sentAtMs);
    return record;
  }

  /** The process ends in good order, with nothing left on it. Never rejects. */
  async end(): Promise<void> {
    const { lifecycles, log } = this.#options;
    const record = this.#known;
    try {
      if (record?.state === 'DRAINING') {
        await this.ask({ kind: 'emptied', owner: record.owner, reason: record.reason });
      } else if (record?.state === 'SERVING' || record?.state === 'BOOTING') {
        await lifecycles.forget(record);
      }
    } catch (error) {
      log.debug({ err: error }, 'the end of this node could not be stated');
    }
  }

  #note(record: NodeStateRecord, atMs: number): void {
    // An answer that was overtaken says less than what is known.
    if (record.epoch >= (this.#known?.epoch ?? 0)) {
      this.#known = record;
      this.#knownAtMs = Math.max(this.#knownAtMs, atMs);
    }
  }

  #write(isLost = false): Promise<void> {
    this.#writing ??= this.#reconcile(isLost)
      .catch((error: unknown) => {
        this.#options.log.debug({ err: error }, 'the state of this node could not be stated yet');
      })
      .finally(() => {
        this.#writing = undefined;
      });
    return this.#writing;
  }

  async #reconcile(isLost: boolean): Promise<void> {
    const { lifecycles, nodeId, log } = this.#options;
    if (isLost && this.#known !== undefined) {
      const { remainingMs } = this.#known;
      const left = remainingMs === null ? null : remainingMs - (this.#now() - this.#knownAtMs);
      if (await lifecycles.restate({ ...this.#known, remainingMs: left })) {
        log.warn({ state: this.#known.state }, 'the store had forgotten the state of this node');
      }
      // The epoch of before counts no more.
      const record = await lifecycles.get(nodeId);
      this.#known = record ?? this.#known;
      return;
    }
    if (!this.#isBegun) {
      await this.#begin();
    }
    if (this.#isReady) {
      await this.ask({ kind: 'ready', owner: ownWish, reason: 'ready' });
    }
  }

  async #begin(): Promise<void> {
    const { lifecycles, nodeId, seat, log } = this.#options;
    const sentAtMs = this.#now();
    const booted = { kind: 'booted', owner: ownWish, reason: 'started' } as const;
    const { record } = await lifecycles.apply(nodeId, booted, { seat });
    this.#note(record, sentAtMs);
    for (const predecessor of await lifecycles.list()) {
      if (predecessor.seat !== seat || predecessor.nodeId === nodeId) continue;
      const wish = wishFor(predecessor);
      if (wish !== undefined) {
        await this.ask(wish);
        log.info(
          { predecessor: predecessor.nodeId, owner: wish.owner, reason: wish.reason },
          `this node is to ${wish.kind}`,
        );
      }
      await lifecycles.forget(predecessor);
    }
    this.#isBegun = true;
  }
}

/**
 * What was wanted of the process that ran here before. A drain that was finished is not done again, but whoever wanted the
 * node out of service has to want it back.
 */
function wishFor(predecessor: NodeStateRecord): NodeEvent | undefined {
  const { owner, reason, policy, remainingMs, deadlineIsHard = false, state, stateBefore } = predecessor;
  if (owner === ownWish) {
    return undefined;
  }
  switch (state === 'LOST' || state === 'FAILED' ? stateBefore : state) {
    case 'CORDONED':
    case 'DRAINED':
      return { kind: 'cordon', owner, reason };
    case 'DRAINING':
      return { kind: 'drain', owner, reason, policy, deadlineMs: remainingMs, deadlineIsHard };
    default:
      return undefined;
  }
}

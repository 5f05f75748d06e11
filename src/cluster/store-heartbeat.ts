/**
 * States a node every heartbeat. A node that cannot renew fences itself: it takes no new work, and drops nothing that
 * runs.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../observe/log.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { NodeRegistry, StoreTimings } from './store.ts';
import type { NodeRecord, NodeStateRecord } from './store-records.ts';

export type NodeHeartbeatOptions = {
  nodes: NodeRegistry;
  timings: StoreTimings;
  /** What to state now. */
  record: () => NodeRecord;
  /**
   * Called with each beat that the store took; undefined when nobody ever wrote a lifecycle record.
   * @param sentAtMs of the beat, by `performance.now()`
   */
  onState: (state: NodeStateRecord | undefined, sentAtMs: number) => void;
  /** For others the node is, or is about to be, dead. Called before they may take over what it holds. */
  onFenced: () => void;
  /** It is seen as alive again. */
  onUnfenced: () => void;
  log: Logger;
};

export class NodeHeartbeat {
  readonly #options: NodeHeartbeatOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #fence: NodeJS.Timeout | undefined;
  #isFenced = true;

  /** A node is fenced until its first beat was taken. */
  constructor(options: NodeHeartbeatOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#beatOn();
  }

  get isFenced(): boolean {
    return this.#isFenced;
  }

  /** States the node out of turn, e.g. when its state changed. Rejects when the store does not take it. */
  async beat(): Promise<void> {
    const sentMs = performance.now();
    const { state } = await this.#options.nodes.beat(this.#options.record());
    if (this.#stop.signal.aborted) {
      return;
    }
    this.#renewed(sentMs);
    this.#options.onState(state, sentMs);
  }

  /** Stops, and takes the node off the list if that is possible. */
  async close(nodeId: NodeId): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#fence);
    await this.#running;
    await this.#options.nodes.leave(nodeId).catch((error: unknown) => {
      this.#options.log.debug({ err: error }, 'could not leave the list of nodes');
    });
  }

  async #beatOn(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const nextMs = performance.now() + this.#options.timings.heartbeatMs;
      try {
        await this.beat();
      } catch (error) {
        this.#options.log.debug({ err: error }, 'the store did not take a heartbeat');
      }
      await delay(Math.max(1, nextMs - performance.now()), undefined, { signal }).catch(() => undefined);
    }
  }

  /** The lease runs from when the beat arrived there, which was after it was sent: from here it ends too early, if at all. */
  #renewed(sentMs: number): void {
    clearTimeout(this.#fence);
    this.#fence = setTimeout(
      () => this.#fenceOff(),
      Math.max(0, sentMs + this.#options.timings.leaseMs - performance.now()),
    );
    if (this.#isFenced) {
      this.#isFenced = false;
      this.#options.onUnfenced();
    }
  }

  #fenceOff(): void {
    if (!this.#isFenced) {
      this.#isFenced = true;
      this.#options.log.warn({}, 'the store takes no heartbeat; no new work until it does');
      this.#options.onFenced();
    }
  }
}

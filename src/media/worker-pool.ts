import { EventEmitter } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../observe/log.ts';
import { passEngineLogs } from './engine-log.ts';
import { noWorkerAlive } from './errors.ts';
import { MediaWorker, type WorkerUsage } from './media-worker.ts';
import type { MediaSettings } from './media-types.ts';

export type WorkerPoolEvents = {
  /** Everything on this worker is closed already; a new one with the same index is being started. */
  died: [index: number];
  restarted: [index: number];
};

export type WorkerPoolOptions = {
  settings: MediaSettings;
  log: Logger;
  /** First wait before a died worker is replaced; doubles while it keeps dying. Default 100 ms. */
  restartDelayMs?: number;
};

type Slot = {
  index: number;
  worker: MediaWorker | undefined;
  /** Settled while there is no worker: with the next one, or with undefined when it could not be started. */
  up: PromiseWithResolvers<MediaWorker | undefined>;
  /** The last attempt to start it failed; the next one may, too. */
  isBroken: boolean;
  port: number;
  failures: number;
  startedAtMs: number;
};

const restartDelayMaxMs = 10_000;
/** A worker that lived this long was healthy: its next death waits the first delay again. */
const healthyAfterMs = 30_000;

/** The media workers of this process. Indexes are stable: a replacement takes its predecessor's index and port. */
export class WorkerPool extends EventEmitter<WorkerPoolEvents> {
  readonly #options: WorkerPoolOptions;
  readonly #slots: Slot[];
  readonly #abort = new AbortController();
  readonly #restarts = new Set<Promise<void>>();

  private constructor(options: WorkerPoolOptions, slots: Slot[]) {
    super();
    this.#options = options;
    this.#slots = slots;
  }

  static async start(options: WorkerPoolOptions): Promise<WorkerPool> {
    passEngineLogs(options.log);
    const pool = new WorkerPool(options, []);
    let port = options.settings.portRangeStart;
    try {
      for (let index = 0; index < options.settings.workers; index += 1) {
        const up = Promise.withResolvers<MediaWorker | undefined>();
        const slot: Slot = { index, worker: undefined, up, isBroken: false, port, failures: 0, startedAtMs: 0 };
        pool.#slots.push(slot);
        // One after the other: two that probe at once would both fail on the port that one of them took.
        await pool.#startSlot(slot);
        port = slot.port + 1;
      }
    } catch (error) {
      await pool.close();
      throw error;
    }
    return pool;
  }

  get settings(): MediaSettings {
    return this.#options.settings;
  }

  /** Those that run now, in order of their index. */
  get workers(): MediaWorker[] {
    return this.#slots.map((slot) => slot.worker).filter((worker) => worker !== undefined);
  }

  /** undefined while it is being restarted, and for an index that does not exist. */
  worker(index: number): MediaWorker | undefined {
    return this.#slots[index]?.worker;
  }

  /** Indexes of those that died and are expected back in a moment. */
  get restarting(): number[] {
    return this.#slots.filter((slot) => slot.worker === undefined && !slot.isBroken).map((slot) => slot.index);
  }

  /**
   * Waits for a worker that is being restarted. Rejects with reason `no-media-worker` when it cannot be started, or is not
   * up in time.
   */
  async whenUp(index: number, timeoutMs: number): Promise<MediaWorker> {
    const slot = this.#slots[index];
    if (slot?.worker !== undefined) {
      return slot.worker;
    }
    const { promise, resolve } = Promise.withResolvers<MediaWorker | undefined>();
    const timer = setTimeout(resolve, timeoutMs, undefined);
    void slot?.up.promise.then(resolve);
    const worker = await promise;
    clearTimeout(timer);
    if (worker === undefined) {
      throw noWorkerAlive();
    }
    return worker;
  }

  /** @throws PlenumError `no-media-worker` when none runs. */
  leastLoaded(): MediaWorker {
    const [first, ...others] = this.workers;
    if (first === undefined) {
      throw noWorkerAlive();
    }
    return others.reduce((best, worker) => (worker.load < best.load ? worker : best), first);
  }

  async usage(): Promise<WorkerUsage[]> {
    const usages = await Promise.all(this.workers.map((worker) => worker.usage().catch(() => undefined)));
    return usages.filter((usage) => usage !== undefined);
  }

  /** Ends all workers; resolves when no restart is under way any more. */
  async close(): Promise<void> {
    this.#abort.abort();
    const { workers } = this;
    for (const slot of this.#slots) {
      slot.worker = undefined;
    }
    await Promise.all([...workers.map((worker) => worker.end()), ...this.#restarts]);
  }

  async #startSlot(slot: Slot): Promise<void> {
    const worker = await MediaWorker.start({
      index: slot.index,
      settings: this.#options.settings,
      log: this.#options.log,
      firstPort: slot.port,
    });
    if (this.#abort.signal.aborted) {
      worker.close();
      return;
    }
    slot.worker = worker;
    slot.isBroken = false;
    slot.port = worker.port;
    slot.startedAtMs = performance.now();
    slot.up.resolve(worker);
    worker.once('died', () => this.#died(slot));
  }

  #died(slot: Slot): void {
    slot.worker = undefined;
    slot.up = Promise.withResolvers();
    slot.failures = performance.now() - slot.startedAtMs > healthyAfterMs ? 1 : slot.failures + 1;
    const restart = this.#restart(slot).finally(() => this.#restarts.delete(restart));
    this.#restarts.add(restart);
    this.emit('died', slot.index);
  }

  async #restart(slot: Slot): Promise<void> {
    const { signal } = this.#abort;
    while (!signal.aborted && slot.worker === undefined) {
      const waitMs = Math.min((this.#options.restartDelayMs ?? 100) * 2 ** (slot.failures - 1), restartDelayMaxMs);
      await delay(waitMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) {
        return;
      }
      try {
        await this.#startSlot(slot);
      } catch (error) {
        slot.failures += 1;
        slot.isBroken = true;
        slot.up.resolve(undefined);
        slot.up = Promise.withResolvers();
        this.#options.log.error({ err: error, workerIndex: slot.index }, 'media worker could not be restarted');
      }
    }
    if (!signal.aborted) {
      this.emit('restarted', slot.index);
    }
  }
}

/** What a node states about its load: measured every second, over the time since the last measurement. */
import { availableParallelism } from 'node:os';
import { monitorEventLoopDelay, type ELDHistogram } from 'node:perf_hooks';
import type { NodeLoad } from '../placement/load.ts';
import {
  LagWindow,
  measureLoad,
  type LoadSample,
  type MeasuredLoad,
  type WorkerSample,
} from '../placement/measure-load.ts';

export type NodeLoadOptions = {
  workers: () => Promise<WorkerSample[]>;
  counts: () => { rooms: number; participants: number };
  /** Cores that the node may count on; those of the machine when left out or 0. */
  cores?: number;
};

const intervalMs = 1_000;
const lagResolutionMs = 10;
const lagPercentile = 99;
const nanosecondsPerMs = 1e6;

export class NodeLoadMeter {
  readonly #options: NodeLoadOptions;
  readonly #delay: ELDHistogram = monitorEventLoopDelay({ resolution: lagResolutionMs });
  readonly #lag = new LagWindow();
  readonly #cores: number;
  #last: LoadSample = { atMs: performance.now(), ownCpuMs: 0, workers: [] };
  #load: MeasuredLoad;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: NodeLoadOptions) {
    this.#options = options;
    const { cores = 0 } = options;
    this.#cores = cores === 0 ? availableParallelism() : cores;
    this.#load = measureLoad(this.#last, this.#last, this.#cores);
  }

  /** Resolves once the workers are known. */
  async start(): Promise<void> {
    this.#delay.enable();
    this.#last = await this.#sample();
    this.#load = measureLoad(this.#last, this.#last, this.#cores);
    this.#timer = setInterval(() => void this.#measure(), intervalMs);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#delay.disable();
  }

  get load(): NodeLoad {
    return { ...this.#load, eventLoopLagMs: this.#lag.lagMs, ...this.#options.counts() };
  }

  async #measure(): Promise<void> {
    // The histogram measures the whole interval between two timers, so its own resolution is taken off.
    const worstMs = this.#delay.count === 0 ? 0 : this.#delay.percentile(lagPercentile) / nanosecondsPerMs;
    this.#lag.add(Math.max(0, worstMs - lagResolutionMs));
    this.#delay.reset();
    const sample = await this.#sample();
    if (sample.atMs > this.#last.atMs) {
      this.#load = measureLoad(this.#last, sample, this.#cores);
      this.#last = sample;
    }
  }

  /** The moment is that of the answers, whichever was late. */
  async #sample(): Promise<LoadSample> {
    const workers = await this.#options.workers().catch(() => []);
    const { user, system } = process.cpuUsage();
    return { atMs: performance.now(), ownCpuMs: (user + system) / 1_000, workers };
  }
}

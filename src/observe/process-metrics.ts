/** What the machine gives: this process, its event loop, and the media workers. */
import { type ELDHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { collectDefaultMetrics, Counter, Gauge, type Registry } from 'prom-client';

export type WorkerUsage = {
  /** Stable over the worker's life, e.g. its index. */
  worker: string;
  /** User and system time since the worker started. */
  cpuSeconds: number;
  residentBytes: number;
};

/** Asked at each scrape; what it rejects with is left out of the scrape. */
export type WorkerSampler = (signal: AbortSignal) => Promise<WorkerUsage[]>;

const samplingTimeoutMs = 1_000;
const lagResolutionMs = 10;

/**
 * Adds Node's own metrics under their usual names (`process_…`, `nodejs_…`). They observe the whole process and cannot
 * be stopped, so this is called once per process.
 */
export function addProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry });
}

export class WorkerMetrics {
  readonly #cpu: Counter<'worker'>;
  readonly #resident: Gauge<'worker'>;
  readonly #deaths: Counter;
  #sample: WorkerSampler | undefined;
  #sampling: Promise<WorkerUsage[]> | undefined;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#cpu = new Counter({
      name: 'plenum_worker_cpu_seconds_total',
      help: 'CPU time of each media worker.',
      labelNames: ['worker'],
      registers,
      collect: () => this.#collectCpu(),
    });
    this.#resident = new Gauge({
      name: 'plenum_worker_resident_bytes',
      help: 'Resident memory of each media worker.',
      labelNames: ['worker'],
      registers,
      collect: () => this.#collectResident(),
    });
    this.#deaths = new Counter({
      name: 'plenum_worker_deaths_total',
      help: 'Media workers that ended although nobody asked them to.',
      registers,
    });
  }

  sampleWith(sample: WorkerSampler): void {
    this.#sample = sample;
  }

  workerDied(): void {
    this.#deaths.inc();
  }

  async #collectCpu(): Promise<void> {
    const usages = await this.#usages();
    this.#cpu.reset();
    for (const { worker, cpuSeconds } of usages) {
      this.#cpu.inc({ worker }, cpuSeconds);
    }
  }

  async #collectResident(): Promise<void> {
    const usages = await this.#usages();
    this.#resident.reset();
    for (const { worker, residentBytes } of usages) {
      this.#resident.set({ worker }, residentBytes);
    }
  }

  /** prom-client asks all metrics at the same time; one sampling serves them. */
  #usages(): Promise<WorkerUsage[]> {
    this.#sampling ??= this.#sampleInTime().finally(() => {
      this.#sampling = undefined;
    });
    return this.#sampling;
  }

  async #sampleInTime(): Promise<WorkerUsage[]> {
    const signal = AbortSignal.timeout(samplingTimeoutMs);
    const late = new Promise<WorkerUsage[]>((resolve) => {
      signal.addEventListener('abort', () => resolve([]), { once: true });
    });
    try {
      return await Promise.race([this.#sample?.(signal) ?? [], late]);
    } catch {
      return [];
    }
  }
}

const lagQuantiles = [0.5, 0.99, 1];
const nanosecondsPerSecond = 1e9;

export class EventLoopMetrics {
  readonly #delay: ELDHistogram = monitorEventLoopDelay({ resolution: lagResolutionMs });

  constructor(registry: Registry) {
    const lag: Gauge<'quantile'> = new Gauge({
      name: 'plenum_event_loop_lag_seconds',
      help: 'How late timers fired since the last scrape: the event loop was busy that long.',
      labelNames: ['quantile'],
      registers: [registry],
      collect: () => {
        for (const quantile of lagQuantiles) {
          lag.set({ quantile: String(quantile) }, this.#lagSeconds(quantile));
        }
        this.#delay.reset();
      },
    });
    this.#delay.enable();
  }

  /** Safe to call twice. */
  close(): void {
    this.#delay.disable();
  }

  /** The histogram measures the whole interval between two timers, so its own resolution is taken off. */
  #lagSeconds(quantile: number): number {
    const { count } = this.#delay;
    const intervalSeconds = count === 0 ? 0 : this.#delay.percentile(quantile * 100) / nanosecondsPerSecond;
    return Math.max(0, intervalSeconds - lagResolutionMs / 1_000);
  }
}

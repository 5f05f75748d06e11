/** What a node states about its load: measured every second, over the time since the last measurement. */
import { availableParallelism } from 'node:os';
import { monitorEventLoopDelay, type ELDHistogram } from 'node:perf_hooks';
import type { MediaTraffic } from '../leg/observer.ts';
import type { NodeLoad } from '../placement/load.ts';

export type WorkerSample = { index: number; cpuMs: number; tracks: number };

export type NodeLoadOptions = {
  workers: () => Promise<WorkerSample[]>;
  counts: () => { rooms: number; participants: number };
  /** Cores that the node may count on; those of the machine when left out or 0. */
  cores?: number;
};

const intervalMs = 1_000;
const lagResolutionMs = 10;

export class NodeLoadMeter {
  readonly #options: NodeLoadOptions;
  readonly #lag: ELDHistogram = monitorEventLoopDelay({ resolution: lagResolutionMs });
  #cpuBefore = process.cpuUsage();
  #workersBefore = new Map<number, number>();
  #beforeMs = performance.now();
  #bytes = 0;
  #packets = 0;
  #load: Omit<NodeLoad, 'rooms' | 'participants'>;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: NodeLoadOptions) {
    this.#options = options;
    this.#load = {
      cpu: 0,
      cores: options.cores === undefined || options.cores === 0 ? availableParallelism() : options.cores,
      bitrateBps: 0,
      packetsPerSecond: 0,
      tracks: 0,
      eventLoopLagMs: 0,
      workers: [],
    };
  }

  /** Resolves once the workers are known. */
  async start(): Promise<void> {
    this.#lag.enable();
    await this.#measure();
    // Nothing can be said about so short a time yet.
    this.#load = { ...this.#load, cpu: 0, eventLoopLagMs: 0 };
    this.#timer = setInterval(() => void this.#measure(), intervalMs);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#lag.disable();
  }

  mediaMeasured(traffic: MediaTraffic): void {
    this.#bytes += traffic.sizeBytes;
    this.#packets += traffic.packets;
  }

  get load(): NodeLoad {
    return { ...this.#load, ...this.#options.counts() };
  }

  async #measure(): Promise<void> {
    const samples = await this.#options.workers().catch(() => []);
    const nowMs = performance.now();
    const elapsedMs = Math.max(1, nowMs - this.#beforeMs);
    const cpu = process.cpuUsage();
    const ownCpuMs = (cpu.user + cpu.system - this.#cpuBefore.user - this.#cpuBefore.system) / 1_000;
    const workers = samples.map(({ index, cpuMs, tracks }) => {
      const usedMs = Math.max(0, cpuMs - (this.#workersBefore.get(index) ?? cpuMs));
      return { workerIndex: index, cpu: Math.min(1, usedMs / elapsedMs), bitrateBps: 0, tracks };
    });
    const { cores } = this.#load;
    const workersCpu = workers.reduce((sum, worker) => sum + worker.cpu, 0);
    this.#load = {
      cores,
      cpu: Math.min(1, (ownCpuMs / elapsedMs + workersCpu) / cores),
      bitrateBps: Math.round((this.#bytes * 8_000) / elapsedMs),
      packetsPerSecond: Math.round((this.#packets * 1_000) / elapsedMs),
      tracks: workers.reduce((sum, worker) => sum + worker.tracks, 0),
      // The histogram's own resolution is part of what it measures.
      eventLoopLagMs: Math.max(0, this.#lag.mean / 1e6 - lagResolutionMs) || 0,
      workers,
    };
    this.#lag.reset();
    this.#cpuBefore = cpu;
    this.#workersBefore = new Map(samples.map(({ index, cpuMs }) => [index, cpuMs]));
    this.#beforeMs = nowMs;
    this.#bytes = 0;
    this.#packets = 0;
  }
}

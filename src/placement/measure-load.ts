/** Two looks at a node's running counters make what it states about its load. */
import type { NodeLoad, WorkerLoad } from './load.ts';

/** Counters run since the worker started. */
export type WorkerSample = {
  index: number;
  cpuMs: number;
  /** Producers and consumers, those of pipes included. */
  tracks: number;
  /** Of all its sockets, in both directions. */
  bytes: number;
  packets: number;
};

export type LoadSample = {
  /** Monotonic. */
  atMs: number;
  /** Of this process, without its workers. */
  ownCpuMs: number;
  workers: readonly WorkerSample[];
};

export type MeasuredLoad = Omit<NodeLoad, 'rooms' | 'participants' | 'eventLoopLagMs'>;

/** A worker that is not in both samples, or began anew between them, counts with what it carries only. */
export function measureLoad(before: LoadSample, now: LoadSample, cores: number): MeasuredLoad {
  const elapsedMs = Math.max(1, now.atMs - before.atMs);
  const known = new Map(before.workers.map((worker) => [worker.index, worker]));
  const moved = now.workers.map((worker) => difference(known.get(worker.index), worker));
  const workers = moved.map(({ index, tracks, cpuMs, bytes }): WorkerLoad => ({
    workerIndex: index,
    cpu: Math.min(1, cpuMs / elapsedMs),
    bitrateBps: Math.round((bytes * 8_000) / elapsedMs),
    tracks,
  }));
  const packets = moved.reduce((sum, worker) => sum + worker.packets, 0);
  const workersCpu = workers.reduce((sum, worker) => sum + worker.cpu, 0);
  const ownCpu = Math.max(0, now.ownCpuMs - before.ownCpuMs) / elapsedMs;
  return {
    cores,
    cpu: Math.min(1, (ownCpu + workersCpu) / cores),
    bitrateBps: workers.reduce((sum, worker) => sum + worker.bitrateBps, 0),
    packetsPerSecond: Math.round((packets * 1_000) / elapsedMs),
    tracks: workers.reduce((sum, worker) => sum + worker.tracks, 0),
    workers,
  };
}

function difference(before: WorkerSample | undefined, now: WorkerSample): WorkerSample {
  const { index, tracks } = now;
  if (before === undefined || now.cpuMs < before.cpuMs || now.bytes < before.bytes) {
    return { index, tracks, cpuMs: 0, bytes: 0, packets: 0 };
  }
  return {
    index,
    tracks,
    cpuMs: now.cpuMs - before.cpuMs,
    bytes: now.bytes - before.bytes,
    packets: Math.max(0, now.packets - before.packets),
  };
}

/** So many seconds in a row must have been bad before a node counts as late. */
const lagSeconds = 3;

/**
 * What a node states as its event-loop lag: of the worst moments of the last three seconds the mildest, so that one long
 * pause (a garbage collection, a machine that was stopped) does not keep work away, and a loop that is late again and
 * again does.
 */
export class LagWindow {
  #worstMs: number[] = [];

  /** @param worstMs how late timers were in one second, 99th percentile */
  add(worstMs: number): void {
    this.#worstMs = [...this.#worstMs, worstMs].slice(-lagSeconds);
  }

  get lagMs(): number {
    return this.#worstMs.length < lagSeconds ? 0 : Math.min(...this.#worstMs);
  }
}

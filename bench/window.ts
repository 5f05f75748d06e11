/** A stretch of time over which the server's cost and the clients' gain are measured. */
import { setTimeout as delay } from 'node:timers/promises';
import type { EndpointTotals } from '../test/kit/light/light-endpoint.ts';
import type { Crowd } from './crowd.ts';
import { sampleMachine, type ProcessSample } from './process-tree.ts';
import type { Target } from './target.ts';

type Sample = {
  atMs: number;
  server: ProcessSample[];
  totals: EndpointTotals;
  loadCpuS: number;
  machine: { busyS: number; stolenS: number };
};

export type Window = {
  seconds: number;
  /** CPU seconds of the server by kind of process. */
  cpuS: Record<string, number>;
  serverCpuS: number;
  /** Of endpoint and orchestrator. */
  loadCpuS: number;
  /** Share of one core that neither the server nor the load took. */
  foreignCores: number;
  packets: number;
  bytes: number;
  messages: number;
  lost: number;
  repeats: number;
  givenUp: number;
  sizeChanges: number;
  sentPackets: number;
  rssBytes: Record<string, number>;
  /** At the end of the window; delays are those of the window. */
  totals: EndpointTotals;
};

export class Meter {
  readonly #target: Target;
  readonly #crowd: Crowd;

  constructor(target: Target, crowd: Crowd) {
    this.#target = target;
    this.#crowd = crowd;
  }

  async over(seconds: number): Promise<Window> {
    return this.during(async () => delay(seconds * 1000));
  }

  async during(work: () => Promise<unknown>): Promise<Window> {
    const before = await this.#sample();
    await work();
    return toWindow(before, await this.#sample());
  }

  async #sample(): Promise<Sample> {
    const totals = await this.#crowd.endpoint.totals({ reset: true });
    const endpoint = await this.#crowd.endpoint.usage();
    const own = process.cpuUsage();
    return {
      atMs: performance.now(),
      server: this.#target.sample(),
      totals,
      loadCpuS: endpoint.cpuMs / 1000 + (own.user + own.system) / 1e6,
      machine: sampleMachine(),
    };
  }
}

function toWindow(before: Sample, after: Sample): Window {
  const seconds = (after.atMs - before.atMs) / 1000;
  const cpuS: Record<string, number> = {};
  const rssBytes: Record<string, number> = {};
  for (const process of after.server) {
    const earlier = before.server.find(({ pid }) => pid === process.pid);
    cpuS[process.kind] = (cpuS[process.kind] ?? 0) + process.cpuS - (earlier?.cpuS ?? 0);
    rssBytes[process.kind] = (rssBytes[process.kind] ?? 0) + process.rssBytes;
  }
  const serverCpuS = Object.values(cpuS).reduce((sum, part) => sum + part, 0);
  const loadCpuS = after.loadCpuS - before.loadCpuS;
  const busyS = after.machine.busyS - before.machine.busyS;
  const gained = (pick: (totals: EndpointTotals) => number): number => pick(after.totals) - pick(before.totals);
  return {
    seconds,
    cpuS,
    serverCpuS,
    loadCpuS,
    foreignCores: Math.max(0, busyS - serverCpuS - loadCpuS) / seconds,
    packets: gained(({ packets }) => packets),
    bytes: gained(({ bytes }) => bytes),
    messages: gained(({ messages }) => messages),
    lost: gained(({ lost }) => lost),
    repeats: gained(({ repeats }) => repeats),
    givenUp: gained(({ givenUp }) => givenUp),
    sizeChanges: gained(({ sizeChanges }) => sizeChanges),
    sentPackets: gained(({ sentPackets }) => sentPackets),
    rssBytes,
    totals: after.totals,
  };
}

/** The figures that every scenario with media has. */
export function mediaFigures(window: Window): Record<string, number> {
  const { seconds, packets, bytes, totals } = window;
  return {
    'CPU µs/packet': (window.serverCpuS * 1e6) / packets,
    'of it worker': ((window.cpuS['worker'] ?? Number.NaN) * 1e6) / packets,
    'packets/s': packets / seconds,
    'Mbit/s': (bytes * 8) / seconds / 1e6,
    'CPU %': (window.serverCpuS * 100) / seconds,
    'CPU s/GB': (window.serverCpuS * 1e9) / bytes,
    'delay p50 ms': totals.mediaDelay.p50Ms,
    'p95 ms': totals.mediaDelay.p95Ms,
    'p99 ms': totals.mediaDelay.p99Ms,
    'loss %': (window.lost * 100) / (packets + window.lost),
    'silent streams': totals.streams - totals.heard,
    'load CPU %': (window.loadCpuS * 100) / seconds,
    'foreign CPU %': window.foreignCores * 100,
  };
}

/** Follows what the leading master decides, as it is told to anybody who asks. */
import { setTimeout as delay } from 'node:timers/promises';
import type { ShownCapacity } from '../../../src/protocol/capacity-report.ts';

export type Victim = {
  machineId: string;
  /** Of it, and of every other node that served, at the look that decided. */
  work: number;
  others: number[];
};

export type CapacityWatchOptions = { ask: () => Promise<ShownCapacity>; say: (line: string) => void };

const lookMs = 500;

export class CapacityWatch {
  readonly #options: CapacityWatchOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  readonly #told = new Set<string>();
  #before: ShownCapacity | undefined;
  /** What was decided and why, in order. */
  readonly timeline: string[] = [];
  readonly victims: Victim[] = [];

  constructor(options: CapacityWatchOptions) {
    this.#options = options;
    this.#running = this.#watch();
  }

  /** Machines that are being emptied now. */
  get draining(): string[] {
    return this.#before?.machines.filter(({ phase }) => phase === 'draining').map(({ machineId }) => machineId) ?? [];
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      // Between two leaders nobody answers.
      const report = await this.#options.ask().catch(() => undefined);
      if (report !== undefined) {
        this.#look(report);
      }
      await delay(lookMs, undefined, { signal }).catch(() => undefined);
    }
  }

  #look(report: ShownCapacity): void {
    for (const { agoMs, what, reason } of report.decisions) {
      // Two looks are never that close, and the same decision is not taken twice in so short a time.
      const at = Math.round((performance.now() - agoMs) / 2_000);
      const isKnown = [at - 1, at, at + 1].some((near) => this.#told.has(`${near} ${what}`));
      this.#told.add(`${at} ${what}`);
      if (!isKnown) {
        this.timeline.push(`${what}: ${reason}`);
        this.#options.say(`decided: ${what} (${reason})`);
        this.#chosen(/^drain (\S+)/.exec(what)?.[1], report);
      }
    }
    this.#before = report;
  }

  /** What the decision rested on is in the same report. */
  #chosen(machineId: string | undefined, { machines }: ShownCapacity): void {
    const chosen = machines.find((machine) => machine.machineId === machineId);
    if (chosen !== undefined) {
      const others = machines.filter((machine) => machine !== chosen && machine.phase === 'serving');
      this.victims.push({ machineId: chosen.machineId, work: chosen.work, others: others.map(({ work }) => work) });
    }
  }
}

/**
 * What Azure is about to do to this machine. A node is emptied within the notice and Azure is told to go on as soon as
 * nothing runs there; a machine that the cluster itself deletes is empty already.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { Logger } from '../observe/log.ts';

const documentSchema = z.object({
  DocumentIncarnation: z.number(),
  Events: z.array(
    z.object({
      EventId: z.string(),
      EventType: z.string(),
      Resources: z.array(z.string()).default([]),
      EventStatus: z.string(),
      NotBefore: z.string().default(''),
      /** -1 when the platform does not know. */
      DurationInSeconds: z.number().default(-1),
    }),
  ),
});

export type PlatformEvent = {
  id: string;
  type: string;
  /** Until Azure acts by itself; 0 when it has begun. */
  remainingMs: number;
  /** The machine, and all that it remembers, is gone afterwards. */
  takesMachine: boolean;
  /** Calls get over it where they are. */
  isBearable: boolean;
};

export type ScheduledEventsOptions = {
  url: string;
  /** Events of all machines of the set arrive. */
  machineName: string;
  /** Called once per event. Resolves when nothing runs on this node any more. */
  onEvent: (event: PlatformEvent) => Promise<void>;
  log: Logger;
  now: () => number;
  intervalMs?: number;
};

const pollMs = 1_000;
/** The very first question may take minutes to be answered. */
const answerMs = 120_000;
/** A freeze that is shorter than this harms a call less than a move. */
const bearableFreezeS = 9;

export class ScheduledEvents {
  readonly #options: ScheduledEventsOptions;
  readonly #stop = new AbortController();
  readonly #known = new Set<string>();
  #running: Promise<void> | undefined;

  constructor(options: ScheduledEventsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#pollOn();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #pollOn(): Promise<void> {
    const { signal } = this.#stop;
    const { log, intervalMs = pollMs } = this.#options;
    while (!signal.aborted) {
      await this.#look().catch((error: unknown) => {
        if (!signal.aborted) log.debug({ err: error }, 'scheduled events could not be read');
      });
      await delay(intervalMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #look(): Promise<void> {
    const response = await this.#request({});
    const { Events } = documentSchema.parse(await response.json());
    const { machineName, now } = this.#options;
    for (const event of Events.filter(({ Resources }) => Resources.includes(machineName))) {
      if (!this.#known.has(event.EventId)) {
        this.#known.add(event.EventId);
        const notBeforeMs = Date.parse(event.NotBefore);
        void this.#handle({
          id: event.EventId,
          type: event.EventType,
          remainingMs: Number.isNaN(notBeforeMs) ? 0 : Math.max(0, notBeforeMs - now()),
          isBearable:
            event.EventType === 'Freeze' && event.DurationInSeconds >= 0 && event.DurationInSeconds < bearableFreezeS,
          takesMachine: event.EventType === 'Terminate' || event.EventType === 'Preempt',
        });
      }
    }
  }

  async #handle(event: PlatformEvent): Promise<void> {
    const { log, onEvent } = this.#options;
    log.warn({ event: event.type, remainingMs: event.remainingMs }, 'the platform is about to act on this machine');
    try {
      if (!event.isBearable) {
        await onEvent(event);
      }
      await this.#request({ method: 'POST', body: JSON.stringify({ StartRequests: [{ EventId: event.id }] }) });
    } catch (error) {
      log.warn({ err: error, event: event.type }, 'the platform could not be told that it may go on');
    }
  }

  async #request(init: RequestInit): Promise<Response> {
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(answerMs)]);
    const url = `${this.#options.url}/metadata/scheduledevents?api-version=2020-07-01`;
    const response = await fetch(url, { ...init, headers: { Metadata: 'true' }, signal });
    if (!response.ok) {
      throw new Error(`status ${response.status}`);
    }
    return response;
  }
}

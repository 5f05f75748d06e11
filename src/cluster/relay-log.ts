import type { Logger } from '../observe/log.ts';
import type { LogLevel } from '../lib/errors.ts';

const windowMs = 10_000;

/** Says the same thing once in ten seconds, and how often it was so: a node in a loop must not fill the logs of the others. */
export class LimitedLog {
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #said = new Map<string, { atMs: number; suppressed: number }>();

  /** @param now milliseconds of a monotonic clock */
  constructor(log: Logger, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  /** @param reason one of few: each has its own ten seconds */
  say(level: LogLevel, reason: string, fields: { message: string } & Record<string, unknown>): void {
    const nowMs = this.#now();
    const said = this.#said.get(reason);
    if (said !== undefined && nowMs - said.atMs < windowMs) {
      said.suppressed += 1;
      return;
    }
    this.#said.set(reason, { atMs: nowMs, suppressed: 0 });
    const { message, ...rest } = fields;
    this.#log[level]({ ...rest, reason, suppressed: said?.suppressed ?? 0 }, message);
  }
}

import { setTimeout as delay } from 'node:timers/promises';
import { storeSettling } from './store-errors.ts';

export type Settling = { kind: 'settling'; waitMs: number };

/**
 * Repeats a grant while the store is being told again what nodes hold. That takes two heartbeats; a store that goes on
 * settling is being restarted over and over.
 *
 * @param wait waits that many milliseconds
 */
export async function untilSettled<Result extends { kind: string }>(
  attempt: () => Promise<Result | Settling>,
  wait: (ms: number) => Promise<unknown> = delay,
): Promise<Exclude<Result, Settling>> {
  for (let tries = 0; tries < 3; tries += 1) {
    const result = await attempt();
    if (!isSettling(result)) {
      return result as Exclude<Result, Settling>;
    }
    await wait(result.waitMs + 1);
  }
  throw storeSettling();
}

function isSettling(result: { kind: string } | Settling): result is Settling {
  return result.kind === 'settling';
}

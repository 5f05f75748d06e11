import { setTimeout as delay } from 'node:timers/promises';

export type UntilOptions = {
  timeoutMs?: number;
  /** Pause between two looks at the condition. */
  intervalMs?: number;
};

/**
 * Waits until `complaint` returns an empty string. On timeout it throws the last complaint, so that a failing test says
 * what was still wrong instead of "timed out". An exception of the check counts as a complaint.
 */
export async function until(complaint: () => string | Promise<string>, options: UntilOptions = {}): Promise<void> {
  const { timeoutMs = 20_000, intervalMs = 20 } = options;
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const last = await complain(complaint);
    if (last === '') return;
    if (performance.now() >= deadlineMs) {
      throw new Error(`still wrong after ${timeoutMs} ms: ${last}`);
    }
    await delay(intervalMs);
  }
}

async function complain(complaint: () => string | Promise<string>): Promise<string> {
  try {
    return await complaint();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Settles with `promise`, or rejects with `what` once the deadline has passed. */
export async function withDeadline<T>(
  promise: Promise<T>,
  what: string | (() => string),
  timeoutMs: number,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`not within ${timeoutMs} ms: ${typeof what === 'string' ? what : what()}`)),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([promise, expired]);
  } finally {
    clearTimeout(timer);
  }
}

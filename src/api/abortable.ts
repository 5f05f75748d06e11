/** Bounds a wait for something that takes no AbortSignal itself. */
import { hostTooSlow, requestAborted } from './errors.ts';

/** Settles as `work` does, but rejects with `canceled` when the signal aborts and `deadline_exceeded` after the timeout. */
export function abortable<Value>(
  work: Promise<Value>,
  bound: { signal: AbortSignal; timeoutMs: number },
): Promise<Value> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => finish(() => reject(hostTooSlow())), bound.timeoutMs);
    const canceled = (): void => finish(() => reject(requestAborted(bound.signal)));
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      bound.signal.removeEventListener('abort', canceled);
      settle();
    };
    bound.signal.addEventListener('abort', canceled);
    if (bound.signal.aborted) {
      canceled();
    }
    work.then(
      (value) => finish(() => resolve(value)),
      (error: unknown) => finish(() => reject(error as Error)),
    );
  });
}

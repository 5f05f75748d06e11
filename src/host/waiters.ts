/** Who waits for something to happen, each with a signal of its own. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  /** Resolves with the next `wake`; rejects with the signal's reason when it aborts first. */
  wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const aborted = (): void => {
        this.#waiting.delete(woken);
        reject(signal.reason as Error);
      };
      const woken = (): void => {
        signal.removeEventListener('abort', aborted);
        resolve();
      };
      if (signal.aborted) {
        aborted();
        return;
      }
      signal.addEventListener('abort', aborted, { once: true });
      this.#waiting.add(woken);
    });
  }

  wake(): void {
    for (const woken of this.#waiting) {
      this.#waiting.delete(woken);
      woken();
    }
  }
}

/** One pass at a time; whatever is requested during a pass becomes one more pass. */
export class ReconcileLoop {
  readonly #pass: () => Promise<void>;
  readonly #onError: (error: unknown) => void;
  #running: Promise<void> | undefined;
  #requested = false;
  #closed = false;

  constructor(options: { pass: () => Promise<void>; onError: (error: unknown) => void }) {
    this.#pass = options.pass;
    this.#onError = options.onError;
  }

  /** Asks for a pass that sees everything changed so far. */
  request(): void {
    if (this.#closed) {
      return;
    }
    this.#requested = true;
    this.#running ??= this.#run();
  }

  /** Resolves when no pass is under way or asked for. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** No pass starts after this; one under way notices by its own checks. @returns when none is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#requested = false;
    await this.#running;
  }

  async #run(): Promise<void> {
    // The turn's other requests join the first pass.
    await Promise.resolve();
    while (this.#requested && !this.#closed) {
      this.#requested = false;
      try {
        await this.#pass();
      } catch (error) {
        this.#onError(error);
      }
    }
    this.#running = undefined;
  }
}

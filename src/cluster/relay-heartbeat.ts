export type HeartbeatOptions = {
  intervalMs: number;
  misses: number;
  beat: () => void;
  silent: () => void;
};

/**
 * Tells that nothing was heard of a peer for `misses` intervals in a row. It counts its own ticks and compares no times:
 * when this process itself stood still, that is one late tick, and not a peer that was silent for long.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #unheard = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => this.#tick(), this.#options.intervalMs);
    this.#options.beat();
  }

  heard(): void {
    this.#unheard = 0;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    this.#unheard += 1;
    if (this.#unheard >= this.#options.misses) {
      this.stop();
      this.#options.silent();
      return;
    }
    this.#options.beat();
  }
}

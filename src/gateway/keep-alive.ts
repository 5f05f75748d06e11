import type { SignalSocket } from './signal-socket.ts';

export type KeepAliveOptions = { pingIntervalMs: number; pingTimeoutMs: number };

/** Pings all sockets and finds the dead ones, with one timer for all. */
export class KeepAlive {
  readonly #options: KeepAliveOptions;
  readonly #sockets = new Set<SignalSocket>();
  readonly #periodMs: number;
  #timer: NodeJS.Timeout | undefined;
  #ranAtMs = 0;

  constructor(options: KeepAliveOptions) {
    this.#options = options;
    this.#periodMs = Math.min(1000, options.pingIntervalMs / 2, options.pingTimeoutMs / 4);
  }

  start(): void {
    this.#ranAtMs = performance.now();
    this.#timer ??= setInterval(() => this.#run(), this.#periodMs);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  add(socket: SignalSocket): void {
    this.#sockets.add(socket);
  }

  delete(socket: SignalSocket): void {
    this.#sockets.delete(socket);
  }

  #run(): void {
    const nowMs = performance.now();
    // After a stall (machine asleep, long garbage collection) what clients sent meanwhile is still unread, and timers run
    // before sockets are read: judging now would end every session at once.
    const stalled = nowMs - this.#ranAtMs > this.#periodMs * 3;
    this.#ranAtMs = nowMs;
    if (stalled) {
      return;
    }
    for (const socket of this.#sockets) {
      socket.tick(nowMs, this.#options);
    }
  }
}

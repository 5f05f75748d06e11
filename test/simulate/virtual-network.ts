/** Processes that can crash, stand still and be cut off, and a network between them that loses and reorders messages. */
import type { NodeId } from '../../src/protocol/ids.ts';
import type { Message } from './messages.ts';
import type { Random } from './random.ts';
import type { VirtualTime } from './virtual-time.ts';

export abstract class Process {
  readonly id: NodeId;
  readonly time: VirtualTime;
  isRunning = false;
  isPaused = false;
  /** Timers and answers of an earlier life of the process are dropped. */
  #life = 0;
  #whenResumed: (() => void)[] = [];

  constructor(id: NodeId, time: VirtualTime) {
    this.id = id;
    this.time = time;
  }

  abstract started(): void;
  abstract crashed(): void;
  abstract receive(from: NodeId, message: Message): void;

  get nowMs(): number {
    return this.time.nowMs;
  }

  start(): void {
    if (!this.isRunning) {
      this.isRunning = true;
      this.started();
    }
  }

  crash(): void {
    if (this.isRunning) {
      this.isRunning = false;
      this.isPaused = false;
      this.#life += 1;
      this.#whenResumed = [];
      this.crashed();
    }
  }

  /** As by SIGSTOP: nothing runs, and what arrives waits in the sockets. */
  pause(): void {
    this.isPaused = this.isRunning;
  }

  resume(): void {
    if (this.isPaused) {
      this.isPaused = false;
      const waiting = this.#whenResumed;
      this.#whenResumed = [];
      for (const run of waiting) {
        this.time.after(0, this.inThisLife(run));
      }
    }
  }

  /** Wraps a callback: it runs in this life of the process only, and not while it is paused. */
  inThisLife(run: () => void): () => void {
    const life = this.#life;
    const guarded = (): void => {
      if (!this.isRunning || life !== this.#life) {
        return;
      }
      if (this.isPaused) {
        this.#whenResumed.push(guarded);
      } else {
        run();
      }
    };
    return guarded;
  }

  after(delayMs: number, run: () => void): void {
    this.time.after(delayMs, this.inThisLife(run));
  }

  every(intervalMs: number, run: () => void): void {
    const tick = (): void => {
      run();
      this.after(intervalMs, tick);
    };
    tick();
  }
}

export class VirtualNetwork {
  lossRate = 0;
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #processes = new Map<NodeId, Process>();
  /** Processes that hear each other only; everybody else is in one group. */
  #island: ReadonlySet<NodeId> = new Set();

  constructor(time: VirtualTime, random: Random) {
    this.#time = time;
    this.#random = random;
  }

  add(process: Process): void {
    this.#processes.set(process.id, process);
  }

  cut(island: ReadonlySet<NodeId>): void {
    this.#island = island;
  }

  heal(): void {
    this.#island = new Set();
  }

  reaches(from: NodeId, to: NodeId): boolean {
    return this.#island.has(from) === this.#island.has(to);
  }

  send(from: NodeId, to: NodeId, message: Message): void {
    if (!this.reaches(from, to) || (from !== to && this.#random.chance(this.lossRate))) {
      return;
    }
    const target = this.#processes.get(to);
    // Some messages take a detour and are overtaken by many others.
    const delayMs = this.#random.chance(0.03) ? this.#random.between(50, 400) : this.#random.between(0.5, 8);
    this.#time.after(delayMs, () => {
      if (target !== undefined && this.reaches(from, to)) {
        target.inThisLife(() => target.receive(from, message))();
      }
    });
  }
}

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';

/** How one direction treats packets. */
export type PathOptions = {
  /** Share of packets that get lost, 0–1. */
  loss?: number;
  /** One-way delay. */
  delayMs?: number;
  /** Bits per second of UDP payload; 0 = unlimited. */
  rateBps?: number;
  /** Bytes that may wait for the rate; more is dropped. Default: what the rate carries in 100 ms. */
  queueBytes?: number;
  /** Nothing passes. */
  stopped?: boolean;
};

export type UdpRelayOptions = {
  /** Where packets of clients go. */
  target: { address: string; port: number };
  /** Address that clients send to. Default 127.0.0.1. */
  listenAddress?: string;
  /** Port that clients send to. Default: any free one. */
  listenPort?: number;
  /** Same seed, same losses for the same packets. */
  seed?: number;
  up?: PathOptions;
  down?: PathOptions;
};

type Waiting = { atMs: number; packet: Buffer; deliver: (packet: Buffer) => void };

/** One direction: loss, then a queue that drains at the rate, then a constant delay. */
class Path {
  readonly counters = { passed: 0, lost: 0, overflowed: 0 };
  #options: PathOptions;
  readonly #random: () => number;
  readonly #waiting: Waiting[] = [];
  #lineFreeAtMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: PathOptions, random: () => number) {
    this.#options = options;
    this.#random = random;
  }

  set(options: PathOptions): void {
    this.#options = options;
  }

  push(packet: Buffer, deliver: (packet: Buffer) => void): void {
    const { loss = 0, delayMs = 0, rateBps = 0, stopped = false } = this.#options;
    if (stopped || this.#random() < loss) {
      this.counters.lost += 1;
      return;
    }
    const nowMs = performance.now();
    let leavesAtMs = nowMs;
    if (rateBps > 0) {
      const queueMs = ((this.#options.queueBytes ?? rateBps / 80) * 8000) / rateBps;
      const startsAtMs = Math.max(nowMs, this.#lineFreeAtMs);
      if (startsAtMs - nowMs > queueMs) {
        this.counters.overflowed += 1;
        return;
      }
      leavesAtMs = startsAtMs + (packet.length * 8000) / rateBps;
      this.#lineFreeAtMs = leavesAtMs;
    }
    this.#waiting.push({ atMs: leavesAtMs + delayMs, packet, deliver });
    this.#drain();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#waiting.length = 0;
  }

  #drain(): void {
    clearTimeout(this.#timer);
    const nowMs = performance.now();
    let due = 0;
    // Stays in order even when the delay was changed to a smaller one.
    for (const entry of this.#waiting) {
      if (entry.atMs > nowMs + 0.5) {
        break;
      }
      due += 1;
    }
    for (const entry of this.#waiting.splice(0, due)) {
      this.counters.passed += 1;
      entry.deliver(entry.packet);
    }
    const [next] = this.#waiting;
    if (next !== undefined) {
      this.#timer = setTimeout(() => this.#drain(), Math.max(1, next.atMs - nowMs));
    }
  }
}

/** A bad network in user space: forwards UDP between clients and one target, each client from a port of its own. */
export class UdpRelay {
  readonly #options: UdpRelayOptions;
  readonly #front: Socket;
  readonly #backs = new Map<string, Socket>();
  readonly #up: Path;
  readonly #down: Path;
  #closed = false;

  private constructor(options: UdpRelayOptions) {
    this.#options = options;
    const seed = options.seed ?? 1;
    // One generator each: how the two directions interleave differs from run to run.
    this.#up = new Path(options.up ?? {}, seededRandom(seed));
    this.#down = new Path(options.down ?? {}, seededRandom(seed + 1));
    this.#front = createSocket('udp4', (packet, from) => this.#fromClient(packet, from));
  }

  static async start(options: UdpRelayOptions): Promise<UdpRelay> {
    const relay = new UdpRelay(options);
    relay.#front.bind(options.listenPort ?? 0, options.listenAddress ?? '127.0.0.1');
    await once(relay.#front, 'listening');
    return relay;
  }

  get port(): number {
    return this.#front.address().port;
  }

  get counters(): { up: Path['counters']; down: Path['counters'] } {
    return { up: this.#up.counters, down: this.#down.counters };
  }

  /** Client to target. */
  setUp(options: PathOptions): void {
    this.#up.set(options);
  }

  /** Target to client. */
  setDown(options: PathOptions): void {
    this.#down.set(options);
  }

  /** Both directions go silent. */
  stop(): void {
    this.setUp({ stopped: true });
    this.setDown({ stopped: true });
  }

  /** Clients come from other ports from now on, as from another network. What the target sends to the old ones is lost. */
  rebind(): void {
    for (const back of this.#backs.values()) {
      back.close();
    }
    this.#backs.clear();
  }

  close(): void {
    if (!this.#closed) {
      this.#closed = true;
      this.#up.close();
      this.#down.close();
      this.#front.close();
      this.rebind();
    }
  }

  #fromClient(packet: Buffer, from: RemoteInfo): void {
    const { address, port } = this.#options.target;
    const back = this.#backOf(from);
    this.#up.push(packet, (due) => {
      if (this.#backs.get(keyOf(from)) === back) back.send(due, port, address, ignoreError);
    });
  }

  #backOf(from: RemoteInfo): Socket {
    const key = keyOf(from);
    let back = this.#backs.get(key);
    if (back === undefined) {
      back = createSocket('udp4', (packet) => {
        this.#down.push(packet, (due) => this.#front.send(due, from.port, from.address, ignoreError));
      });
      back.on('error', ignoreError);
      this.#backs.set(key, back);
    }
    return back;
  }
}

function keyOf({ address, port }: RemoteInfo): string {
  return `${address}:${port}`;
}

/** A peer that went away shows as an error of the next send; on this bad network that is just another loss. */
function ignoreError(): void {}

/** Mulberry32: small, and the same on every run. */
function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

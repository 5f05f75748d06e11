/** The producers that the legs of one room on one worker can consume: those made there, and those that pipes bring there. */
import type { MediaConsumer } from '../media/media-consumer.ts';
import type { RoomRouter } from '../media/room-router.ts';
import type { Logger } from '../observe/log.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { ProducerHome } from '../protocol/leg-messages.ts';
import type { PeerClient } from './peer-client.ts';
import { PipeTarget } from './pipe-target.ts';
import type { ConsumableProducers, PublishedProducer } from './published-producer.ts';

export type WorkerProducersOptions = {
  roomName: string;
  workerIndex: number;
  published: (producerId: string) => PublishedProducer | undefined;
  router: () => Promise<RoomRouter>;
  peer: (nodeId: NodeId) => PeerClient;
  epoch: () => number;
  /** Milliseconds that a producer stays after the last leg let go of it. */
  lingerMs: number;
  now: () => number;
  onChanged: () => void;
  log: Logger;
};

/** What a leg wants that may have to be brought here. */
export type ProducerWish = { producerId: string; home: ProducerHome };

type Entry = {
  home: ProducerHome;
  target: PipeTarget;
  legs: Set<string>;
  /** Consumers here, and whether they take it now. */
  takers: Map<MediaConsumer, boolean>;
  linger: NodeJS.Timeout | undefined;
};

export class WorkerProducers implements ConsumableProducers {
  readonly #options: WorkerProducersOptions;
  readonly #entries = new Map<string, Entry>();
  /** By node and worker that they come from. */
  readonly #targets = new Map<string, PipeTarget>();
  readonly #wishes = new Map<string, ReadonlySet<string>>();
  readonly #closing = new Set<Promise<void>>();
  #closed = false;

  constructor(options: WorkerProducersOptions) {
    this.#options = options;
  }

  /** Producers that came through pipes. */
  get received(): number {
    return [...this.#targets.values()].reduce((sum, target) => sum + target.received, 0);
  }

  producer(producerId: string): PublishedProducer | undefined {
    const own = this.#options.published(producerId);
    if (own?.workerIndex === this.#options.workerIndex) {
      return own;
    }
    return this.#entries.get(producerId)?.target.producer(producerId);
  }

  /** A consumer here started or stopped to take a producer; what nobody takes does not flow. */
  setTaken(consumer: MediaConsumer, taken: boolean): void {
    const { producerId } = consumer;
    const entry = this.#entries.get(producerId);
    if (entry === undefined || consumer.closed || entry.takers.get(consumer) === taken) {
      return;
    }
    if (!entry.takers.has(consumer)) {
      consumer.once('close', () => {
        entry.takers.delete(consumer);
        this.#tellFlow(producerId, entry);
      });
    }
    entry.takers.set(consumer, taken);
    this.#tellFlow(producerId, entry);
  }

  /** Everything that a leg wants from other workers and nodes; replaces what it wanted before. */
  setWishes(leg: string, wishes: readonly ProducerWish[]): void {
    const before = this.#wishes.get(leg) ?? new Set();
    const now = new Set(wishes.map(({ producerId }) => producerId));
    this.#wishes.set(leg, now);
    for (const { producerId, home } of wishes) {
      if (!before.has(producerId)) {
        this.#add(leg, producerId, home);
      }
    }
    for (const producerId of before) {
      if (!now.has(producerId)) {
        this.#remove(leg, producerId);
      }
    }
    if (now.size === 0) {
      this.#wishes.delete(leg);
    }
  }

  /** Producers of other nodes that are wanted here, with their homes. */
  remoteWishes(): Iterable<[producerId: string, { home: ProducerHome }]> {
    return this.#entries;
  }

  /** @returns when the engine holds nothing of it any more. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { linger } of this.#entries.values()) {
      clearTimeout(linger);
    }
    this.#entries.clear();
    for (const target of this.#targets.values()) {
      this.#closeTarget(target);
    }
    this.#targets.clear();
    await Promise.all(this.#closing);
  }

  #add(leg: string, producerId: string, home: ProducerHome): void {
    if (this.#closed) {
      return;
    }
    const entry = this.#entries.get(producerId) ?? this.#open(producerId, home);
    clearTimeout(entry.linger);
    entry.linger = undefined;
    entry.legs.add(leg);
  }

  #open(producerId: string, home: ProducerHome): Entry {
    const target = this.#target(home);
    const entry: Entry = { home, target, legs: new Set(), takers: new Map(), linger: undefined };
    this.#entries.set(producerId, entry);
    target.want(producerId, false);
    return entry;
  }

  #remove(leg: string, producerId: string): void {
    const entry = this.#entries.get(producerId);
    if (entry === undefined || !entry.legs.delete(leg) || entry.legs.size > 0) {
      return;
    }
    // One that has not come, or has ended, is not worth waiting for.
    const waitMs = entry.target.producer(producerId) === undefined ? 0 : this.#options.lingerMs;
    entry.linger = setTimeout(() => this.#forget(producerId), waitMs).unref();
  }

  #forget(producerId: string): void {
    const entry = this.#entries.get(producerId);
    if (entry === undefined || entry.legs.size > 0) {
      return;
    }
    this.#entries.delete(producerId);
    const { target, home } = entry;
    target.unwant(producerId);
    if (target.empty) {
      this.#targets.delete(keyOf(home));
      this.#closeTarget(target);
    }
  }

  #tellFlow(producerId: string, entry: Entry): void {
    if (this.#entries.get(producerId) === entry) {
      entry.target.want(producerId, [...entry.takers.values()].includes(true));
    }
  }

  #target(home: ProducerHome): PipeTarget {
    const key = keyOf(home);
    const known = this.#targets.get(key);
    if (known !== undefined) {
      return known;
    }
    const { roomName, workerIndex, router, peer, epoch, now, onChanged, log } = this.#options;
    const target = new PipeTarget({
      roomName,
      home,
      workerIndex,
      router,
      peer: () => peer(home.nodeId),
      epoch,
      now,
      onChanged,
      log: log.child({ room: roomName, from: key, workerIndex }),
    });
    this.#targets.set(key, target);
    return target;
  }

  #closeTarget(target: PipeTarget): void {
    const closing = target.close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }
}

function keyOf(home: ProducerHome): string {
  return `${home.nodeId} ${home.workerIndex}`;
}

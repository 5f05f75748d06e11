/** One room on this node: its routers, the producers that legs can consume, levels and data. */
import type { CreateRouterOptions } from '../media/media-worker.ts';
import type { ProducerLevel } from '../media/media-types.ts';
import type { RoomRouter } from '../media/room-router.ts';
import type { WorkerPool } from '../media/worker-pool.ts';
import type { NodeId, TrackSid } from '../protocol/ids.ts';
import type { LegToHost, TrackLevel } from '../protocol/leg-messages.ts';
import type { Leg } from './leg.ts';
import type { DataDropReason } from './observer.ts';
import type { ProducerDirectory, PublishedProducer } from './published-producer.ts';
import { RoomData } from './room-data.ts';

export type RoomMediaOptions = {
  roomName: string;
  nodeId: NodeId;
  pool: WorkerPool;
  routerOptions: CreateRouterOptions;
  now: () => number;
  onDataDropped: (reason: DataDropReason) => void;
  send: (message: LegToHost) => void;
};

/** A worker that died is back long before this; a client that is told to join anew may wait for seconds before it does. */
const workerRestartMs = 2000;
/** One count over all legs serves the reports of all publishers. */
const wantedLayersMaxAgeMs = 1000;

export class RoomMedia implements ProducerDirectory {
  readonly roomName: string;
  readonly nodeId: NodeId;
  readonly data: RoomData;
  readonly #options: RoomMediaOptions;
  readonly #routers = new Map<number, Promise<RoomRouter>>();
  readonly #producers = new Map<string, PublishedProducer>();
  readonly #legs = new Map<string, Leg>();
  readonly #closing = new Set<Leg>();
  #wantedLayers = { atMs: Number.NEGATIVE_INFINITY, byProducer: new Map<string, number>() };
  #closed = false;

  constructor(options: RoomMediaOptions) {
    this.#options = options;
    this.roomName = options.roomName;
    this.nodeId = options.nodeId;
    this.data = new RoomData({
      now: options.now,
      onDropped: options.onDataDropped,
      onRpcPacket: (sender, packet) =>
        options.send({ kind: 'rpcPacket', roomName: options.roomName, leg: sender.participantSid, packet }),
    });
  }

  get legs(): ReadonlyMap<string, Leg> {
    return this.#legs;
  }

  get producerCount(): number {
    return this.#producers.size;
  }

  /** Workers that carry legs of this room. */
  workers(): Set<number> {
    return new Set([...this.#legs.values()].map((leg) => leg.workerIndex));
  }

  add(leg: Leg): void {
    this.#legs.set(leg.identity.participantSid, leg);
    this.data.join(leg);
  }

  /** Takes a leg out and closes it. @returns when the engine holds nothing of it any more. */
  async remove(leg: Leg): Promise<void> {
    this.#legs.delete(leg.identity.participantSid);
    this.data.leave(leg.identity.participantSid);
    this.#closing.add(leg);
    await leg.close();
    this.#closing.delete(leg);
  }

  /** No leg is here, nor on its way out. */
  get empty(): boolean {
    return this.#legs.size + this.#closing.size === 0;
  }

  /** The room's router on this worker, made on first use. */
  router(workerIndex: number): Promise<RoomRouter> {
    const known = this.#routers.get(workerIndex);
    if (known !== undefined) {
      return known;
    }
    const router = this.#createRouter(workerIndex);
    this.#routers.set(workerIndex, router);
    router.catch(() => {
      // A failed try must not stay: the worker may be back for the next leg.
      if (this.#routers.get(workerIndex) === router) {
        this.#routers.delete(workerIndex);
      }
    });
    return router;
  }

  producer(producerId: string): PublishedProducer | undefined {
    return this.#producers.get(producerId);
  }

  addProducer(producer: PublishedProducer): void {
    this.#producers.set(producer.producerId, producer);
    this.#producersChanged();
  }

  removeProducer(producerId: string): void {
    if (this.#producers.delete(producerId)) {
      this.#producersChanged();
    }
  }

  /** Highest spatial layer of a producer that any leg here takes; -1 = none does. At most a second old. */
  highestWantedLayer(producerId: string): number {
    const nowMs = this.#options.now();
    if (nowMs - this.#wantedLayers.atMs > wantedLayersMaxAgeMs) {
      this.#wantedLayers = { atMs: nowMs, byProducer: this.#countWantedLayers() };
    }
    return this.#wantedLayers.byProducer.get(producerId) ?? -1;
  }

  /** Everything on this worker is closed already. */
  workerDied(workerIndex: number): void {
    this.#routers.delete(workerIndex);
  }

  close(): void {
    this.#closed = true;
    for (const router of this.#routers.values()) {
      // One that is still being made is closed as soon as it is there.
      router.then(
        (made) => made.close(),
        () => undefined,
      );
    }
    this.#routers.clear();
    this.#producers.clear();
  }

  async #createRouter(workerIndex: number): Promise<RoomRouter> {
    const worker = await this.#options.pool.whenUp(workerIndex, workerRestartMs);
    const router = await worker.createRouter(this.#options.routerOptions);
    router.on('levels', (levels) => this.#onLevels(levels));
    return router;
  }

  #onLevels(levels: readonly ProducerLevel[]): void {
    if (this.#closed) {
      return;
    }
    const tracks: TrackLevel[] = [];
    for (const { producerId, levelDbov } of levels) {
      const trackSid = this.#producers.get(producerId)?.trackSid;
      if (trackSid !== undefined) {
        tracks.push({ trackSid: trackSid as TrackSid, levelDbov });
      }
    }
    this.#options.send({ kind: 'levels', roomName: this.roomName, levels: tracks });
  }

  #countWantedLayers(): Map<string, number> {
    const highest = new Map<string, number>();
    for (const leg of this.#legs.values()) {
      for (const { producerId, bound, want, applied } of leg.subscriber.held.values()) {
        if (bound && !want.paused) {
          highest.set(producerId, Math.max(highest.get(producerId) ?? -1, applied?.spatial ?? 0));
        }
      }
    }
    return highest;
  }

  #producersChanged(): void {
    for (const leg of this.#legs.values()) {
      leg.producersChanged();
    }
  }
}

/** One room on this node: its routers, the producers that legs can consume, levels and data. */
import type { CreateRouterOptions } from '../media/media-worker.ts';
import type { ProducerLevel } from '../media/media-types.ts';
import type { RoomRouter } from '../media/room-router.ts';
import type { WorkerPool } from '../media/worker-pool.ts';
import type { Logger } from '../observe/log.ts';
import type { LegId, NodeId, TrackSid } from '../protocol/ids.ts';
import type { LegToHost, ProducerRef, TrackLevel } from '../protocol/leg-messages.ts';
import type { PeerPacket } from '../protocol/leg-peer-messages.ts';
import type { Leg } from './leg.ts';
import type { DataDropReason } from './observer.ts';
import type { PeerClient } from './peer-client.ts';
import type { PeerRoom } from './peer-server.ts';
import type { ProducerDirectory, PublishedProducer } from './published-producer.ts';
import { RemoteLayers } from './remote-layers.ts';
import { RoomData } from './room-data.ts';
import { WorkerProducers } from './worker-producers.ts';

export type RoomMediaOptions = {
  roomName: string;
  nodeId: NodeId;
  pool: WorkerPool;
  routerOptions: CreateRouterOptions;
  peer: (nodeId: NodeId) => PeerClient;
  pipeLingerMs: number;
  now: () => number;
  log: Logger;
  onDataDropped: (reason: DataDropReason) => void;
  send: (message: LegToHost) => void;
};

/** A worker that died is back long before this; a client that is told to join anew may wait for seconds before it does. */
const workerRestartMs = 2000;
/** One count over all legs serves the reports of all publishers. */
const wantedLayersMaxAgeMs = 1000;

export class RoomMedia implements ProducerDirectory, PeerRoom {
  readonly roomName: string;
  readonly nodeId: NodeId;
  readonly data: RoomData;
  readonly #options: RoomMediaOptions;
  readonly #routers = new Map<number, Promise<RoomRouter>>();
  readonly #producers = new Map<string, PublishedProducer>();
  readonly #legs = new Map<LegId, Leg>();
  readonly #closing = new Set<Leg>();
  readonly #workers = new Map<number, WorkerProducers>();
  readonly #remoteLayers = new RemoteLayers();
  #nodes: readonly NodeId[] = [];
  #epoch = 0;
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
      onPacket: (packet) => this.#sendToNodes(this.#nodes, packet),
    });
  }

  get legs(): ReadonlyMap<LegId, Leg> {
    return this.#legs;
  }

  get producerCount(): number {
    return this.#producers.size;
  }

  /** Producers that came here from other workers and nodes, one per worker that they came to. */
  get pipedCount(): number {
    return [...this.#workers.values()].reduce((sum, worker) => sum + worker.received, 0);
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** Other nodes with legs of this room. One that is new gets the data of the last moments, as a new participant does. */
  setNodes(nodes: readonly NodeId[], epoch: number): void {
    if (epoch < this.#epoch) {
      return;
    }
    const others = nodes.filter((node) => node !== this.nodeId);
    const known = new Set(this.#nodes);
    this.#epoch = epoch;
    this.#nodes = others;
    const fresh = others.filter((node) => !known.has(node));
    for (const node of fresh) {
      this.#options.peer(node).prepare();
    }
    if (fresh.length > 0) {
      for (const packet of this.data.recentOwn()) {
        this.#sendToNodes(fresh, packet);
      }
    }
  }

  /** What legs on this worker can consume. */
  producersOn(workerIndex: number): WorkerProducers {
    let producers = this.#workers.get(workerIndex);
    if (producers === undefined) {
      const { roomName, peer, now, pipeLingerMs, log } = this.#options;
      producers = new WorkerProducers({
        roomName,
        workerIndex,
        published: (producerId) => this.#producers.get(producerId),
        router: () => this.router(workerIndex),
        peer,
        epoch: () => this.#epoch,
        lingerMs: pipeLingerMs,
        now,
        onChanged: () => this.#producersChanged(workerIndex),
        log,
      });
      this.#workers.set(workerIndex, producers);
    }
    return producers;
  }

  /** What a leg subscribes to; the part that lives elsewhere is brought to its worker. */
  setWishes(leg: Leg, wishes: readonly ProducerRef[]): void {
    const elsewhere = wishes.filter(({ home }) => home.nodeId !== this.nodeId || home.workerIndex !== leg.workerIndex);
    this.producersOn(leg.workerIndex).setWishes(leg.legId, elsewhere);
  }

  /** Resolves when what was sent so far has arrived at the other nodes of the room. */
  async dataArrived(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => this.#options.peer(node).dataArrived()));
  }

  receivePacket(packet: PeerPacket): void {
    this.data.receiveFromPeer(packet);
  }

  setWantedLayer(nodeId: NodeId, producerId: string, layer: number): void {
    if (this.#producers.has(producerId)) {
      this.#remoteLayers.set(nodeId, producerId, layer);
    }
  }

  forgetPeer(nodeId: NodeId): void {
    this.#remoteLayers.forgetNode(nodeId);
  }

  /** Once a second: tells other nodes which layers of their producers are taken here. */
  tellWantedLayers(): void {
    const homes = new Map<string, NodeId>();
    for (const worker of this.#workers.values()) {
      for (const [producerId, { home }] of worker.remoteWishes()) {
        if (home.nodeId !== this.nodeId) {
          homes.set(producerId, home.nodeId);
        }
      }
    }
    if (homes.size === 0) {
      return;
    }
    for (const { producerId, layer } of this.#remoteLayers.changesFor(homes.keys(), (id) =>
      this.#localWantedLayer(id),
    )) {
      const nodeId = homes.get(producerId);
      if (nodeId !== undefined) {
        this.#options.peer(nodeId).send({ kind: 'wantedLayer', roomName: this.roomName, producerId, layer });
      }
    }
  }

  /** How much of this room is on a worker. */
  shareOf(workerIndex: number): { roomLegs: number; roomTracks: number } {
    const isHere = (entry: { workerIndex: number }): boolean => entry.workerIndex === workerIndex;
    return {
      roomLegs: [...this.#legs.values()].filter(isHere).length,
      roomTracks: [...this.#producers.values()].filter(isHere).length,
    };
  }

  add(leg: Leg): void {
    this.#legs.set(leg.legId, leg);
    this.data.join(leg);
  }

  /** Takes a leg out and closes it. @returns when the engine holds nothing of it any more. */
  async remove(leg: Leg): Promise<void> {
    this.#legs.delete(leg.legId);
    this.data.leave(leg.legId);
    this.#workers.get(leg.workerIndex)?.setWishes(leg.legId, []);
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
      this.#remoteLayers.forgetProducer(producerId);
      this.#producersChanged();
    }
  }

  /** Highest spatial layer of a producer that any leg takes; -1 = none does. Of legs here at most a second old. */
  highestWantedLayer(producerId: string): number {
    return Math.max(this.#localWantedLayer(producerId), this.#remoteLayers.highest(producerId));
  }

  #localWantedLayer(producerId: string): number {
    const nowMs = this.#options.now();
    if (nowMs - this.#wantedLayers.atMs > wantedLayersMaxAgeMs) {
      this.#wantedLayers = { atMs: nowMs, byProducer: this.#countWantedLayers() };
    }
    return this.#wantedLayers.byProducer.get(producerId) ?? -1;
  }

  /** Everything on this worker is closed already. */
  workerDied(workerIndex: number): void {
    this.#routers.delete(workerIndex);
    const producers = this.#workers.get(workerIndex);
    this.#workers.delete(workerIndex);
    void producers?.close();
  }

  /** @returns when the engine holds nothing of it any more. */
  async close(): Promise<void> {
    this.#closed = true;
    const routers = [...this.#routers.values()];
    const workers = [...this.#workers.values()];
    this.#routers.clear();
    this.#producers.clear();
    await Promise.all(workers.map((worker) => worker.close()));
    // One that is still being made is closed as soon as it is there.
    for (const made of await Promise.allSettled(routers)) {
      if (made.status === 'fulfilled') {
        await made.value.closePipes();
        made.value.close();
      }
    }
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

  /** @param workerIndex undefined = all */
  #producersChanged(workerIndex?: number): void {
    for (const leg of this.#legs.values()) {
      if (workerIndex === undefined || leg.workerIndex === workerIndex) {
        leg.producersChanged();
      }
    }
  }

  #sendToNodes(nodes: readonly NodeId[], packet: PeerPacket): void {
    for (const node of nodes) {
      this.#options.peer(node).sendData(packet);
    }
  }
}

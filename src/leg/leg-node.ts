/** All legs of this node: takes the messages of room hosts and keeps rooms as long as they have legs here. */
import { randomInt } from 'node:crypto';
import type { Link } from '../cluster/link.ts';
import type { Config } from '../config/options.ts';
import type { WorkerPool } from '../media/worker-pool.ts';
import type { Logger } from '../observe/log.ts';
import type { LegId, NodeId } from '../protocol/ids.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';
import { routerCodecs } from '../sdp/capabilities.ts';
import { chooseWorker, type WorkerCandidate } from './choose-worker.ts';
import { Leg, type LegCommand } from './leg.ts';
import { LegPeers } from './leg-peers.ts';
import type { CarriedMedia, LegObserver } from './observer.ts';
import { defaultPeerTimings, type LegPeerConnector, type PeerTimings } from './peer-client.ts';
import type { IncomingPeerLink } from './peer-server.ts';
import { RoomMedia } from './room-media.ts';

export type LegNodeOptions = {
  nodeId: NodeId;
  pool: WorkerPool;
  config: Config;
  log: Logger;
  observer?: LegObserver;
  /** The way to the leg nodes of other nodes; without it rooms stay on this one. */
  peers?: LegPeerConnector;
  peerTimings?: PeerTimings;
};

export type LegCounts = { legs: number; rooms: number; producers: number; hosts: number };

/** Pipes between routers, in each direction as seen from this node; those between its own workers count as both. */
export type PipeCounts = { outgoingPipes: number; incomingProducers: number };

type HostLink = Link<LegToHost, HostToLeg>;

/** A leg, its room, and the host that opened it. */
type Entry = { leg: Leg; room: RoomMedia; link: HostLink };

const observeIntervalMs = 1000;
/** Statistics are asked for every so many observations, the legs spread over them. */
const observationsPerReport = 5;
/** Quieter than this is silence: the speaker threshold is far above it. */
const silenceDbov = 90;

export class LegNode {
  readonly #options: LegNodeOptions;
  readonly #log: Logger;
  readonly #links = new Set<HostLink>();
  readonly #legs = new Map<LegId, Entry>();
  readonly #rooms = new Map<string, RoomMedia>();
  /** The host of each room: the one that opened a leg of it last. */
  readonly #roomLinks = new Map<string, HostLink>();
  readonly #closing = new Set<Promise<void>>();
  readonly #onWorkerDied = (index: number): void => this.#workerDied(index);
  readonly #peers: LegPeers;
  /** Random start: the copies of another node's producers keep their ids, and ids are unique per worker. */
  #generation = randomInt(2 ** 40);
  #observations = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: LegNodeOptions) {
    this.#options = options;
    this.#log = options.log;
    options.pool.on('died', this.#onWorkerDied);
    this.#peers = new LegPeers({
      nodeId: options.nodeId,
      connector: options.peers,
      timings: options.peerTimings ?? defaultPeerTimings,
      maxDataBytes: options.config.rtc.reliable_queue_bytes,
      room: (roomName) => this.#rooms.get(roomName),
      onDataDropped: (packets) => options.observer?.dataDropped('peer-backlog', packets),
      onPeerGone: (nodeId) => {
        for (const room of this.#rooms.values()) {
          room.forgetPeer(nodeId);
        }
      },
      log: options.log,
    });
  }

  /** For metrics and leak tests. */
  get counts(): LegCounts {
    let producers = 0;
    for (const room of this.#rooms.values()) {
      producers += room.producerCount;
    }
    return { legs: this.#legs.size, rooms: this.#rooms.size, producers, hosts: this.#links.size };
  }

  get pipeCounts(): PipeCounts {
    const incomingProducers = [...this.#rooms.values()].reduce((sum, room) => sum + room.pipedCount, 0);
    return { outgoingPipes: this.#peers.outgoingPipes, incomingProducers };
  }

  /** What all legs carry right now; walks over every subscription, so it is for scrapes and not for every second. */
  carried(): CarriedMedia {
    const sum: CarriedMedia = {
      published: { audio: 0, video: 0 },
      subscribed: { audio: 0, video: 0 },
      queuedDataBytes: 0,
    };
    for (const { leg } of this.#legs.values()) {
      leg.countInto(sum);
    }
    return sum;
  }

  /** Serves a room host until its link closes; then its legs are closed too. */
  addHost(link: HostLink): void {
    this.#links.add(link);
    link.onMessage((message) => this.#receiveSafely(link, message));
    link.onClose(() => this.#hostLost(link));
  }

  /** Serves another leg node that opened a link to this one. */
  acceptPeer(nodeId: NodeId, link: IncomingPeerLink): void {
    this.#peers.accept(nodeId, link);
  }

  /** Closes all legs. @returns when the engine holds nothing of them any more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#options.pool.off('died', this.#onWorkerDied);
    const legs = [...this.#legs.values()].map((entry) => this.#closeLeg(entry));
    for (const link of [...this.#links]) {
      link.close();
    }
    this.#links.clear();
    await Promise.all([...legs, ...this.#closing]);
    await this.#peers.close();
  }

  /** A bug in one leg must not take the process, and with it every other call, down. */
  #receiveSafely(link: HostLink, message: HostToLeg): void {
    try {
      this.#receive(link, message);
    } catch (error) {
      this.#log.error({ err: error, message: message.kind }, 'a message of the host failed');
      if ('leg' in message) {
        link.send({ kind: 'failed', leg: message.leg, failure: 'internal', detail: `${message.kind} failed` });
      }
    }
  }

  #receive(link: HostLink, message: HostToLeg): void {
    switch (message.kind) {
      case 'open':
        return this.#open(link, message);
      case 'close':
        return this.#closeByHost(link, message);
      case 'serverPacket':
        return this.#rooms
          .get(message.roomName)
          ?.data.sendFromServer(message.packet, message.reliable ? 'reliable' : 'lossy', message.recipients);
      case 'interceptRpc':
        return this.#rooms.get(message.roomName)?.data.intercept(message.requestId, message.active);
      case 'roomNodes':
        return this.#rooms.get(message.roomName)?.setNodes(message.nodes, message.epoch);
      default:
        return this.#command(link, message);
    }
  }

  #command(link: HostLink, message: LegCommand): void {
    const entry = this.#legs.get(message.leg);
    if (entry !== undefined) {
      entry.leg.receive(message);
    } else if (message.kind === 'export' || message.kind === 'hold' || message.kind === 'activate') {
      // The host waits for an answer; for other commands it does not matter that they come too late.
      link.send({ kind: 'failed', leg: message.leg, failure: 'worker-died', detail: 'there is no such leg' });
    }
  }

  #open(link: HostLink, message: Extract<HostToLeg, { kind: 'open' }>): void {
    const { identity, wanted, moved } = message;
    const existing = this.#legs.get(message.leg);
    if (this.#closed || existing !== undefined) {
      this.#log.warn({ leg: message.leg }, 'a leg was opened twice or after the end');
      return;
    }
    const known = this.#rooms.get(identity.roomName);
    // A client restarts DTLS only for another certificate, and each worker has one of its own.
    const former = moved?.home.nodeId === this.#options.nodeId ? moved.home.workerIndex : undefined;
    const workerIndex = this.#chooseWorker(known, former);
    if (workerIndex === undefined) {
      link.send({ kind: 'failed', leg: message.leg, failure: 'worker-died', detail: 'no media worker is running' });
      return;
    }
    const { config } = this.#options;
    this.#roomLinks.set(identity.roomName, link);
    const room = known ?? this.#createRoom(identity.roomName);
    const leg = new Leg({
      legId: message.leg,
      identity,
      wanted,
      moved,
      room,
      workerIndex,
      nextGeneration: () => (this.#generation += 1),
      now: () => performance.now(),
      answerTimeoutMs: config.rtc.negotiation_timeout * 1000,
      reliableQueueBytes: config.rtc.reliable_queue_bytes,
      observer: this.#options.observer,
      log: this.#log,
      send: (toHost) => link.send(toHost),
    });
    this.#legs.set(message.leg, { leg, room, link });
    room.add(leg);
    this.#timer ??= setInterval(() => this.#observe(), observeIntervalMs).unref();
  }

  /** @param exceptIndex the worker that a participant is to leave */
  #chooseWorker(room: RoomMedia | undefined, exceptIndex: number | undefined): number | undefined {
    const { pool, config } = this.#options;
    const cap = config.rtc.max_viewers_per_worker;
    const candidate = (workerIndex: number, load: number): WorkerCandidate => ({
      workerIndex,
      load,
      ...(room?.shareOf(workerIndex) ?? { roomLegs: 0, roomTracks: 0 }),
    });
    const others = pool.workers.filter(({ index }) => index !== exceptIndex);
    const alive = others.map(({ index, load }) => candidate(index, load));
    // When all have died at once, the leg waits for one of them to be back.
    const restarting = pool.restarting.filter((index) => index !== exceptIndex);
    const waiting = restarting.map((index) => candidate(index, this.#waitingFor(index)));
    return chooseWorker(alive, cap) ?? chooseWorker(waiting, cap);
  }

  #waitingFor(workerIndex: number): number {
    return [...this.#legs.values()].filter(({ leg }) => leg.workerIndex === workerIndex).length;
  }

  #createRoom(roomName: string): RoomMedia {
    const { nodeId, pool, config, observer, log } = this.#options;
    const room = new RoomMedia({
      roomName,
      nodeId,
      pool,
      routerOptions: {
        mediaCodecs: routerCodecs(config.room.enabled_codecs.map((codec) => codec.mime)),
        levelThresholdDbov: silenceDbov,
      },
      peer: (peerNodeId) => this.#peers.client(peerNodeId),
      pipeLingerMs: config.rtc.pipe_linger * 1000,
      now: () => performance.now(),
      log,
      onDataDropped: (reason) => observer?.dataDropped(reason, 1),
      send: (message) => this.#roomLinks.get(roomName)?.send(message),
    });
    this.#rooms.set(roomName, room);
    return room;
  }

  #closeByHost(link: HostLink, message: Extract<HostToLeg, { kind: 'close' }>): void {
    const entry = this.#legs.get(message.leg);
    if (entry === undefined) {
      // A leg that never came to be: the host waits for the word all the same.
      link.send({ kind: 'closed', leg: message.leg });
      return;
    }
    this.#log.debug({ leg: message.leg, reason: message.reason }, 'leg closed');
    void this.#closeLeg(entry).then(() => link.send({ kind: 'closed', leg: message.leg }));
  }

  #closeLeg(entry: Entry): Promise<void> {
    this.#legs.delete(entry.leg.legId);
    if (this.#legs.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    const closing = this.#finish(entry).finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
    return closing;
  }

  /** The room goes with its last leg, unless another one came meanwhile. */
  async #finish({ leg, room }: Entry): Promise<void> {
    await room.remove(leg);
    if (room.empty && this.#rooms.get(room.roomName) === room) {
      this.#rooms.delete(room.roomName);
      this.#roomLinks.delete(room.roomName);
      await room.close();
    }
  }

  #hostLost(link: HostLink): void {
    this.#links.delete(link);
    for (const entry of [...this.#legs.values()]) {
      if (entry.link === link) {
        void this.#closeLeg(entry);
      }
    }
  }

  #workerDied(index: number): void {
    for (const { leg } of this.#legs.values()) {
      if (leg.workerIndex === index) {
        leg.workerDied();
      }
    }
    for (const room of this.#rooms.values()) {
      room.workerDied(index);
    }
  }

  #observe(): void {
    this.#observations += 1;
    for (const room of this.#rooms.values()) {
      room.tellWantedLayers();
    }
    let position = 0;
    for (const { leg } of this.#legs.values()) {
      position += 1;
      leg.observe();
      if ((this.#observations + position) % observationsPerReport === 0) {
        void leg.reportQuality();
      }
    }
  }
}

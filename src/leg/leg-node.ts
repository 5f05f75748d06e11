/** All legs of this node: takes the messages of room hosts and keeps rooms as long as they have legs here. */
import { randomInt } from 'node:crypto';
import type { Link } from '../cluster/link.ts';
import type { Config } from '../config/options.ts';
import type { WorkerPool } from '../media/worker-pool.ts';
import type { Logger } from '../observe/log.ts';
import type { LegId, NodeId, ParticipantSid } from '../protocol/ids.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';
import { dueReports } from '../quality/report-schedule.ts';
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
  /** How long legs go on without a host; 0, the default: they end with it. */
  hostGraceMs?: number;
  seeker?: HostSeeker;
  /** The leg is closed. */
  onLegEnded?: (leg: LegId) => void;
};

/** Looks for the hosts of rooms whose legs have lost theirs. */
export interface HostSeeker {
  seek(roomName: string): void;
  /** The room has a host, or no legs here any more. */
  found(roomName: string): void;
}

export type LegCounts = { legs: number; rooms: number; producers: number; hosts: number };

/** Pipes between routers, in each direction as seen from this node; those between its own workers count as both. */
export type PipeCounts = { outgoingPipes: number; incomingProducers: number };

type HostLink = Link<LegToHost, HostToLeg>;

/** A leg, its room, and what its host gave it. */
type Entry = {
  leg: Leg;
  room: RoomMedia;
  /** Undefined while there is no host. */
  link: HostLink | undefined;
  /** Of the host that gave the keepsake. */
  epoch: number;
  keepsake: Uint8Array;
  /** What the next host has to be told first. */
  pending: { answer?: LegToHost; failed?: LegToHost };
  /** When its quality was last asked for. */
  reportedAtMs: number;
};

const observeIntervalMs = 1000;
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
  /** Rooms without a host, and when their legs end. */
  readonly #hostless = new Map<string, NodeJS.Timeout>();
  readonly #onWorkerDied = (index: number): void => this.#workerDied(index);
  readonly #peers: LegPeers;
  /** Random start: the copies of another node's producers keep their ids, and ids are unique per worker. */
  #generation = randomInt(2 ** 40);
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

  /** Who is here, and in which room. */
  get members(): { participantSid: ParticipantSid; roomName: string }[] {
    return [...this.#legs.values()].map(({ leg }) => {
      const { participantSid, roomName } = leg.identity;
      return { participantSid, roomName };
    });
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
      copies: this.pipeCounts.incomingProducers,
      queuedDataBytes: 0,
    };
    for (const { leg } of this.#legs.values()) {
      leg.countInto(sum);
    }
    return sum;
  }

  /** Serves a room host until its link closes; then its legs wait for the next host, if they are to outlive theirs. */
  addHost(link: HostLink): void {
    this.#links.add(link);
    link.onMessage((message, epoch) => this.#receiveSafely(link, message, epoch));
    link.onClose(() => this.#hostLost(link));
  }

  /** TURN servers have ended: whoever was reached through them is asked to come back. */
  relaysLost(isRelay: (address: string, port: number) => boolean): void {
    for (const { leg } of this.#legs.values()) {
      leg.relaysLost(isRelay);
    }
  }

  /** Serves another leg node that opened a link to this one. */
  acceptPeer(nodeId: NodeId, link: IncomingPeerLink): void {
    this.#peers.accept(nodeId, link);
  }

  /** Closes all legs. @returns when the engine holds nothing of them any more. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const roomName of [...this.#hostless.keys()]) {
      this.#hostFound(roomName);
    }
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
  #receiveSafely(link: HostLink, message: HostToLeg, epoch: number | undefined): void {
    try {
      this.#receive(link, message, epoch ?? 0);
    } catch (error) {
      this.#log.error({ err: error, message: message.kind }, 'a message of the host failed');
      if ('leg' in message) {
        link.send({ kind: 'failed', leg: message.leg, failure: 'internal', detail: `${message.kind} failed` });
      }
    }
  }

  #receive(link: HostLink, message: HostToLeg, epoch: number): void {
    switch (message.kind) {
      case 'open':
        return this.#open(link, message, epoch);
      case 'keep':
        return this.#keep(message, epoch);
      case 'restate':
        return this.#restate(link, message.roomName);
      case 'release':
        return this.#release(link, message);
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

  #open(link: HostLink, message: Extract<HostToLeg, { kind: 'open' }>, epoch: number): void {
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
      this.#options.onLegEnded?.(message.leg);
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
      send: (toHost) => tellHost(entry, toHost),
    });
    const entry: Entry = {
      leg,
      room,
      link,
      epoch,
      keepsake: new Uint8Array(),
      pending: {},
      reportedAtMs: performance.now(),
    };
    this.#legs.set(message.leg, entry);
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
    const { legId } = entry.leg;
    this.#legs.delete(legId);
    this.#options.onLegEnded?.(legId);
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
      this.#hostFound(room.roomName);
      await room.close();
    }
  }

  #keep({ leg, keepsake }: Extract<HostToLeg, { kind: 'keep' }>, epoch: number): void {
    const entry = this.#legs.get(leg);
    if (entry !== undefined) {
      entry.keepsake = keepsake;
      entry.epoch = epoch;
    }
  }

  /** The room has a new host: it gets to know all that its legs here know, and hears them from now on. */
  #restate(link: HostLink, roomName: string): void {
    this.#hostFound(roomName);
    const room = this.#rooms.get(roomName);
    if (room !== undefined) {
      this.#roomLinks.set(roomName, link);
      room.data.forgetIntercepted();
    }
    const entries = [...this.#legs.values()].filter((entry) => entry.room.roomName === roomName);
    for (const entry of entries) {
      const { leg, keepsake, epoch } = entry;
      entry.link = link;
      if (leg.hostChanged()) {
        link.send({ kind: 'restated', roomName, leg: leg.legId, epoch, keepsake, ...leg.state() });
      } else {
        void this.#closeLeg(entry);
      }
    }
    link.send({ kind: 'restatedAll', roomName });
    for (const { leg, pending } of entries) {
      for (const message of [pending.answer, pending.failed]) {
        if (message !== undefined) link.send(message);
      }
      delete pending.answer;
      delete pending.failed;
      leg.repeatOffer();
    }
  }

  #release(link: HostLink, { roomName, answers }: Extract<HostToLeg, { kind: 'release' }>): void {
    const own = [...this.#legs.values()].filter((entry) => entry.room.roomName === roomName && entry.link === link);
    this.#loseHost(own, link);
    for (const answer of answers) {
      const entry = this.#legs.get(answer.leg);
      if (entry !== undefined) {
        tellHost(entry, { kind: 'answer', ...answer });
      }
    }
  }

  #hostLost(link: HostLink): void {
    this.#links.delete(link);
    this.#loseHost(
      [...this.#legs.values()].filter((entry) => entry.link === link),
      link,
    );
  }

  #loseHost(entries: readonly Entry[], link: HostLink): void {
    const { hostGraceMs = 0, seeker } = this.#options;
    for (const entry of entries) {
      entry.link = undefined;
      const { roomName } = entry.room;
      if (hostGraceMs === 0 || this.#closed) {
        void this.#closeLeg(entry);
      } else if (!this.#hostless.has(roomName)) {
        if (this.#roomLinks.get(roomName) === link) {
          this.#roomLinks.delete(roomName);
        }
        this.#hostless.set(
          roomName,
          setTimeout(() => this.#giveUp(roomName), hostGraceMs),
        );
        seeker?.seek(roomName);
      }
    }
  }

  #hostFound(roomName: string): void {
    const timer = this.#hostless.get(roomName);
    if (timer !== undefined) {
      clearTimeout(timer);
      this.#hostless.delete(roomName);
      this.#options.seeker?.found(roomName);
    }
  }

  #giveUp(roomName: string): void {
    this.#hostFound(roomName);
    const hostless = [...this.#legs.values()].filter((entry) => entry.room.roomName === roomName && !entry.link);
    this.#log.warn({ room: roomName, legs: hostless.length }, 'no host came for the legs of a room: they end');
    for (const entry of hostless) {
      void this.#closeLeg(entry);
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
    for (const room of this.#rooms.values()) {
      room.tellWantedLayers();
    }
    for (const { leg } of this.#legs.values()) {
      leg.observe();
    }
    this.#reportQuality(performance.now());
  }

  #reportQuality(nowMs: number): void {
    const legs = [...this.#legs.values()].map((entry) => ({
      entry,
      workerIndex: entry.leg.workerIndex,
      requests: entry.leg.statsRequests,
      reportedAtMs: entry.reportedAtMs,
    }));
    for (const { entry } of dueReports(legs, nowMs)) {
      entry.reportedAtMs = nowMs;
      void entry.leg.reportQuality();
    }
  }
}

/** Without a host, what it would have to do with is kept; what says how the leg is comes with `restated`. */
function tellHost(entry: Entry, message: LegToHost): void {
  if (entry.link !== undefined) {
    entry.link.send(message);
  } else if (message.kind === 'answer' || message.kind === 'failed') {
    entry.pending[message.kind] = message;
  }
}

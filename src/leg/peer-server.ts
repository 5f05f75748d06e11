/** What another node wants of this one, and the data that it sends here. Outlives its links for a moment. */
import type { Link, LinkCloseReason } from '../cluster/link.ts';
import type { RoomRouter } from '../media/room-router.ts';
import type { Logger } from '../observe/log.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { LegPeerReply, LegPeerRequest, PeerPacket } from '../protocol/leg-peer-messages.ts';
import { PipeSource } from './pipe-source.ts';
import type { PublishedProducer } from './published-producer.ts';

/** A room as other nodes may use it. */
export interface PeerRoom {
  readonly epoch: number;
  /** One that was published on this node. */
  producer(producerId: string): PublishedProducer | undefined;
  router(workerIndex: number): Promise<RoomRouter>;
  receivePacket(packet: PeerPacket): void;
  setWantedLayer(nodeId: NodeId, producerId: string, layer: number): void;
}

export type PeerServerOptions = {
  nodeId: NodeId;
  room: (roomName: string) => PeerRoom | undefined;
  graceMs: number;
  /** Everything of that node was given up. */
  onGone: () => void;
  log: Logger;
};

export type IncomingPeerLink = Link<LegPeerReply, LegPeerRequest>;

/** Reliable packets that may arrive before the sender is told, and how long it waits at most. */
const confirmEvery = 64;
const confirmAfterMs = 200;

export class PeerServer {
  readonly #options: PeerServerOptions;
  readonly #sources = new Map<string, PipeSource>();
  readonly #closing = new Set<Promise<void>>();
  #link: IncomingPeerLink | undefined;
  #session = '';
  #dataNumber = 0;
  #confirmedNumber = 0;
  #confirmTimer: NodeJS.Timeout | undefined;
  #graceTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: PeerServerOptions) {
    this.#options = options;
  }

  get pipes(): number {
    return this.#sources.size;
  }

  /** The newest link is the one that counts. */
  attach(link: IncomingPeerLink): void {
    const old = this.#link;
    this.#link = link;
    old?.close();
    clearTimeout(this.#graceTimer);
    this.#graceTimer = undefined;
    link.onMessage((message) => {
      if (this.#link === link && !this.#closed) {
        this.#receive(message);
      }
    });
    link.onClose((reason) => this.#linkClosed(link, reason));
  }

  /** @returns when the engine holds nothing for that node any more. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#graceTimer);
    clearTimeout(this.#confirmTimer);
    const link = this.#link;
    this.#link = undefined;
    link?.close();
    for (const source of [...this.#sources.values()]) {
      this.#drop(source);
    }
    await Promise.all(this.#closing);
  }

  #receive(message: LegPeerRequest): void {
    switch (message.kind) {
      case 'hold':
        return this.#hold(message);
      case 'pipe':
        return this.#pipe(message);
      case 'flow':
        return this.#sources.get(message.pipeId)?.setFlow(message.producerId, message.flows);
      case 'unpipe':
        return this.#sources.get(message.pipeId)?.unpipe(message.producerId);
      case 'closePipe': {
        const source = this.#sources.get(message.pipeId);
        return source && this.#drop(source);
      }
      case 'wantedLayer':
        return this.#options
          .room(message.roomName)
          ?.setWantedLayer(this.#options.nodeId, message.producerId, message.layer);
      case 'data':
        return this.#data(message);
    }
  }

  #hold(message: Extract<LegPeerRequest, { kind: 'hold' }>): void {
    if (message.session !== this.#session) {
      this.#session = message.session;
      this.#dataNumber = 0;
    }
    const held = new Map(message.pipes.map(({ pipeId, producerIds }) => [pipeId, producerIds]));
    for (const source of [...this.#sources.values()]) {
      const producerIds = held.get(source.pipeId);
      if (producerIds === undefined) {
        this.#drop(source);
      } else {
        source.keepOnly(producerIds);
      }
    }
    this.#confirm();
    this.#send({ kind: 'held', dataNumber: this.#dataNumber });
  }

  #pipe(message: Extract<LegPeerRequest, { kind: 'pipe' }>): void {
    const { requestId, roomName, producerId, sourceWorkerIndex } = message;
    const room = this.#options.room(roomName);
    if (room === undefined) {
      this.#send({ kind: 'refused', requestId, reason: 'no-room', detail: '' });
      return;
    }
    if (message.epoch !== 0 && message.epoch < room.epoch) {
      this.#send({ kind: 'refused', requestId, reason: 'stale-epoch', detail: `the room is at ${room.epoch}` });
      return;
    }
    const published = room.producer(producerId);
    if (published === undefined || published.workerIndex !== sourceWorkerIndex) {
      this.#send({ kind: 'refused', requestId, reason: 'no-producer', detail: '' });
      return;
    }
    const source = this.#sources.get(message.pipeId) ?? this.#open(message, room);
    void source.pipe(requestId, published);
  }

  #open(message: Extract<LegPeerRequest, { kind: 'pipe' }>, room: PeerRoom): PipeSource {
    const { pipeId, endpoint, sourceWorkerIndex } = message;
    const source = new PipeSource({
      pipeId,
      workerIndex: sourceWorkerIndex,
      endpoint,
      router: () => room.router(sourceWorkerIndex),
      send: (reply) => this.#send(reply),
      onEnded: (ended) => this.#sources.delete(ended.pipeId),
      log: this.#options.log,
    });
    this.#sources.set(pipeId, source);
    return source;
  }

  #drop(source: PipeSource): void {
    this.#sources.delete(source.pipeId);
    const closing = source.close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  #data(message: Extract<LegPeerRequest, { kind: 'data' }>): void {
    const { number, packet } = message;
    if (packet.reliable) {
      if (number <= this.#dataNumber) {
        // Sent again after its link was lost, though it had come.
        return;
      }
      this.#dataNumber = number;
      if (number - this.#confirmedNumber >= confirmEvery) {
        this.#confirm();
      } else {
        this.#confirmTimer ??= setTimeout(() => this.#confirm(), confirmAfterMs).unref();
      }
    }
    this.#options.room(packet.roomName)?.receivePacket(packet);
  }

  #confirm(): void {
    clearTimeout(this.#confirmTimer);
    this.#confirmTimer = undefined;
    this.#confirmedNumber = this.#dataNumber;
    this.#send({ kind: 'dataArrived', dataNumber: this.#dataNumber });
  }

  #linkClosed(link: IncomingPeerLink, reason: LinkCloseReason): void {
    if (this.#link !== link) {
      return;
    }
    this.#link = undefined;
    if (reason === 'closed') {
      this.#gone();
    } else {
      this.#graceTimer = setTimeout(() => this.#gone(), this.#options.graceMs).unref();
    }
  }

  #gone(): void {
    this.#session = '';
    for (const source of [...this.#sources.values()]) {
      this.#drop(source);
    }
    this.#options.onGone();
  }

  #send(reply: LegPeerReply): void {
    this.#link?.send(reply);
  }
}

/** What this node wants of another one, or sends to it: one link, opened when needed and again when it is lost. */
import { randomUUID } from 'node:crypto';
import type { Link, LinkCloseReason } from '../cluster/link.ts';
import type { Logger } from '../observe/log.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { LegPeerReply, LegPeerRequest, PeerPacket } from '../protocol/leg-peer-messages.ts';
import { peerUnreachable, pipeRefused } from './errors.ts';
import { OutgoingData } from './outgoing-data.ts';

/** `queuedBytes`: what waits in the link itself, where it can tell. */
export type LegPeerLink = Link<LegPeerRequest, LegPeerReply> & { readonly queuedBytes?: number };

/** How the leg node of another node is reached. */
export interface LegPeerConnector {
  /** A new link; one to a node that cannot be reached closes with `lost`. */
  connect(nodeId: NodeId): LegPeerLink;
}

export type PeerTimings = {
  requestTimeoutMs: number;
  /** How long a node whose link was lost may take to come back before all that came from it is given up. */
  graceMs: number;
  /** First wait before a lost link is made again; doubles up to a second. */
  reconnectMs: number;
};

export const defaultPeerTimings: PeerTimings = { requestTimeoutMs: 5000, graceMs: 5000, reconnectMs: 100 };

type PipeRequest = Omit<Extract<LegPeerRequest, { kind: 'pipe' }>, 'kind' | 'requestId'>;
export type PipeNotice = Extract<LegPeerReply, { pipeId: string }>;
export type PipeAnswer = Extract<LegPeerReply, { kind: 'piped' }>;

/** The receiving end of a pipe. */
export interface PipeReceiver {
  readonly pipeId: string;
  readonly heldProducers: string[];
  notice(notice: PipeNotice): void;
  /** The link was made anew: what changed meanwhile was not told. */
  linkRestored(): void;
  /** Nothing comes from that node any more. */
  peerGone(): void;
}

export type PeerClientOptions = {
  nodeId: NodeId;
  connect: () => LegPeerLink;
  timings: PeerTimings;
  /** Reliable data that may wait for this node. */
  maxDataBytes: number;
  onDataDropped: (packets: number) => void;
  /** The node is gone and nothing is left that concerns it; it may be forgotten. */
  onIdle: () => void;
  log: Logger;
};

type Pending = { resolve: (answer: PipeAnswer) => void; reject: (error: Error) => void };

const reconnectMaxMs = 1000;
/** Lossy packets give way to everything else that waits for the network. */
const lossyBacklogBytes = 256 * 1024;

export class PeerClient {
  readonly #options: PeerClientOptions;
  readonly #pending = new Map<number, Pending>();
  readonly #pipes = new Map<string, PipeReceiver>();
  readonly #data: OutgoingData;
  #link: LegPeerLink | undefined;
  /** The other node answered on this link. */
  #isUp = false;
  #session: string = randomUUID();
  #lastRequestId = 0;
  #attempts = 0;
  #reconnectTimer: NodeJS.Timeout | undefined;
  #graceTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: PeerClientOptions) {
    this.#options = options;
    this.#data = new OutgoingData(options.maxDataBytes);
  }

  addPipe(pipe: PipeReceiver): void {
    this.#pipes.set(pipe.pipeId, pipe);
  }

  /** Also ends it at the other node. */
  removePipe(pipe: PipeReceiver): void {
    if (this.#pipes.delete(pipe.pipeId)) {
      this.send({ kind: 'closePipe', pipeId: pipe.pipeId });
    }
  }

  /** Rejects with `leg-peer-unreachable`, with `pipe-…` when it was refused, or with the signal's reason. */
  async requestPipe(request: PipeRequest, signal: AbortSignal): Promise<PipeAnswer> {
    signal.throwIfAborted();
    const link = this.#open();
    this.#lastRequestId += 1;
    const requestId = this.#lastRequestId;
    const { promise, resolve, reject } = Promise.withResolvers<PipeAnswer>();
    const { nodeId, timings } = this.#options;
    const timer = setTimeout(() => reject(peerUnreachable(nodeId, 'no answer in time')), timings.requestTimeoutMs);
    const aborted = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', aborted, { once: true });
    this.#pending.set(requestId, { resolve, reject });
    try {
      link.send({ kind: 'pipe', requestId, ...request });
      return await promise;
    } finally {
      this.#pending.delete(requestId);
      clearTimeout(timer);
      signal.removeEventListener('abort', aborted);
    }
  }

  /** Without a link nothing is lost by not sending: the next link begins with the whole state. */
  send(message: LegPeerRequest): void {
    this.#link?.send(message);
  }

  /** Participants there are to get data: a lossy packet would not wait until there is a link. */
  prepare(): void {
    if (!this.#closed && this.#link === undefined && this.#reconnectTimer === undefined) {
      this.#openForData();
    }
  }

  sendData(packet: PeerPacket): void {
    const message = this.#closed ? undefined : this.#data.add(packet);
    if (message === undefined) {
      this.#options.onDataDropped(1);
      return;
    }
    if (!this.#isUp) {
      this.#openForData();
      return;
    }
    if (packet.reliable || (this.#link?.queuedBytes ?? 0) < lossyBacklogBytes) {
      this.#link?.send(message);
    }
  }

  /** Resolves when all reliable packets up to now have arrived, or never will. */
  dataArrived(): Promise<void> {
    return this.#data.whenArrived();
  }

  close(): void {
    this.#closed = true;
    this.#link?.close();
    this.#linkClosed(this.#link, 'closed');
  }

  /** What could not be sent waits for `held`; when there is no way to that node, the reconnect goes on until it is gone. */
  #openForData(): void {
    try {
      this.#open();
    } catch (error) {
      this.#options.log.debug({ err: error, nodeId: this.#options.nodeId }, 'no link for data');
    }
  }

  #open(): LegPeerLink {
    const { nodeId } = this.#options;
    if (this.#closed) {
      throw peerUnreachable(nodeId, 'this node ends');
    }
    if (this.#reconnectTimer !== undefined) {
      throw peerUnreachable(nodeId, 'the link is lost');
    }
    const link = this.#link ?? this.#connect();
    if (this.#link !== link) {
      throw peerUnreachable(nodeId, 'no link came about');
    }
    return link;
  }

  #connect(): LegPeerLink {
    const link = this.#options.connect();
    this.#link = link;
    link.onMessage((message) => {
      if (this.#link === link) {
        this.#receive(message);
      }
    });
    const pipes = [...this.#pipes.values()].map(({ pipeId, heldProducers }) => ({
      pipeId,
      producerIds: heldProducers,
    }));
    link.send({ kind: 'hold', session: this.#session, pipes });
    link.onClose((reason) => this.#linkClosed(link, reason));
    return link;
  }

  #receive(message: LegPeerReply): void {
    switch (message.kind) {
      case 'held':
        return this.#held(message.dataNumber);
      case 'piped':
        return this.#pending.get(message.requestId)?.resolve(message);
      case 'refused':
        return this.#pending.get(message.requestId)?.reject(pipeRefused(message.reason, message.detail));
      case 'dataArrived':
        return this.#data.arrived(message.dataNumber);
      case 'producerPaused':
      case 'producerClosed':
      case 'pipeClosed':
        return this.#pipes.get(message.pipeId)?.notice(message);
    }
  }

  #held(dataNumber: number): void {
    const restored = this.#graceTimer !== undefined;
    clearTimeout(this.#graceTimer);
    this.#graceTimer = undefined;
    this.#attempts = 0;
    this.#isUp = true;
    this.#data.arrived(dataNumber);
    for (const message of this.#data.kept()) {
      this.#link?.send(message);
    }
    if (restored) {
      for (const pipe of [...this.#pipes.values()]) {
        pipe.linkRestored();
      }
    }
  }

  #linkClosed(link: LegPeerLink | undefined, reason: LinkCloseReason): void {
    if (this.#link !== link) {
      return;
    }
    const { nodeId, timings, log } = this.#options;
    this.#link = undefined;
    this.#isUp = false;
    for (const { reject } of [...this.#pending.values()]) {
      reject(peerUnreachable(nodeId, `the link is ${reason}`));
    }
    if (this.#closed || reason === 'closed') {
      this.#gone();
      return;
    }
    log.debug({ nodeId, reason }, 'link to a leg node lost');
    this.#graceTimer ??= setTimeout(() => this.#gone(), timings.graceMs).unref();
    this.#attempts += 1;
    const waitMs = Math.min(timings.reconnectMs * 2 ** (this.#attempts - 1), reconnectMaxMs);
    this.#reconnectTimer = setTimeout(() => this.#reconnect(), waitMs).unref();
  }

  #reconnect(): void {
    this.#reconnectTimer = undefined;
    if (this.#link === undefined && !this.#closed) {
      this.#openForData();
    }
  }

  #gone(): void {
    clearTimeout(this.#graceTimer);
    clearTimeout(this.#reconnectTimer);
    this.#graceTimer = undefined;
    this.#reconnectTimer = undefined;
    this.#attempts = 0;
    this.#session = randomUUID();
    const link = this.#link;
    this.#link = undefined;
    this.#isUp = false;
    link?.close();
    const lost = this.#data.restart();
    if (lost > 0) {
      this.#options.onDataDropped(lost);
    }
    for (const pipe of [...this.#pipes.values()]) {
      pipe.peerGone();
    }
    if (this.#pipes.size === 0) {
      this.#options.onIdle();
    }
  }
}

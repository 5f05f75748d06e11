import type { TLSSocket } from 'node:tls';
import { PlenumError } from '../lib/errors.ts';
import type { Logger } from '../observe/log.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { LinkCloseReason } from './link.ts';
import { RelayChannel, type ChannelCarrier } from './relay-channel.ts';
import { badFrame, otherNode, refused, relayClosed, unreachable } from './relay-errors.ts';
import {
  beatFrame,
  bodyFrame,
  closeFrame,
  creditFrame,
  FrameReader,
  maxFrameBytes,
  openFrame,
  type Frame,
} from './relay-frame.ts';
import { Heartbeat } from './relay-heartbeat.ts';
import {
  encodeGoodbye,
  judgeHello,
  protocolRange,
  readGoodbye,
  readHello,
  readOpenRequest,
  type GoodbyeReason,
  type Hello,
} from './relay-hello.ts';
import type { KindMessage, PeerLostCause, RelayIdentity, RelayPeerFacts, RelaySettings } from './relay-network.ts';
import { RelayOutbox } from './relay-outbox.ts';
import { encodeMessage } from './wire-codec.ts';
import type { MessageTable } from './wire-table.ts';

/** Bytes for one write: it waits for one of these at most when a heartbeat or a small message comes along. */
const batchBytes = 64 * 1024;
const goodbyeGraceMs = 1_000;
const maxParamsBytes = maxFrameBytes / 2;

/** `goodbye`: the peer left in order. `failed`: the connection never stood. */
export type ConnectionEnd = { cause: PeerLostCause | 'goodbye' | 'failed' | 'closed'; error: PlenumError };

export type OpenedChannel = { name: string; params: unknown };

export type RelayConnectionOptions = {
  self: RelayIdentity;
  cluster: string;
  settings: RelaySettings;
  log: Logger;
  /** The node that has to be at the other end; undefined at the server, which learns it. */
  expectedNodeId: NodeId | undefined;
  /** For messages: who is at the other end. */
  where: string;
  onReady: (peer: RelayPeerFacts) => void;
  onEnd: (end: ConnectionEnd) => void;
  onUnknownMessage: (kind: string) => void;
  /** What the peer may say on a channel that it opens, and who takes it; undefined when such channels are not served here. */
  serve: (opened: OpenedChannel, peer: RelayPeerFacts) => ServedChannel | undefined;
};

export type ServedChannel = { incoming: MessageTable<KindMessage>; accept: (channel: RelayChannel) => void };

type Probe = { sequence: number; resolve: (peer: RelayPeerFacts) => void; reject: (error: PlenumError) => void };

/** One connection to a node. It can be used before it stands: what is opened and sent waits. */
export class RelayConnection implements ChannelCarrier {
  readonly #options: RelayConnectionOptions;
  readonly #outbox = new RelayOutbox();
  readonly #channels = new Map<number, RelayChannel>();
  readonly #reader = new FrameReader();
  readonly #heartbeat: Heartbeat;
  readonly #connectTimer: NodeJS.Timeout;
  #probes: Probe[] = [];
  #socket: TLSSocket | undefined;
  #peer: RelayPeerFacts | undefined;
  #peerHello: Hello | undefined;
  #end: ConnectionEnd | undefined;
  #lastChannelId = 0;
  #lastPing = 0;
  #pingWaits = false;
  #queuedBytes = 0;
  #blocked = false;
  #pumpScheduled = false;
  #flushed: (() => void) | undefined;

  constructor(options: RelayConnectionOptions) {
    this.#options = options;
    const { settings } = options;
    this.#heartbeat = new Heartbeat({
      intervalMs: settings.heartbeatIntervalMs,
      misses: settings.heartbeatMisses,
      beat: () => this.#ping(),
      silent: () => this.fail('silent', unreachable(options.where, 'it fell silent')),
    });
    this.#connectTimer = setTimeout(
      () => this.fail('failed', unreachable(options.where, `no answer within ${settings.connectTimeoutMs} ms`)),
      settings.connectTimeoutMs,
    );
  }

  get ended(): boolean {
    return this.#end !== undefined;
  }

  get channelCount(): number {
    return this.#channels.size;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** The socket, once TLS stands. The client speaks first. */
  attach(socket: TLSSocket): void {
    if (this.#end !== undefined) {
      socket.destroy();
      return;
    }
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('drain', () => this.#drained());
    socket.on('error', (error) => this.#broken(error.message));
    socket.on('end', () => this.#broken('it closed the connection'));
    socket.on('close', () => this.#broken('the connection is closed'));
    if (this.#options.expectedNodeId !== undefined) {
      this.#sendHello();
    }
  }

  /** @throws PlenumError when the parameters are larger than a channel's may be. */
  open(name: string, params: unknown, incoming: MessageTable<KindMessage>): RelayChannel {
    const body = encodeMessage({ channel: name, params });
    if (body.length > maxParamsBytes) {
      throw badFrame(`parameters of a channel may have ${maxParamsBytes} bytes`);
    }
    this.#lastChannelId += 1;
    const channel = this.#newChannel(this.#lastChannelId, incoming);
    if (this.#end !== undefined || this.#channels.size >= this.#options.settings.maxChannels) {
      channel.connectionLost();
      return channel;
    }
    this.#outbox.addControl(openFrame(channel.id, body));
    this.#adopt(channel);
    this.#schedulePump();
    return channel;
  }

  /** Resolves when the peer answered after this call. */
  reach(): Promise<RelayPeerFacts> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) {
        reject(this.#end.error);
        return;
      }
      this.#probes.push({ sequence: this.#lastPing + 1, resolve, reject });
      if (this.#peer !== undefined) {
        this.#ping();
      }
    });
  }

  /** Closes all channels and says goodbye when what waits is written; after a second it is cut. */
  async close(): Promise<void> {
    if (this.#end !== undefined) {
      return;
    }
    for (const channel of this.#channels.values()) {
      channel.close();
    }
    if (this.#peer !== undefined) {
      await this.#flush();
      this.#goodbye('closing', '');
    }
    this.fail('closed', relayClosed());
  }

  /** Ends the connection at once. */
  fail(cause: ConnectionEnd['cause'], error: PlenumError): void {
    if (this.#end !== undefined) {
      return;
    }
    const end: ConnectionEnd = { cause: this.#peer === undefined && cause !== 'closed' ? 'failed' : cause, error };
    this.#end = end;
    clearTimeout(this.#connectTimer);
    this.#heartbeat.stop();
    this.#retireSocket();
    for (const channel of this.#channels.values()) {
      channel.connectionLost();
    }
    this.#channels.clear();
    for (const probe of this.#probes) {
      probe.reject(error);
    }
    this.#probes = [];
    this.#flushed?.();
    this.#options.onEnd(end);
  }

  // What channels need.

  wake(channel: RelayChannel): void {
    this.#outbox.wake(channel);
    this.#schedulePump();
  }

  queued(deltaBytes: number): void {
    this.#queuedBytes += deltaBytes;
  }

  giveCredit(channelId: number, bytes: number): void {
    this.#sendControl(creditFrame(channelId, bytes));
  }

  abort(channel: RelayChannel, reason: LinkCloseReason): void {
    this.#sendControl(closeFrame(channel.id, reason));
    this.forget(channel);
  }

  forget(channel: RelayChannel): void {
    this.#channels.delete(channel.id);
    this.#outbox.forget(channel);
  }

  unknownMessage(kind: string): void {
    this.#options.onUnknownMessage(kind);
  }

  // Reading.

  #received(chunk: Buffer): void {
    this.#heartbeat.heard();
    try {
      for (const frame of this.#reader.push(chunk)) {
        if (this.#end !== undefined) {
          return;
        }
        this.#handle(frame);
      }
    } catch (error) {
      const fault =
        error instanceof PlenumError ? error : badFrame(error instanceof Error ? error.message : String(error));
      this.#goodbye('bad-data', fault.message);
      this.fail('bad-data', fault);
    }
  }

  #handle(frame: Frame): void {
    if (this.#peer === undefined && frame.type !== 'hello' && frame.type !== 'goodbye') {
      throw badFrame('it comes before the hello');
    }
    switch (frame.type) {
      case 'hello':
        return this.#helloReceived(readHello(frame.body));
      case 'goodbye':
        return this.#goodbyeReceived(frame.body);
      case 'ping':
        return this.#sendControl(beatFrame('pong', frame.sequence));
      case 'pong':
        return this.#pongReceived(frame.sequence);
      case 'open':
        return this.#openReceived(frame.channelId, frame.body);
      case 'data':
        return this.#channels.get(frame.channelId)?.dataReceived(frame);
      case 'credit':
        return this.#channels.get(frame.channelId)?.creditReceived(frame.bytes);
      case 'close':
        return this.#channels.get(frame.channelId)?.closeReceived(frame.reason);
      case 'unknown':
        return;
    }
  }

  #helloReceived(hello: Hello): void {
    if (this.#peer !== undefined) {
      throw badFrame('a second hello');
    }
    const { self, cluster, expectedNodeId, where } = this.#options;
    const verdict = judgeHello(hello, { self, cluster, nodeId: expectedNodeId });
    if (!verdict.ok) {
      this.#goodbye(verdict.reason, verdict.detail);
      const refusal = verdict.reason === 'wrong-node' ? otherNode : refused;
      this.fail('failed', refusal(where, verdict.detail));
      return;
    }
    if (expectedNodeId === undefined) {
      this.#sendHello();
    }
    clearTimeout(this.#connectTimer);
    this.#peer = verdict.facts;
    this.#peerHello = hello;
    this.#options.onReady(verdict.facts);
    for (const channel of this.#channels.values()) {
      channel.peerReady(hello.windowBytes, hello.maxMessageBytes);
    }
    this.#heartbeat.start();
    this.#schedulePump();
  }

  #goodbyeReceived(body: Uint8Array): void {
    const { reason, detail } = readGoodbye(body);
    const { where } = this.#options;
    switch (reason) {
      case 'closing':
        return this.fail('goodbye', unreachable(where, 'it shuts down'));
      case 'bad-data':
        return this.fail('bad-data', refused(where, detail));
      case 'wrong-node':
        return this.fail('reset', otherNode(where, detail));
      default:
        return this.fail('reset', refused(where, detail === '' ? reason : detail));
    }
  }

  #pongReceived(sequence: number): void {
    const peer = this.#peer;
    const answered = this.#probes.filter((probe) => probe.sequence <= sequence);
    if (answered.length === 0 || peer === undefined) {
      return;
    }
    this.#probes = this.#probes.filter((probe) => probe.sequence > sequence);
    for (const probe of answered) {
      probe.resolve(peer);
    }
  }

  #openReceived(channelId: number, body: Uint8Array): void {
    const peer = this.#peer;
    if (peer === undefined || channelId <= this.#lastChannelId || this.#options.expectedNodeId !== undefined) {
      throw badFrame('it opens a channel that it may not open');
    }
    if (this.#channels.size >= this.#options.settings.maxChannels) {
      throw badFrame('it opens too many channels');
    }
    this.#lastChannelId = channelId;
    const request = readOpenRequest(body);
    const served = this.#options.serve({ name: request.channel, params: request.params }, peer);
    if (served === undefined) {
      this.#options.log.warn(
        { nodeId: peer.nodeId, channel: request.channel },
        'a node opened a channel that is not served here',
      );
      this.#sendControl(closeFrame(channelId, 'lost'));
      return;
    }
    const channel = this.#newChannel(channelId, served.incoming);
    this.#adopt(channel);
    this.#accept(served, channel);
  }

  #accept(served: ServedChannel, channel: RelayChannel): void {
    try {
      served.accept(channel);
    } catch (error) {
      this.#options.log.error({ err: error, nodeId: this.#peer?.nodeId }, 'a channel from a node could not be taken');
      this.abort(channel, 'lost');
      channel.connectionLost();
    }
  }

  #newChannel(id: number, incoming: MessageTable<KindMessage>): RelayChannel {
    const { settings, log } = this.#options;
    return new RelayChannel({ id, incoming, settings, carrier: this, log });
  }

  #adopt(channel: RelayChannel): void {
    this.#channels.set(channel.id, channel);
    if (this.#peerHello !== undefined) {
      channel.peerReady(this.#peerHello.windowBytes, this.#peerHello.maxMessageBytes);
    }
  }

  // Writing.

  #sendHello(): void {
    const { self, cluster, settings, expectedNodeId } = this.#options;
    const hello: Hello = {
      minProtocol: protocolRange.min,
      maxProtocol: protocolRange.max,
      cluster,
      nodeId: self.nodeId,
      role: self.role,
      software: self.software,
      features: [...self.features],
      windowBytes: settings.windowBytes,
      maxMessageBytes: settings.maxMessageBytes,
      ...(expectedNodeId === undefined ? {} : { expectedNodeId }),
    };
    this.#socket?.write(bodyFrame('hello', encodeMessage(hello)));
  }

  /** One ping waits at most: behind a full socket they would only pile up. */
  #ping(): void {
    if (this.#pingWaits) {
      return;
    }
    this.#pingWaits = true;
    this.#lastPing = (this.#lastPing + 1) % 0x1_0000_0000;
    this.#sendControl(beatFrame('ping', this.#lastPing));
  }

  #sendControl(frame: Uint8Array): void {
    this.#outbox.addControl(frame);
    this.#schedulePump();
  }

  /** What is sent in one turn of the event loop goes out in one write. */
  #schedulePump(): void {
    if (this.#pumpScheduled || this.#blocked || this.#peer === undefined) {
      return;
    }
    this.#pumpScheduled = true;
    queueMicrotask(() => {
      this.#pumpScheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    const socket = this.#socket;
    while (!this.#blocked && this.#end === undefined && socket !== undefined) {
      const bytes = this.#outbox.next(batchBytes);
      if (bytes === undefined) {
        break;
      }
      this.#pingWaits = false;
      this.#blocked = !socket.write(bytes);
    }
    if (!this.#blocked && this.#channels.size === 0) {
      this.#flushed?.();
    }
  }

  #drained(): void {
    this.#blocked = false;
    this.#pump();
  }

  /** Resolves when the closed channels have said their last word, or after the grace. */
  async #flush(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#flushed = resolve;
    const timer = setTimeout(resolve, goodbyeGraceMs);
    this.#schedulePump();
    await promise;
    clearTimeout(timer);
  }

  // Ending.

  #broken(detail: string): void {
    this.fail('reset', unreachable(this.#options.where, detail));
  }

  #goodbye(reason: GoodbyeReason, detail: string): void {
    if (this.#end === undefined) {
      this.#socket?.write(bodyFrame('goodbye', encodeGoodbye(reason, detail)));
    }
  }

  /** What was written (a goodbye) may still go out; a peer that does not take it is cut. */
  #retireSocket(): void {
    const socket = this.#socket;
    if (socket === undefined) {
      return;
    }
    socket.removeAllListeners('data').removeAllListeners('drain').resume();
    if (this.#end?.cause === 'silent' || this.#end?.cause === 'reset') {
      socket.destroy();
      return;
    }
    socket.end();
    const timer = setTimeout(() => socket.destroy(), goodbyeGraceMs);
    timer.unref();
    socket.once('close', () => clearTimeout(timer));
  }
}

/** Nodes in one process: role `all`, tests and simulations. Also breaks them, as machines and networks do. */
import type { Logger } from '../observe/log.ts';
import type { NodeId } from '../protocol/ids.ts';
import { memoryLink, type MemoryLinkOptions } from './memory-link.ts';
import { unreachable } from './relay-errors.ts';
import { protocolRange } from './relay-hello.ts';
import { MemoryChannel, type Envelope, type MemoryChannelOptions } from './relay-memory-channel.ts';
import {
  defaultRelaySettings,
  type AcceptedChannel,
  type ChannelType,
  type KindMessage,
  type PeerLostCause,
  type PeerLostListener,
  type RelayIdentity,
  type RelayLink,
  type RelayNetwork,
  type RelayPeer,
  type RelayPeerFacts,
} from './relay-network.ts';
import { RelayServices } from './relay-services.ts';
import type { MessageTable } from './wire-table.ts';

export type MemoryRelayOptions = {
  log: Logger;
  maxQueuedMessages?: number;
  /** Applied to each message on its way, e.g. `structuredClone` to prove that messages are plain data. */
  transfer?: NonNullable<MemoryLinkOptions['transfer']>;
  /** How long the others take to notice that a node stands still. */
  lostAfterMs?: number;
};

/** The network that the nodes of this process share. */
export class MemoryRelayHub {
  readonly options: Required<MemoryRelayOptions>;
  readonly #nodes = new Map<NodeId, MemoryRelay>();

  constructor(options: MemoryRelayOptions) {
    const { heartbeatIntervalMs, heartbeatMisses, maxQueuedMessages } = defaultRelaySettings;
    this.options = {
      maxQueuedMessages,
      transfer: (message) => message,
      lostAfterMs: heartbeatIntervalMs * heartbeatMisses,
      ...options,
    };
  }

  join(self: RelayIdentity): MemoryRelay {
    const relay = new MemoryRelay(this, self);
    this.#nodes.set(self.nodeId, relay);
    return relay;
  }

  leave(relay: MemoryRelay): void {
    if (this.#nodes.get(relay.self.nodeId) === relay) {
      this.#nodes.delete(relay.self.nodeId);
    }
  }

  find(nodeId: NodeId): MemoryRelay | undefined {
    return this.#nodes.get(nodeId);
  }

  /** The node is gone without a word, and the others notice at once. */
  kill(nodeId: NodeId): void {
    const node = this.#nodes.get(nodeId);
    if (node !== undefined) {
      this.leave(node);
      node.loseAll('reset');
    }
  }

  /** The node stands still; the others lose it after `lostAfterMs` unless it is thawed before. */
  freeze(nodeId: NodeId): void {
    this.#nodes.get(nodeId)?.freeze();
  }

  thaw(nodeId: NodeId): void {
    this.#nodes.get(nodeId)?.thaw();
  }
}

/** The relay of a node in the process of its peers. */
export class MemoryRelay implements RelayNetwork {
  readonly self: RelayIdentity;
  readonly #hub: MemoryRelayHub;
  readonly #services: RelayServices;
  readonly #channels = new Set<MemoryChannel>();
  /** Nodes that a connection would stand with. */
  readonly #peers = new Set<MemoryRelay>();
  #unknownMessages = 0;
  #frozen: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(hub: MemoryRelayHub, self: RelayIdentity) {
    this.#hub = hub;
    this.self = self;
    this.#services = new RelayServices(hub.options.log);
  }

  get unknownMessages(): number {
    return this.#unknownMessages;
  }

  open<Params, ToServer extends KindMessage, ToClient extends KindMessage>(
    peer: RelayPeer,
    type: ChannelType<Params, ToServer, ToClient>,
    params: Params,
  ): RelayLink<ToServer, ToClient> {
    const { maxQueuedMessages, transfer } = this.#hub.options;
    const [near, far] = memoryLink<Envelope, Envelope>({ maxQueued: maxQueuedMessages, transfer });
    const server = this.#closed ? undefined : this.#hub.find(peer.nodeId);
    const mine = this.#channel(near, type.toClient);
    const theirs = (server ?? this).#channel(far, type.toServer);
    mine.join(theirs);
    theirs.join(mine);
    if (server !== undefined) {
      this.#adopt(mine, server);
      server.#adopt(theirs, this);
    }
    // As over a network: whoever opens has its link before anything can happen to it.
    queueMicrotask(() =>
      server === undefined ? mine.lose() : server.#serve(type.name, transfer(params), theirs, this),
    );
    // The tables of the type stand for its messages: incoming ones are checked against them.
    return mine as unknown as RelayLink<ToServer, ToClient>;
  }

  onChannel<Params, ToServer extends KindMessage, ToClient extends KindMessage>(
    type: ChannelType<Params, ToServer, ToClient>,
    accept: (channel: AcceptedChannel<Params, ToServer, ToClient>) => void,
  ): void {
    this.#services.add(type, accept);
  }

  onPeerLost(lost: PeerLostListener): void {
    this.#services.onPeerLost(lost);
  }

  async reach(peer: RelayPeer, signal: AbortSignal): Promise<RelayPeerFacts> {
    signal.throwIfAborted();
    const node = this.#closed ? undefined : this.#hub.find(peer.nodeId);
    if (node === undefined || node.#frozen !== undefined) {
      throw unreachable(peer.nodeId, node === undefined ? 'it is not there' : 'it fell silent');
    }
    return Promise.resolve(node.#facts());
  }

  close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#frozen);
    this.#hub.leave(this);
    for (const channel of [...this.#channels]) {
      channel.close();
    }
    for (const peer of this.#peers) {
      peer.#peers.delete(this);
    }
    return Promise.resolve();
  }

  /** See `MemoryRelayHub`. */
  loseAll(cause: PeerLostCause): void {
    for (const channel of [...this.#channels]) {
      channel.lose();
    }
    const peers = [...this.#peers];
    this.#peers.clear();
    for (const peer of peers) {
      peer.#peers.delete(this);
      peer.#services.peerLost(this.self.nodeId, cause);
    }
  }

  freeze(): void {
    for (const channel of this.#channels) {
      channel.freeze(true);
    }
    this.#frozen ??= setTimeout(() => this.loseAll('silent'), this.#hub.options.lostAfterMs);
  }

  thaw(): void {
    clearTimeout(this.#frozen);
    this.#frozen = undefined;
    for (const channel of this.#channels) {
      channel.freeze(false);
    }
  }

  #facts(): RelayPeerFacts {
    return { ...this.self, protocol: protocolRange.max };
  }

  #channel(link: MemoryChannelOptions['link'], incoming: MessageTable<KindMessage>): MemoryChannel {
    const { maxQueuedMessages, log } = this.#hub.options;
    return new MemoryChannel({
      link,
      incoming,
      maxQueuedMessages,
      log,
      onUnknownMessage: () => (this.#unknownMessages += 1),
      onEnd: (channel) => this.#channels.delete(channel),
    });
  }

  #adopt(channel: MemoryChannel, other: MemoryRelay): void {
    this.#channels.add(channel);
    this.#peers.add(other);
    if (this.#frozen !== undefined) {
      channel.freeze(true);
    }
  }

  #serve(name: string, params: unknown, channel: MemoryChannel, client: MemoryRelay): void {
    try {
      const service = this.#services.find({ name, params });
      if (service === undefined) {
        channel.lose();
        return;
      }
      service.accept({ params, link: channel, peer: client.#facts() });
    } catch (error) {
      this.#hub.options.log.error(
        { err: error, nodeId: client.self.nodeId },
        'a channel from a node could not be taken',
      );
      channel.lose();
    }
  }
}

import type { Logger } from '../observe/log.ts';
import type { NodeId } from '../protocol/ids.ts';
import { RelayClients } from './relay-clients.ts';
import { RelayConnection, type ConnectionEnd, type RelayConnectionOptions } from './relay-connection.ts';
import { LimitedLog } from './relay-log.ts';
import {
  defaultRelaySettings,
  type AcceptedChannel,
  type ChannelType,
  type KindMessage,
  type PeerLostListener,
  type RelayIdentity,
  type RelayLink,
  type RelayNetwork,
  type RelayPeer,
  type RelayPeerFacts,
  type RelaySettings,
} from './relay-network.ts';
import { relayKeys } from './relay-secret.ts';
import { RelayServer } from './relay-server.ts';
import { RelayServices } from './relay-services.ts';

export type TcpRelayOptions = {
  self: RelayIdentity;
  cluster: string;
  secret: string;
  /** Taken too, and used towards nodes that know no newer one. */
  previousSecrets?: readonly string[];
  bindAddresses: readonly string[];
  /** 0 = any free one. */
  port: number;
  settings?: Partial<RelaySettings>;
  log: Logger;
};

export type RelayStats = {
  incoming: number;
  outgoing: number;
  channels: number;
  queuedBytes: number;
  unknownMessages: number;
};

/** The relay of a node over TLS. */
export class TcpRelay implements RelayNetwork {
  readonly #options: TcpRelayOptions;
  readonly #settings: RelaySettings;
  readonly #log: LimitedLog;
  readonly #services: RelayServices;
  readonly #server: RelayServer;
  readonly #clients: RelayClients;
  #unknownMessages = 0;

  /** @throws PlenumError `relay-cannot-listen` */
  static async start(options: TcpRelayOptions): Promise<TcpRelay> {
    const relay = new TcpRelay(options);
    await relay.#server.listen();
    return relay;
  }

  private constructor(options: TcpRelayOptions) {
    this.#options = options;
    this.#settings = { ...defaultRelaySettings, ...options.settings };
    this.#log = new LimitedLog(options.log, () => performance.now());
    this.#services = new RelayServices(options.log);
    const keys = relayKeys(options.cluster, options.secret, options.previousSecrets);
    this.#server = new RelayServer({
      keys,
      bindAddresses: options.bindAddresses,
      port: options.port,
      settings: this.#settings,
      log: this.#log,
      connect: (where, onEnd) => this.#connection({ where, expectedNodeId: undefined }, onEnd),
    });
    this.#clients = new RelayClients({
      keys,
      connect: (peer, onEnd) =>
        this.#connection({ where: `${peer.nodeId} at ${peer.host}:${peer.port}`, expectedNodeId: peer.nodeId }, onEnd),
    });
  }

  get port(): number {
    return this.#server.port;
  }

  get stats(): RelayStats {
    const all = [...this.#server.connections, ...this.#clients.connections];
    return {
      incoming: this.#server.connections.size,
      outgoing: all.length - this.#server.connections.size,
      channels: all.reduce((sum, { channelCount }) => sum + channelCount, 0),
      queuedBytes: all.reduce((sum, { queuedBytes }) => sum + queuedBytes, 0),
      unknownMessages: this.#unknownMessages,
    };
  }

  open<Params, ToServer extends KindMessage, ToClient extends KindMessage>(
    peer: RelayPeer,
    type: ChannelType<Params, ToServer, ToClient>,
    params: Params,
  ): RelayLink<ToServer, ToClient> {
    const channel = this.#clients.to(peer).open(type.name, params, type.toClient);
    // The tables of the type stand for its messages: incoming ones are checked against them.
    return channel as unknown as RelayLink<ToServer, ToClient>;
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
    const aborted = Promise.withResolvers<never>();
    const abort = (): void => aborted.reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
      return await Promise.race([this.#clients.to(peer).reach(), aborted.promise]);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#server.close(), this.#clients.close()]);
  }

  #connection(
    peer: Pick<RelayConnectionOptions, 'where' | 'expectedNodeId'>,
    onEnd: (end: ConnectionEnd) => void,
  ): RelayConnection {
    const { self, cluster, log } = this.#options;
    let nodeId: NodeId | undefined = peer.expectedNodeId;
    return new RelayConnection({
      ...peer,
      self,
      cluster,
      settings: this.#settings,
      log,
      onReady: (facts) => {
        nodeId = facts.nodeId;
        log.debug({ peer: facts, where: peer.where }, 'connected with a node');
      },
      onEnd: (end) => {
        onEnd(end);
        this.#connectionEnded(nodeId, end);
      },
      onUnknownMessage: (kind) => {
        this.#unknownMessages += 1;
        this.#log.say('warn', 'relay-unknown-message', {
          message: 'dropped a message that only newer nodes know',
          kind,
          nodeId,
        });
      },
      serve: (opened, facts) => this.#services.serve(opened, facts),
    });
  }

  #connectionEnded(nodeId: NodeId | undefined, end: ConnectionEnd): void {
    switch (end.cause) {
      case 'closed':
        return;
      case 'goodbye':
        this.#options.log.info({ nodeId }, 'a node said goodbye');
        return;
      case 'failed':
        this.#log.say(end.error.logLevel, end.error.reason, { message: end.error.message, nodeId });
        return;
      case 'reset':
      case 'silent':
      case 'bad-data':
        this.#options.log.warn({ nodeId, cause: end.cause, detail: end.error.message }, 'lost a node');
        if (nodeId !== undefined) {
          this.#services.peerLost(nodeId, end.cause);
        }
    }
  }
}

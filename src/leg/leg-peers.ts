/** This node's relations to the leg nodes of others: one client and one server for each. Its own workers meet here too. */
import { memoryLink } from '../cluster/memory-link.ts';
import type { Logger } from '../observe/log.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { LegPeerReply, LegPeerRequest } from '../protocol/leg-peer-messages.ts';
import { peerUnreachable } from './errors.ts';
import { PeerClient, type LegPeerConnector, type LegPeerLink, type PeerTimings } from './peer-client.ts';
import { PeerServer, type IncomingPeerLink, type PeerRoom } from './peer-server.ts';

export type LegPeersOptions = {
  nodeId: NodeId;
  /** Undefined: there are no other nodes. */
  connector: LegPeerConnector | undefined;
  timings: PeerTimings;
  maxDataBytes: number;
  room: (roomName: string) => PeerRoom | undefined;
  onDataDropped: (packets: number) => void;
  /** What another node wanted here does not count any more. */
  onPeerGone: (nodeId: NodeId) => void;
  log: Logger;
};

export class LegPeers {
  readonly #options: LegPeersOptions;
  readonly #clients = new Map<NodeId, PeerClient>();
  readonly #servers = new Map<NodeId, PeerServer>();
  readonly #closing = new Set<Promise<void>>();
  #closed = false;

  constructor(options: LegPeersOptions) {
    this.#options = options;
  }

  /** Pipes that leave the routers of this node. */
  get outgoingPipes(): number {
    return [...this.#servers.values()].reduce((sum, server) => sum + server.pipes, 0);
  }

  client(nodeId: NodeId): PeerClient {
    let client = this.#clients.get(nodeId);
    if (client === undefined) {
      client = new PeerClient({
        nodeId,
        connect: () => this.#connect(nodeId),
        timings: this.#options.timings,
        maxDataBytes: this.#options.maxDataBytes,
        onDataDropped: this.#options.onDataDropped,
        onIdle: () => this.#clients.delete(nodeId),
        log: this.#options.log,
      });
      this.#clients.set(nodeId, client);
    }
    return client;
  }

  /** Serves a link that another node opened. */
  accept(nodeId: NodeId, link: IncomingPeerLink): void {
    if (this.#closed) {
      link.close();
      return;
    }
    let server = this.#servers.get(nodeId);
    if (server === undefined) {
      server = this.#createServer(nodeId);
      this.#servers.set(nodeId, server);
    }
    server.attach(link);
  }

  /** @returns when the engine holds nothing for other nodes any more. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const client of this.#clients.values()) {
      client.close();
    }
    await Promise.all([...this.#closing, ...[...this.#servers.values()].map((server) => server.close())]);
    this.#servers.clear();
  }

  #createServer(nodeId: NodeId): PeerServer {
    const { room, timings, onPeerGone, log } = this.#options;
    const server = new PeerServer({
      nodeId,
      room,
      graceMs: timings.graceMs,
      onGone: () => {
        this.#servers.delete(nodeId);
        onPeerGone(nodeId);
        const closing = server.close().finally(() => this.#closing.delete(closing));
        this.#closing.add(closing);
      },
      log: log.child({ peerNodeId: nodeId }),
    });
    return server;
  }

  #connect(nodeId: NodeId): LegPeerLink {
    const { nodeId: ownId, connector } = this.#options;
    if (this.#closed) {
      throw peerUnreachable(nodeId, 'this node ends');
    }
    if (nodeId === ownId) {
      const [client, server] = memoryLink<LegPeerRequest, LegPeerReply>();
      this.accept(nodeId, server);
      return client;
    }
    if (connector === undefined) {
      throw peerUnreachable(nodeId, 'this node has no way to others');
    }
    return connector.connect(nodeId);
  }
}

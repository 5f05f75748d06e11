/** Links from gateways: which socket and which command came over which of them. */
import type { Link } from '../cluster/link.ts';
import type { ConnectionId, NodeId } from '../protocol/ids.ts';
import type { GatewayToHost, HostToGateway } from '../protocol/session-messages.ts';

export type GatewayLink = Link<HostToGateway, GatewayToHost>;

export type GatewayLinksOptions = {
  receive: (link: GatewayLink, message: GatewayToHost) => void;
  /** The gateway of this socket is gone. */
  connectionLost: (connectionId: ConnectionId) => void;
};

export class GatewayLinks {
  readonly #options: GatewayLinksOptions;
  readonly #links = new Map<GatewayLink, Set<ConnectionId>>();
  readonly #linkOf = new Map<ConnectionId, GatewayLink>();
  /** Commands under our own numbers: two gateways may use the same one. */
  readonly #commands = new Map<number, { link: GatewayLink; requestId: number }>();
  #lastRequestId = 0;

  constructor(options: GatewayLinksOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#links.size;
  }

  get pendingCommands(): number {
    return this.#commands.size;
  }

  accept(link: GatewayLink): void {
    this.#links.set(link, new Set());
    link.onMessage((message) => this.#options.receive(link, message));
    link.onClose(() => this.#linkClosed(link));
  }

  bind(connectionId: ConnectionId, link: GatewayLink): void {
    this.#linkOf.set(connectionId, link);
    this.#links.get(link)?.add(connectionId);
  }

  unbind(connectionId: ConnectionId): void {
    const link = this.#linkOf.get(connectionId);
    this.#linkOf.delete(connectionId);
    if (link !== undefined) {
      this.#links.get(link)?.delete(connectionId);
    }
  }

  isBound(connectionId: ConnectionId): boolean {
    return this.#linkOf.has(connectionId);
  }

  /** Tells every gateway that has one of these sockets. @param nodeId the next host, where it is known */
  loseRoom(roomName: string, connections: Iterable<ConnectionId>, nodeId: NodeId | undefined): void {
    const links = new Set<GatewayLink>();
    for (const connectionId of connections) {
      const link = this.#linkOf.get(connectionId);
      if (link !== undefined) {
        links.add(link);
      }
    }
    for (const link of links) {
      link.send({ kind: 'roomLost', roomName, ...(nodeId === undefined ? {} : { nodeId }) });
    }
  }

  /** @returns the number under which the result has to be sent */
  expectResult(link: GatewayLink, requestId: number): number {
    this.#lastRequestId += 1;
    this.#commands.set(this.#lastRequestId, { link, requestId });
    return this.#lastRequestId;
  }

  /**
   * What is meant for sockets or commands of a link that is gone is dropped.
   * @param epoch of the room that says it
   */
  send(message: HostToGateway, epoch?: number): void {
    switch (message.kind) {
      case 'send':
        return this.#sendToMany(message, epoch);
      case 'commandResult':
        return this.#sendResult(message, epoch);
      case 'accepted':
      case 'refused':
      case 'closeSocket':
      case 'notHere':
      case 'attached':
      case 'legHome':
      case 'returned':
        return this.#linkOf.get(message.connectionId)?.send(message, epoch);
      case 'roomLost':
        return;
    }
  }

  close(): void {
    for (const link of this.#links.keys()) {
      link.close();
      this.#linkClosed(link);
    }
  }

  #sendToMany(message: Extract<HostToGateway, { kind: 'send' }>, epoch: number | undefined): void {
    const byLink = new Map<GatewayLink, ConnectionId[]>();
    for (const connectionId of message.connectionIds) {
      const link = this.#linkOf.get(connectionId);
      if (link !== undefined) {
        const group = byLink.get(link) ?? [];
        group.push(connectionId);
        byLink.set(link, group);
      }
    }
    for (const [link, connectionIds] of byLink) {
      link.send({ ...message, connectionIds }, epoch);
    }
  }

  #sendResult(message: Extract<HostToGateway, { kind: 'commandResult' }>, epoch: number | undefined): void {
    const command = this.#commands.get(message.requestId);
    this.#commands.delete(message.requestId);
    command?.link.send({ ...message, requestId: command.requestId }, epoch);
  }

  #linkClosed(link: GatewayLink): void {
    const connections = this.#links.get(link);
    this.#links.delete(link);
    for (const [requestId, command] of this.#commands) {
      if (command.link === link) {
        this.#commands.delete(requestId);
      }
    }
    for (const connectionId of connections ?? []) {
      this.#options.connectionLost(connectionId);
    }
  }
}

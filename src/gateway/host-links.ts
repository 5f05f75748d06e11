import type { HostConnector } from '../cluster/directory.ts';
import type { Link, LinkCloseReason } from '../cluster/link.ts';
import type { Logger } from '../observe/log.ts';
import type { ConnectionId, NodeId } from '../protocol/ids.ts';
import type { GatewayToHost, HostToGateway } from '../protocol/session-messages.ts';
import type { CloseFrame } from './close-codes.ts';
import type { GatewayObserver } from './observer.ts';
import { SignalFrame } from './signal-frame.ts';

/** One connection's end of the conversation with its room host. */
export interface HostSession {
  accepted(frame: SignalFrame): void;
  refused(status: number, body: string): void;
  send(frame: SignalFrame): void;
  closeSocket(frame: CloseFrame): void;
  /** The link is gone, and with it everything the host knew about this connection. */
  hostLost(): void;
}

type HostLink = {
  nodeId: NodeId;
  link: Link<GatewayToHost, HostToGateway>;
  sessions: Map<ConnectionId, HostSession>;
  closed: boolean;
};

export type HostLinksOptions = { connector: HostConnector; observer: GatewayObserver; log: Logger };

/** The gateway's links to room hosts: one per node, shared by all connections whose rooms are there. */
export class HostLinks {
  readonly #options: HostLinksOptions;
  readonly #links = new Map<NodeId, HostLink>();
  #closed = false;

  constructor(options: HostLinksOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#links.size;
  }

  /** From now on the session hears what the node says about this connection. */
  attach(nodeId: NodeId, connectionId: ConnectionId, session: HostSession): HostChannel {
    const hostLink = this.#links.get(nodeId) ?? this.#connect(nodeId);
    hostLink.sessions.set(connectionId, session);
    if (hostLink.closed) {
      session.hostLost();
    }
    return new HostChannel(hostLink, connectionId);
  }

  close(): void {
    this.#closed = true;
    for (const { link } of this.#links.values()) {
      link.close();
    }
    this.#links.clear();
  }

  #connect(nodeId: NodeId): HostLink {
    const hostLink: HostLink = {
      nodeId,
      link: this.#options.connector.connect(nodeId),
      sessions: new Map(),
      closed: false,
    };
    // Before the handlers: a link that is dead on arrival says so at once, and then must not stay in the map.
    this.#links.set(nodeId, hostLink);
    hostLink.link.onMessage((message) => this.#receive(hostLink, message));
    hostLink.link.onClose((reason) => this.#linkClosed(hostLink, reason));
    return hostLink;
  }

  #receive(hostLink: HostLink, message: HostToGateway): void {
    switch (message.kind) {
      case 'accepted': {
        const frame = new SignalFrame(message.message);
        this.#deliver(hostLink, message.connectionId, (session) => session.accepted(frame));
        break;
      }
      case 'refused':
        this.#deliver(hostLink, message.connectionId, (session) => session.refused(message.status, message.body));
        break;
      case 'send':
        this.#deliverFrame(hostLink, message.connectionIds, new SignalFrame(message.message));
        break;
      case 'closeSocket':
        this.#deliver(hostLink, message.connectionId, (session) => session.closeSocket(message));
        break;
      case 'commandResult':
        // Commands are sent on links of the API's own.
        break;
      default:
        message satisfies never;
    }
  }

  #deliverFrame(hostLink: HostLink, connectionIds: ConnectionId[], frame: SignalFrame): void {
    this.#options.observer.signalSent(frame.binary.length, connectionIds.length);
    for (const connectionId of connectionIds) {
      this.#deliver(hostLink, connectionId, (session) => session.send(frame));
    }
  }

  /** Connections that ended meanwhile are not there any more; that is normal. One session's fault never reaches another. */
  #deliver(hostLink: HostLink, connectionId: ConnectionId, deliver: (session: HostSession) => void): void {
    const session = hostLink.sessions.get(connectionId);
    if (session === undefined) {
      return;
    }
    try {
      deliver(session);
    } catch (error) {
      this.#options.log.error(
        { err: error, connectionId, nodeId: hostLink.nodeId },
        'message from the room host failed',
      );
    }
  }

  #linkClosed(hostLink: HostLink, reason: LinkCloseReason): void {
    hostLink.closed = true;
    if (this.#links.get(hostLink.nodeId) === hostLink) {
      this.#links.delete(hostLink.nodeId);
    }
    if (this.#closed) {
      return;
    }
    this.#options.log.warn(
      { nodeId: hostLink.nodeId, reason, sessions: hostLink.sessions.size },
      'link to room host lost',
    );
    const sessions = [...hostLink.sessions.keys()];
    for (const connectionId of sessions) {
      this.#deliver(hostLink, connectionId, (session) => session.hostLost());
    }
    hostLink.sessions.clear();
  }
}

/** What one connection says to its room host. */
export class HostChannel {
  readonly #hostLink: HostLink;
  readonly #connectionId: ConnectionId;

  constructor(hostLink: HostLink, connectionId: ConnectionId) {
    this.#hostLink = hostLink;
    this.#connectionId = connectionId;
  }

  send(message: GatewayToHost): void {
    this.#hostLink.link.send(message);
  }

  /** Nothing is heard from the host after this. */
  detach(): void {
    this.#hostLink.sessions.delete(this.#connectionId);
  }
}

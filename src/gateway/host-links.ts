import type { HostConnector } from '../cluster/directory.ts';
import type { Link, LinkCloseReason } from '../cluster/link.ts';
import type { Logger } from '../observe/log.ts';
import type { ConnectionId, NodeId, ParticipantSid } from '../protocol/ids.ts';
import type { GatewayToHost, HostToGateway } from '../protocol/session-messages.ts';
import type { CloseFrame } from './close-codes.ts';
import type { GatewayObserver } from './observer.ts';
import { SignalFrame } from './signal-frame.ts';

/** One connection's end of the conversation with its room host. */
export interface HostSession {
  readonly roomName: string;
  /** @param participantSid of the session that the socket now belongs to, where there is one */
  accepted(frame: SignalFrame, participantSid: ParticipantSid | undefined): void;
  /** The session goes on at this host. */
  attached(): void;
  /** Where the session's media is. */
  legHome(nodeId: NodeId): void;
  /** A former host sends back what the client said. */
  returned(message: Uint8Array): void;
  refused(status: number, body: string): void;
  /** The node does not host the room. */
  notHere(): void;
  send(frame: SignalFrame): void;
  closeSocket(frame: CloseFrame): void;
  /** That host is not the room's any more. */
  hostLost(loss: HostLoss): void;
}

export type HostLoss =
  /** There is no way to the node. */
  | { kind: 'node-lost'; nodeId: NodeId }
  /** The node lives; @property next the room's next host, where it is known */
  | { kind: 'room-moved'; next: NodeId | undefined };

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
  /** Of rooms with sessions here, the highest epoch that a host has shown. */
  readonly #epochs = new Map<string, { highest: number; sessions: number }>();
  /** Sessions between two hosts. */
  readonly #away = new Map<ConnectionId, HostSession>();
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
    this.#retain(session.roomName);
    if (hostLink.closed) {
      this.#detach(hostLink, connectionId);
      session.hostLost({ kind: 'node-lost', nodeId });
    }
    return new HostChannel({
      send: (message) => hostLink.link.send(message),
      detach: () => this.#detach(hostLink, connectionId),
    });
  }

  /** The session looks for its next host. Until it is back, what was heard of the room's hosts is remembered. */
  away(connectionId: ConnectionId, session: HostSession): void {
    if (!this.#away.has(connectionId)) {
      this.#away.set(connectionId, session);
      this.#retain(session.roomName);
    }
  }

  back(connectionId: ConnectionId): void {
    const session = this.#away.get(connectionId);
    if (session !== undefined) {
      this.#away.delete(connectionId);
      this.#forget(session.roomName);
    }
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
    hostLink.link.onMessage((message, epoch) => this.#receive(hostLink, message, epoch));
    hostLink.link.onClose((reason) => this.#linkClosed(hostLink, reason));
    return hostLink;
  }

  #detach(hostLink: HostLink, connectionId: ConnectionId): void {
    const session = hostLink.sessions.get(connectionId);
    if (session === undefined) {
      return;
    }
    hostLink.sessions.delete(connectionId);
    this.#forget(session.roomName);
  }

  #retain(roomName: string): void {
    const room = this.#epochs.get(roomName) ?? { highest: 0, sessions: 0 };
    room.sessions += 1;
    this.#epochs.set(roomName, room);
  }

  #forget(roomName: string): void {
    const room = this.#epochs.get(roomName);
    if (room !== undefined) {
      room.sessions -= 1;
      if (room.sessions === 0) {
        this.#epochs.delete(roomName);
      }
    }
  }

  /** Refuses what a superseded host still says; its sessions are lost as soon as another host shows a higher epoch. */
  #admits(hostLink: HostLink, message: HostToGateway, epoch: number | undefined): boolean {
    const connectionId = firstConnection(message);
    const roomName = connectionId === undefined ? undefined : hostLink.sessions.get(connectionId)?.roomName;
    const room = roomName === undefined ? undefined : this.#epochs.get(roomName);
    if (epoch === undefined || room === undefined || roomName === undefined || epoch === room.highest) {
      return true;
    }
    if (epoch < room.highest) {
      // Whoever was away for long learns so what the others know.
      hostLink.link.send({ kind: 'superseded', roomName, epoch: room.highest });
      return false;
    }
    const hadHost = room.highest > 0;
    room.highest = epoch;
    if (hadHost) {
      for (const other of this.#links.values()) {
        if (other !== hostLink) {
          this.#loseRoom(other, roomName, hostLink.nodeId);
        }
      }
    }
    return true;
  }

  #loseRoom(hostLink: HostLink, roomName: string, next: NodeId | undefined): void {
    const lost = [...hostLink.sessions].filter(([, session]) => session.roomName === roomName);
    for (const [connectionId] of lost) {
      this.#lose(hostLink, connectionId, { kind: 'room-moved', next });
    }
  }

  #lose(hostLink: HostLink, connectionId: ConnectionId, loss: HostLoss): void {
    const session = hostLink.sessions.get(connectionId);
    this.#detach(hostLink, connectionId);
    this.#guard(hostLink, connectionId, () => session?.hostLost(loss));
  }

  /** A host that has given the room away sends back what still came; it goes to where the session is now. */
  #returned(hostLink: HostLink, connectionId: ConnectionId, message: Uint8Array): void {
    const elsewhere = [...this.#links.values()].find((other) => other !== hostLink && other.sessions.has(connectionId));
    const session = this.#away.get(connectionId) ?? elsewhere?.sessions.get(connectionId);
    this.#guard(hostLink, connectionId, () => session?.returned(message));
  }

  #receive(hostLink: HostLink, message: HostToGateway, epoch: number | undefined): void {
    if (!this.#admits(hostLink, message, epoch)) {
      this.#options.log.debug({ nodeId: hostLink.nodeId, epoch }, 'refused what a superseded host said');
      return;
    }
    switch (message.kind) {
      case 'accepted': {
        const frame = new SignalFrame(message.message);
        const { participantSid } = message;
        this.#deliver(hostLink, message.connectionId, (session) => session.accepted(frame, participantSid));
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
      case 'notHere':
        this.#deliver(hostLink, message.connectionId, (session) => session.notHere());
        break;
      case 'attached':
        this.#deliver(hostLink, message.connectionId, (session) => session.attached());
        break;
      case 'legHome':
        this.#deliver(hostLink, message.connectionId, (session) => session.legHome(message.nodeId));
        break;
      case 'returned':
        this.#returned(hostLink, message.connectionId, message.message);
        break;
      case 'roomLost':
        this.#loseRoom(hostLink, message.roomName, message.nodeId);
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
    if (session !== undefined) {
      this.#guard(hostLink, connectionId, () => deliver(session));
    }
  }

  #guard(hostLink: HostLink, connectionId: ConnectionId, run: () => void): void {
    try {
      run();
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
    for (const connectionId of [...hostLink.sessions.keys()]) {
      this.#lose(hostLink, connectionId, { kind: 'node-lost', nodeId: hostLink.nodeId });
    }
  }
}

function firstConnection(message: HostToGateway): ConnectionId | undefined {
  switch (message.kind) {
    case 'send':
      return message.connectionIds[0];
    case 'roomLost':
    case 'commandResult':
      return undefined;
    default:
      return message.connectionId;
  }
}

type HostChannelOptions = { send: (message: GatewayToHost) => void; detach: () => void };

/** What one connection says to its room host. */
export class HostChannel {
  readonly #options: HostChannelOptions;

  constructor(options: HostChannelOptions) {
    this.#options = options;
  }

  send(message: GatewayToHost): void {
    this.#options.send(message);
  }

  /** Nothing is heard from the host after this. */
  detach(): void {
    this.#options.detach();
  }
}

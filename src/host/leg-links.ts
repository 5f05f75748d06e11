/** The way from the rooms of a node to their legs, on this node and on others: which leg is where, one link per node. */
import type { Link } from '../cluster/link.ts';
import type { NodeId, LegId } from '../protocol/ids.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';

export type LegLink = Link<HostToLeg, LegToHost>;

export type LegPlaceRequest = {
  roomName: string;
  identity: string;
  /** Legs of the room by node. */
  room: ReadonlyMap<NodeId, number>;
};

/** Chooses and reaches the nodes that carry legs. */
export interface LegPlacer {
  /** The node for a participant's leg; undefined when none can take it. */
  choose(request: LegPlaceRequest): NodeId | undefined;
  /** A new link; one to a node that cannot be reached closes with `lost`. */
  connect(nodeId: NodeId): LegLink;
}

export type LegLinksOptions = {
  nodeId: NodeId;
  /** Without it all legs are on this node. */
  placer: LegPlacer | undefined;
  receive: (message: LegToHost) => void;
  /** Their node cannot be reached any more. */
  lost: (legs: LegId[]) => void;
};

type Home = { nodeId: NodeId; roomName: string };

export class LegLinks {
  readonly #options: LegLinksOptions;
  readonly #links = new Map<NodeId, LegLink>();
  readonly #homes = new Map<LegId, Home>();
  readonly #rooms = new Map<string, Map<NodeId, number>>();

  constructor(options: LegLinksOptions) {
    this.#options = options;
  }

  /** The link to this node's own legs. */
  attachOwn(link: LegLink): void {
    this.#adopt(this.#options.nodeId, link);
  }

  /** The node that a leg is on. */
  homeOf(leg: LegId): NodeId | undefined {
    return this.#homes.get(leg)?.nodeId;
  }

  /**
   * @param target for a leg that is to be opened on this node and nowhere else
   * @returns false when there is no node for a leg that is to be opened
   */
  send(message: HostToLeg, epoch: number | undefined, target?: NodeId): boolean {
    switch (message.kind) {
      case 'open':
        return this.#open(message, epoch, target);
      case 'close':
        this.#sendToLeg(message.leg, message, epoch);
        this.#forget(message.leg, epoch);
        return true;
      case 'serverPacket':
      case 'interceptRpc':
      case 'roomNodes':
        for (const nodeId of this.#rooms.get(message.roomName)?.keys() ?? []) {
          this.#links.get(nodeId)?.send(message, epoch);
        }
        return true;
      default:
        this.#sendToLeg(message.leg, message, epoch);
        return true;
    }
  }

  close(): void {
    for (const link of this.#links.values()) {
      link.close();
    }
    this.#links.clear();
  }

  #open(message: Extract<HostToLeg, { kind: 'open' }>, epoch: number | undefined, target?: NodeId): boolean {
    const { roomName, identity } = message.identity;
    const room = this.#rooms.get(roomName) ?? new Map<NodeId, number>();
    const { placer, nodeId: ownNodeId } = this.#options;
    const choose = (): NodeId | undefined =>
      placer === undefined ? ownNodeId : placer.choose({ roomName, identity, room });
    const nodeId = target ?? choose();
    const link = nodeId === undefined ? undefined : (this.#links.get(nodeId) ?? this.#connect(nodeId));
    if (nodeId === undefined || link === undefined) {
      return false;
    }
    this.#rooms.set(roomName, room);
    this.#homes.set(message.leg, { nodeId, roomName });
    const legs = room.get(nodeId) ?? 0;
    room.set(nodeId, legs + 1);
    link.send(message, epoch);
    if (legs === 0) {
      this.#tellNodes(roomName, room, epoch);
    }
    return true;
  }

  #connect(nodeId: NodeId): LegLink | undefined {
    const link = this.#options.placer?.connect(nodeId);
    if (link !== undefined) {
      this.#adopt(nodeId, link);
    }
    // One that is dead on arrival has taken itself out again.
    return this.#links.get(nodeId);
  }

  #adopt(nodeId: NodeId, link: LegLink): void {
    this.#links.set(nodeId, link);
    link.onMessage((message) => this.#options.receive(message));
    link.onClose(() => this.#linkClosed(nodeId, link));
  }

  #linkClosed(nodeId: NodeId, link: LegLink): void {
    if (this.#links.get(nodeId) !== link) {
      return;
    }
    this.#links.delete(nodeId);
    const lost = [...this.#homes].filter(([, home]) => home.nodeId === nodeId);
    for (const [leg] of lost) {
      this.#forget(leg, undefined);
    }
    if (lost.length > 0) {
      this.#options.lost(lost.map(([leg]) => leg));
    }
  }

  #sendToLeg(leg: LegId, message: HostToLeg, epoch: number | undefined): void {
    const home = this.#homes.get(leg);
    if (home !== undefined) {
      this.#links.get(home.nodeId)?.send(message, epoch);
    }
  }

  #forget(leg: LegId, epoch: number | undefined): void {
    const home = this.#homes.get(leg);
    this.#homes.delete(leg);
    const room = home === undefined ? undefined : this.#rooms.get(home.roomName);
    if (home === undefined || room === undefined) {
      return;
    }
    const legs = (room.get(home.nodeId) ?? 0) - 1;
    if (legs > 0) {
      room.set(home.nodeId, legs);
      return;
    }
    room.delete(home.nodeId);
    if (room.size === 0) {
      this.#rooms.delete(home.roomName);
    } else {
      this.#tellNodes(home.roomName, room, epoch);
    }
  }

  /** Each node sends its participants' data to all others of the room. */
  #tellNodes(roomName: string, room: ReadonlyMap<NodeId, number>, epoch: number | undefined): void {
    if (this.#options.placer === undefined) {
      return;
    }
    const message: HostToLeg = { kind: 'roomNodes', roomName, nodes: [...room.keys()], epoch: epoch ?? 0 };
    this.send(message, epoch);
  }
}

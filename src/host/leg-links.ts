/** The way from the rooms of a node to their legs, on this node and on others: which leg is where, one link per node. */
import type { Link } from '../cluster/link.ts';
import type { LegId, NodeId } from '../protocol/ids.ts';
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
  /** Why no node can take the leg, for whoever wants to join; undefined when one can. */
  complaint(request: LegPlaceRequest): string | undefined;
  /** A new link; one to a node that cannot be reached closes with `lost`. */
  connect(nodeId: NodeId): LegLink;
  /** Whether the node states itself, and nobody here has just failed to reach it. */
  isTrusted?(nodeId: NodeId): boolean;
}

export type LegLinksOptions = {
  nodeId: NodeId;
  /** Without it all legs are on this node. */
  placer: LegPlacer | undefined;
  receive: (message: LegToHost, nodeId: NodeId) => void;
  /** Their node cannot be reached any more. */
  lost: (legs: LegId[]) => void;
  /** There is no link to the node any more, whether or not legs were there. */
  unlinked?: (nodeId: NodeId) => void;
  /** The room has more or fewer legs somewhere. */
  changed?: (roomName: string) => void;
  /** Where a leg is now. */
  placed?: (leg: LegId, nodeId: NodeId) => void;
};

type Home = { nodeId: NodeId; roomName: string };

export class LegLinks {
  readonly #options: LegLinksOptions;
  readonly #links = new Map<NodeId, LegLink>();
  readonly #homes = new Map<LegId, Home>();
  readonly #rooms = new Map<string, Map<NodeId, number>>();
  /** Rooms whose nodes are not known yet: to tell some of them of a part would cut off the rest. */
  readonly #collecting = new Set<string>();

  constructor(options: LegLinksOptions) {
    this.#options = options;
  }

  /** The link to this node's own legs. */
  attachOwn(link: LegLink): void {
    this.#adopt(this.#options.nodeId, link);
  }

  /** Why no node can take one more participant of the room; undefined when one can. */
  complaint(roomName: string, identity: string): string | undefined {
    const room = this.#rooms.get(roomName) ?? new Map<NodeId, number>();
    return this.#options.placer?.complaint({ roomName, identity, room });
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
      case 'restate':
      case 'release':
        for (const nodeId of this.#rooms.get(message.roomName)?.keys() ?? []) {
          this.#links.get(nodeId)?.send(message, epoch);
        }
        return true;
      default:
        this.#sendToLeg(message.leg, message, epoch);
        return true;
    }
  }

  /** The node that a leg is on. */
  homeOf(leg: LegId): NodeId | undefined {
    return this.#homes.get(leg)?.nodeId;
  }

  /** Legs of a room by node. */
  nodesOf(roomName: string): ReadonlyMap<NodeId, number> {
    return this.#rooms.get(roomName) ?? new Map<NodeId, number>();
  }

  /** Asks a node for the legs of a room that this one has come to host. @returns false when there is no way to it */
  ask(nodeId: NodeId, roomName: string, epoch: number): boolean {
    const link = this.#links.get(nodeId) ?? this.#connect(nodeId);
    link?.send({ kind: 'restate', roomName }, epoch);
    return link !== undefined;
  }

  /** Nodes are not told of each other until `collected`. */
  collect(roomName: string): void {
    this.#collecting.add(roomName);
  }

  collected(roomName: string, epoch: number | undefined): void {
    this.#collecting.delete(roomName);
    const room = this.#rooms.get(roomName);
    if (room !== undefined) {
      this.#tellNodes(roomName, room, epoch);
      this.#options.changed?.(roomName);
    }
  }

  /** A leg that an earlier host of the room has opened. */
  adopt(leg: LegId, nodeId: NodeId, at: { roomName: string; epoch: number | undefined }): void {
    if (this.#homes.has(leg)) {
      return;
    }
    const room = this.#rooms.get(at.roomName) ?? new Map<NodeId, number>();
    const legs = room.get(nodeId) ?? 0;
    this.#rooms.set(at.roomName, room.set(nodeId, legs + 1));
    this.#homes.set(leg, { nodeId, roomName: at.roomName });
    if (legs === 0) {
      this.#tellNodes(at.roomName, room, at.epoch);
    }
    this.#options.changed?.(at.roomName);
  }

  /** Another node hosts the room: its legs hear so, and are not this node's any more. */
  release(message: Extract<HostToLeg, { kind: 'release' }>, epoch: number | undefined): void {
    this.send(message, epoch);
    this.#rooms.delete(message.roomName);
    this.#collecting.delete(message.roomName);
    for (const [leg, { roomName }] of this.#homes) {
      if (roomName === message.roomName) {
        this.#homes.delete(leg);
      }
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
    this.#options.placed?.(message.leg, nodeId);
    this.#options.changed?.(roomName);
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
    link.onMessage((message) => this.#options.receive(message, nodeId));
    link.onClose(() => this.#linkClosed(nodeId, link));
  }

  #linkClosed(nodeId: NodeId, link: LegLink): void {
    if (this.#links.get(nodeId) !== link) {
      return;
    }
    this.#links.delete(nodeId);
    this.#options.unlinked?.(nodeId);
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
    } else {
      room.delete(home.nodeId);
      if (room.size === 0) {
        this.#rooms.delete(home.roomName);
      } else {
        this.#tellNodes(home.roomName, room, epoch);
      }
    }
    this.#options.changed?.(home.roomName);
  }

  /** Each node sends its participants' data to all others of the room. */
  #tellNodes(roomName: string, room: ReadonlyMap<NodeId, number>, epoch: number | undefined): void {
    if (this.#options.placer === undefined || this.#collecting.has(roomName)) {
      return;
    }
    const message: HostToLeg = { kind: 'roomNodes', roomName, nodes: [...room.keys()], epoch: epoch ?? 0 };
    this.send(message, epoch);
  }
}

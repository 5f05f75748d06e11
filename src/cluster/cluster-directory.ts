/**
 * The room directory of a master: rooms are placed and found in the store, and remembered here, so that a join to a room
 * that is known costs the store nothing and works while it is away.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../observe/log.ts';
import { noNodeFits } from '../placement/errors.ts';
import { pendingPlacements, roomEstimate, type NodeLimits, type Placement } from '../placement/load.ts';
import { selectHostNode, type HostRequest } from '../placement/select-node.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { GatewayToHost, HostToGateway } from '../protocol/session-messages.ts';
import type { ClusterNodes } from './cluster-nodes.ts';
import { roomHostLost } from './directory-errors.ts';
import type { HostConnector, RoomDirectory, RoomLocation } from './directory.ts';
import { HostSearch } from './host-search.ts';
import { HostReach } from './host-reach.ts';
import { HostRelations } from './host-relations.ts';
import type { Link } from './link.ts';
import type { RelayNetwork } from './relay-network.ts';
import { protocolRange } from './relay-hello.ts';
import { tellNodeEnded } from './node-notices.ts';
import { MasterOpinions, type MovedRoom } from './master-opinions.ts';
import { decodeRoomNotice, roomNoticeTopic } from './room-notices.ts';
import { RoomSuccession, type OwnerSeen } from './room-succession.ts';
import type { ClusterStore, Unsubscribe } from './store.ts';
import { isStoreUnavailable, storeAway } from './store-errors.ts';
import { lostLink, watchedLink } from './watched-link.ts';
import { sessionChannel } from './wire-messages.ts';

export type ClusterDirectoryOptions = {
  nodeId: NodeId;
  store: ClusterStore;
  nodes: ClusterNodes;
  relay: RelayNetwork;
  limits: NodeLimits;
  region: string;
  /** A room without clients was given to this node, which does not know yet. */
  recovered: (roomName: string, nodeId: NodeId) => void;
  log: Logger;
};

const maxRemembered = 100_000;
/** Between two looks at a room that is between two hosts. */
const lookAgainMs = 50;

export class ClusterDirectory implements RoomDirectory, HostConnector {
  readonly #options: ClusterDirectoryOptions;
  readonly #succession: RoomSuccession;
  readonly #hostSearch: HostSearch;
  /** Whether this master, or another one, reaches a node. */
  readonly reach: HostReach;
  readonly opinions: MasterOpinions;
  readonly #relations: HostRelations;
  readonly #locations = new Map<string, NodeId>();
  readonly #searches = new Map<string, Promise<NodeId | undefined>>();
  #placements: Placement[] = [];
  #unsubscribe: Unsubscribe | undefined;

  constructor(options: ClusterDirectoryOptions) {
    this.#options = options;
    const { nodeId, store, nodes, relay, log } = options;
    this.reach = new HostReach({ relay, nodes, ended: (ended) => void tellNodeEnded(store.bus, ended) });
    this.#hostSearch = new HostSearch({ nodes, relay });
    const { leaseMs } = store.timings;
    this.#relations = new HostRelations({ leaseMs, affirmMs: leaseMs });
    const relations = this.#relations;
    this.opinions = new MasterOpinions({ nodeId, nodes, relay, relations, moved: (room) => this.#moved(room) });
    const placement = (): Omit<HostRequest, 'key'> => this.#placement();
    this.#succession = new RoomSuccession({
      nodeId,
      store,
      nodes,
      reach: this.reach,
      relations,
      opinions: this.opinions,
      placement,
      chosen: (chosen) => void this.#placed(chosen),
      log,
    });
  }

  /** Listens to what other nodes tell about rooms. */
  async start(): Promise<void> {
    this.opinions.serve();
    this.#relations.serve(this.#options.relay);
    this.#unsubscribe = await this.#options.store.bus.subscribe(roomNoticeTopic, (message) => {
      for (const roomName of decodeRoomNotice(message)) {
        this.#locations.delete(roomName);
      }
    });
  }

  close(): void {
    this.#unsubscribe?.();
    this.opinions.close();
    this.#hostSearch.close();
  }

  get size(): number {
    return this.#locations.size;
  }

  async locate(roomName: string): Promise<RoomLocation | undefined> {
    const nodeId = this.#remembered(roomName) ?? (await this.#search(roomName, false));
    return nodeId === undefined ? undefined : { roomName, nodeId };
  }

  async place(roomName: string): Promise<RoomLocation> {
    const nodeId = this.#remembered(roomName) ?? (await this.#search(roomName, true));
    if (nodeId === undefined) {
      throw roomHostLost(roomName);
    }
    return { roomName, nodeId };
  }

  list(names: string[]): Promise<Uint8Array[]> {
    return this.#options.store.rooms.list(names);
  }

  #moved({ roomName, from, to, epoch }: MovedRoom): void {
    this.#relations.taken(from, roomName, epoch);
    this.#remember(roomName, to);
  }

  /** Sees to it that a room whose host is dead gets one, and that the host learns of it. */
  async recover(roomName: string): Promise<void> {
    const owner = await this.#options.store.rooms.find(roomName);
    const host = owner === undefined ? undefined : await this.#succession.hostOf(roomName, owner);
    if (host?.moved === true) {
      this.#remember(roomName, host.nodeId);
      this.#options.recovered(roomName, host.nodeId);
    }
  }

  /** Nothing is kept of nodes that the cluster does not know any more. */
  forgetGoneNodes(): void {
    this.#relations.keepOnly((nodeId) => this.#options.nodes.peer(nodeId) !== undefined);
  }

  forget(roomName: string): void {
    this.#locations.delete(roomName);
  }

  connect(nodeId: NodeId): Link<GatewayToHost, HostToGateway> {
    const { nodes, relay } = this.#options;
    const peer = nodes.peer(nodeId);
    if (peer === undefined) {
      this.#nodeEnded(nodeId, true);
      return lostLink();
    }
    return watchedLink(relay.open(peer, sessionChannel, {}), (reason) => this.#nodeEnded(nodeId, reason !== 'closed'));
  }

  #nodeEnded(nodeId: NodeId, isLost: boolean): void {
    if (isLost) {
      this.#options.nodes.suspect(nodeId);
      // Others may depend on that node although nobody here has a session with it: they are told if its process is gone.
      void this.reach.of(nodeId);
    }
    for (const [roomName, owner] of this.#locations) {
      if (owner === nodeId) {
        this.#locations.delete(roomName);
      }
    }
  }

  #remembered(roomName: string): NodeId | undefined {
    return this.#locations.get(roomName);
  }

  #remember(roomName: string, nodeId: NodeId): void {
    this.#locations.delete(roomName);
    this.#locations.set(roomName, nodeId);
    const oldest = this.#locations.keys().next().value;
    if (this.#locations.size > maxRemembered && oldest !== undefined) {
      this.#locations.delete(oldest);
    }
  }

  /** Joins of one room that come together ask once. */
  #search(roomName: string, mayCreate: boolean): Promise<NodeId | undefined> {
    const key = `${mayCreate ? 'place' : 'find'} ${roomName}`;
    const existing = this.#searches.get(key);
    if (existing !== undefined) {
      return existing;
    }
    const search = this.#find(roomName, mayCreate).finally(() => this.#searches.delete(key));
    this.#searches.set(key, search);
    return search;
  }

  /** Waits for a room between two hosts as long as that may take. */
  async #find(roomName: string, mayCreate: boolean): Promise<NodeId | undefined> {
    const { leaseMs, heartbeatMs } = this.#options.store.timings;
    const deadlineMs = performance.now() + leaseMs + 2 * heartbeatMs;
    for (;;) {
      const asked = mayCreate ? this.#claim(roomName) : this.#options.store.rooms.find(roomName);
      const owner = await asked.catch((error: unknown) => this.#searched(roomName, error));
      if (typeof owner === 'string') {
        this.#remember(roomName, owner);
        return owner;
      }
      if (owner === undefined) {
        return undefined;
      }
      const host = await this.#succession.hostOf(roomName, owner);
      if (host !== undefined) {
        this.#remember(roomName, host.nodeId);
        return host.nodeId;
      }
      if (performance.now() > deadlineMs) {
        throw roomHostLost(roomName);
      }
      await delay(lookAgainMs);
    }
  }

  /** The store does not say; nodes know what they host. @throws the error when none has the room */
  async #searched(roomName: string, error: unknown): Promise<NodeId> {
    const nodeId = isStoreUnavailable(error) ? await this.#hostSearch.find(roomName) : undefined;
    if (nodeId === undefined) throw error;
    return nodeId;
  }

  async #claim(roomName: string): Promise<OwnerSeen> {
    const { store } = this.#options;
    let chosen: NodeId;
    try {
      chosen = this.#chooseNode(roomName);
    } catch (error) {
      // No node takes a new room; those that exist go on.
      const owner = await store.rooms.find(roomName);
      if (owner === undefined) throw error;
      return owner;
    }
    // Before it is asked for: what is placed at the same time has to count it.
    const placement = this.#placed(chosen);
    let isPlaced = false;
    try {
      const claim = await store.rooms.claim(roomName, chosen);
      isPlaced = claim.kind === 'owned' && claim.created;
      return { nodeId: claim.nodeId, epoch: claim.epoch, isLive: claim.kind === 'owned' };
    } finally {
      if (!isPlaced) this.#placements = this.#placements.filter((other) => other !== placement);
    }
  }

  #chooseNode(roomName: string): NodeId {
    const { store } = this.#options;
    const selection = selectHostNode({ ...this.#placement(), key: roomName });
    if (selection.kind === 'selected') {
      return selection.nodeId;
    }
    throw store.health.answeringSince() === undefined ? storeAway() : noNodeFits('room', selection.rejections);
  }

  #placement(): Omit<HostRequest, 'key'> {
    const { nodes, limits, region } = this.#options;
    return {
      nodes: nodes.mediaNodes(),
      placements: this.#placements,
      limits,
      nowMs: performance.now(),
      protocol: protocolRange,
      region,
      exclude: nodes.suspects(),
    };
  }

  #placed(nodeId: NodeId): Placement {
    const placedAtMs = performance.now();
    this.#placements = pendingPlacements(this.#placements, placedAtMs);
    const placement: Placement = { nodeId, estimate: roomEstimate, placedAtMs };
    this.#placements.push(placement);
    return placement;
  }
}

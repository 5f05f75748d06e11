/** Where the legs of a media node's rooms go, and the ways between leg nodes. */
import type { LegLink, LegPlacer, LegPlaceRequest } from '../host/leg-links.ts';
import type { LegPeerConnector, LegPeerLink } from '../leg/peer-client.ts';
import { legEstimate, pendingPlacements, type NodeLimits, type Placement } from '../placement/load.ts';
import { noNodeFits } from '../placement/errors.ts';
import { selectLegHome, type LegSelection, type Rejection, type RejectReason } from '../placement/select-node.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { ClusterNodes } from './cluster-nodes.ts';
import { legPeerChannel } from './leg-peer-channel.ts';
import type { RelayNetwork } from './relay-network.ts';
import { protocolRange } from './relay-hello.ts';
import { lostLink, watchedLink } from './watched-link.ts';
import { legChannel } from './wire-messages.ts';

export type ClusterLegsOptions = {
  nodeId: NodeId;
  nodes: ClusterNodes;
  relay: RelayNetwork;
  limits: NodeLimits;
  region: string;
  zone: string;
  /** Participants of one room that a node takes while others have room to spare; 0 = any number. */
  maxLegsPerNode: number;
  /** Participants of one room that a media worker takes while others have room to spare. */
  maxViewersPerWorker: number;
};

type LegPlace = { kind: 'selected'; nodeId: NodeId } | { kind: 'none'; rejections: Rejection[] };

const limitReasons: ReadonlySet<RejectReason> = new Set(['at-limit', 'workers-at-limit']);

export class ClusterLegs implements LegPlacer {
  readonly #options: ClusterLegsOptions;
  #placements: Placement[] = [];

  constructor(options: ClusterLegsOptions) {
    this.#options = options;
  }

  choose(request: LegPlaceRequest): NodeId | undefined {
    const place = this.#place(request);
    if (place.kind === 'none') {
      return undefined;
    }
    const placedAtMs = performance.now();
    this.#placements = pendingPlacements(this.#placements, placedAtMs);
    this.#placements.push({ nodeId: place.nodeId, estimate: legEstimate, placedAtMs });
    return place.nodeId;
  }

  complaint(request: LegPlaceRequest): string | undefined {
    const place = this.#place(request);
    return place.kind === 'none' ? noNodeFits('participant', place.rejections).message : undefined;
  }

  /**
   * Nodes that have their share of the room, and then workers that send one track to many, are left alone as long as there
   * are others. When nodes were lost, those that are left take more than their share: nobody stays outside for that.
   */
  #place(request: LegPlaceRequest): LegPlace {
    const { maxLegsPerNode, maxViewersPerWorker, nodes } = this.#options;
    const workers = new Map(nodes.mediaNodes().map(({ nodeId, load }) => [nodeId, load.workers.length]));
    const full = nodesWith(request.room, () => (maxLegsPerNode === 0 ? Infinity : maxLegsPerNode));
    const crowded = nodesWith(request.room, (nodeId) => Math.max(1, workers.get(nodeId) ?? 1) * maxViewersPerWorker);
    const spared = [[...full, ...crowded], full].filter((nodeIds) => nodeIds.length > 0);
    let selection = this.#select(request, spared.shift() ?? []);
    for (const nodeIds of [...spared, []]) {
      if (selection.kind !== 'selected') {
        selection = this.#select(request, nodeIds);
      }
    }
    if (selection.kind === 'selected') {
      return { kind: 'selected', nodeId: selection.home.nodeId };
    }
    const { rejections } = selection;
    // Whatever the list of nodes says of this one while the store is away or the node is to end: it is there.
    const { nodeId } = this.#options;
    const isAtLimit = rejections.some((rejection) => rejection.nodeId === nodeId && limitReasons.has(rejection.reason));
    return isAtLimit ? { kind: 'none', rejections } : { kind: 'selected', nodeId };
  }

  #select({ roomName, identity, room }: LegPlaceRequest, exclude: readonly NodeId[]): LegSelection {
    const { nodeId: ownNodeId, nodes, limits, region, zone } = this.#options;
    // A room begins where its host is: what one node can carry needs no pipes between nodes.
    const used = room.size === 0 ? [ownNodeId] : [...room.keys()];
    return selectLegHome({
      nodes: nodes.mediaNodes(),
      placements: this.#placements,
      limits,
      key: `${roomName}\n${identity}`,
      protocol: protocolRange,
      region,
      zone,
      exclude: new Set([...nodes.suspects(), ...exclude]),
      room: used.map((nodeId) => ({ nodeId, workerIndex: -1, fanout: 0 })),
      maxFanout: 0,
    });
  }

  isTrusted(nodeId: NodeId): boolean {
    return this.#options.nodes.isTrusted(nodeId);
  }

  connect(nodeId: NodeId): LegLink {
    const { nodes, relay } = this.#options;
    const peer = nodes.peer(nodeId);
    if (peer === undefined) {
      return lostLink();
    }
    return watchedLink(relay.open(peer, legChannel, {}), (reason) => {
      if (reason === 'lost') nodes.suspect(nodeId);
    });
  }
}

/** Where the room has as many participants as the bound allows. */
function nodesWith(room: ReadonlyMap<NodeId, number>, bound: (nodeId: NodeId) => number): NodeId[] {
  return [...room].filter(([nodeId, legs]) => legs >= bound(nodeId)).map(([nodeId]) => nodeId);
}

/** Reaches the leg nodes of others for pipes and data. */
export function legPeerConnector(relay: RelayNetwork, nodes: ClusterNodes): LegPeerConnector {
  return {
    connect: (nodeId): LegPeerLink => {
      const peer = nodes.peer(nodeId);
      return peer === undefined ? lostLink() : relay.open(peer, legPeerChannel, {});
    },
  };
}

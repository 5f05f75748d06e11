/** Where the legs of a media node's rooms go, and the ways between leg nodes. */
import type { LegLink, LegPlacer, LegPlaceRequest } from '../host/leg-links.ts';
import type { LegPeerConnector, LegPeerLink } from '../leg/peer-client.ts';
import { legEstimate, pendingPlacements, type NodeLimits, type Placement } from '../placement/load.ts';
import { noNodeFits } from '../placement/errors.ts';
import { selectLegHome, type Rejection, type RejectReason } from '../placement/select-node.ts';
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
  /** 0 = no limit. */
  maxLegsPerNode: number;
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

  #place({ roomName, identity, room }: LegPlaceRequest): LegPlace {
    const { nodeId: ownNodeId, nodes, limits, region, zone, maxLegsPerNode } = this.#options;
    const full = new Set(
      [...room].filter(([, legs]) => maxLegsPerNode > 0 && legs >= maxLegsPerNode).map(([id]) => id),
    );
    // A room begins where its host is: what one node can carry needs no pipes between nodes.
    const used = room.size === 0 ? [ownNodeId] : [...room.keys()];
    const selection = selectLegHome({
      nodes: nodes.mediaNodes(),
      placements: this.#placements,
      limits,
      key: `${roomName}\n${identity}`,
      protocol: protocolRange,
      region,
      zone,
      exclude: new Set([...nodes.suspects(), ...full]),
      room: used.map((nodeId) => ({ nodeId, workerIndex: -1, fanout: 0 })),
      maxFanout: 0,
    });
    if (selection.kind === 'selected') {
      return { kind: 'selected', nodeId: selection.home.nodeId };
    }
    const rejections = selection.rejections.map((rejection) =>
      full.has(rejection.nodeId)
        ? { ...rejection, reason: 'at-limit' as const, detail: `${maxLegsPerNode} participants of the room` }
        : rejection,
    );
    // Whatever the list of nodes says of this one while the store is away or the node is to end: it is there.
    const isOwnAtLimit = rejections.some(({ nodeId, reason }) => nodeId === ownNodeId && limitReasons.has(reason));
    return isOwnAtLimit ? { kind: 'none', rejections } : { kind: 'selected', nodeId: ownNodeId };
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

/** Reaches the leg nodes of others for pipes and data. */
export function legPeerConnector(relay: RelayNetwork, nodes: ClusterNodes): LegPeerConnector {
  return {
    connect: (nodeId): LegPeerLink => {
      const peer = nodes.peer(nodeId);
      return peer === undefined ? lostLink() : relay.open(peer, legPeerChannel, {});
    },
  };
}

/** Where the legs of a media node's rooms go, and the ways between leg nodes. */
import type { LegLink, LegPlacer, LegPlaceRequest } from '../host/leg-links.ts';
import type { LegPeerConnector, LegPeerLink } from '../leg/peer-client.ts';
import { legEstimate, pendingPlacements, type NodeLimits, type Placement } from '../placement/load.ts';
import { selectLegHome } from '../placement/select-node.ts';
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

export class ClusterLegs implements LegPlacer {
  readonly #options: ClusterLegsOptions;
  #placements: Placement[] = [];

  constructor(options: ClusterLegsOptions) {
    this.#options = options;
  }

  choose({ roomName, identity, room }: LegPlaceRequest): NodeId | undefined {
    const { nodeId: ownNodeId, nodes, limits, region, zone, maxLegsPerNode } = this.#options;
    const full = [...room].filter(([, legs]) => maxLegsPerNode > 0 && legs >= maxLegsPerNode).map(([nodeId]) => nodeId);
    // A room begins where its host is: what one node can carry needs no pipes between nodes.
    const room_ = room.size === 0 ? [ownNodeId] : [...room.keys()];
    const selection = selectLegHome({
      nodes: nodes.mediaNodes(),
      placements: this.#placements,
      limits,
      key: `${roomName}\n${identity}`,
      protocol: protocolRange,
      region,
      zone,
      exclude: new Set([...nodes.suspects(), ...full]),
      room: room_.map((nodeId) => ({ nodeId, workerIndex: -1, fanout: 0 })),
      maxFanout: 0,
    });
    // When nobody has room to spare, the room's own node makes do: people who were let in are not sent away.
    const chosen = selection.kind === 'selected' ? selection.home.nodeId : ownNodeId;
    const placedAtMs = performance.now();
    this.#placements = pendingPlacements(this.#placements, placedAtMs);
    this.#placements.push({ nodeId: chosen, estimate: legEstimate, placedAtMs });
    return chosen;
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

/** Reaches the leg nodes of others for pipes and data. */
export function legPeerConnector(relay: RelayNetwork, nodes: ClusterNodes): LegPeerConnector {
  return {
    connect: (nodeId): LegPeerLink => {
      const peer = nodes.peer(nodeId);
      return peer === undefined ? lostLink() : relay.open(peer, legPeerChannel, {});
    },
  };
}

/** The leader's way to the media nodes: asks all of them at once about one node, and sends steps to hosts. */
import type { ClusterNodes } from '../cluster/cluster-nodes.ts';
import { drainChannel, type DrainReply, type DrainRequest } from '../cluster/drain-channel.ts';
import type { RelayLink, RelayNetwork } from '../cluster/relay-network.ts';
import type { RoomMoveAction } from '../host/room-moves.ts';
import type { DrainObservation } from '../placement/drain-view.ts';
import type { NodeId } from '../protocol/ids.ts';

export type DrainObserverOptions = { nodes: ClusterNodes; relay: RelayNetwork };

type DrainLink = RelayLink<DrainRequest, DrainReply>;
type Pending = { nodeId: NodeId; answered: (reply: DrainReply | undefined) => void };

/** Longer than a busy node needs, shorter than the patience of a drain. */
const answerTimeoutMs = 1_500;

export class DrainObserver {
  readonly #options: DrainObserverOptions;
  readonly #links = new Map<NodeId, DrainLink>();
  readonly #pending = new Map<number, Pending>();
  #lastRequestId = 0;

  constructor(options: DrainObserverOptions) {
    this.#options = options;
  }

  /** What is on the node, from all media nodes that answer in time. Never rejects. */
  async of(nodeId: NodeId): Promise<DrainObservation[]> {
    const asked = this.#options.nodes.mediaNodes().filter((node) => node.isLive || node.nodeId === nodeId);
    const answers = await Promise.all(asked.map((node) => this.#ask(node.nodeId, nodeId)));
    return answers.filter((answer) => answer !== undefined);
  }

  send(hostId: NodeId, action: RoomMoveAction, leaderEpoch: number): void {
    this.#linkTo(hostId)?.send({ ...action, leaderEpoch });
  }

  close(): void {
    for (const link of this.#links.values()) {
      link.close();
    }
    this.#links.clear();
    for (const { answered } of this.#pending.values()) {
      answered(undefined);
    }
  }

  async #ask(askedId: NodeId, nodeId: NodeId): Promise<DrainObservation | undefined> {
    this.#lastRequestId += 1;
    const requestId = this.#lastRequestId;
    const { promise, resolve } = Promise.withResolvers<DrainReply | undefined>();
    const timer = setTimeout(resolve, answerTimeoutMs, undefined);
    // Before the link: one to a node that is gone may close as it is made.
    this.#pending.set(requestId, { nodeId: askedId, answered: resolve });
    const link = this.#linkTo(askedId);
    if (link === undefined) {
      resolve(undefined);
    }
    link?.send({ kind: 'observe', requestId, nodeId });
    try {
      const reply = await promise;
      return reply && { nodeId: askedId, rooms: reply.rooms, legs: reply.legs, carried: reply.carried };
    } finally {
      clearTimeout(timer);
      this.#pending.delete(requestId);
    }
  }

  #linkTo(nodeId: NodeId): DrainLink | undefined {
    const existing = this.#links.get(nodeId);
    const peer = this.#options.nodes.peer(nodeId);
    if (existing !== undefined || peer === undefined) {
      return existing;
    }
    const link = this.#options.relay.open(peer, drainChannel, {});
    this.#links.set(nodeId, link);
    link.onMessage((reply) => this.#pending.get(reply.requestId)?.answered(reply));
    link.onClose(() => {
      if (this.#links.get(nodeId) === link) {
        this.#links.delete(nodeId);
      }
      for (const pending of this.#pending.values()) {
        if (pending.nodeId === nodeId) pending.answered(undefined);
      }
    });
    return link;
  }
}

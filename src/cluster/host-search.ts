/**
 * Who hosts a room, asked of the media nodes themselves: while the store is away a client whose master has died comes to
 * one that does not know its room.
 */
import type { NodeId } from '../protocol/ids.ts';
import type { ClusterNodes } from './cluster-nodes.ts';
import type { ChannelType, RelayLink, RelayNetwork } from './relay-network.ts';
import type { Epoch } from './store.ts';
import { number, shape, text } from './wire-shape.ts';
import { MessageTable } from './wire-table.ts';

type HostingRequest = { kind: 'hosts'; requestId: number; roomName: string };
/** Epoch 0: the node does not host the room. */
type HostingReply = { kind: 'hosting'; requestId: number; epoch: number };
type NoParams = Record<string, never>;

const hostingChannel: ChannelType<NoParams, HostingRequest, HostingReply> = {
  name: 'hosting',
  params: shape<NoParams>({}),
  toServer: new MessageTable<HostingRequest>({ hosts: { requestId: number, roomName: text } }),
  toClient: new MessageTable<HostingReply>({ hosting: { requestId: number, epoch: number } }),
};

/** Answers masters from now on. */
export function serveHostSearch(relay: RelayNetwork, epochOf: (roomName: string) => Epoch | undefined): void {
  relay.onChannel(hostingChannel, ({ link }) => {
    link.onMessage(({ requestId, roomName }) => {
      link.send({ kind: 'hosting', requestId, epoch: epochOf(roomName) ?? 0 });
    });
  });
}

export type HostSearchOptions = { nodes: ClusterNodes; relay: RelayNetwork };

type Link = RelayLink<HostingRequest, HostingReply>;

/** A node that lives answers at once; who does not is not waited for longer than a client would wait. */
const answerTimeoutMs = 700;

export class HostSearch {
  readonly #options: HostSearchOptions;
  readonly #links = new Map<NodeId, Link>();
  readonly #pending = new Map<number, { nodeId: NodeId; resolve: (epoch: Epoch) => void }>();
  #lastRequestId = 0;

  constructor(options: HostSearchOptions) {
    this.#options = options;
  }

  /** @returns the one with the highest epoch, or undefined when no node says that it hosts the room. Never rejects. */
  async find(roomName: string): Promise<NodeId | undefined> {
    const ids = this.#options.nodes.mediaNodes().map(({ nodeId }) => nodeId);
    const answers = await Promise.all(
      ids.map(async (nodeId) => ({ nodeId, epoch: await this.#ask(nodeId, roomName) })),
    );
    const [best] = answers.filter(({ epoch }) => epoch > 0).toSorted((left, right) => right.epoch - left.epoch);
    return best?.nodeId;
  }

  close(): void {
    for (const link of this.#links.values()) {
      link.close();
    }
    this.#links.clear();
  }

  async #ask(nodeId: NodeId, roomName: string): Promise<Epoch> {
    const link = this.#linkTo(nodeId);
    if (link === undefined) {
      return 0;
    }
    this.#lastRequestId += 1;
    const requestId = this.#lastRequestId;
    const { promise, resolve } = Promise.withResolvers<Epoch>();
    const timer = setTimeout(resolve, answerTimeoutMs, 0);
    this.#pending.set(requestId, { nodeId, resolve });
    link.send({ kind: 'hosts', requestId, roomName });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#pending.delete(requestId);
    }
  }

  #linkTo(nodeId: NodeId): Link | undefined {
    const existing = this.#links.get(nodeId);
    const peer = this.#options.nodes.peer(nodeId);
    if (existing !== undefined || peer === undefined) {
      return existing;
    }
    const link = this.#options.relay.open(peer, hostingChannel, {});
    this.#links.set(nodeId, link);
    link.onMessage(({ requestId, epoch }) => this.#pending.get(requestId)?.resolve(epoch));
    link.onClose(() => {
      this.#links.delete(nodeId);
      for (const pending of this.#pending.values()) {
        if (pending.nodeId === nodeId) pending.resolve(0);
      }
    });
    // One that is dead on arrival has taken itself out again.
    return this.#links.get(nodeId);
  }
}

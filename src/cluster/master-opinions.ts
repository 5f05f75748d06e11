/** Masters ask each other whether they reach a media node before its rooms are given to others, and tell when they were. */
import type { MasterOpinion } from '../placement/takeover.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { ClusterNodes } from './cluster-nodes.ts';
import type { HostRelations } from './host-relations.ts';
import type { ChannelType, RelayLink, RelayNetwork } from './relay-network.ts';
import { flag, number, shape, text } from './wire-shape.ts';
import { MessageTable } from './wire-table.ts';

/** A room was taken from a node, or given away by it. */
export type MovedRoom = { roomName: string; from: NodeId; to: NodeId; epoch: number };

type OpinionRequest = { kind: 'reaches'; requestId: number; nodeId: NodeId } | ({ kind: 'moved' } & MovedRoom);
type OpinionReply = { kind: 'opinion'; requestId: number; reaches: boolean };
type NoParams = Record<string, never>;

const opinionChannel: ChannelType<NoParams, OpinionRequest, OpinionReply> = {
  name: 'opinion',
  params: shape<NoParams>({}),
  toServer: new MessageTable<OpinionRequest>({
    reaches: { requestId: number, nodeId: text },
    moved: { roomName: text, from: text, to: text, epoch: number },
  }),
  toClient: new MessageTable<OpinionReply>({ opinion: { requestId: number, reaches: flag } }),
};

export type MasterOpinionsOptions = {
  nodeId: NodeId;
  nodes: ClusterNodes;
  relay: RelayNetwork;
  relations: HostRelations;
  /** Another master moved a room. */
  moved: (room: MovedRoom) => void;
};

type Link = RelayLink<OpinionRequest, OpinionReply>;

const answerTimeoutMs = 700;

export class MasterOpinions {
  readonly #options: MasterOpinionsOptions;
  readonly #links = new Map<NodeId, Link>();
  readonly #pending = new Map<number, (reaches: boolean | undefined) => void>();
  readonly #asking = new Map<NodeId, Promise<MasterOpinion[]>>();
  #lastRequestId = 0;

  constructor(options: MasterOpinionsOptions) {
    this.#options = options;
  }

  /** Answers the others from now on. */
  serve(): void {
    const { relay, relations, moved } = this.#options;
    relay.onChannel(opinionChannel, ({ link }) => {
      link.onMessage((message) => {
        if (message.kind === 'moved') {
          moved(message);
        } else {
          const { requestId, nodeId } = message;
          link.send({ kind: 'opinion', requestId, reaches: relations.opinion(nodeId) === 'reaches' });
        }
      });
    });
  }

  /** To all other masters: they may not be able to ask the store. */
  tellMoved(room: MovedRoom): void {
    for (const master of this.#options.nodes.masters()) {
      if (master.nodeId !== this.#options.nodeId && master.isLive) {
        this.#linkTo(master.nodeId)?.send({ kind: 'moved', ...room });
      }
    }
  }

  /** Of all masters but this one; one that did not answer in time is `not-asked-yet`. Never rejects. */
  of(nodeId: NodeId): Promise<MasterOpinion[]> {
    const existing = this.#asking.get(nodeId);
    if (existing !== undefined) {
      return existing;
    }
    const others = this.#options.nodes.masters().filter((master) => master.nodeId !== this.#options.nodeId);
    const asking = Promise.all(others.map((master) => this.#ask(master, nodeId))).finally(() =>
      this.#asking.delete(nodeId),
    );
    this.#asking.set(nodeId, asking);
    return asking;
  }

  close(): void {
    for (const link of this.#links.values()) {
      link.close();
    }
    this.#links.clear();
  }

  async #ask(master: { nodeId: NodeId; isLive: boolean }, nodeId: NodeId): Promise<MasterOpinion> {
    const askedAtMs = performance.now();
    const reaches = master.isLive ? await this.#request(master.nodeId, nodeId) : undefined;
    return {
      masterId: master.nodeId,
      opinion: reaches === undefined ? 'not-asked-yet' : reaches ? 'reaches' : 'unreachable',
      ageMs: performance.now() - askedAtMs,
      isLive: master.isLive,
    };
  }

  async #request(masterId: NodeId, nodeId: NodeId): Promise<boolean | undefined> {
    const link = this.#linkTo(masterId);
    if (link === undefined) {
      return undefined;
    }
    this.#lastRequestId += 1;
    const requestId = this.#lastRequestId;
    const { promise, resolve } = Promise.withResolvers<boolean | undefined>();
    const timer = setTimeout(resolve, answerTimeoutMs, undefined);
    this.#pending.set(requestId, resolve);
    link.send({ kind: 'reaches', requestId, nodeId });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#pending.delete(requestId);
    }
  }

  #linkTo(masterId: NodeId): Link | undefined {
    const existing = this.#links.get(masterId);
    const peer = this.#options.nodes.peer(masterId);
    if (existing !== undefined || peer === undefined) {
      return existing;
    }
    const link = this.#options.relay.open(peer, opinionChannel, {});
    this.#links.set(masterId, link);
    link.onMessage(({ requestId, reaches }) => this.#pending.get(requestId)?.(reaches));
    link.onClose(() => {
      if (this.#links.get(masterId) === link) {
        this.#links.delete(masterId);
      }
    });
    return link;
  }
}

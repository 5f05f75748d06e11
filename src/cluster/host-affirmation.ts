/** A media node asks every master, each heartbeat, whether it may go on: what `placement/takeover.ts` calls affirming. */
import type { NodeId } from '../protocol/ids.ts';
import type { ClusterNodes } from './cluster-nodes.ts';
import type { ChannelType, RelayLink, RelayNetwork } from './relay-network.ts';
import type { Affirmation } from './room-leases.ts';
import { flag, list, number, optional, shape, text } from './wire-shape.ts';
import { MessageTable } from './wire-table.ts';

/** @property confirmedGeneration the latest one of this master after which the node has renewed all its leases */
export type AffirmPing = { kind: 'ping'; number: number; confirmedGeneration?: number };

export type AffirmPong = {
  kind: 'pong';
  /** Of the ping that it answers. */
  number: number;
  isAffirmed: boolean;
  generation: number;
  /** Rooms that were taken from this node and that it may not know of. */
  superseded: { roomName: string; epoch: number }[];
};

type NoParams = Record<string, never>;

const supersededRoom = shape<AffirmPong['superseded'][number]>({ roomName: text, epoch: number });

export const affirmChannel: ChannelType<NoParams, AffirmPing, AffirmPong> = {
  name: 'affirm',
  params: shape<NoParams>({}),
  toServer: new MessageTable<AffirmPing>({ ping: { number, confirmedGeneration: optional(number) } }),
  toClient: new MessageTable<AffirmPong>({
    pong: { number, isAffirmed: flag, generation: number, superseded: list(supersededRoom) },
  }),
};

export type HostAffirmationOptions = {
  nodes: ClusterNodes;
  relay: RelayNetwork;
  intervalMs: number;
  /** A master affirmed this node just now. */
  affirmed: () => void;
  superseded: (roomName: string, epoch: number) => void;
};

type Master = {
  link: RelayLink<AffirmPing, AffirmPong>;
  /** When the pings that have no answer yet were sent, by number. */
  sentAtMs: Map<number, number>;
  heard: { generation: number; atMs: number } | undefined;
  confirmedGeneration: number | undefined;
};

const maxUnanswered = 20;

export class HostAffirmation implements Affirmation {
  readonly #options: HostAffirmationOptions;
  readonly #masters = new Map<NodeId, Master>();
  #lastNumber = 0;
  #affirmedAtMs = -Infinity;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: HostAffirmationOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => this.#ask(), this.#options.intervalMs);
    this.#ask();
  }

  close(): void {
    clearInterval(this.#timer);
    for (const { link } of this.#masters.values()) {
      link.close();
    }
    this.#masters.clear();
  }

  affirmedAtMs(): number {
    return this.#affirmedAtMs;
  }

  renewed(sentAtMs: number): void {
    for (const master of this.#masters.values()) {
      if (master.heard !== undefined && master.heard.atMs <= sentAtMs) {
        master.confirmedGeneration = master.heard.generation;
      }
    }
  }

  #ask(): void {
    for (const { nodeId } of this.#options.nodes.masters()) {
      const master = this.#masters.get(nodeId) ?? this.#connect(nodeId);
      if (master !== undefined) {
        this.#ping(master);
      }
    }
  }

  #ping({ link, sentAtMs, confirmedGeneration }: Master): void {
    this.#lastNumber += 1;
    sentAtMs.set(this.#lastNumber, performance.now());
    const oldest = sentAtMs.keys().next().value;
    if (sentAtMs.size > maxUnanswered && oldest !== undefined) {
      sentAtMs.delete(oldest);
    }
    const confirmed = confirmedGeneration === undefined ? {} : { confirmedGeneration };
    link.send({ kind: 'ping', number: this.#lastNumber, ...confirmed });
  }

  #connect(nodeId: NodeId): Master | undefined {
    const { nodes, relay } = this.#options;
    const peer = nodes.peer(nodeId);
    if (peer === undefined) {
      return undefined;
    }
    const link = relay.open(peer, affirmChannel, {});
    const master: Master = { link, sentAtMs: new Map(), heard: undefined, confirmedGeneration: undefined };
    this.#masters.set(nodeId, master);
    link.onMessage((pong) => this.#answered(master, pong));
    link.onClose(() => {
      if (this.#masters.get(nodeId) === master) {
        this.#masters.delete(nodeId);
      }
    });
    return this.#masters.get(nodeId);
  }

  #answered(master: Master, { number: of, isAffirmed, generation, superseded }: AffirmPong): void {
    const sentAtMs = master.sentAtMs.get(of);
    master.sentAtMs.delete(of);
    if (master.heard === undefined || master.heard.generation < generation) {
      master.heard = { generation, atMs: performance.now() };
    }
    for (const { roomName, epoch } of superseded) {
      this.#options.superseded(roomName, epoch);
    }
    // What counts is when it was asked: a process that stood still finds answers that are as old as its sleep.
    if (isAffirmed && sentAtMs !== undefined && sentAtMs > this.#affirmedAtMs) {
      this.#affirmedAtMs = sentAtMs;
      this.#options.affirmed();
    }
  }
}

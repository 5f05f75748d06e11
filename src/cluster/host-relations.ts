/** What a master has promised to the hosts of the cluster, and what it knows that was taken from them. */
import {
  answerHostPing,
  giveOpinion,
  newHostRelation,
  type HostRelation,
  type TakeoverTimings,
} from '../placement/takeover.ts';
import type { NodeId } from '../protocol/ids.ts';
import { affirmChannel, type AffirmPing, type AffirmPong } from './host-affirmation.ts';
import type { RelayNetwork } from './relay-network.ts';

/** Node ids are new with each start, of masters and hosts alike, so generations may begin anew too. */
const firstGeneration = 1;
/** Rooms that a pong tells of; the others come with the next. */
const maxTold = 500;

export class HostRelations {
  readonly #timings: TakeoverTimings;
  readonly #relations = new Map<NodeId, HostRelation>();
  /** By the node that they were taken from. */
  readonly #taken = new Map<NodeId, Map<string, number>>();

  constructor(timings: TakeoverTimings) {
    this.#timings = timings;
  }

  serve(relay: RelayNetwork): void {
    relay.onChannel(affirmChannel, ({ link, peer }) => {
      link.onMessage((ping) => link.send(this.#answer(peer.nodeId, ping)));
    });
  }

  /** Saying `unreachable` disowns the node: it is affirmed again only after it has renewed its leases. */
  opinion(nodeId: NodeId): 'reaches' | 'unreachable' {
    const { relation, opinion } = giveOpinion(this.#relation(nodeId), performance.now(), this.#timings);
    this.#relations.set(nodeId, relation);
    return opinion;
  }

  /** Whether this master has affirmed the node lately, and has not disowned it since. */
  affirms(nodeId: NodeId): boolean {
    const { isDisowned, affirmedAtMs } = this.#relation(nodeId);
    return !isDisowned && performance.now() - affirmedAtMs < this.#timings.affirmMs;
  }

  /** Its process is gone, as far as can be seen from here. */
  disown(nodeId: NodeId): void {
    const relation = this.#relation(nodeId);
    this.#relations.set(nodeId, { ...relation, isDisowned: true, generation: relation.generation + 1 });
  }

  /** The next pings of that node are answered with this. */
  taken(nodeId: NodeId, roomName: string, epoch: number): void {
    const rooms = this.#taken.get(nodeId) ?? new Map<string, number>();
    this.#taken.set(nodeId, rooms.set(roomName, epoch));
  }

  /** Nothing is remembered of nodes that the cluster has forgotten. */
  keepOnly(isKnown: (nodeId: NodeId) => boolean): void {
    for (const nodeId of [...this.#relations.keys(), ...this.#taken.keys()]) {
      if (!isKnown(nodeId)) {
        this.#relations.delete(nodeId);
        this.#taken.delete(nodeId);
      }
    }
  }

  #relation(nodeId: NodeId): HostRelation {
    return this.#relations.get(nodeId) ?? newHostRelation(firstGeneration);
  }

  #answer(nodeId: NodeId, { number, confirmedGeneration }: AffirmPing): AffirmPong {
    const { relation, isAffirmed } = answerHostPing(this.#relation(nodeId), confirmedGeneration, performance.now());
    this.#relations.set(nodeId, relation);
    const superseded = [...(this.#taken.get(nodeId) ?? [])]
      .slice(0, maxTold)
      .map(([roomName, epoch]) => ({ roomName, epoch }));
    if (isAffirmed) {
      // It has renewed its leases since, and the store has told it which rooms it lost.
      this.#taken.delete(nodeId);
    }
    return { kind: 'pong', number, isAffirmed, generation: relation.generation, superseded };
  }
}

/** Whether a node answers, as seen from here: asked once for all who want to know at the same time. */
import { setTimeout as delay } from 'node:timers/promises';
import { PlenumError } from '../lib/errors.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { ClusterNodes } from './cluster-nodes.ts';
import type { RelayNetwork, RelayPeer } from './relay-network.ts';

/**
 * `gone`: its machine says that no such process listens any more, or another node listens there by now. `silent`: no
 * answer, which says little.
 */
export type Reach = 'answers' | 'gone' | 'silent';

type KnownNodes = Pick<ClusterNodes, 'peer' | 'trust' | 'suspect'>;

const reachTimeoutMs = 300;
const secondLookMs = 20;

export class HostReach {
  readonly #relay: RelayNetwork;
  readonly #nodes: KnownNodes;
  readonly #ended: ((nodeId: NodeId) => void) | undefined;
  readonly #asking = new Map<NodeId, Promise<Reach>>();

  /** @param options.ended called whenever a node turned out to be gone */
  constructor(options: { relay: RelayNetwork; nodes: KnownNodes; ended?: (nodeId: NodeId) => void }) {
    this.#relay = options.relay;
    this.#nodes = options.nodes;
    this.#ended = options.ended;
  }

  of(nodeId: NodeId): Promise<Reach> {
    const existing = this.#asking.get(nodeId);
    if (existing !== undefined) {
      return existing;
    }
    const asking = this.#ask(nodeId).finally(() => this.#asking.delete(nodeId));
    this.#asking.set(nodeId, asking);
    return asking;
  }

  async #ask(nodeId: NodeId): Promise<Reach> {
    const peer = this.#nodes.peer(nodeId);
    if (peer === undefined) {
      return 'silent';
    }
    const first = await this.#reach(peer);
    if (first !== 'gone') {
      return first;
    }
    await delay(secondLookMs);
    const second = await this.#reach(peer);
    if (second === 'gone') {
      this.#ended?.(nodeId);
    }
    return second;
  }

  async #reach(peer: RelayPeer): Promise<Reach> {
    try {
      await this.#relay.reach(peer, AbortSignal.timeout(reachTimeoutMs));
      this.#nodes.trust(peer.nodeId);
      return 'answers';
    } catch (error) {
      this.#nodes.suspect(peer.nodeId);
      return saysItEnded(error) ? 'gone' : 'silent';
    }
  }
}

/** A node listens from its start to its end, so a machine that refuses the connection says that the process ended. */
function saysItEnded(error: unknown): boolean {
  if (!(error instanceof PlenumError)) {
    return false;
  }
  const { cause, reason } = error;
  if (reason === 'relay-other-node') {
    return true;
  }
  return cause instanceof Error && 'code' in cause && cause.code === 'ECONNREFUSED';
}

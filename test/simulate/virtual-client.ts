/** A participant: wants to be in a room for a while, through any master that answers. */
import type { NodeId } from '../../src/protocol/ids.ts';
import type { Context } from './context.ts';
import type { Master } from './master.ts';
import type { MediaNode } from './media-node.ts';
import type { ClientFacts, LegAt } from './messages.ts';

export type ClientPlan = ClientFacts & {
  roomName: string;
  joinAtMs: number;
  /** Whether it really comes up on new transports. */
  canMove: boolean;
};

export class VirtualClient {
  readonly plan: ClientPlan;
  readonly #context: Context;
  readonly #masters: ReadonlyMap<NodeId, Master>;
  readonly #nodes: ReadonlyMap<NodeId, MediaNode>;
  wants = false;
  /** The room as the client knows it, once it was in. */
  sid: string | undefined;
  leg: LegAt | undefined;
  #lastLeg: LegAt | undefined;
  #master: Master | undefined;
  #heardMs = 0;
  #mediaMs = 0;

  constructor(
    plan: ClientPlan,
    context: Context,
    processes: { masters: ReadonlyMap<NodeId, Master>; nodes: ReadonlyMap<NodeId, MediaNode> },
  ) {
    this.plan = plan;
    this.#context = context;
    this.#masters = processes.masters;
    this.#nodes = processes.nodes;
    context.time.after(plan.joinAtMs, () => {
      this.wants = true;
      this.#join();
      this.#watch();
    });
  }

  get facts(): ClientFacts {
    const { clientId, publishes, acceptsMove } = this.plan;
    return { clientId, publishes, acceptsMove };
  }

  get isIn(): boolean {
    return this.sid !== undefined;
  }

  isOn(master: Master): boolean {
    return this.wants && this.#master === master;
  }

  leave(): void {
    this.wants = false;
    this.leg = undefined;
    this.#master?.clientLeft(this.plan.clientId);
  }

  /** Told by the gateway whenever the host was heard. */
  heard(master: Master, sid: string, leg: LegAt | undefined): void {
    if (!this.wants || master !== this.#master) {
      return;
    }
    this.#heardMs = this.#context.time.nowMs;
    if (this.sid !== undefined && this.sid !== sid) {
      this.#context.monitor.violated('room-lost', `${this.plan.clientId} was in ${this.sid} and is in ${sid}`);
    }
    this.sid = sid;
    if (leg !== undefined && leg.generation > (this.#lastLeg?.generation ?? 0)) {
      this.#take(leg);
    }
  }

  /** The server asks it to move; it does so after a moment, or not at all. */
  told(how: 'in-place' | 'resume', target: NodeId, generation: number): void {
    const { time, random, monitor } = this.#context;
    const from = this.leg;
    if (!this.plan.canMove) {
      return;
    }
    time.after(random.between(50, 600), () => {
      const isStill = this.wants && this.leg?.nodeId === from?.nodeId && this.leg?.generation === from?.generation;
      if (!isStill || this.#nodes.get(target)?.connectPrepared(this.plan.clientId, generation) !== true) {
        return;
      }
      monitor.counters.legsMoved += 1;
      this.#take({ nodeId: target, generation });
      if (how === 'resume') {
        this.#join();
      }
      const old = from === undefined ? undefined : this.#nodes.get(from.nodeId);
      time.after(500, () => old?.mediaMoved(this.plan.clientId, from?.generation ?? 0));
    });
  }

  /** LiveKit's RECONNECT: start anew. */
  reconnect(): void {
    this.leg = undefined;
    this.#join();
  }

  #take(leg: LegAt): void {
    this.leg = leg;
    this.#lastLeg = leg;
    this.#mediaMs = this.#context.time.nowMs;
  }

  #join(): void {
    const { time, random } = this.#context;
    this.#master?.clientLeft(this.plan.clientId);
    this.#master = random.pick([...this.#masters.values()].filter((master) => master.isRunning));
    this.#heardMs = time.nowMs;
    const master = this.#master;
    time.after(random.between(2, 20), () => {
      if (this.wants && master !== undefined && master === this.#master) {
        master.inThisLife(() => master.clientJoined(this, this.#lastLeg))();
      }
    });
  }

  #watch(): void {
    const { time } = this.#context;
    if (!this.wants) {
      return;
    }
    const nowMs = time.nowMs;
    if (this.#hasMedia()) {
      this.#mediaMs = nowMs;
    } else if (this.leg !== undefined && nowMs - this.#mediaMs > 1_000) {
      this.reconnect();
    }
    if (this.#master?.isRunning !== true || nowMs - this.#heardMs > 3_000) {
      this.#join();
    }
    time.after(400, () => this.#watch());
  }

  #hasMedia(): boolean {
    const node = this.leg === undefined ? undefined : this.#nodes.get(this.leg.nodeId);
    return (
      node !== undefined && node.isRunning && !node.isPaused && node.hasLeg(this.plan.clientId, this.leg!.generation)
    );
  }
}

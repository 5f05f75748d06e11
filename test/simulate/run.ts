/** One run: a cluster, its clients, its faults, its invariants; the same seed gives the same run. */
import type { NodeId } from '../../src/protocol/ids.ts';
import type { Context } from './context.ts';
import { allFaults, Faults, type FaultKind } from './faults.ts';
import { Master } from './master.ts';
import { MediaNode } from './media-node.ts';
import { Monitor, type Counters, type Violation } from './monitor.ts';
import { Random } from './random.ts';
import { lifecycleOf } from './records.ts';
import type { Mutant, Rules } from './rules.ts';
import { VirtualClient } from './virtual-client.ts';
import { VirtualNetwork } from './virtual-network.ts';
import { VirtualRedis } from './virtual-redis.ts';
import { VirtualTime } from './virtual-time.ts';

export type RunOptions = {
  seed: number;
  mutant?: Mutant;
  /** Only these; all when absent. */
  faults?: readonly FaultKind[];
  lossRate?: number;
  /** Share of answers of Redis that are lost. */
  redisLossRate?: number;
  maxLagMs?: number;
};

export type RunResult = { seed: number; violations: Violation[]; counters: Counters; log: string[]; events: number };

const faultsEndMs = 50_000;
const settledMs = 72_000;
const endMs = 120_000;
const tickMs = 250;

export function run(options: RunOptions): RunResult {
  const time = new VirtualTime();
  const random = new Random(options.seed);
  const network = new VirtualNetwork(time, random);
  const rules: Rules = { mutant: options.mutant };
  const monitor = new Monitor(() => time.nowMs);
  const masterIds = ['m1', 'm2', 'm3'] as NodeId[];
  const out = new Map<NodeId, number>();
  const context: Context = {
    time,
    random,
    network,
    rules,
    monitor,
    masterIds,
    redis: new VirtualRedis(time, random),
    clients: new Map(),
    outOfServiceMs: (nodeId) => {
      const state = context.redis.look((store) => lifecycleOf(store, nodeId)?.state);
      return state === 'SERVING' ? 0 : time.nowMs - (out.get(nodeId) ?? time.nowMs);
    },
  };
  const masters = masterIds.map((id) => new Master(id, context));
  const nodes = ['n1', 'n2', 'n3', 'n4'].map((id) => new MediaNode(id as NodeId, context));
  for (const process of [...masters, ...nodes]) {
    network.add(process);
    process.start();
  }
  const byId = {
    masters: new Map(masters.map((one) => [one.id, one])),
    nodes: new Map(nodes.map((one) => [one.id, one])),
  };
  for (const client of planClients(random)) {
    context.clients.set(client.clientId, new VirtualClient(client, context, byId));
  }
  const faults = new Faults(
    context,
    { nodes, masters },
    {
      kinds: options.faults ?? allFaults,
      untilMs: faultsEndMs,
      maxLagMs: options.maxLagMs ?? 1_000,
    },
  );
  network.lossRate = options.lossRate ?? random.pick([0, 0.02, 0.1])!;
  context.redis.lossRate = options.redisLossRate ?? context.redis.lossRate;
  faults.start();
  const watch = new Watch(context, { nodes, masters, faults, out });
  watch.start();
  time.runUntil(settledMs);
  watch.checkSettled();
  for (const client of context.clients.values()) {
    client.leave();
  }
  time.runUntil(endMs);
  watch.checkEnded();
  return {
    seed: options.seed,
    violations: monitor.violations,
    counters: monitor.counters,
    log: faults.log,
    events: time.eventCount,
  };
}

function planClients(random: Random): ConstructorParameters<typeof VirtualClient>[0][] {
  const rooms = Math.floor(random.between(3, 7));
  return Array.from({ length: rooms }, (_, room) =>
    Array.from({ length: Math.floor(random.between(1, 6)) }, (__, index) => ({
      clientId: `r${room}c${index}`,
      roomName: `room${room}`,
      publishes: random.chance(0.5),
      acceptsMove: !random.chance(0.1),
      canMove: !random.chance(0.08),
      joinAtMs: random.chance(0.7) ? random.between(500, 5_000) : random.between(5_000, 45_000),
    })),
  ).flat();
}

class Watch {
  readonly #context: Context;
  readonly #nodes: readonly MediaNode[];
  readonly #faults: Faults;
  readonly #out: Map<NodeId, number>;
  readonly #states = new Map<NodeId, string>();

  constructor(
    context: Context,
    {
      nodes,
      faults,
      out,
    }: { nodes: readonly MediaNode[]; masters: readonly Master[]; faults: Faults; out: Map<NodeId, number> },
  ) {
    this.#context = context;
    this.#nodes = nodes;
    this.#faults = faults;
    this.#out = out;
  }

  start(): void {
    const tick = (): void => {
      this.#tick();
      this.#context.time.after(tickMs, tick);
    };
    tick();
  }

  #tick(): void {
    const { monitor, clients } = this.#context;
    const rooms = Map.groupBy(clients.values(), (client) => client.plan.roomName);
    for (const [roomName, members] of rooms) {
      const hasMembers = members.some((client) => client.wants && client.isIn);
      monitor.elapsed(roomName, tickMs, hasMembers && !this.#faults.hurtsControl);
    }
    for (const node of this.#nodes) {
      this.#followState(node);
    }
  }

  #followState(node: MediaNode): void {
    const { monitor, redis, time } = this.#context;
    const lifecycle = redis.look((state) => lifecycleOf(state, node.id));
    const state = lifecycle?.state ?? 'BOOTING';
    const before = this.#states.get(node.id);
    this.#states.set(node.id, state);
    if (state === 'SERVING' || state === 'BOOTING' || state === 'LOST') {
      this.#out.delete(node.id);
    } else if (!this.#out.has(node.id)) {
      this.#out.set(node.id, time.nowMs);
    }
    if (state === 'DRAINING') {
      monitor.counters.drains += before === 'DRAINING' ? 0 : 1;
      const counts = lifecycle?.policy === 'migrate' && !this.#faults.hurtsControl && node.isRunning && !node.isPaused;
      monitor.drainElapsed(node.id, counts ? tickMs : 0);
    } else {
      monitor.drainEnded(node.id);
    }
    if (state === 'DRAINED' && before !== 'DRAINED') {
      const { rooms, legs } = node.work;
      if (rooms.length + legs.length > 0) {
        monitor.violated('drained-with-work', `${node.id}: ${[...rooms, ...legs].join(' ')}`);
      }
    }
  }

  /** All faults are over for a while: everybody is in, every room has one host, with everybody in it. */
  checkSettled(): void {
    const { monitor, clients, redis } = this.#context;
    const rooms = Map.groupBy(clients.values(), (client) => client.plan.roomName);
    for (const [roomName, members] of rooms) {
      const hosts = this.#nodes.filter((node) => node.speaksFor(roomName));
      if (hosts.length !== 1) {
        monitor.violated('room-lost', `${roomName} has ${hosts.length} hosts`);
      }
      const owner = redis.look((state) => state.find(roomName));
      if (hosts[0] !== undefined && owner?.nodeId !== hosts[0].id) {
        monitor.violated('room-lost', `${roomName} is hosted by ${hosts[0].id}, Redis says ${owner?.nodeId}`);
      }
      for (const client of members) {
        this.#checkMember(client, hosts[0]);
      }
    }
    this.#checkStates(['SERVING', 'DRAINING', 'DRAINED'], { preparationsEnd: false });
  }

  #checkMember(client: VirtualClient, host: MediaNode | undefined): void {
    const { clientId } = client.plan;
    const leg = client.leg;
    const node = this.#nodes.find((candidate) => candidate.id === leg?.nodeId);
    const { monitor } = this.#context;
    if (leg === undefined || node?.hasLeg(clientId, leg.generation) !== true) {
      monitor.violated('room-lost', `${clientId} has no leg`);
    } else if (host !== undefined && host.membersOf(client.plan.roomName).get(clientId)?.nodeId !== leg.nodeId) {
      monitor.violated('room-lost', `${host.id} does not know that ${clientId} is on ${leg.nodeId}`);
    }
  }

  /** @param preparationsEnd what nobody came to take back has had time to expire */
  #checkStates(allowed: string[], { preparationsEnd }: { preparationsEnd: boolean }): void {
    const isDraining = this.#nodes.some((node) => this.#faults.stateOf(node.id) === 'DRAINING');
    for (const node of this.#nodes) {
      const state = this.#faults.stateOf(node.id) ?? 'none';
      const { moves, prepared } = node.work;
      if (!allowed.includes(state)) {
        this.#context.monitor.violated('left-over', `${node.id} is ${state}`);
      }
      if ((!isDraining && moves > 0) || (preparationsEnd && prepared.length > 0)) {
        this.#context.monitor.violated('left-over', `${node.id} has ${moves} moves, ${prepared.length} preparations`);
      }
    }
  }

  /** Everybody has left: nothing may be left, and drains that waited have ended. */
  checkEnded(): void {
    const { monitor } = this.#context;
    for (const node of this.#nodes) {
      const { rooms, legs } = node.work;
      if (rooms.length + legs.length > 0) {
        monitor.violated('left-over', `${node.id} has ${[...rooms, ...legs].join(' ')}`);
      }
      if (this.#faults.stateOf(node.id) === 'DRAINING') {
        monitor.violated('drain-does-not-end', `${node.id} is still DRAINING`);
      }
    }
    this.#checkStates(['SERVING', 'DRAINED'], { preparationsEnd: true });
  }
}

/** What goes wrong in a run, and what operators do meanwhile, all decided by the seed. */
import type { NodeId } from '../../src/protocol/ids.ts';
import type { Context } from './context.ts';
import type { Master } from './master.ts';
import type { MediaNode } from './media-node.ts';
import { lifecycleOf } from './records.ts';
import type { Process } from './virtual-network.ts';

export type FaultKind =
  | 'crash-node'
  | 'pause-node'
  | 'cut-node'
  | 'cut-node-from-redis'
  | 'crash-master'
  | 'crash-leader'
  | 'pause-master'
  | 'cut-master-from-redis'
  | 'island'
  | 'redis-away'
  | 'redis-failover'
  /** A failover to a replica that lacks the last writes although another one has acknowledged them. */
  | 'redis-forgets'
  /** It comes back with nothing. */
  | 'redis-wiped'
  | 'drain'
  | 'undrain'
  | 'replace-node';

export const allFaults: readonly FaultKind[] = [
  'crash-node',
  'crash-node',
  'pause-node',
  'pause-node',
  'cut-node',
  'cut-node-from-redis',
  'crash-master',
  'crash-leader',
  'pause-master',
  'cut-master-from-redis',
  'island',
  'redis-away',
  'redis-failover',
  'redis-failover',
  'redis-forgets',
  'drain',
  'drain',
  'drain',
  'undrain',
  'undrain',
  'replace-node',
];

export type FaultOptions = {
  kinds: readonly FaultKind[];
  untilMs: number;
  /** How far the replica may be behind at a failover. */
  maxLagMs: number;
};

type Fault = {
  /** One fault at a time in each part. */
  part: 'node' | 'master' | 'redis' | 'island';
  of: string;
  ms: number;
  begin: () => void;
  end: () => void;
};

function crash(process: Process): Pick<Fault, 'of' | 'begin' | 'end'> {
  return { of: process.id, begin: () => process.crash(), end: () => process.start() };
}

function pause(process: Process): Pick<Fault, 'of' | 'begin' | 'end'> {
  return { of: process.id, begin: () => process.pause(), end: () => process.resume() };
}

export class Faults {
  readonly #context: Context;
  readonly #nodes: readonly MediaNode[];
  readonly #masters: readonly Master[];
  readonly #options: FaultOptions;
  readonly #busy = new Set<Fault['part']>();
  readonly log: string[] = [];

  constructor(
    context: Context,
    processes: { nodes: readonly MediaNode[]; masters: readonly Master[] },
    options: FaultOptions,
  ) {
    this.#context = context;
    this.#nodes = processes.nodes;
    this.#masters = processes.masters;
    this.#options = options;
  }

  /** Masters, or Redis, are being hurt: rooms may be without a host as long as that lasts. */
  get hurtsControl(): boolean {
    return this.#busy.has('master') || this.#busy.has('redis') || this.#busy.has('island');
  }

  start(): void {
    const { time, random } = this.#context;
    const next = (): void => {
      if (time.nowMs < this.#options.untilMs) {
        this.#happen(random.pick(this.#options.kinds)!);
        time.after(random.between(500, 5_000), next);
      }
    };
    time.after(6_000, next);
  }

  stateOf(nodeId: NodeId): string | undefined {
    return this.#context.redis.look((state) => lifecycleOf(state, nodeId)?.state);
  }

  #happen(kind: FaultKind): void {
    const { random, redis } = this.#context;
    const node = random.pick(this.#nodes)!;
    const leader = this.#masters.find((candidate) => candidate.isLeader);
    const master = (kind === 'crash-leader' ? leader : undefined) ?? random.pick(this.#masters)!;
    const lost = (id: NodeId, maxMs: number): Omit<Fault, 'part'> => ({
      of: id,
      ms: random.between(1_000, maxMs),
      begin: () => redis.cutOff(new Set([id])),
      end: () => redis.cutOff(new Set()),
    });
    const failOver = { of: '', ms: 5_000 + this.#options.maxLagMs, end: () => undefined };
    switch (kind) {
      case 'crash-node':
        return this.#during(kind, { part: 'node', ms: random.between(500, 15_000), ...crash(node) });
      case 'pause-node':
        return this.#during(kind, { part: 'node', ms: random.between(300, 8_000), ...pause(node) });
      case 'cut-node':
        return this.#cut(kind, 'node', new Set([node.id]));
      case 'cut-node-from-redis':
        return this.#during(kind, { part: 'node', ...lost(node.id, 8_000) });
      case 'crash-master':
      case 'crash-leader':
        return this.#during(kind, { part: 'master', ms: random.between(1_000, 8_000), ...crash(master) });
      case 'pause-master':
        return this.#during(kind, { part: 'master', ms: random.between(300, 5_000), ...pause(master) });
      case 'cut-master-from-redis':
        return this.#during(kind, { part: 'master', ...lost(master.id, 6_000) });
      case 'island':
        return this.#busy.has('node') || this.#busy.has('master')
          ? undefined
          : this.#cut(kind, 'island', new Set([node.id, master.id]));
      case 'redis-away': {
        const ms = random.between(500, 15_000);
        return this.#during(kind, { part: 'redis', of: '', ms, begin: () => redis.stop(), end: () => redis.start() });
      }
      case 'redis-failover':
        return this.#during(kind, { part: 'redis', ...failOver, begin: () => this.#failOver(false) });
      case 'redis-forgets':
        return this.#during(kind, { part: 'redis', ...failOver, begin: () => this.#failOver(true) });
      case 'redis-wiped':
        return this.#during(kind, { part: 'redis', ...failOver, begin: () => this.#wipe() });
      case 'drain':
      case 'undrain':
      case 'replace-node':
        return this.#operate(kind, node);
    }
  }

  #failOver(isAcknowledged: boolean): void {
    const { redis, random, time } = this.#context;
    redis.lag(isAcknowledged);
    this.#context.monitor.hasRedisForgotten ||= isAcknowledged;
    time.after(random.between(5, this.#options.maxLagMs), () => redis.failOver());
  }

  #wipe(): void {
    this.#context.monitor.hasRedisForgotten = true;
    this.#context.redis.wipe();
  }

  #cut(kind: FaultKind, part: 'node' | 'island', island: ReadonlySet<NodeId>): void {
    const { network, redis, random, monitor } = this.#context;
    this.#during(kind, {
      part,
      of: [...island].join(' '),
      ms: random.between(1_000, 8_000),
      begin: () => {
        network.cut(island);
        redis.cutOff(island);
        monitor.isSplit = part === 'island';
      },
      end: () => {
        network.heal();
        redis.cutOff(new Set());
        monitor.healed();
      },
    });
  }

  #during(kind: FaultKind, { part, of, ms, begin, end }: Fault): void {
    if (this.#busy.has(part) || (this.#busy.has('island') && part !== 'redis')) {
      return;
    }
    const { time } = this.#context;
    this.#busy.add(part);
    this.#note(`${kind} ${of} for ${Math.round(ms)} ms`);
    begin();
    time.after(ms, () => {
      end();
      time.after(2_000, () => this.#busy.delete(part));
    });
  }

  #note(what: string): void {
    this.log.push(`${(this.#context.time.nowMs / 1_000).toFixed(2)} s  ${what}`);
  }

  #operate(kind: 'drain' | 'undrain' | 'replace-node', node: MediaNode): void {
    const { random } = this.#context;
    const states = new Map(this.#nodes.map((candidate) => [candidate, this.stateOf(candidate.id)]));
    const out = [...states].filter(([, state]) => state !== 'SERVING' && state !== 'BOOTING');
    const master = random.pick(this.#masters.filter((candidate) => candidate.isRunning && !candidate.isPaused));
    if (master === undefined) {
      return;
    }
    if (kind === 'drain' && out.length === 0) {
      const policy = random.chance(0.8) ? 'migrate' : 'wait';
      this.#note(`drain ${node.id} by ${policy}`);
      master.change(node.id, { kind: 'drain', owner: 'ops', reason: 'scale-in', policy, deadlineMs: null });
    }
    for (const [candidate, state] of out) {
      if (kind === 'undrain' && state === 'DRAINING') {
        this.#note(`undrain ${candidate.id}`);
        this.#context.monitor.counters.undrains += 1;
        master.change(candidate.id, { kind: 'undrain', owner: 'ops', reason: 'load is back' });
      } else if (kind === 'replace-node' && state === 'DRAINED') {
        this.#note(`replace ${candidate.id}`);
        candidate.crash();
        this.#context.redis.look((store) => {
          store.removeNodeState(candidate.id);
          store.leave(candidate.id);
        });
        candidate.start();
      }
    }
  }
}

/**
 * A cloud, media nodes with people on them, and several masters that want to lead, in virtual time. Every call of a
 * master to the store or the cloud stops until the world lets it go on, in an order that the seed decides; a master may
 * die at each of these points. The world knows when a machine with people on it is taken away.
 */
import { MemoryStoreServer } from '../../src/cluster/memory-store.ts';
import type { ClusterStore, Leases } from '../../src/cluster/store.ts';
import type { NodeRecord } from '../../src/cluster/store-records.ts';
import { load } from '../../src/capacity/capacity-fixtures.ts';
import type { CapacityGoals, CapacityTimings, Instance, Observation } from '../../src/capacity/observation.ts';
import { defaultCapacityTimings } from '../../src/capacity/observation.ts';
import type { CapacityAction } from '../../src/capacity/capacity-actions.ts';
import { planCapacity } from '../../src/capacity/plan-capacity.ts';
import { createLog } from '../../src/observe/log.ts';
import type { NodeId } from '../../src/protocol/ids.ts';
import { CapacityController } from '../../src/scaling/capacity-controller.ts';
import type { CapacityProvider } from '../../src/scaling/capacity-provider.ts';
import { changeNode } from '../../src/scaling/change-node.ts';
import { providerBusy, providerFailed } from '../../src/scaling/errors.ts';

type Random = () => number;

function randomOf(seed: number): Random {
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type CloudMachine = {
  instanceId: string;
  machineId: string;
  zone: string;
  state: Instance['state'];
  madeAtMs: number;
  isProtected: boolean;
  goesAtMs: number;
  node: WorldNode | undefined;
};

type WorldNode = {
  nodeId: NodeId;
  /** What it admits work by: what it last heard of its record. */
  state: NodeRecord['state'];
  policy: 'wait' | 'migrate';
  /** People per room. */
  rooms: number[];
  isAlive: boolean;
  diedAtMs: number;
};

/** Mistakes that a program could make; the rules of the world must find each. */
export type Mutant =
  | 'delete-while-draining'
  | 'no-confirmation'
  | 'absolute-capacity'
  | 'assign-to-any-node'
  | 'no-fencing'
  | 'stale-look'
  | 'draining-counts-as-capacity'
  | 'shrink-by-capacity';

export type WorldOptions = { seed: number; goals: CapacityGoals; mutant?: Mutant };

const bootMs = 60_000;
const zones = ['1', '2', '3'];
const stepMs = 1_000;

export class CapacityWorld {
  readonly #random: Random;
  readonly #goals: CapacityGoals;
  readonly #mutant: Mutant | undefined;
  readonly #server: MemoryStoreServer;
  readonly #store: ClusterStore;
  readonly #states: ClusterStore['nodeStates'];
  readonly #machines: CloudMachine[] = [];
  readonly #masters: Master[] = [];
  /** State of each node's record, whoever wrote it. */
  readonly #records = new Map<NodeId, NodeRecord['state']>();
  readonly violations: string[] = [];
  readonly counts = { deleted: 0, added: 0, crashes: 0, busy: 0, lostAnswers: 0, failedMachines: 0 };
  #nowMs = 0;
  #capacity = 0;
  #made = 0;
  #faults = true;
  /** Share of a node that each person uses, and how many people there should be. */
  wantedPeople = 4;

  constructor({ seed, goals, mutant }: WorldOptions) {
    this.#random = randomOf(seed);
    this.#goals = goals;
    this.#mutant = mutant;
    this.#server = new MemoryStoreServer({
      // Longer than the time between two looks: nobody renews the lease in between here.
      timings: { heartbeatMs: 1_000, leaseMs: 8_000, keepMs: 60_000 },
      now: () => this.#nowMs,
      wait: (ms) => {
        this.#nowMs += ms;
        return Promise.resolve();
      },
    });
    const store = this.#server.connect();
    this.#states = watched(store.nodeStates, (nodeId, state) => this.#records.set(nodeId, state));
    this.#store = store;
    this.#resize(goals.min);
    for (const machine of this.#machines) {
      machine.madeAtMs = -bootMs;
    }
    for (let index = 0; index < 3; index += 1) {
      this.#masters.push(this.#master());
    }
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  get servingNodes(): number {
    return this.#machines.filter(({ node }) => node?.isAlive === true && node.state === 'SERVING').length;
  }

  get machineCount(): number {
    return this.#machines.length;
  }

  /** Lets time pass, in steps of a second. */
  async run(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second += 1) {
      this.#nowMs += stepMs;
      await this.#live();
      for (const master of this.#masters) {
        if (this.#nowMs % 5_000 === 0) master.beginTick();
      }
      await this.#letMastersRun();
    }
  }

  /** Nothing breaks any more. */
  calm(): void {
    this.#faults = false;
  }

  /** For a test that fails: what stands there. */
  describe(): unknown {
    return {
      nowMs: this.#nowMs,
      capacity: this.#capacity,
      machines: this.#machines,
      reports: this.#masters.map((master) => master.describe()),
    };
  }

  /** What must hold once nothing changes for long. */
  complaints(): string[] {
    const { min, max } = this.#goals;
    const people = this.#machines.flatMap(({ node }) => node?.rooms ?? []).reduce((sum, count) => sum + count, 0);
    const serving = this.servingNodes;
    return [
      ...this.violations,
      ...(serving < min ? [`${serving} nodes serve, fewer than ${min}`] : []),
      ...(serving > max ? [`${serving} nodes serve, more than ${max}`] : []),
      ...(this.#machines.length > max + this.#goals.maxDrains + 1 ? [`${this.#machines.length} machines`] : []),
      ...(people === 0 && this.#machines.length > min ? [`${this.#machines.length} machines for nobody`] : []),
    ];
  }

  // --- people and nodes ---

  async #live(): Promise<void> {
    this.#moveMachines();
    const hasBeat = this.#nowMs % 2_000 === 0;
    for (const machine of this.#machines) {
      if (hasBeat && machine.node?.isAlive === true) await this.#beat(machine, machine.node);
    }
    this.#churn();
    if (this.#faults && this.#random() < 0.001) this.#killNode();
  }

  #moveMachines(): void {
    for (const machine of [...this.#machines]) {
      if (machine.state === 'creating' && this.#nowMs - machine.madeAtMs >= bootMs / 2) machine.state = 'running';
      if (machine.state === 'running' && machine.node === undefined && this.#nowMs - machine.madeAtMs >= bootMs) {
        this.#made += 1;
        const nodeId = `ND_${this.#made}` as NodeId;
        machine.node = { nodeId, state: 'SERVING', policy: 'migrate', rooms: [], isAlive: true, diedAtMs: Infinity };
      }
      if (machine.state === 'deleting' && this.#nowMs >= machine.goesAtMs) this.#remove(machine);
    }
  }

  #remove(machine: CloudMachine): void {
    this.#machines.splice(this.#machines.indexOf(machine), 1);
    this.counts.deleted += 1;
  }

  /** From here on nobody saves the people on it. */
  #cutOff(machine: CloudMachine, why: string): void {
    const people = machine.node?.isAlive === true ? machine.node.rooms.length : 0;
    if (people > 0) this.violations.push(`${machine.machineId} is taken with ${people} rooms on it: ${why}`);
    machine.state = 'deleting';
    machine.goesAtMs = this.#nowMs + 20_000 + Math.floor(this.#random() * 40_000);
    if (machine.node !== undefined) machine.node.isAlive = false;
  }

  async #beat(machine: CloudMachine, node: WorldNode): Promise<void> {
    const people = node.rooms.reduce((sum, count) => sum + count, 0);
    const record: NodeRecord = {
      nodeId: node.nodeId,
      machineId: machine.machineId,
      roles: ['media'],
      version: '1',
      protocol: { min: 1, max: 1 },
      region: '',
      zone: machine.zone,
      relay: { host: '127.0.0.1', port: 1 },
      publicAddress: '',
      state: node.state,
      load: { ...load({ cpu: people * 0.1, rooms: node.rooms.length, participants: people }), workers: [] },
      uptimeMs: 0,
    };
    const { state } = await this.#store.nodes.beat(record);
    node.state = state?.state ?? 'SERVING';
    node.policy = state?.policy ?? 'migrate';
    if (node.state === 'DRAINING') await this.#drain(node);
  }

  async #drain(node: WorldNode): Promise<void> {
    if (node.policy === 'migrate' && this.#random() < 0.5) {
      const [target] = this.#servingNodes(node);
      const [room] = node.rooms.splice(0, target === undefined ? 0 : 1);
      if (room !== undefined) target?.rooms.push(room);
    }
    if (node.rooms.length === 0) {
      const event = { kind: 'emptied', owner: node.nodeId, reason: 'nothing runs' } as const;
      // Somebody took it back meanwhile.
      await changeNode(this.#states, node.nodeId, event).catch(() => undefined);
    }
  }

  #servingNodes(but?: WorldNode): WorldNode[] {
    const nodes = this.#machines.flatMap(({ node }) => (node?.isAlive === true && node !== but ? [node] : []));
    const admits = (node: WorldNode): boolean =>
      node.state === 'SERVING' || (this.#mutant === 'assign-to-any-node' && node.rooms.length < 9);
    return nodes.filter(admits).toSorted((one, other) => one.rooms.length - other.rooms.length);
  }

  /** Rooms come and go all the time, so that a wrong decision always meets somebody. */
  #churn(): void {
    const nodes = this.#machines.flatMap(({ node }) => (node?.isAlive === true ? [node] : []));
    const people = nodes.flatMap(({ rooms }) => rooms).reduce((sum, count) => sum + count, 0);
    if (people < this.wantedPeople) {
      const candidates = this.#servingNodes();
      const target = candidates[Math.floor(this.#random() * candidates.length)];
      target?.rooms.push(1 + Math.floor(this.#random() * 3));
    }
    const busy = nodes.filter(({ rooms }) => rooms.length > 0);
    const ending = people > this.wantedPeople ? 0.5 : 0.05;
    if (busy.length > 0 && this.#random() < ending) {
      const node = busy[Math.floor(this.#random() * busy.length)];
      node?.rooms.splice(Math.floor(this.#random() * node.rooms.length), 1);
    }
  }

  #killNode(): void {
    const alive = this.#machines.flatMap(({ node }) => (node?.isAlive === true ? [node] : []));
    const victim = alive[Math.floor(this.#random() * alive.length)];
    if (victim !== undefined) {
      victim.isAlive = false;
      victim.diedAtMs = this.#nowMs;
      victim.rooms = [];
    }
  }

  // --- the cloud ---

  #look(): Observation['machines'] {
    const instances = this.#machines.map((machine) => ({
      instanceId: machine.instanceId,
      machineId: machine.machineId,
      zone: machine.zone,
      state: machine.state,
      ageMs: this.#nowMs - machine.madeAtMs,
      isProtected: machine.isProtected,
    }));
    return { instances, capacity: this.#capacity };
  }

  /** As the platform does it: upwards it makes machines, downwards it takes whichever it likes. */
  #resize(capacity: number): void {
    const standing = this.#machines.filter(({ state }) => state !== 'deleting');
    for (let index = standing.length; index < capacity; index += 1) this.#make();
    const surplus = standing
      .filter(({ isProtected }) => !isProtected)
      .slice(0, Math.max(0, standing.length - capacity));
    for (const machine of surplus) this.#cutOff(machine, 'the platform chose it');
    this.#capacity = capacity;
  }

  #make(): void {
    this.#made += 1;
    this.counts.added += 1;
    const zone = zones.toSorted((one, other) => this.#inZone(one) - this.#inZone(other))[0] ?? '1';
    const isBroken = this.#faults && this.#random() < 0.1;
    this.counts.failedMachines += isBroken ? 1 : 0;
    this.#machines.push({
      instanceId: `set_${this.#made}`,
      machineId: `host-${this.#made}`,
      zone,
      state: isBroken ? 'failed' : 'creating',
      madeAtMs: this.#nowMs,
      isProtected: false,
      goesAtMs: 0,
      node: undefined,
    });
  }

  #inZone(zone: string): number {
    return this.#machines.filter((machine) => machine.zone === zone).length;
  }

  #provider(pause: () => Promise<void>, self: () => Master | undefined): CapacityProvider {
    const ask = async <Result>(act: () => Result): Promise<Result> => {
      await pause();
      if (this.#faults && this.#random() < 0.05) {
        this.counts.busy += 1;
        throw providerBusy('another operation is under way', undefined);
      }
      const result = act();
      if (this.#faults && this.#random() < 0.05) {
        this.counts.lostAnswers += 1;
        throw providerFailed('a request', new Error('the connection was lost'));
      }
      await pause();
      return result;
    };
    const change = (act: () => void): Promise<void> => {
      if (self()?.hasFreshLease(this.#nowMs) === false) {
        this.violations.push('a master asks the provider without a lease that it has just renewed');
      }
      return ask(act);
    };
    let seen: Observation['machines'];
    let before: Observation['machines'];
    return {
      look: async () => {
        self()?.looked();
        before = seen;
        seen = await ask(() => this.#look());
        return this.#mutant === 'stale-look' ? (before ?? seen) : seen;
      },
      add: (count) => change(() => this.#add(count, seen?.capacity ?? 0, self()?.hasSlept === true)),
      delete: (instanceId) => change(() => this.#delete(instanceId)),
      protect: (instanceId) =>
        ask(() => {
          const machine = this.#machines.find((candidate) => candidate.instanceId === instanceId);
          if (machine !== undefined) machine.isProtected = this.#mutant !== 'shrink-by-capacity';
        }),
    };
  }

  #add(count: number, capacitySeen: number, hasSlept: boolean): void {
    const wanted = (this.#mutant === 'absolute-capacity' ? capacitySeen : this.#capacity) + count;
    if (wanted !== this.#capacity + count)
      this.violations.push(`${count} more are asked for, and capacity becomes ${wanted}`);
    const inService = this.#machines.filter((machine) => this.#mayServe(machine)).length;
    if (!hasSlept && inService + count > this.#goals.max) {
      this.violations.push(`${count} more are asked for where ${inService} serve or will`);
    }
    this.#resize(wanted);
  }

  #delete(instanceId: string): void {
    if (this.#mutant === 'shrink-by-capacity') {
      this.#resize(this.#capacity - 1);
      return;
    }
    const machine = this.#machines.find((candidate) => candidate.instanceId === instanceId);
    if (machine !== undefined && machine.state !== 'deleting') {
      this.#cutOff(machine, 'the controller deleted it');
      this.#capacity = Math.max(0, this.#capacity - 1);
    }
  }

  /** As far as anybody can know: a node that has just died is not missed yet. */
  #mayServe({ state, node, madeAtMs }: CloudMachine): boolean {
    if (state !== 'creating' && state !== 'running') return false;
    if (node === undefined) return this.#nowMs - madeAtMs < worldTimings.bootTimeoutMs;
    const record = this.#records.get(node.nodeId) ?? 'SERVING';
    return record === 'SERVING' && this.#nowMs - node.diedAtMs < worldTimings.lostAfterMs;
  }

  // --- the masters ---

  #master(): Master {
    this.#made += 1;
    const holder = `master-${this.#made}`;
    let self: Master | undefined;
    const create = (pause: () => Promise<void>): CapacityController => {
      const { nodes, leases, timings } = this.#store;
      const states = watched(this.#states, (nodeId, state) => this.#drained(nodeId, state, self?.hasSlept === true));
      const real: Leases = {
        acquire: async (name, who) => {
          const result = await leases.acquire(name, who);
          if (result.kind === 'held') self?.renewed(this.#nowMs);
          return result;
        },
        renew: async (name, who, epoch) => {
          const isHeld = await leases.renew(name, who, epoch);
          if (isHeld) self?.renewed(this.#nowMs);
          return isHeld;
        },
        release: (name, who, epoch) => leases.release(name, who, epoch),
      };
      const blind: Leases = {
        acquire: () => Promise.resolve({ kind: 'held', epoch: 1 }),
        renew: () => Promise.resolve(true),
        release: () => Promise.resolve(),
      };
      return new CapacityController({
        holder,
        store: {
          nodes: pausing(nodes, pause),
          nodeStates: pausing(states, pause),
          leases: this.#mutant === 'no-fencing' ? blind : pausing(real, pause),
          timings,
        },
        provider: this.#provider(pause, () => self),
        goals: () => this.#goals,
        reaches: () => Promise.resolve(false),
        log: createLog({ level: 'error', json: true }),
        now: () => this.#nowMs,
        timings: worldTimings,
        plan: mutated(this.#mutant),
      });
    };
    self = new Master(create);
    return self;
  }

  #drained(nodeId: NodeId, state: NodeRecord['state'], hasSlept: boolean): void {
    const isHere = this.#machines.some(({ node }) => node?.nodeId === nodeId);
    const left = this.#machines.filter((machine) => this.#mayServe(machine)).length;
    if (state === 'DRAINING' && isHere && !hasSlept && left < this.#goals.min) {
      this.violations.push(`${nodeId} is drained, which leaves ${left} nodes`);
    }
  }

  /** One waiting call after the other goes on, until nobody waits; now and then a master dies instead, or falls asleep. */
  async #letMastersRun(): Promise<void> {
    for (let turn = 0; turn < 300; turn += 1) {
      await settle();
      const waiting = this.#masters.filter((master) => master.isWaiting && !master.isAsleep);
      const chosen = waiting[Math.floor(this.#random() * waiting.length)];
      if (chosen === undefined) break;
      if (this.#faults && this.#random() < 0.01) {
        this.counts.crashes += 1;
        this.#masters[this.#masters.indexOf(chosen)] = this.#master();
      } else if (this.#faults && this.#random() < 0.02) {
        chosen.sleep(1 + Math.floor(this.#random() * 15));
      } else {
        chosen.goOn();
      }
    }
    for (const master of this.#masters) master.second();
  }
}

const worldTimings: CapacityTimings = {
  ...defaultCapacityTimings,
  bootTimeoutMs: 180_000,
  replaceAfterMs: 120_000,
  retryDeleteMs: 30_000,
  unlistedMs: 60_000,
  backOffMs: { first: 10_000, most: 60_000 },
};

/** A controller whose calls wait for the world. */
class Master {
  readonly #controller: CapacityController;
  #resume: (() => void) | undefined;
  #isTicking = false;
  #sleepsS = 0;
  #renewedAtMs = -Infinity;
  /** Since it looked: what it does now may rest on what is long over. */
  hasSlept = false;

  constructor(create: (pause: () => Promise<void>) => CapacityController) {
    this.#controller = create(() => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const before = this.#resume;
      // Calls that were made together go on together.
      this.#resume = () => {
        before?.();
        resolve();
      };
      return promise;
    });
  }

  get isWaiting(): boolean {
    return this.#resume !== undefined;
  }

  get isAsleep(): boolean {
    return this.#sleepsS > 0;
  }

  sleep(seconds: number): void {
    this.#sleepsS = seconds;
    this.hasSlept = true;
  }

  second(): void {
    this.#sleepsS = Math.max(0, this.#sleepsS - 1);
  }

  looked(): void {
    this.hasSlept = false;
  }

  renewed(nowMs: number): void {
    this.#renewedAtMs = nowMs;
  }

  /** At the moment in which it makes its next call; it may fall asleep in the middle of that. */
  hasFreshLease(nowMs: number): boolean {
    return nowMs - this.#renewedAtMs <= stepMs || this.hasSlept;
  }

  describe(): unknown {
    return { isTicking: this.#isTicking, isWaiting: this.isWaiting, report: this.#controller.report() };
  }

  beginTick(): void {
    if (this.#isTicking) return;
    this.#isTicking = true;
    void this.#controller
      .tick()
      .catch(() => undefined)
      .finally(() => {
        this.#isTicking = false;
      });
  }

  goOn(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }
}

function watched(
  states: ClusterStore['nodeStates'],
  changed: (nodeId: NodeId, state: NodeRecord['state']) => void,
): ClusterStore['nodeStates'] {
  return {
    get: (nodeId) => states.get(nodeId),
    list: () => states.list(),
    remove: (nodeId, epoch) => states.remove(nodeId, epoch),
    onChange: (listener) => states.onChange(listener),
    change: async (nodeId, epoch, change) => {
      const outcome = await states.change(nodeId, epoch, change);
      if (outcome.kind === 'changed') changed(nodeId, outcome.record.state);
      return outcome;
    },
  };
}

/** Everything that can go on without the world does. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 12; turn += 1) await Promise.resolve();
}

function pausing<T extends object>(target: T, pause: () => Promise<void>): T {
  return new Proxy(target, {
    get: (of, name) => {
      const value: unknown = Reflect.get(of, name, of);
      if (typeof value !== 'function') return value;
      return async (...args: unknown[]): Promise<unknown> => {
        await pause();
        return Reflect.apply(value, of, args) as unknown;
      };
    },
  });
}

function mutated(mutant: Mutant | undefined): typeof planCapacity {
  switch (mutant) {
    case 'delete-while-draining':
      return (input) => {
        const plan = planCapacity(input);
        const actions = plan.actions.flatMap((action): CapacityAction[] => {
          if (action.kind !== 'drain') return [action];
          const { instanceId } = input.observation.machines?.instances.find(
            ({ machineId }) => machineId === action.machineId,
          ) ?? { instanceId: '' };
          const { machineId, reason } = action;
          return [action, { kind: 'delete' as const, instanceId, machineId, nodes: [], reason }];
        });
        return { ...plan, actions };
      };
    case 'no-confirmation':
      return (input) => {
        const nodes = input.observation.nodes.map((node) =>
          node.lifecycle?.state === 'DRAINING'
            ? {
                ...node,
                ownState: 'DRAINED' as const,
                lifecycle: { ...node.lifecycle, state: 'DRAINED' as const },
                load: load(),
              }
            : node,
        );
        const plan = planCapacity({ ...input, observation: { ...input.observation, nodes } });
        const actions = plan.actions.map((action) => (action.kind === 'delete' ? { ...action, nodes: [] } : action));
        return { ...plan, actions };
      };
    case 'draining-counts-as-capacity':
      return (input) => {
        const nodes = input.observation.nodes.map((node) =>
          node.lifecycle?.state === 'DRAINING'
            ? { ...node, lifecycle: { ...node.lifecycle, state: 'SERVING' as const } }
            : node,
        );
        return planCapacity({ ...input, observation: { ...input.observation, nodes } });
      };
    case 'stale-look':
    case 'absolute-capacity':
    case 'assign-to-any-node':
    case 'no-fencing':
    case 'shrink-by-capacity':
    case undefined:
      return planCapacity;
  }
}

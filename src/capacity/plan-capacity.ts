/**
 * Decides what to do about capacity, from what is seen now and the little that is remembered. Any leader can go on from
 * any state: what is remembered only makes it patient.
 *
 * Rules that hold whatever happens: a machine is deleted when all its nodes are drained and say that they are empty, or
 * when they are lost or failed for longer than their time; capacity is asked for by a number to add, never by a total;
 * nodes that are being emptied count neither as capacity nor towards the maximum; a node that is being emptied is taken
 * back before a new one is made.
 */
import { demandOf, type Demand } from './demand.ts';
import { joinMachines, workOn, type Machine, type Phase } from './machines.ts';
import { defaultCapacityTimings, type CapacityGoals, type CapacityTimings, type Observation } from './observation.ts';
import { capacityOwner, seenNodes, type CapacityAction, type CapacityMemory } from './capacity-actions.ts';
import { settleMachines } from './settle-machines.ts';
import { drainable, pickVictims } from './victims.ts';

export type CapacityStatus = {
  demand: Demand;
  /** Nodes by what they are doing. */
  phases: Partial<Record<Phase, number>>;
  machines: { machineId: string; instanceId: string; zone: string; phase: Phase; work: number; version: string }[];
  /** What an operator should know and nobody can decide for them. */
  warnings: string[];
};

export type CapacityPlan = { actions: CapacityAction[]; memory: CapacityMemory; status: CapacityStatus };

export type CapacityInput = {
  observation: Observation;
  goals: CapacityGoals;
  memory: CapacityMemory;
  nowMs: number;
  timings?: CapacityTimings;
};

const slotMs = 10_000;

export function planCapacity(input: CapacityInput): CapacityPlan {
  const { observation, goals, nowMs } = input;
  const timings = input.timings ?? defaultCapacityTimings;
  const machines = joinMachines(observation, timings);
  const of = (...phases: Phase[]): Machine[] => machines.filter(({ phase }) => phases.includes(phase));
  const listed = observation.machines?.instances.filter(({ state }) => state !== 'deleting').length ?? 0;
  const unlisted = rememberUnlisted(input, listed);
  const expected = nowMs - unlisted.sinceMs < timings.unlistedMs ? unlisted.count : 0;
  const coming = of('coming').length + expected;
  const counted = goals.drainPolicy === 'migrate' ? of('serving', 'cordoned', 'draining') : of('serving', 'cordoned');
  const demand = demandOf(counted, of('serving').length + coming, goals);
  // What was to go and could not says nothing about whether machines come up.
  const toGo = new Set(input.memory.deletes.map(({ instanceId }) => instanceId));
  const failed = of('failed').filter(({ instance }) => !toGo.has(instance?.instanceId ?? ''));
  const memory = { ...remember(input, { demand, failed, serving: of('serving') }), unlisted };
  const settled = settleMachines({ machines, memory, nowMs, timings, goals });
  const status = statusOf(machines, demand, settled.warnings);
  if (observation.machines === undefined) {
    return { actions: settled.actions.filter(({ kind }) => kind !== 'delete'), memory: settled.memory, status };
  }
  const { version = '' } = observation.machines;
  const scaling = scale({ machines, coming, listed: listed + expected, demand, memory, goals, nowMs, version });
  return { actions: [...settled.actions, ...scaling], memory: settled.memory, status };
}

/** Accepted by the provider, and not in its list yet; what does not appear for long will not. */
function rememberUnlisted({ observation, memory, nowMs }: CapacityInput, listed: number): CapacityMemory['unlisted'] {
  const count = Math.max(0, (observation.machines?.capacity ?? 0) - listed);
  return count === memory.unlisted.count ? memory.unlisted : { count, sinceMs: nowMs };
}

type Seen = { demand: Demand; failed: Machine[]; serving: Machine[] };

function remember(
  { memory, goals, nowMs, observation, timings = defaultCapacityTimings }: CapacityInput,
  seen: Seen,
): CapacityMemory {
  const version = observation.machines?.version ?? '';
  const slot = Math.floor(nowMs / slotMs);
  const kept = memory.demands.filter((entry) => (slot - entry.slot) * slotMs <= goals.scaleInAfterMs + slotMs);
  const highest = Math.max(seen.demand.nodes, kept.find((entry) => entry.slot === slot)?.nodes ?? 0);
  const demands = [...kept.filter((entry) => entry.slot !== slot), { slot, nodes: highest }];
  // A machine that the provider could not make says nothing about the version that it would have run.
  const isBroken =
    seen.serving.some((machine) => runsOtherVersion(machine, version)) &&
    seen.failed.some(({ instance, nodes }) => instance?.state === 'running' && nodes.length === 0);
  const known = memory.brokenVersion === version ? version : '';
  const recent = [
    ...memory.recent.filter(({ atMs }) => nowMs - atMs <= goals.scaleOutAfterMs),
    { atMs: nowMs, nodes: seen.demand.nodes },
  ];
  return {
    ...memory,
    demands,
    recent,
    failures: rememberFailures(memory.failures, seen, { nowMs, timings }),
    brokenVersion: isBroken ? version : known,
  };
}

/** The next attempt waits longer with each machine that failed; one that serves ends it. */
function rememberFailures(
  failures: CapacityMemory['failures'],
  { failed, serving }: Seen,
  { nowMs, timings }: { nowMs: number; timings: CapacityTimings },
): CapacityMemory['failures'] {
  const ids = failed.flatMap(({ instance }) => (instance === undefined ? [] : [instance.instanceId]));
  const fresh = ids.filter((id) => !failures.seen.includes(id));
  if (fresh.length > 0) {
    const count = failures.count + 1;
    const waitMs = Math.min(timings.backOffMs.most, timings.backOffMs.first * 2 ** (count - 1));
    return { count, seen: [...failures.seen, ...fresh].slice(-100), lastMs: nowMs, addNotBeforeMs: nowMs + waitMs };
  }
  const isOver = serving.some(({ instance }) => instance !== undefined && instance.ageMs < nowMs - failures.lastMs);
  return isOver && failures.count > 0 ? { ...failures, count: 0 } : failures;
}

type Scaling = {
  machines: Machine[];
  coming: number;
  /** Machines that exist or will, whatever they do. */
  listed: number;
  demand: Demand;
  memory: CapacityMemory;
  goals: CapacityGoals;
  nowMs: number;
  /** That nodes are to run; empty = whatever they run. */
  version: string;
};

function scale(scaling: Scaling): CapacityAction[] {
  const { machines, coming, demand, goals } = scaling;
  const serving = machines.filter(({ phase }) => phase === 'serving');
  const replacing = machinesToReplace(serving, scaling);
  // While nodes are replaced there is one more, so that nobody is moved onto full ones.
  const current = serving.length + coming;
  const wanted = neededForLong(scaling, current) + (replacing.length > 0 ? 1 : 0);
  if (current < wanted) {
    return grow(
      scaling,
      wanted - current,
      replacing.length > 0 ? 'to replace nodes of another version' : because(demand, goals),
    );
  }
  if (coming > 0) {
    return [];
  }
  const spare = serving.length - demand.nodes;
  if (replacing.length > 0) {
    return spare > 0 ? shrink(scaling, { candidates: replacing, count: 1, reason: 'it runs another version' }) : [];
  }
  const enough = enoughForLong(scaling);
  const surplus = Math.min(spare, serving.length - enough);
  return surplus > 0
    ? shrink(scaling, { candidates: serving, count: surplus, reason: `${enough} nodes have been enough` })
    : [];
}

function because(demand: Demand, goals: CapacityGoals): string {
  const metric = demand.metrics.find(({ name }) => name === demand.because);
  if (metric === undefined || metric.nodes <= goals.min) {
    return `at least ${goals.min} nodes`;
  }
  return `${metric.name} ${round(metric.total)} needs ${metric.nodes} nodes at ${round(metric.target)} each`;
}

const round = (value: number): number => Math.round(value * 100) / 100;

/** Takes back what is being emptied, the fullest first: it is up and running. Then asks for more. */
function grow(
  { machines, listed, memory, goals, nowMs, version }: Scaling,
  missing: number,
  reason: string,
): CapacityAction[] {
  const takenBack = machines
    .filter((machine) => machine.phase === 'draining' && drainable(machine) && isOurDrain(machine))
    .filter((machine) => !runsOtherVersion(machine, version))
    .toSorted((one, other) => workOn(other) - workOn(one))
    .slice(0, missing);
  const actions: CapacityAction[] = takenBack.map((machine) => ({
    kind: 'undrain',
    nodes: seenNodes(machine),
    machineId: machine.machineId,
    reason,
  }));
  // Machines that are emptied or that failed stay for a while beside those that serve.
  const room = goals.max + goals.maxDrains + 1 - listed;
  const count = Math.min(missing - takenBack.length, room);
  if (count > 0 && nowMs >= memory.failures.addNotBeforeMs) {
    actions.push({ kind: 'add', count, reason });
  }
  return actions;
}

/** A drain that an operator or the platform asked for is theirs to end. */
function isOurDrain(machine: Machine): boolean {
  return machine.nodes.every(
    ({ lifecycle }) => lifecycle?.owner === capacityOwner && lifecycle.deadlineIsHard !== true,
  );
}

function shrink(
  { machines, goals }: Scaling,
  { candidates, count, reason }: { candidates: Machine[]; count: number; reason: string },
): CapacityAction[] {
  const under = machines.filter(({ phase }) => phase === 'draining').length;
  // A node that somebody runs elsewhere carries calls as well, and is not ours to take away.
  const ours = candidates.filter(({ instance }) => instance !== undefined);
  const victims = pickVictims(ours, machines, Math.min(count, goals.maxDrains - under));
  return victims.map((machine) => ({
    kind: 'drain',
    nodes: seenNodes(machine),
    machineId: machine.machineId,
    policy: goals.drainPolicy,
    deadlineMs: goals.drainPolicy === 'wait' ? null : goals.drainDeadlineMs,
    reason,
  }));
}

/** The lowest demand of the time that scaling out waits for; what is there, until it was watched for so long. */
function neededForLong({ memory, goals, nowMs }: Scaling, current: number): number {
  const isWatched = nowMs - memory.watchedSinceMs >= goals.scaleOutAfterMs;
  const lowest = Math.min(...memory.recent.map(({ nodes }) => nodes));
  return Math.max(goals.min, isWatched ? lowest : Math.min(lowest, current));
}

/** The highest demand of the whole time that scaling in waits for; everything, until it was watched for so long. */
function enoughForLong({ memory, goals, nowMs, machines }: Scaling): number {
  if (nowMs - memory.watchedSinceMs < goals.scaleInAfterMs) {
    return machines.length;
  }
  return Math.max(goals.min, ...memory.demands.map(({ nodes }) => nodes));
}

function machinesToReplace(serving: Machine[], { version, memory }: Scaling): Machine[] {
  return memory.brokenVersion !== '' ? [] : serving.filter((machine) => runsOtherVersion(machine, version));
}

function runsOtherVersion(machine: Machine, wanted: string): boolean {
  return wanted !== '' && machine.nodes.some(({ version }) => version !== wanted);
}

function statusOf(machines: Machine[], demand: Demand, warnings: string[]): CapacityStatus {
  const phases: CapacityStatus['phases'] = {};
  for (const { phase } of machines) {
    phases[phase] = (phases[phase] ?? 0) + 1;
  }
  return {
    demand,
    phases,
    machines: machines.map((machine) => ({
      machineId: machine.machineId,
      instanceId: machine.instance?.instanceId ?? '',
      zone: machine.zone,
      phase: machine.phase,
      work: workOn(machine),
      version: machine.nodes[0]?.version ?? '',
    })),
    warnings,
  };
}

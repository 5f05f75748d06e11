/** How many nodes the load asks for. */
import { type Machine } from './machines.ts';
import { capacityMetrics, type CapacityGoals } from './observation.ts';

export type MetricDemand = { name: string; total: number; target: number; nodes: number };

export type Demand = {
  /** Between minimum and maximum. */
  nodes: number;
  metrics: MetricDemand[];
  /** The metric that decides; undefined when the minimum does. */
  because: string | undefined;
};

/** Around the number of nodes that serve now, loads within this share of it change nothing. */
const deadBand = 0.1;

/**
 * @param counted machines whose load must be carried by nodes that stay
 * @param current nodes that serve or will soon
 */
export function demandOf(counted: readonly Machine[], current: number, goals: CapacityGoals): Demand {
  const loads = counted.flatMap((machine) => machine.nodes.map((node) => node.load));
  const metrics = capacityMetrics.flatMap((metric): MetricDemand[] => {
    const target = metric.targetOf(goals);
    if (target <= 0) {
      return [];
    }
    const total = loads.reduce((sum, load) => sum + metric.of(load), 0);
    return [{ name: metric.name, total, target, nodes: nodesFor(total / target, current) }];
  });
  const first = metrics.toSorted((one, other) => other.nodes - one.nodes)[0];
  const wanted = Math.max(first?.nodes ?? 0, goals.min);
  return {
    nodes: Math.min(wanted, goals.max),
    metrics,
    because: first !== undefined && first.nodes >= goals.min && first.nodes > 0 ? first.name : undefined,
  };
}

/** The load in full nodes, rounded up; what is close to the present number stays there. */
function nodesFor(fullNodes: number, current: number): number {
  if (fullNodes > current) {
    return fullNodes <= current * (1 + deadBand) ? current : Math.ceil(fullNodes);
  }
  // One node fewer must be enough with room to spare.
  return fullNodes >= (current - 1) * (1 - deadBand) ? current : Math.max(1, Math.ceil(fullNodes / (1 - deadBand)));
}

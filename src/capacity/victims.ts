/** Which machines are emptied first. */
import { workOn, type Machine } from './machines.ts';

/** Its nodes have records that a drain can be written to or taken back from. */
export function drainable(machine: Machine): boolean {
  return machine.nodes.length > 0 && machine.nodes.every(({ lifecycle }) => lifecycle?.state !== 'DRAINED');
}

/**
 * The least work first, among those whose loss keeps the zones balanced to one node.
 * @param all every machine, to know how many serve in each zone
 */
export function pickVictims(candidates: readonly Machine[], all: readonly Machine[], count: number): Machine[] {
  const perZone = new Map<string, number>();
  for (const { zone, phase } of all) {
    if (phase === 'serving') {
      perZone.set(zone, (perZone.get(zone) ?? 0) + 1);
    }
  }
  const left = candidates.toSorted((one, other) => workOn(one) - workOn(other));
  const victims: Machine[] = [];
  while (victims.length < count && left.length > 0) {
    const fullest = Math.max(...left.map(({ zone }) => perZone.get(zone) ?? 0));
    const smallest = Math.min(...perZone.values());
    const isBalanced = fullest - smallest <= 0;
    const at = left.findIndex(({ zone }) => isBalanced || (perZone.get(zone) ?? 0) === fullest);
    const [victim] = left.splice(Math.max(0, at), 1);
    if (victim !== undefined) {
      victims.push(victim);
      perZone.set(victim.zone, (perZone.get(victim.zone) ?? 1) - 1);
    }
  }
  return victims;
}

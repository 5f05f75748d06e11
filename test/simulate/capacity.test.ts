import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { goals } from '../../src/capacity/capacity-fixtures.ts';
import { CapacityWorld, type Mutant } from './capacity-world.ts';

const worldGoals = { ...goals, min: 2, max: 5, scaleInAfterMs: 30_000, drainDeadlineMs: null };

/** Load up and down for minutes, with everything that may break; then calm, until nothing moves any more. */
async function live(seed: number, mutant?: Mutant): Promise<CapacityWorld> {
  const drainPolicy = seed % 3 === 0 ? 'wait' : 'migrate';
  const world = new CapacityWorld({
    seed,
    goals: { ...worldGoals, drainPolicy },
    ...(mutant === undefined ? {} : { mutant }),
  });
  for (const people of [4, 18, 6, 22, 3]) {
    world.wantedPeople = people;
    await world.run(90);
    if (world.violations.length > 0) return world;
  }
  world.calm();
  world.wantedPeople = 0;
  await world.run(420);
  return world;
}

describe('the capacity of a cluster, over many lives with faults', () => {
  it('cuts nobody off, keeps the minimum and finds back to it', async () => {
    const total = { deleted: 0, added: 0, crashes: 0, busy: 0, lostAnswers: 0, failedMachines: 0 };
    for (let seed = 1; seed <= 200; seed += 1) {
      const world = await live(seed);
      assert.deepEqual(world.complaints(), [], `seed ${seed}`);
      for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += world.counts[key];
    }
    // A world in which nothing happens proves nothing.
    for (const [what, count] of Object.entries(total)) assert.ok(count > 60, `${what}: ${count}`);
  });

  const mutants: Mutant[] = [
    'delete-while-draining',
    'no-confirmation',
    'absolute-capacity',
    'assign-to-any-node',
    'no-fencing',
    'stale-look',
    'draining-counts-as-capacity',
    'shrink-by-capacity',
  ];
  for (const mutant of mutants) {
    it(`would not pass with a mistake: ${mutant}`, async () => {
      let killedBy: string[] = [];
      for (let seed = 1; seed <= 200 && killedBy.length === 0; seed += 1) {
        killedBy = (await live(seed, mutant)).complaints();
      }
      assert.notDeepEqual(killedBy, []);
    });
  }
});

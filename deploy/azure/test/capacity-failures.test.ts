/** What becomes of scaling when Azure does not do as it is told: the table in docs/azure.md, against the fakes. */
import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import type { FakeMachine } from '../fakes/compute-server.ts';
import { ControlledSet } from './controlled-set.ts';

describe('the capacity controller over the real SDK, when', () => {
  let set: ControlledSet;
  afterEach(() => set.close());

  const start = async (...options: Parameters<typeof ControlledSet.start>): Promise<string> => {
    set = await ControlledSet.start(...options);
    await set.lookUntil(() => set.machines[0]?.provisioningState === 'Succeeded', 'the first machine is up');
    await set.look();
    return set.names[0] ?? '';
  };
  const serving = (): number => set.count('serving');

  it('Azure throttles: it is asked again at the next look, and once', async () => {
    const first = await start();
    set.people = { [first]: 9 };
    // The SDK asks once more by itself, after the time that Azure names.
    set.compute.faults.throttle = 2;
    await set.look();
    assert.deepEqual(set.failures, ['provider-busy']);
    assert.equal(set.asked('PATCH'), 0);
    await set.lookUntil(() => set.compute.capacity === 2, 'it grows');
    await set.lookUntil(() => serving() === 2, 'it serves');
    assert.equal(set.asked('PATCH'), 1);
  });

  it('another operation runs: nothing is tried until the next look, and capacity is raised once', async () => {
    const first = await start();
    set.people = { [first]: 9 };
    set.compute.faults.conflict = 2;
    await set.look();
    await set.look();
    assert.deepEqual(set.failures, ['provider-busy', 'provider-busy']);
    assert.equal(set.compute.capacity, 1);
    await set.lookUntil(() => serving() === 2, 'it grows');
    assert.equal(set.compute.capacity, 2);
  });

  it('the answer to a change of capacity is lost: the next look shows what became of it, and it is not made twice', async () => {
    const first = await start();
    set.people = { [first]: 9 };
    set.compute.faults.loseAnswer = true;
    await set.look();
    assert.equal(set.compute.faults.loseAnswer, false, 'nothing was asked');
    await set.lookUntil(() => serving() === 2, 'it grows');
    for (let look = 0; look < 20; look += 1) await set.look();
    assert.equal(set.compute.capacity, 2);
    assert.equal(set.machines.length, 2);
  });

  /** Two nodes, and then one that is not needed any more. @returns the machine of that one */
  const shrink = async (before: (machine: FakeMachine) => void): Promise<FakeMachine> => {
    const first = await start({ max: 2 });
    set.people = { [first]: 9 };
    await set.lookUntil(() => serving() === 2, 'it grows');
    const second = set.machines.find(({ computerName }) => computerName !== first)!;
    before(second);
    set.people = { [first]: 2 };
    await set.lookUntil(() => set.asked('DELETE') === 1, 'it shrinks');
    return second;
  };

  it('a deletion fails: it is asked for again every minute, and no other machine suffers', async () => {
    const second = await shrink(({ name }) => set.compute.faults.failedDeletes.add(name));
    for (let look = 0; look < 40; look += 1) await set.look();
    assert.equal(set.asked('DELETE') - 1, 20);
    assert.equal(serving(), 1);
    assert.deepEqual(set.report.warnings, []);
    set.compute.faults.failedDeletes.clear();
    await set.lookUntil(() => !set.compute.machines.has(second.name), 'it goes');
    assert.equal(set.machines.length, 1);
  });

  it('a machine stays in deletion: there is a warning after half an hour, also by another master, and it is out of service', async () => {
    const second = await shrink(({ name }) => set.compute.faults.stuck.add(name));
    for (let look = 0; look < 30; look += 1) await set.look();
    set.succeed();
    for (let look = 0; look < 55; look += 1) await set.look();
    assert.deepEqual(set.report.warnings, []);
    for (let look = 0; look < 10; look += 1) await set.look();
    assert.match(set.report.warnings.join(), new RegExp(`${second.name} does not go away`));
    assert.equal(serving(), 1);
    set.compute.machines.delete(second.name);
    await set.lookUntil(() => set.report.warnings.length === 0, 'the warning goes');
    assert.equal(set.machines.length, 1);
  });

  it('no machine can be made in one zone: it comes up in another one, after a pause, and the failed one goes', async () => {
    const first = await start({ max: 4 }, ['1', '2']);
    set.compute.faults.fullZones.add('2');
    set.people = { [first]: 9 };
    await set.lookUntil(() => set.machines.some(({ provisioningState }) => provisioningState === 'Failed'), 'it fails');
    const asked = set.asked('PATCH');
    await set.lookUntil(() => serving() === 2, 'it grows elsewhere');
    assert.equal(set.asked('PATCH'), asked + 1);
    await set.lookUntil(() => set.machines.length === 2, 'the failed one goes');
    assert.deepEqual(
      set.machines.map(({ zone, provisioningState }) => [zone, provisioningState]),
      [
        ['1', 'Succeeded'],
        ['1', 'Succeeded'],
      ],
    );
  });

  it('no machine can be made anywhere: attempts wait longer each time, there is a warning, and nothing else is touched', async () => {
    const first = await start({ max: 10 }, ['1', '2']);
    set.compute.faults.fullZones = new Set(['1', '2']);
    set.people = { [first]: 9 };
    const asked: number[] = [];
    for (let look = 0; look < 60; look += 1) {
      const before = set.asked('PATCH');
      await set.look();
      if (set.asked('PATCH') > before) asked.push(look);
    }
    const pauses = asked.slice(1).map((look, index) => look - (asked[index] ?? 0));
    assert.ok(pauses.length >= 3 && pauses.length <= 8, `asked at looks ${asked.join()}`);
    assert.ok(
      pauses.every((pause, index) => pause >= (pauses[index - 1] ?? 0)),
      `pauses of ${pauses.join()} looks`,
    );
    assert.match(set.report.warnings.join(), /machines do not come up/);
    assert.ok(set.names.includes(first));
    set.compute.faults.fullZones.clear();
    await set.lookUntil(() => serving() === 2, 'it grows when there is room again');
    await set.lookUntil(() => set.machines.length === 2, 'what had failed goes');
    assert.deepEqual(set.report.warnings, []);
  });

  it('the leading master dies with a deletion that nobody heard of: the next one ends it, and deletes no other', async () => {
    const second = await shrink(() => {
      // Of two changes in a row: what protects the node that is left, and the deletion.
      set.compute.faults.refusedDeletes = 1;
    });
    assert.equal(set.machines.length, 2);
    set.succeed();
    await set.lookUntil(() => set.machines.length === 1, 'the next master asks for it again');
    for (let look = 0; look < 20; look += 1) await set.look();
    assert.equal(set.compute.machines.has(second.name), false);
    assert.equal(set.asked('DELETE'), 2);
  });

  it('somebody deletes a machine by hand: it is replaced; and one that is added by hand is kept while it is needed', async () => {
    const first = await start({ min: 2 });
    await set.lookUntil(() => serving() === 2, 'the minimum');
    const lost = set.machines.find(({ computerName }) => computerName === first)!;
    set.compute.machines.delete(lost.name);
    set.compute.setCapacity(1);
    await set.lookUntil(() => set.machines.length === 2 && serving() === 2, 'it is replaced');
    assert.ok(!set.names.includes(first));
    set.people = Object.fromEntries(set.names.map((name) => [name, 8]));
    set.compute.setCapacity(4);
    await set.lookUntil(() => serving() === 4, 'they serve');
    for (let look = 0; look < 20; look += 1) await set.look();
    assert.equal(set.machines.length, 4);
  });

  it('the quota is used up: attempts go on, and the warning says what Azure answers', async () => {
    const first = await start();
    set.people = { [first]: 9 };
    set.compute.faults.noQuota = true;
    for (let look = 0; look < 5; look += 1) await set.look();
    assert.deepEqual(set.names, [first]);
    assert.match(set.report.warnings.join(), /add.*exceeding approved cores quota/);
    set.compute.faults.noQuota = false;
    await set.lookUntil(() => serving() === 2, 'it grows');
    assert.deepEqual(set.report.warnings, []);
  });

  it("Azure's control plane is down: nothing is touched, and it goes on when it is back", async () => {
    const first = await start();
    set.people = { [first]: 9 };
    set.compute.faults.isAway = true;
    for (let look = 0; look < 5; look += 1) await set.look();
    assert.deepEqual(new Set(set.failures), new Set(['provider-failed']));
    assert.deepEqual(set.names, [first]);
    set.compute.faults.isAway = false;
    await set.lookUntil(() => serving() === 2, 'it grows');
  });
});

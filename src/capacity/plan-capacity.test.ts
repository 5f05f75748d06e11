import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { goals, instance, lifecycle, load, mediaNode } from './capacity-fixtures.ts';
import type { CapacityGoals, Instance, MediaNode, Observation } from './observation.ts';
import { freshMemory, type CapacityMemory } from './capacity-actions.ts';
import { planCapacity, type CapacityPlan } from './plan-capacity.ts';

const nowMs = 10_000_000;
/** Somebody watched for long, and saw nothing but small demand. */
const longWatched: CapacityMemory = { ...freshMemory(0), demands: [] };

type Machine = { node?: Partial<MediaNode>; instance?: Partial<Instance> };

function seen(machines: Record<string, Machine>, capacity?: number): Observation {
  const instances = Object.entries(machines).map(([name, machine]) => instance(name, machine.instance));
  const nodes = Object.entries(machines).flatMap(([name, { node }]) =>
    node === undefined ? [] : [mediaNode(name, node)],
  );
  return { machines: { instances, capacity: capacity ?? instances.length }, nodes };
}

function plan(observation: Observation, changes: Partial<CapacityGoals> = {}, memory = longWatched): CapacityPlan {
  return planCapacity({ observation, goals: { ...goals, ...changes }, memory, nowMs });
}

function said({ actions }: CapacityPlan): string[] {
  return actions.map((action) => {
    switch (action.kind) {
      case 'add':
        return `add ${action.count}`;
      case 'drain':
      case 'undrain':
        return `${action.kind} ${action.machineId}`;
      case 'delete':
      case 'protect':
        return `${action.kind} ${action.instanceId}`;
      case 'record':
        return `${action.event} ${action.node.nodeId}`;
      case 'forget':
        return `forget ${action.node.nodeId}`;
    }
  });
}

const busy = (cpu: number): Machine => ({ node: { load: load({ cpu, rooms: 1, participants: 4 }) } });

describe('growing', () => {
  it('asks for nothing while the load is near its target', () => {
    assert.deepEqual(said(plan(seen({ a: busy(0.5), b: busy(0.52) }))), []);
  });

  it('asks at once for as many nodes as the load needs', () => {
    assert.deepEqual(said(plan(seen({ a: busy(0.95), b: busy(0.95) }))), ['add 2']);
  });

  it('does not take a burst for load', () => {
    const calm = seen({ a: busy(0.3) });
    const loud = seen({ a: busy(0.95) });
    const slow = { ...goals, scaleOutAfterMs: 15_000 };
    let memory = longWatched;
    const looks = [calm, loud, loud, calm, loud, loud, loud, loud].map((observation, index) => {
      const next = planCapacity({ observation, goals: slow, memory, nowMs: nowMs + index * 5_000 });
      ({ memory } = next);
      return said(next).join();
    });
    assert.deepEqual(looks, ['', '', '', '', '', '', '', 'add 1']);
  });

  it('keeps the minimum at once, whatever it has watched', () => {
    const observation = seen({ a: busy(0.1) });
    const impatient = plan(observation, { min: 2, scaleOutAfterMs: 15_000 }, freshMemory(nowMs));
    assert.deepEqual(said(impatient), ['add 1']);
  });

  it('says why', () => {
    const [action] = plan(seen({ a: busy(0.9) })).actions;
    assert.match(action?.kind === 'add' ? action.reason : '', /cpu 0.9 needs 2 nodes at 0.5 each/);
  });

  it('takes bitrate and tracks into account when they have a target', () => {
    const node = { load: load({ cpu: 0.1, bitrateBps: 3e9, tracks: 100, rooms: 1, participants: 9 }) };
    assert.deepEqual(said(plan(seen({ a: { node } }))), []);
    assert.deepEqual(said(plan(seen({ a: { node } }), { targetBitrateBps: 1e9 })), ['add 2']);
    assert.deepEqual(said(plan(seen({ a: { node } }), { targetTracks: 30 })), ['add 3']);
  });

  it('does not ask again for what is on its way', () => {
    assert.deepEqual(said(plan(seen({ a: busy(0.9), b: { instance: { state: 'creating', ageMs: 1_000 } } }))), []);
    assert.deepEqual(said(plan(seen({ a: busy(0.9) }, 2))), []);
  });

  it('never asks for more than the maximum', () => {
    assert.deepEqual(said(plan(seen({ a: busy(1), b: busy(1) }), { max: 3 })), ['add 1']);
    assert.deepEqual(said(plan(seen({ a: busy(1), b: busy(1), c: busy(1) }), { max: 3 })), []);
  });

  it('keeps the minimum, also when a node is being emptied', () => {
    const observation = seen({ a: { node: { lifecycle: lifecycle('DRAINING', { owner: 'operator' }) } } });
    assert.deepEqual(said(plan(observation)), ['add 1']);
  });

  it('takes back the fullest of its own drains before it asks for a new machine', () => {
    const draining = (participants: number): Machine => ({
      node: { lifecycle: lifecycle('DRAINING'), load: load({ participants, rooms: 1 }) },
    });
    const observation = seen({ a: busy(0.99), b: draining(1), c: draining(5) });
    assert.deepEqual(said(plan(observation)), ['undrain c']);
  });

  it('leaves drains of operators and of the platform alone', () => {
    for (const record of [
      lifecycle('DRAINING', { owner: 'operator' }),
      lifecycle('DRAINING', { deadlineIsHard: true }),
    ]) {
      assert.deepEqual(said(plan(seen({ a: busy(0.99), b: { node: { lifecycle: record } } }))), ['add 1']);
    }
  });

  it('does not wait for ever for machines that the provider accepted and never lists', () => {
    const memory = { ...longWatched, unlisted: { count: 1, sinceMs: nowMs - 299_000 } };
    assert.deepEqual(said(plan(seen({ a: busy(0.9) }, 2), {}, memory)), []);
    const older = { ...longWatched, unlisted: { count: 1, sinceMs: nowMs - 301_000 } };
    assert.deepEqual(said(plan(seen({ a: busy(0.9) }, 2), {}, older)), ['add 1']);
  });
});

describe('a machine that does not become a node', () => {
  const failed: Machine = { instance: { state: 'failed', ageMs: 60_000, zone: '2' } };

  it('keeps its place while another is asked for, after a pause', () => {
    const first = plan(seen({ a: busy(0.9), b: failed }));
    assert.deepEqual(said(first), []);
    const observation = seen({ a: busy(0.9), b: failed });
    const later = planCapacity({ observation, goals, memory: first.memory, nowMs: nowMs + 31_000 });
    assert.deepEqual(said(later), ['add 1']);
  });

  it('is told of until it is gone', () => {
    const { status } = plan(seen({ a: busy(0.9), b: failed }));
    assert.match(status.warnings.join(), /do not come up \(1 in a row\); the next attempt is in 30 s or later/);
  });

  it('goes once a newer one serves', () => {
    const first = plan(seen({ a: busy(0.9), b: failed }));
    const fresh: Machine = { ...busy(0.4), instance: { ageMs: 90_000, zone: '3' } };
    const observation = seen({ a: busy(0.5), b: failed, c: fresh });
    const later = planCapacity({ observation, goals, memory: first.memory, nowMs: nowMs + 120_000 });
    assert.deepEqual(said(later), ['delete vm-b']);
  });

  it('waits longer with each failure', () => {
    let { memory } = plan(seen({ a: busy(0.9), b: failed }));
    const waits: number[] = [];
    for (const name of ['c', 'd', 'e']) {
      ({ memory } = planCapacity({ observation: seen({ a: busy(0.9), [name]: failed }), goals, memory, nowMs }));
      waits.push(memory.failures.addNotBeforeMs - nowMs);
    }
    assert.deepEqual(waits, [60_000, 120_000, 240_000]);
  });

  it('is one that runs for fifteen minutes without stating itself', () => {
    const boots: Machine = { instance: { state: 'running', ageMs: 899_000 } };
    assert.equal(plan(seen({ a: busy(0.5), b: boots })).status.phases.coming, 1);
    assert.equal(plan(seen({ a: busy(0.5), b: { instance: { ageMs: 901_000 } } })).status.phases.failed, 1);
  });
});

describe('shrinking', () => {
  const idle: Machine = busy(0.1);

  it('waits until fewer nodes have been enough for the whole time', () => {
    const observation = seen({ a: idle, b: idle });
    const first = plan(observation, {}, freshMemory(nowMs));
    assert.deepEqual(said(first), []);
    let { memory } = first;
    for (let atMs = nowMs; atMs < nowMs + 295_000; atMs += 5_000) {
      const next = planCapacity({ observation, goals, memory, nowMs: atMs });
      assert.deepEqual(said(next), [], `after ${atMs - nowMs} ms`);
      ({ memory } = next);
    }
    assert.match(said(planCapacity({ observation, goals, memory, nowMs: nowMs + 301_000 })).join(), /^drain [ab]$/);
  });

  it('starts to wait again when the load was high in between', () => {
    const { memory } = plan(seen({ a: busy(0.9), b: busy(0.1) }));
    const observation = seen({ a: idle, b: idle });
    assert.deepEqual(said(planCapacity({ observation, goals, memory, nowMs: nowMs + 250_000 })), []);
    assert.match(said(planCapacity({ observation, goals, memory, nowMs: nowMs + 320_000 })).join(), /^drain/);
  });

  it('chooses the node with the least work', () => {
    const work = (participants: number): Machine => ({ node: { load: load({ cpu: 0.1, participants, rooms: 1 }) } });
    assert.deepEqual(said(plan(seen({ a: work(5), b: work(2), c: work(9) }), { min: 2 })), ['drain b']);
  });

  it('keeps the zones balanced', () => {
    const inZone = (zone: string, participants: number): Machine => ({
      instance: { zone },
      node: { zone, load: load({ cpu: 0.1, participants, rooms: 1 }) },
    });
    const observation = seen({ a: inZone('1', 1), b: inZone('2', 5), c: inZone('2', 9) });
    assert.deepEqual(said(plan(observation, { min: 2 })), ['drain b']);
  });

  it('empties several at once, and no more than allowed', () => {
    const observation = seen({ a: idle, b: idle, c: idle, d: idle });
    assert.equal(said(plan(observation)).length, 2);
    const one = seen({ a: idle, b: idle, c: idle, d: { node: { lifecycle: lifecycle('DRAINING') } } });
    assert.equal(said(plan(one)).filter((action) => action.startsWith('drain')).length, 1);
  });

  it('never goes below the minimum, and not while a node is on its way', () => {
    assert.deepEqual(said(plan(seen({ a: idle, b: idle }), { min: 2 })), []);
    const coming: Machine = { instance: { state: 'creating', ageMs: 1_000 } };
    assert.deepEqual(said(plan(seen({ a: idle, b: idle, c: coming }))), []);
  });

  it('gives no deadline with policy wait', () => {
    const [action] = plan(seen({ a: idle, b: idle }), { drainPolicy: 'wait' }).actions;
    assert.ok(action?.kind === 'drain' && action.deadlineMs === null && action.policy === 'wait');
  });
});

describe('deleting', () => {
  const drained = (changes: Partial<MediaNode> = {}): Machine => ({
    node: { lifecycle: lifecycle('DRAINED'), ...changes },
  });

  it('takes a node that is drained and says so itself', () => {
    assert.deepEqual(said(plan(seen({ a: busy(0.4), b: drained() }))), ['delete vm-b']);
  });

  it('does not take one that has not confirmed it lately', () => {
    const cases: Partial<MediaNode>[] = [
      { ownState: 'DRAINING' },
      { silentMs: 11_000 },
      { load: load({ participants: 1 }) },
      { load: load({ rooms: 1 }) },
      { isLive: false, isReached: true },
    ];
    for (const changes of cases) {
      assert.deepEqual(said(plan(seen({ a: busy(0.4), b: drained(changes) }))), [], JSON.stringify(changes));
    }
  });

  it('never takes one that serves, is cordoned or is being emptied', () => {
    for (const state of ['SERVING', 'CORDONED', 'DRAINING', 'BOOTING'] as const) {
      const { actions } = plan(seen({ a: busy(0.4), b: { node: { lifecycle: lifecycle(state), silentMs: 9e9 } } }));
      assert.ok(
        actions.every(({ kind }) => kind !== 'delete'),
        state,
      );
    }
  });

  it('asks again after a minute when the machine is still there', () => {
    const observation = seen({ a: busy(0.4), b: { node: { lifecycle: lifecycle('DELETING') } } });
    const first = plan(observation);
    assert.deepEqual(said(first), ['delete vm-b']);
    const { memory } = first;
    assert.deepEqual(said(planCapacity({ observation, goals, memory, nowMs: nowMs + 59_000 })), []);
    assert.deepEqual(said(planCapacity({ observation, goals, memory, nowMs: nowMs + 61_000 })), ['delete vm-b']);
  });

  it('warns of a machine that does not go away', () => {
    const observation = seen({ a: busy(0.4), b: { node: { lifecycle: lifecycle('DELETING') } } });
    const { memory } = plan(observation);
    const later = planCapacity({ observation, goals, memory, nowMs: nowMs + 31 * 60_000 });
    assert.match(later.status.warnings.join(), /vm-b does not go away/);
  });

  it('watches a deletion that somebody else has asked for, and leaves it alone', () => {
    const observation = seen({ a: busy(0.4), b: { instance: { state: 'deleting' } } });
    const first = plan(observation);
    assert.deepEqual(said(first), []);
    const later = planCapacity({ observation, goals, memory: first.memory, nowMs: nowMs + 31 * 60_000 });
    assert.match(later.status.warnings.join(), /vm-b does not go away/);
    assert.deepEqual(said(later), []);
  });

  it('goes on with one that failed when its node is forgotten, and does not take it for a machine that failed to come', () => {
    const node = { lifecycle: lifecycle('DELETING') };
    const { memory } = plan(seen({ a: busy(0.4), b: { node } }));
    const observation = seen({ a: busy(0.9), b: { instance: { state: 'failed' } } });
    const later = planCapacity({ observation, goals, memory, nowMs: nowMs + 61_000 });
    assert.deepEqual(said(later), ['delete vm-b', 'add 1']);
    assert.deepEqual(later.status.warnings, []);
  });

  it('lets records follow: deleted when the machine is gone, then forgotten', () => {
    const node = mediaNode('b', { lifecycle: lifecycle('DELETING'), isLive: false, silentMs: 60_000 });
    const before = { ...seen({ a: busy(0.4) }), nodes: [mediaNode('a', busy(0.4).node), node] };
    assert.deepEqual(said(plan(before)), ['deleted ND_b']);
    const after = { ...before, nodes: [mediaNode('a', busy(0.4).node), { ...node, lifecycle: lifecycle('GONE') }] };
    assert.deepEqual(said(plan(after)), ['forget ND_b']);
  });
});

describe('lost nodes', () => {
  const silent = (silentMs: number, changes: Partial<MediaNode> = {}): Partial<MediaNode> => ({
    isLive: false,
    silentMs,
    lifecycle: lifecycle('SERVING'),
    ...changes,
  });

  it('count until they have been silent for half a minute, and are replaced then', () => {
    assert.deepEqual(said(plan(seen({ a: busy(0.4), b: { node: silent(20_000) } }), { min: 2 })), []);
    const lost = plan(seen({ a: busy(0.4), b: { node: silent(31_000) } }), { min: 2 });
    assert.deepEqual(said(lost), ['lost ND_b', 'add 1']);
  });

  it('are not lost while a master reaches them', () => {
    const observation = seen({ a: busy(0.4), b: { node: silent(700_000, { isReached: true }) } });
    assert.deepEqual(said(plan(observation, { min: 2 })), []);
  });

  it('come back', () => {
    const node = { lifecycle: lifecycle('LOST', { stateBefore: 'SERVING' as const }) };
    assert.deepEqual(said(plan(seen({ a: busy(0.4), b: { node } }), { min: 2 })).slice(0, 1), ['returned ND_b']);
  });

  it('lose their machine when it has stopped, or after ten minutes', () => {
    const record = { lifecycle: lifecycle('LOST', { stateBefore: 'SERVING' as const }) };
    const deletes = (machine: Machine): string[] =>
      said(plan(seen({ a: busy(0.4), b: machine }))).filter((action) => action.startsWith('delete'));
    assert.deepEqual(deletes({ node: silent(60_000, record) }), []);
    assert.deepEqual(deletes({ node: silent(60_000, record), instance: { state: 'stopped' } }), ['delete vm-b']);
    assert.deepEqual(deletes({ node: silent(601_000, record) }), ['delete vm-b']);
  });

  it('are forgotten when another process runs on their machine', () => {
    const former = mediaNode('a', { ...silent(60_000), nodeId: 'ND_old' as MediaNode['nodeId'] });
    const observation = seen({ a: busy(0.4) });
    assert.deepEqual(said(plan({ ...observation, nodes: [...observation.nodes, former] })), ['lost ND_old']);
  });
});

describe('another version', () => {
  const running = (version: string): Machine => ({
    node: { version, load: load({ cpu: 0.2, rooms: 1, participants: 4 }) },
  });
  const [old, fresh] = [running('one'), running('two')];
  const wanted = { min: 2 };
  const seenWith = (machines: Record<string, Machine>): Observation => {
    const observation = seen(machines);
    return {
      ...observation,
      ...(observation.machines === undefined ? {} : { machines: { ...observation.machines, version: 'two' } }),
    };
  };

  it('replaces nodes one by one, with one node more meanwhile', () => {
    assert.deepEqual(said(plan(seenWith({ a: old, b: old }), wanted)), ['add 1']);
    assert.deepEqual(said(plan(seenWith({ a: old, b: old, c: fresh }), wanted)), ['drain a']);
    const draining: Machine = { node: { ...old.node, lifecycle: lifecycle('DRAINING') } };
    assert.deepEqual(said(plan(seenWith({ a: draining, b: old, c: fresh }), wanted)), ['add 1']);
    assert.deepEqual(said(plan(seenWith({ b: fresh, c: fresh }), wanted)), []);
  });

  it('does so at the maximum too', () => {
    assert.deepEqual(said(plan(seenWith({ a: old, b: old }), { ...wanted, max: 2 })), ['add 1']);
  });

  it('stops when a node of the new version does not come up, and says so', () => {
    const dead: Machine = { instance: { ageMs: 16 * 60_000 } };
    const { actions, status } = plan(seenWith({ a: old, b: old, c: dead }), wanted);
    assert.ok(actions.every(({ kind }) => kind !== 'drain' && kind !== 'add'));
    assert.match(status.warnings.join(), /version two do not come up/);
  });
});

describe('machines that people make', () => {
  it('are never asked for, emptied or deleted', () => {
    const nodes = [mediaNode('a', busy(0.9).node), mediaNode('b', { lifecycle: lifecycle('DRAINED') })];
    assert.deepEqual(said(plan({ machines: undefined, nodes })), []);
    const silent = mediaNode('c', { isLive: false, silentMs: 60_000, lifecycle: lifecycle('SERVING') });
    assert.deepEqual(said(plan({ machines: undefined, nodes: [silent] })), ['lost ND_c']);
  });

  it('carry calls beside the set, and are not emptied', () => {
    const quiet = { load: load({ cpu: 0.01, rooms: 1, participants: 1 }) };
    const observation = seen({ a: busy(0.1), b: busy(0.1) });
    const nodes = [...observation.nodes, mediaNode('elsewhere', quiet)];
    assert.deepEqual(said(plan({ ...observation, nodes }, { min: 2 })), ['drain a']);
  });

  it('are adopted when somebody adds them to the set', () => {
    const observation = seen({ a: busy(0.3), stranger: { ...busy(0.3), instance: { isProtected: false } } });
    assert.deepEqual(said(plan(observation, { min: 2 })), ['protect vm-stranger']);
  });
});

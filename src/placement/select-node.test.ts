import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { NodeId } from '../protocol/ids.ts';
import { noNodeFits } from './errors.ts';
import {
  correctedLoad,
  defaultNodeLimits,
  legEstimate,
  loadShare,
  multiplied,
  pendingPlacements,
  placementSettleMs,
  roomEstimate,
  type Placement,
} from './load.ts';
import { among, id, idleWorkers, loaded, serving } from './placement-fixtures.ts';
import { selectHostNode, selectLegHome, type HostSelection, type LegSelection, type RoomUse } from './select-node.ts';

function host(selection: HostSelection): string {
  return selection.kind === 'selected' ? selection.nodeId : 'none';
}

function home(selection: LegSelection): string {
  return selection.kind === 'selected' ? `${selection.home.nodeId}/${selection.home.workerIndex}` : 'none';
}

function reasons(selection: HostSelection | LegSelection): Record<string, string> {
  return Object.fromEntries(selection.rejections.map(({ nodeId, reason }) => [nodeId, reason]));
}

describe('load', () => {
  it('is the share of what is scarcest', () => {
    const limits = { ...defaultNodeLimits, cpu: 0.8, bitrateBps: 1_000_000_000, tracks: 1_000 };
    assert.equal(loadShare(loaded({ cpu: 0.4, tracks: 100 }), limits), 0.5);
    assert.equal(loadShare(loaded({ cpu: 0.4, bitrateBps: 900_000_000 }), limits), 0.9);
    assert.equal(loadShare(loaded({ eventLoopLagMs: 300 }), limits), 1.5);
  });

  it('counts what was just placed until a report has had time to show it', () => {
    const placement: Placement = { nodeId: id('A'), workerIndex: 1, estimate: legEstimate, placedAtMs: 10_000 };
    const before = correctedLoad(loaded(), 10_500, [placement]);
    assert.deepEqual([before.participants, before.tracks, before.bitrateBps], [1, 12, 4_000_000]);
    assert.deepEqual(
      before.workers.map((worker) => worker.cpu),
      [0, 0.03],
    );
    assert.equal(before.cpu, 0.03 / 4);
    assert.equal(correctedLoad(loaded(), 10_000 + placementSettleMs, [placement]).participants, 0);
  });

  it('forgets placements after twice that time, so that the list stays as short as a burst', () => {
    const placed = (placedAtMs: number): Placement => ({ nodeId: id('A'), estimate: roomEstimate, placedAtMs });
    assert.deepEqual(pendingPlacements([placed(0), placed(5_000)], 8_000), [placed(5_000)]);
  });
});

describe('choice of a host', () => {
  it('takes the least loaded of the nodes that serve, and says why not the others', () => {
    const selection = selectHostNode(
      among(
        serving('busy', { cpu: 0.5 }),
        serving('calm', { cpu: 0.1 }),
        serving('silent', { isLive: false }),
        serving('leaving', { state: 'DRAINING' }),
        serving('newer', { protocol: { min: 3, max: 4 } }),
        serving('full', { cpu: 0.9 }),
      ),
    );
    assert.equal(host(selection), 'calm');
    assert.deepEqual(reasons(selection), {
      silent: 'not-live',
      leaving: 'not-serving',
      newer: 'incompatible',
      full: 'at-limit',
      busy: 'more-loaded',
    });
  });

  it('takes a node that has no media worker only for want of others', () => {
    const broken = serving('broken', { cpu: 0, workers: [] });
    assert.equal(host(selectHostNode(among(broken, serving('busy', { cpu: 0.5 })))), 'busy');
    assert.equal(host(selectHostNode(among(broken))), 'broken');
  });

  it('never takes a node that is not serving, however empty it is', () => {
    for (const state of ['BOOTING', 'CORDONED', 'DRAINING', 'DRAINED', 'DELETING', 'GONE', 'FAILED', 'LOST'] as const) {
      assert.equal(host(selectHostNode(among(serving('A', { state })))), 'none');
    }
  });

  it('takes nobody by a list that is older than a node may be silent', () => {
    assert.equal(host(selectHostNode({ ...among(serving('A')), nowMs: 1_999 })), 'A');
    const selection = selectHostNode({ ...among(serving('A')), nowMs: 2_000 });
    assert.equal(selection.rejections[0]?.detail, 'what is known of it is 2 s old');
  });

  it('respects each limit, also with what is about to be placed', () => {
    const limits = { ...defaultNodeLimits, rooms: 10, participants: 100, tracks: 500, bitrateBps: 1_000_000_000 };
    const full = [
      loaded({ rooms: 10 }),
      loaded({ participants: 100 }),
      loaded({ tracks: 500 }),
      loaded({ bitrateBps: 999_000_000 }),
      loaded({ cpu: 0.85 }),
      loaded({ eventLoopLagMs: 250 }),
    ];
    const work = { ...multiplied(legEstimate, 3), rooms: 1 };
    const selections = full.map((load) => selectHostNode({ ...among(serving('A', { load })), limits, work }));
    assert.deepEqual(
      selections.map(({ rejections }) => rejections[0]?.detail),
      [
        'rooms 10 of 10',
        'participants 100 of 100',
        'tracks 500 of 500',
        'bitrateBps 999000000 of 1000000000',
        'cpu 0.85 of 0.85',
        'eventLoopLagMs 250 of 200',
      ],
    );
    assert.equal(host(selectHostNode({ ...among(serving('A')), limits, work })), 'A');
  });

  it('prefers the region and the zone that is asked for, and takes another rather than none', () => {
    const here = { region: 'west', zone: '1' };
    const nodes = [
      serving('far', { region: 'east' }),
      serving('near', { region: 'west', zone: '2', cpu: 0.2 }),
      serving('nearest', { ...here, cpu: 0.5 }),
    ];
    assert.equal(host(selectHostNode({ ...among(...nodes), ...here })), 'nearest');
    assert.equal(host(selectHostNode({ ...among(...nodes), region: 'west' })), 'near');
    assert.equal(host(selectHostNode({ ...among(...nodes), region: 'north' })), 'far');
    const selection = selectHostNode({ ...among(...nodes), ...here });
    assert.deepEqual(reasons(selection), { far: 'other-region', near: 'other-zone' });
  });

  it('spreads a burst of rooms that no report shows yet', () => {
    const nodes = ['A', 'B', 'C'].map((name) => serving(name));
    const placements: Placement[] = [];
    const count = new Map<NodeId, number>();
    for (let room = 0; room < 30; room += 1) {
      const selection = selectHostNode({ ...among(...nodes), placements, key: `room ${room}` });
      assert.ok(selection.kind === 'selected');
      placements.push({ nodeId: selection.nodeId, estimate: roomEstimate, placedAtMs: 0 });
      count.set(selection.nodeId, (count.get(selection.nodeId) ?? 0) + 1);
    }
    assert.deepEqual([...count.values()], [10, 10, 10]);
  });

  it('lets masters that do not know of each other choose different nodes for different rooms', () => {
    const nodes = ['A', 'B', 'C'].map((name) => serving(name));
    const chosen = Array.from({ length: 60 }, (_, room) =>
      host(selectHostNode({ ...among(...nodes), key: `room ${room}` })),
    );
    for (const name of ['A', 'B', 'C']) {
      const share = chosen.filter((choice) => choice === name).length;
      assert.ok(share >= 10, `${name} got ${share} of 60`);
    }
  });

  it('tells in one error why no node fits', () => {
    const nodes = [
      serving('A', { state: 'DRAINING' }),
      serving('B', { state: 'CORDONED' }),
      serving('C', { cpu: 0.91 }),
    ];
    const error = noNodeFits('room', selectHostNode(among(...nodes)).rejections);
    assert.equal(
      error.message,
      'no media node can take another room: 2 of 3 not-serving (A is DRAINING), 1 of 3 at-limit (C cpu 0.91 of 0.85)',
    );
    assert.deepEqual([error.code, error.reason], ['unavailable', 'no-capacity']);
    assert.match(noNodeFits('participant', []).message, /there is no media node/);
  });
});

describe('choice of a home', () => {
  const use = (node: string, workerIndex: number, fanout = 1): RoomUse => ({ nodeId: id(node), workerIndex, fanout });
  const cpuOf = (...cpus: number[]) =>
    idleWorkers(cpus.length).map((worker, index) => ({ ...worker, cpu: cpus[index] ?? 0 }));
  /** Without the time, which does not matter here. */
  const legsAmong = (...nodes: Parameters<typeof among>) => {
    const { nowMs: _, ...view } = among(...nodes);
    return view;
  };
  const any = { room: [] as RoomUse[], maxFanout: 0 };

  it('takes a worker that the room uses, even where others are idle', () => {
    const nodes = [serving('A', { workers: cpuOf(0.4, 0) }), serving('B')];
    assert.equal(home(selectLegHome({ ...legsAmong(...nodes), ...any, room: [use('A', 0)] })), 'A/0');
  });

  it('goes to another worker of the node before it goes to another node', () => {
    const nodes = [serving('A', { workers: cpuOf(0.7, 0.3) }), serving('B')];
    assert.equal(home(selectLegHome({ ...legsAmong(...nodes), ...any, room: [use('A', 0)] })), 'A/1');
  });

  it('leaves the node when nothing of it has room to spare, and comes back when nobody else has', () => {
    const busy = serving('A', { cpu: 0.7, workers: cpuOf(0.7, 0.7) });
    const room = [use('A', 0)];
    assert.equal(
      home(selectLegHome({ ...legsAmong(busy, serving('B', { workers: idleWorkers(1) })), ...any, room })),
      'B/0',
    );
    assert.equal(home(selectLegHome({ ...legsAmong(busy, serving('B', { cpu: 0.8 })), ...any, room })), 'A/0');
  });

  it('never lets a worker have more viewers of one track than the set number', () => {
    const nodes = [serving('A'), serving('B')];
    const viewers = new Map<string, RoomUse>();
    for (let viewer = 0; viewer < 60; viewer += 1) {
      const room = [...viewers.values()];
      const selection = selectLegHome({ ...legsAmong(...nodes), key: `viewer ${viewer}`, room, maxFanout: 15 });
      assert.ok(selection.kind === 'selected');
      const fanout = (viewers.get(home(selection))?.fanout ?? 0) + 1;
      viewers.set(home(selection), { ...selection.home, fanout });
    }
    assert.deepEqual(
      [...viewers.values()].map(({ fanout }) => fanout),
      [15, 15, 15, 15],
    );
    const full = selectLegHome({ ...legsAmong(...nodes), room: [...viewers.values()], maxFanout: 15 });
    assert.equal(home(full), 'none');
    assert.equal(full.rejections[0]?.detail, '2 of 2 have 15 viewers of one track already');
  });

  it('fills the workers of one node before it uses a second one', () => {
    const room = [use('A', 0, 15)];
    assert.equal(home(selectLegHome({ ...legsAmong(serving('B'), serving('A')), room, maxFanout: 15 })), 'A/1');
  });

  it('puts the region of the client before the nodes of the room, and the zone after', () => {
    const nodes = [serving('A', { region: 'east', zone: '1' }), serving('B', { region: 'west', zone: '2' })];
    const room = [use('A', 0)];
    assert.match(home(selectLegHome({ ...legsAmong(...nodes), ...any, room, region: 'west' })), /^B/);
    assert.match(home(selectLegHome({ ...legsAmong(...nodes), ...any, room, zone: '2' })), /^A/);
    assert.match(home(selectLegHome({ ...legsAmong(...nodes), ...any, zone: '2' })), /^B/);
  });

  it('says that workers are at their limit although the machine is not', () => {
    const selection = selectLegHome({ ...legsAmong(serving('A', { workers: cpuOf(0.9, 0.95) })), ...any });
    assert.equal(home(selection), 'none');
    assert.equal(selection.rejections[0]?.detail, 'all 2 use 0.85 or more of their core');
    assert.equal(
      selectLegHome({ ...legsAmong(serving('A', { workers: [] })), ...any }).rejections[0]?.detail,
      'it has no media worker',
    );
  });

  it('goes by what is known, however old: people join while Redis is away', () => {
    assert.match(home(selectLegHome({ ...legsAmong(serving('A', { reportedAtMs: -600_000 })), ...any })), /^A/);
  });

  it('gives no leg to a draining node that the room uses', () => {
    const nodes = [serving('A', { state: 'DRAINING' }), serving('B')];
    const selection = selectLegHome({ ...legsAmong(...nodes), ...any, room: [use('A', 0)] });
    assert.match(home(selection), /^B/);
    assert.deepEqual(reasons(selection), { A: 'not-serving' });
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ParticipantSid } from '../protocol/ids.ts';
import {
  defaultDrainPacing,
  planDrain,
  type DrainAction,
  type DrainJob,
  type DrainLeg,
  type DrainPlan,
  type DrainRoom,
  type DrainView,
  type LegMove,
} from './drain-plan.ts';
import { defaultNodeLimits } from './load.ts';
import { id, serving } from './placement-fixtures.ts';

const old = id('old');
const migrating = { policy: 'migrate', remainingMs: null, deadlineIsHard: false } as const;
const waiting = { ...migrating, policy: 'wait' } as const;

function leg(name: string, move: LegMove | 'staying' = 'staying', changes: Partial<DrainLeg> = {}): DrainLeg {
  return {
    participantSid: name as ParticipantSid,
    roomName: 'lobby',
    publishes: false,
    acceptsMove: true,
    move: move === 'staying' ? staying() : move,
    ...changes,
  };
}

function staying(changes: { failures?: number; retryInMs?: number } = {}): LegMove & { kind: 'staying' } {
  return { kind: 'staying', failures: 0, retryInMs: 0, ...changes };
}

const preparing = (ageMs = 100, target = 'A'): LegMove => ({ kind: 'preparing', target: id(target), ageMs });
const prepared = (ageMs = 100, target = 'A'): LegMove => ({ kind: 'prepared', target: id(target), ageMs });
const triggered = (ageMs = 100, target = 'A'): LegMove => ({
  kind: 'triggered',
  how: 'resume',
  target: id(target),
  ageMs,
});

function room(roomName = 'lobby', host = 'A', changes: Partial<DrainRoom> = {}): DrainRoom {
  return { roomName, hostNodeId: id(host), hostMove: staying(), ...changes };
}

function view(changes: Partial<DrainView> & { nodes?: DrainView['placement']['nodes'] } = {}): DrainView {
  const { nodes = [serving('old', { state: 'DRAINING' }), serving('A'), serving('B', { cpu: 0.3 })], ...rest } =
    changes;
  return {
    nodeId: old,
    drain: migrating,
    drainingForMs: 60_000,
    rooms: [room()],
    legs: [],
    jobs: [],
    sinceLastBatchMs: null,
    placement: { nodes, placements: [], limits: defaultNodeLimits, nowMs: 0, protocol: { min: 1, max: 1 } },
    pacing: defaultDrainPacing,
    ...rest,
  };
}

function line(action: DrainAction): string {
  switch (action.kind) {
    case 'moveHost':
      return `moveHost ${action.roomName} to ${action.target}`;
    case 'abortHostMove':
      return `abortHostMove ${action.roomName}: ${action.why}`;
    case 'prepareLeg':
      return `prepare ${action.participantSid} on ${action.target}`;
    case 'abortPreparation':
      return `abort ${action.participantSid}: ${action.why}`;
    case 'triggerLegs':
      return `${action.roomName}: ${action.legs.map((told) => `${told.participantSid} ${told.how}`).join(', ')}`;
    case 'reconnectClient':
      return `reconnect ${action.participantSid}: ${action.why}`;
    case 'closeLeg':
      return `close ${action.participantSid}`;
    case 'stopJob':
      return `stop ${action.jobId}`;
    case 'markDrained':
      return 'drained';
    case 'giveUp':
      return `give up ${action.rooms} rooms, ${action.legs} legs, ${action.jobs} jobs`;
  }
}

function plan(changes: Parameters<typeof view>[0]): DrainPlan {
  return planDrain(view(changes));
}

function actions(changes: Parameters<typeof view>[0]): string[] {
  return plan(changes).actions.map(line);
}

const egress: DrainJob = { jobId: 'EG_1', kind: 'egress', roomName: 'lobby', isStopping: false };

describe('drain by migration', () => {
  it('moves the hosts of rooms first, their participants only after', () => {
    const legs = [leg('ann')];
    assert.deepEqual(actions({ rooms: [room('lobby', 'old')], legs }), ['moveHost lobby to A']);
    const moving = room('lobby', 'old', { hostMove: { kind: 'moving', target: id('A'), ageMs: 100 } });
    assert.deepEqual(actions({ rooms: [moving], legs }), []);
    assert.deepEqual(actions({ rooms: [room('lobby', 'A')], legs }), ['prepare ann on A']);
  });

  it('moves rooms without participants too', () => {
    assert.deepEqual(actions({ rooms: [room('empty', 'old')] }), ['moveHost empty to A']);
  });

  it('prepares everybody before any client hears of it', () => {
    const legs = [leg('ann', prepared(), { publishes: true }), leg('bob', preparing()), leg('cid')];
    assert.deepEqual(actions({ legs }), ['prepare cid on A']);
  });

  it('moves publishers by a resume, one after another, and then the subscribers of their room in place', () => {
    const ready = ['pub1', 'pub2'].map((name) => leg(name, prepared(), { publishes: true }));
    const subscribers = ['sub1', 'sub2'].map((name) => leg(name, prepared()));
    const [, second] = ready;
    assert.ok(second !== undefined);
    assert.deepEqual(actions({ legs: [...subscribers, ...ready] }), ['lobby: pub1 resume']);
    const gone = leg('pub1', triggered(900), { publishes: true });
    const { actions: none, againInMs } = plan({ legs: [...subscribers, gone, second], sinceLastBatchMs: 900 });
    assert.deepEqual([none, againInMs], [[], 200]);
    assert.deepEqual(actions({ legs: [...subscribers, second] }), ['lobby: pub2 resume']);
    assert.deepEqual(actions({ legs: subscribers }), ['lobby: sub1 in-place, sub2 in-place']);
  });

  it('moves more publishers than a few in one step of the room, first and with its subscribers', () => {
    const publishers = ['pub1', 'pub2', 'pub3', 'pub4', 'pub5'];
    const legs = [leg('sub', prepared()), ...publishers.map((name) => leg(name, prepared(), { publishes: true }))];
    assert.deepEqual(actions({ legs }), [
      'lobby: pub1 resume, pub2 resume, pub3 resume, pub4 resume, pub5 resume, sub in-place',
    ]);
  });

  it('is done when nothing is left', () => {
    assert.deepEqual(actions({ rooms: [] }), ['drained']);
    assert.deepEqual(actions({ rooms: [room('elsewhere', 'A')] }), ['drained']);
  });

  it('is not done before everybody must know of it: somebody may be placing a room there right now', () => {
    const early = plan({ rooms: [], drainingForMs: 1_000 });
    assert.deepEqual([early.actions, early.againInMs], [[], 1_500]);
    assert.deepEqual(actions({ rooms: [], drainingForMs: 2_500 }), ['drained']);
  });

  it('sends a whole room to one node, where its host is', () => {
    assert.deepEqual(actions({ rooms: [room('lobby', 'B')], legs: [leg('ann'), leg('bob')] }), [
      'prepare ann on B',
      'prepare bob on B',
    ]);
    const half = [leg('ann', preparing(100, 'B')), leg('bob')];
    assert.deepEqual(actions({ rooms: [room('lobby', 'A')], legs: half }), ['prepare bob on B']);
  });

  it('spreads rooms over the nodes that are left, and counts what it sends there', () => {
    const rooms = Array.from({ length: 20 }, (_, index) => room(`room ${index}`, 'old'));
    const legs = rooms.flatMap(({ roomName }) =>
      [1, 2, 3].map((part) => leg(`${roomName}.${part}`, 'staying', { roomName })),
    );
    const targets = plan({ rooms, legs, nodes: [serving('A'), serving('B')] }).actions.map((action) =>
      action.kind === 'moveHost' ? action.target : '',
    );
    assert.equal(targets.length, 20);
    assert.ok(targets.filter((target) => target === 'A').length >= 8);
    assert.ok(targets.filter((target) => target === 'B').length >= 8);
  });

  it('splits a room that no node can take as a whole', () => {
    const limits = { ...defaultNodeLimits, participants: 2 };
    const { placement } = view();
    const legs = ['ann', 'bob', 'cid'].map((name) => leg(name));
    const { actions: split } = planDrain(view({ legs, placement: { ...placement, limits } }));
    assert.deepEqual(split.map(line), ['prepare ann on A', 'prepare bob on B', 'prepare cid on A']);
  });
});

describe('pace of a drain', () => {
  const crowd = (count: number, move: LegMove | 'staying', roomOf = (index: number) => `room ${index}`): DrainLeg[] =>
    Array.from({ length: count }, (_, index) => leg(`p${index}`, move, { roomName: roomOf(index) }));
  const roomsOf = (legs: DrainLeg[]) =>
    [...new Set(legs.map(({ roomName }) => roomName))].map((name) => room(name, 'A'));
  const toldOf = ({ actions: all }: DrainPlan) =>
    all.flatMap((action) => (action.kind === 'triggerLegs' ? action.legs : []));

  it('tells a batch of clients at a time', () => {
    const legs = crowd(50, prepared());
    const first = plan({ legs, rooms: roomsOf(legs) });
    assert.equal(toldOf(first).length, defaultDrainPacing.batchSize);
    assert.equal(first.againInMs, 200);
    const early = plan({ legs, rooms: roomsOf(legs), sinceLastBatchMs: 150 });
    assert.deepEqual([toldOf(early).length, early.againInMs], [0, 50]);
    assert.equal(toldOf(plan({ legs, rooms: roomsOf(legs), sinceLastBatchMs: 200 })).length, 15);
  });

  it('keeps a bounded number of participants between here and there', () => {
    const legs = [...crowd(50, triggered()), ...crowd(50, 'staying', (index) => `next ${index}`)];
    const prepares = actions({ legs, rooms: roomsOf(legs) }).filter((text) => text.startsWith('prepare'));
    assert.equal(prepares.length, defaultDrainPacing.maxInFlight - 50);
  });

  it('moves a bounded number of hosts at once', () => {
    const rooms = Array.from({ length: 30 }, (_, index) => room(`room ${index}`, 'old'));
    assert.equal(actions({ rooms }).length, defaultDrainPacing.maxHostMoves);
  });

  it('waits with a small room until all of it is prepared, so that everybody negotiates once', () => {
    assert.deepEqual(actions({ legs: [leg('ann', prepared()), leg('bob', preparing())] }), []);
    assert.deepEqual(actions({ legs: [leg('ann', prepared()), leg('bob', prepared())] }), [
      'lobby: ann in-place, bob in-place',
    ]);
  });

  it('does not wait for all of a room that is larger than a batch', () => {
    const legs = [...crowd(15, prepared(), () => 'lobby'), leg('late', preparing())];
    assert.equal(toldOf(plan({ legs })).length, 15);
  });

  it('leaves time between batches of publishers of one room; its subscribers and other rooms go on', () => {
    const legs = [
      ...['pub1', 'pub3', 'pub4', 'pub5'].map((name) => leg(name, triggered(300), { publishes: true })),
      leg('pub2', prepared(), { publishes: true }),
      leg('sub', prepared()),
      leg('other', prepared(), { publishes: true, roomName: 'other' }),
    ];
    const rooms = [room(), room('other')];
    const soon = plan({ legs, rooms, sinceLastBatchMs: 300 });
    assert.deepEqual(soon.actions.map(line), ['lobby: sub in-place', 'other: other resume']);
    assert.equal(soon.againInMs, 200);
    const later = legs.map((each) => (each.move.kind === 'triggered' ? { ...each, move: triggered(500) } : each));
    assert.deepEqual(actions({ legs: later, rooms, sinceLastBatchMs: 500 }), [
      'lobby: pub2 resume, sub in-place',
      'other: other resume',
    ]);
  });
});

describe('drain when steps fail', () => {
  it('takes a preparation back that does not come to its end, and the client never hears of it', () => {
    assert.deepEqual(actions({ legs: [leg('ann', preparing(5_000))] }), ['abort ann: timeout']);
    assert.deepEqual(actions({ legs: [leg('ann', prepared(15_000))] }), ['abort ann: timeout']);
  });

  it('takes preparations back when their target dies or is drained too', () => {
    const legs = [leg('ann', prepared()), leg('bob', preparing())];
    for (const gone of [serving('A', { isLive: false }), serving('A', { state: 'DRAINING' })]) {
      assert.deepEqual(actions({ legs, rooms: [room('lobby', 'B')], nodes: [gone, serving('B')] }), [
        'abort ann: target-lost',
        'abort bob: target-lost',
      ]);
    }
  });

  it('tries again after a while, and by a reconnect when that does not help', () => {
    const soon = plan({ legs: [leg('ann', staying({ failures: 1, retryInMs: 700 }))] });
    assert.deepEqual([soon.actions, soon.againInMs], [[], 700]);
    assert.deepEqual(actions({ legs: [leg('ann', staying({ failures: 1 }))] }), ['prepare ann on A']);
    assert.deepEqual(actions({ legs: [leg('ann', staying({ failures: 3 }))] }), ['reconnect ann: preparation-failed']);
  });

  it('reconnects clients that are known not to accept a move, in the same batches', () => {
    assert.deepEqual(actions({ legs: [leg('firefox', 'staying', { acceptsMove: false })] }), [
      'reconnect firefox: cannot-move',
    ]);
    const legs = Array.from({ length: 20 }, (_, index) => leg(`p${index}`, 'staying', { acceptsMove: false }));
    assert.equal(actions({ legs }).length, 15);
    assert.deepEqual(actions({ legs, sinceLastBatchMs: 100 }), []);
  });

  it('reconnects a client that does not come up on its target, and closes one that does not let go', () => {
    assert.deepEqual(actions({ legs: [leg('ann', triggered(4_999))] }), []);
    assert.deepEqual(actions({ legs: [leg('ann', triggered(5_000))] }), ['reconnect ann: not-connected']);
    assert.deepEqual(actions({ legs: [leg('ann', { kind: 'reconnecting', ageMs: 5_000 })] }), ['close ann']);
  });

  it('tries the move of a host again, elsewhere if its target is gone', () => {
    const moving = (ageMs: number) => room('lobby', 'old', { hostMove: { kind: 'moving', target: id('A'), ageMs } });
    assert.deepEqual(actions({ rooms: [moving(5_000)] }), ['abortHostMove lobby: timeout']);
    assert.deepEqual(actions({ rooms: [moving(100)], nodes: [serving('B')] }), ['abortHostMove lobby: target-lost']);
    const failed = room('lobby', 'old', { hostMove: staying({ failures: 1, retryInMs: 300 }) });
    assert.equal(plan({ rooms: [failed] }).againInMs, 300);
  });

  it('keeps calls where they are while no node can take them, and says so', () => {
    const legs = [leg('ann'), leg('firefox', 'staying', { acceptsMove: false })];
    const result = plan({ legs, nodes: [serving('old', { state: 'DRAINING' })] });
    assert.deepEqual(result.actions, []);
    assert.deepEqual(
      result.waitingFor.map(({ kind }) => kind),
      ['no-target', 'moving'],
    );
    assert.equal(result.againInMs, 1_000);
  });

  it('plans the same again for another leader until something has changed', () => {
    const input = { rooms: [room('a', 'old'), room('b')], legs: [leg('ann', 'staying', { roomName: 'b' })] };
    assert.deepEqual(plan(input), plan(input));
    const begun = [leg('ann', preparing(), { roomName: 'b' })];
    const moving = room('a', 'old', { hostMove: { kind: 'moving', target: id('A'), ageMs: 10 } });
    assert.deepEqual(actions({ rooms: [moving, room('b')], legs: begun }), []);
  });
});

describe('drain by waiting', () => {
  it('moves nothing and says what it waits for', () => {
    const result = plan({ drain: waiting, rooms: [room('lobby', 'old')], legs: [leg('ann')], jobs: [egress] });
    assert.deepEqual(result.actions, []);
    assert.deepEqual(result.waitingFor, [
      { kind: 'room', roomName: 'lobby' },
      { kind: 'job', jobId: 'EG_1', job: 'egress', roomName: 'lobby' },
    ]);
  });

  it('ends when the last room and job do', () => {
    assert.deepEqual(actions({ drain: waiting, rooms: [] }), ['drained']);
    assert.deepEqual(actions({ drain: waiting, rooms: [], jobs: [egress] }), []);
  });

  it('ignores its deadline', () => {
    const late = { ...waiting, remainingMs: -1_000 };
    assert.deepEqual(actions({ drain: late, rooms: [room('lobby', 'old')], legs: [leg('ann')] }), []);
  });

  it('migrates in time when the platform takes the machine', () => {
    const rooms = [room('lobby', 'old')];
    const taken = (remainingMs: number) => ({ ...waiting, remainingMs, deadlineIsHard: true });
    assert.deepEqual(actions({ drain: taken(60_000), rooms }), []);
    const wait = plan({ drain: taken(60_000), rooms }).againInMs ?? 0;
    assert.ok(wait > 0 && wait < 60_000);
    assert.deepEqual(actions({ drain: taken(60_000 - wait), rooms }), ['moveHost lobby to A']);
  });

  it('takes preparations back when the policy changes from migrate to wait', () => {
    assert.deepEqual(actions({ drain: waiting, legs: [leg('ann', prepared()), leg('bob', triggered())] }), [
      'abort ann: drain-ended',
    ]);
  });
});

describe('jobs on a draining node', () => {
  it('are waited for, also after the deadline', () => {
    const late = { ...migrating, remainingMs: -60_000 };
    const result = plan({ drain: late, rooms: [], jobs: [egress] });
    assert.deepEqual(result.actions, []);
    assert.deepEqual(result.waitingFor, [{ kind: 'job', jobId: 'EG_1', job: 'egress', roomName: 'lobby' }]);
  });

  it('are asked to end, once, when the platform takes the machine', () => {
    const taken = { ...migrating, remainingMs: 30_000, deadlineIsHard: true };
    assert.deepEqual(actions({ drain: taken, rooms: [], jobs: [egress] }), ['stop EG_1']);
    assert.deepEqual(actions({ drain: taken, rooms: [], jobs: [{ ...egress, isStopping: true }] }), []);
  });
});

describe('deadline of a drain', () => {
  it('makes whoever has not moved reconnect shortly before', () => {
    const late = { ...migrating, remainingMs: 5_000 };
    const legs = [leg('ann'), leg('bob', preparing()), leg('cid', prepared()), leg('dan', triggered())];
    assert.deepEqual(actions({ drain: late, legs }), [
      'reconnect ann: deadline',
      'reconnect bob: deadline',
      'reconnect cid: deadline',
    ]);
  });

  it('does not end calls that have nowhere to go', () => {
    const late = { ...migrating, remainingMs: -10_000 };
    assert.deepEqual(actions({ drain: late, legs: [leg('ann')], nodes: [] }), []);
  });

  it('ends everything when the platform takes the machine', () => {
    const taken = { ...waiting, remainingMs: 0, deadlineIsHard: true };
    assert.deepEqual(actions({ drain: taken, rooms: [room('lobby', 'old')], legs: [leg('ann')], jobs: [egress] }), [
      'give up 1 rooms, 1 legs, 1 jobs',
      'drained',
    ]);
  });
});

describe('undrain in the middle', () => {
  it('takes back what clients have not heard of, and lets the others arrive', () => {
    const moving = room('lobby', 'old', { hostMove: { kind: 'moving', target: id('A'), ageMs: 10 } });
    const legs = [
      leg('ann'),
      leg('bob', preparing()),
      leg('cid', prepared()),
      leg('dan', triggered()),
      leg('eve', triggered(5_000)),
    ];
    const { drain: _, ...rest } = view({ rooms: [moving], legs, sinceLastBatchMs: 1_000 });
    const result = planDrain({ ...rest, drain: undefined });
    assert.deepEqual(result.actions.map(line), [
      'abortHostMove lobby: drain-ended',
      'abort bob: drain-ended',
      'abort cid: drain-ended',
      'reconnect eve: not-connected',
    ]);
  });

  it('never marks a node drained that serves', () => {
    assert.deepEqual(planDrain(view({ drain: undefined, rooms: [] })).actions, []);
  });
});

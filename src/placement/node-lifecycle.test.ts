import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  admitsWork,
  nextLifecycle,
  type NodeEvent,
  type NodeLifecycle,
  type NodeState,
  type Transition,
} from './node-lifecycle.ts';

function node(state: NodeState, changes: Partial<NodeLifecycle> = {}): NodeLifecycle {
  return { epoch: 7, state, owner: 'node', reason: 'started', policy: 'migrate', remainingMs: null, ...changes };
}

type Bare<Event> = Event extends NodeEvent ? Omit<Event, 'owner' | 'reason'> & { owner?: string } : never;

function event(bare: Bare<NodeEvent>): NodeEvent {
  return { owner: 'ops', reason: 'because', ...bare } as NodeEvent;
}

const drainNow = event({ kind: 'drain', policy: 'migrate', deadlineMs: 60_000 });

/** Applies a transition the way a store does. */
function apply(current: NodeLifecycle | undefined, happened: NodeEvent): NodeLifecycle | undefined {
  const transition = nextLifecycle(current, happened);
  if (transition.kind !== 'changed') {
    return current;
  }
  const fresh = node('BOOTING', { epoch: 0 });
  return { ...(current ?? fresh), ...transition.change, epoch: (current?.epoch ?? 0) + 1 };
}

function summary(transition: Transition): string {
  switch (transition.kind) {
    case 'changed':
      return transition.change.state;
    case 'unchanged':
      return '=';
    case 'refused':
      return transition.refusal;
  }
}

function walk(...events: NodeEvent[]): NodeState[] {
  let current: NodeLifecycle | undefined;
  return events.flatMap((happened) => {
    current = apply(current, happened);
    return current?.state ?? [];
  });
}

describe('node lifecycle', () => {
  it('leads from boot to deletion through a drain', () => {
    const life = walk(
      event({ kind: 'booted' }),
      event({ kind: 'ready' }),
      event({ kind: 'cordon' }),
      drainNow,
      event({ kind: 'emptied' }),
      event({ kind: 'delete' }),
      event({ kind: 'deleted' }),
    );
    assert.deepEqual(life, ['BOOTING', 'SERVING', 'CORDONED', 'DRAINING', 'DRAINED', 'DELETING', 'GONE']);
  });

  it('answers every event in every state', () => {
    const states = [
      'BOOTING',
      'SERVING',
      'CORDONED',
      'DRAINING',
      'DRAINED',
      'DELETING',
      'GONE',
      'FAILED',
      'LOST',
    ] as const;
    const events: Record<string, NodeEvent> = {
      booted: event({ kind: 'booted' }),
      ready: event({ kind: 'ready' }),
      cordon: event({ kind: 'cordon' }),
      drain: drainNow,
      undrain: event({ kind: 'undrain' }),
      emptied: event({ kind: 'emptied' }),
      delete: event({ kind: 'delete' }),
      deleted: event({ kind: 'deleted' }),
      failed: event({ kind: 'failed' }),
      lost: event({ kind: 'lost' }),
      returned: event({ kind: 'returned' }),
    };
    const no = 'not-possible-from-state';
    const table = Object.fromEntries(
      Object.entries(events).map(([name, happened]) => [
        name,
        states.map((state) => summary(nextLifecycle(node(state), happened))).join(' '),
      ]),
    );
    //                BOOTING     SERVING     CORDONED    DRAINING    DRAINED         DELETING        GONE  FAILED  LOST
    assert.deepEqual(table, {
      booted: `= BOOTING = = = ${no} ${no} BOOTING BOOTING`,
      ready: `SERVING = = = = ${no} ${no} ${no} ${no}`,
      cordon: `CORDONED CORDONED = ${no} ${no} ${no} ${no} ${no} LOST`,
      drain: `DRAINING DRAINING DRAINING DRAINING = ${no} ${no} ${no} LOST`,
      undrain: `= = SERVING SERVING already-drained already-drained already-drained ${no} ${no}`,
      emptied: `${no} ${no} ${no} DRAINED = ${no} ${no} ${no} ${no}`,
      delete: 'not-drained not-drained not-drained not-drained DELETING = = DELETING DELETING',
      deleted: `${no} ${no} ${no} ${no} GONE GONE = GONE GONE`,
      failed: 'FAILED FAILED FAILED FAILED = = = = FAILED',
      lost: 'LOST LOST LOST LOST = = = = =',
      returned: `= = = = = ${no} ${no} ${no} SERVING`,
    });
  });

  it('says who drains it, why, how and until when, for whoever reads the record next', () => {
    assert.deepEqual(nextLifecycle(node('SERVING'), drainNow), {
      kind: 'changed',
      expectedEpoch: 7,
      change: {
        state: 'DRAINING',
        owner: 'ops',
        reason: 'because',
        policy: 'migrate',
        remainingMs: 60_000,
        deadlineIsHard: false,
      },
    });
  });

  it('does not let the deadline of a drain start again because somebody repeats the request', () => {
    const draining = node('DRAINING', { owner: 'ops', reason: 'because', remainingMs: 12_000 });
    assert.deepEqual(nextLifecycle(draining, drainNow), { kind: 'unchanged' });
  });

  it('changes the terms of a drain under way, but never postpones the day the platform takes the machine', () => {
    const waiting = node('DRAINING', { policy: 'wait' });
    assert.equal(summary(nextLifecycle(waiting, drainNow)), 'DRAINING');

    const evicted = node('DRAINING', { owner: 'platform', remainingMs: 20_000, deadlineIsHard: true });
    const later = nextLifecycle(evicted, event({ kind: 'drain', policy: 'wait', deadlineMs: 3_600_000 }));
    assert.ok(later.kind === 'changed');
    assert.deepEqual([later.change.remainingMs, later.change.deadlineIsHard], [20_000, true]);
  });

  it('refuses a step that rests on an older look at the node', () => {
    const drainedAgain = node('DRAINING', { epoch: 9 });
    const emptied = event({ kind: 'emptied', ifEpoch: 7 });
    assert.equal(summary(nextLifecycle(drainedAgain, emptied)), 'stale-epoch');
    assert.equal(summary(nextLifecycle({ ...drainedAgain, epoch: 7 }, emptied)), 'DRAINED');
  });

  it('goes on draining after a silence, with the terms of whoever wanted it', () => {
    const draining = node('DRAINING', { owner: 'ops', reason: 'scale-in', policy: 'wait', remainingMs: 5_000 });
    const lost = apply(draining, event({ kind: 'lost', owner: 'master' }));
    assert.deepEqual(
      [lost?.state, lost?.stateBefore, lost?.owner, lost?.reason],
      ['LOST', 'DRAINING', 'ops', 'scale-in'],
    );
    const back = apply(lost, event({ kind: 'returned', owner: 'master' }));
    assert.deepEqual([back?.state, back?.policy, back?.owner], ['DRAINING', 'wait', 'ops']);
  });

  it('does not serve again because a draining node rebooted', () => {
    const lost = apply(node('DRAINING'), event({ kind: 'lost' }));
    const rebooted = apply(lost, event({ kind: 'booted' }));
    assert.equal(rebooted?.state, 'DRAINING');
    assert.equal(apply(rebooted, event({ kind: 'ready' }))?.state, 'DRAINING');
  });

  it('takes wishes about a node that is lost, for when it is back', () => {
    const lost = apply(node('SERVING'), event({ kind: 'lost' }));
    const toDrain = apply(lost, drainNow);
    assert.equal(toDrain?.state, 'LOST');
    assert.equal(apply(toDrain, event({ kind: 'returned' }))?.state, 'DRAINING');
    assert.equal(apply(apply(toDrain, event({ kind: 'undrain' })), event({ kind: 'returned' }))?.state, 'SERVING');
  });

  it('knows nothing of a node that never started', () => {
    assert.equal(summary(nextLifecycle(undefined, drainNow)), 'unknown-node');
    assert.deepEqual(nextLifecycle(undefined, event({ kind: 'booted' })), {
      kind: 'changed',
      expectedEpoch: 0,
      change: { owner: 'ops', reason: 'because', state: 'BOOTING', remainingMs: null },
    });
  });

  it('gives work to serving nodes only', () => {
    assert.deepEqual((['BOOTING', 'SERVING', 'CORDONED', 'DRAINING', 'LOST'] as const).map(admitsWork), [
      false,
      true,
      false,
      false,
      false,
    ]);
  });
});

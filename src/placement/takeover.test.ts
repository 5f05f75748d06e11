import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defaultNodeLimits } from './load.ts';
import { id, serving } from './placement-fixtures.ts';
import {
  answerHostPing,
  decideTakeover,
  defaultTakeoverTimings as timings,
  giveOpinion,
  hostVoice,
  judgeGrant,
  mayAdmit,
  newHostRelation,
  type MasterOpinion,
  type TakeoverDecision,
  type TakeoverView,
} from './takeover.ts';

function master(name: string, opinion: MasterOpinion['opinion'], changes: Partial<MasterOpinion> = {}): MasterOpinion {
  return { masterId: id(name), opinion, ageMs: 100, isLive: true, ...changes };
}

function view(changes: Partial<TakeoverView> = {}): TakeoverView {
  return {
    room: { roomName: 'lobby', hostNodeId: id('old'), epoch: 5, isLeaseLive: false },
    redisAnsweringForMs: 60_000,
    hostResigned: false,
    masters: [master('m1', 'unreachable'), master('m2', 'unreachable')],
    timings,
    placement: {
      nodes: [serving('old'), serving('A'), serving('B', { cpu: 0.3 })],
      placements: [],
      limits: defaultNodeLimits,
      nowMs: 0,
      protocol: { min: 1, max: 1 },
    },
    legs: [],
    ...changes,
  };
}

function verdict(decision: TakeoverDecision): string {
  return decision.kind === 'replace' ? `replace by ${decision.nodeId}` : `${decision.kind}: ${decision.why}`;
}

const decide = (changes: Partial<TakeoverView>): string => verdict(decideTakeover(view(changes)));

describe('takeover of a room', () => {
  it('happens when the lease has expired and no master reaches the host', () => {
    assert.deepEqual(decideTakeover(view()), { kind: 'replace', nodeId: 'A', expectedEpoch: 5, epochAbove: 5 });
  });

  it('does not happen while the lease lives, whatever masters say', () => {
    const room = { ...view().room, isLeaseLive: true };
    assert.equal(decide({ room }), 'keep: lease-lives');
  });

  it('does not happen because Redis is away, nor before it has answered for a whole lease period', () => {
    assert.equal(decide({ redisAnsweringForMs: undefined }), 'wait: redis-away');
    assert.equal(decide({ redisAnsweringForMs: 1_999 }), 'wait: redis-grace');
    assert.equal(decide({ redisAnsweringForMs: 2_000 }), 'replace by A');
  });

  it('does not happen while one master reaches the host, even one that Redis does not see', () => {
    assert.equal(decide({ masters: [master('m1', 'unreachable'), master('m2', 'reaches')] }), 'keep: host-reached');
    const unseen = master('m2', 'reaches', { isLive: false });
    assert.equal(decide({ masters: [master('m1', 'unreachable'), unseen] }), 'keep: host-reached');
  });

  it('waits for the opinion of every live master, and not for dead ones', () => {
    assert.equal(
      decide({ masters: [master('m1', 'unreachable'), master('m2', 'not-asked-yet')] }),
      'wait: masters-not-asked',
    );
    const dead = master('m2', 'not-asked-yet', { isLive: false });
    assert.equal(decide({ masters: [master('m1', 'unreachable'), dead] }), 'replace by A');
  });

  it('does not count opinions from before a lease period: the host may have been back in between', () => {
    const old = master('m2', 'unreachable', { ageMs: timings.leaseMs });
    assert.equal(decide({ masters: [master('m1', 'unreachable'), old] }), 'wait: masters-not-asked');
  });

  it('needs no opinions about a host that resigned', () => {
    assert.equal(
      decide({ hostResigned: true, masters: [master('m1', 'reaches')], redisAnsweringForMs: 0 }),
      'replace by A',
    );
  });

  it('prefers the node with most legs of the room, if that node takes work', () => {
    const legs = [
      { nodeId: id('A'), legs: 1, highestEpoch: 5 },
      { nodeId: id('B'), legs: 4, highestEpoch: 5 },
    ];
    assert.equal(decide({ legs }), 'replace by B');
    const nodes = [serving('A'), serving('B', { state: 'DRAINING' })];
    assert.equal(decide({ legs, placement: { ...view().placement, nodes } }), 'replace by A');
  });

  it('asks for an epoch above all that anybody has seen, because Redis may have forgotten the last ones', () => {
    const decision = decideTakeover(view({ legs: [{ nodeId: id('A'), legs: 2, highestEpoch: 9 }] }));
    assert.deepEqual(decision, { kind: 'replace', nodeId: 'A', expectedEpoch: 5, epochAbove: 9 });
  });

  it('says why no node can have the room, and never gives it back to the old host', () => {
    const decision = decideTakeover(view({ placement: { ...view().placement, nodes: [serving('old')] } }));
    assert.ok(decision.kind === 'wait');
    assert.deepEqual([decision.why, decision.rejections?.[0]?.reason], ['no-node', 'excluded']);
  });
});

describe('voice of a host', () => {
  const now = { renewalAgeMs: 100, affirmationAgeMs: 100, isSuperseded: false };

  it('lasts as long as either Redis or a master confirms it', () => {
    assert.deepEqual(hostVoice({ ...now, renewalAgeMs: Infinity }, timings), { kind: 'act' });
    assert.deepEqual(hostVoice({ ...now, affirmationAgeMs: Infinity }, timings), { kind: 'act' });
    assert.deepEqual(hostVoice({ ...now, renewalAgeMs: 2_000, affirmationAgeMs: 2_000 }, timings), {
      kind: 'silent',
      why: 'unconfirmed',
    });
  });

  it('ends at once when somebody shows a higher epoch', () => {
    assert.deepEqual(hostVoice({ ...now, isSuperseded: true }, timings), { kind: 'silent', why: 'superseded' });
  });
});

describe('a grant', () => {
  it('that lies below what others have seen is of no use, and a higher one is asked for', () => {
    assert.equal(judgeGrant(12, undefined), 'host');
    assert.equal(judgeGrant(12, 12), 'host');
    assert.equal(judgeGrant(12, 17), 'ask-for-higher-epoch');
  });
});

describe('admission by a node', () => {
  const age = (beatAgeMs: number, affirmationAgeMs: number) => ({ beatAgeMs, affirmationAgeMs });

  it('ends when the node may have been drained without knowing', () => {
    assert.equal(mayAdmit('participant', age(1_999, Infinity), timings), true);
    assert.equal(mayAdmit('participant', age(2_000, 2_000), timings), false);
  });

  it('goes on for participants while Redis is away and masters are there', () => {
    assert.equal(mayAdmit('participant', age(600_000, 100), timings), true);
    assert.equal(mayAdmit('room', age(600_000, 100), timings), false);
  });
});

describe('promise of a master', () => {
  const fresh = newHostRelation(10);

  it('is not given to a host that this master, perhaps before a restart, may have called unreachable', () => {
    assert.equal(answerHostPing(fresh, undefined, 0).isAffirmed, false);
    assert.equal(answerHostPing(fresh, 10, 0).isAffirmed, true);
  });

  it('forbids to call the host unreachable until it has run out', () => {
    const { relation } = answerHostPing(fresh, 10, 1_000);
    assert.equal(giveOpinion(relation, 2_999, timings).opinion, 'reaches');
    assert.equal(giveOpinion(relation, 3_000, timings).opinion, 'unreachable');
  });

  it('is not given again after that, until the host has renewed its leases', () => {
    const affirmed = answerHostPing(fresh, 10, 0).relation;
    const { relation: disowned } = giveOpinion(affirmed, 5_000, timings);
    assert.equal(
      answerHostPing(disowned, 10, 5_001).isAffirmed,
      false,
      'a ping from before, or of one that has not heard',
    );
    const back = answerHostPing(disowned, disowned.generation, 5_002);
    assert.equal(back.isAffirmed, true);
    assert.equal(giveOpinion(back.relation, 5_003, timings).opinion, 'reaches');
  });

  it('is not given for a renewal from before the latest opinion', () => {
    const first = giveOpinion(newHostRelation(10), 5_000, timings).relation;
    const second = giveOpinion(first, 7_000, timings).relation;
    assert.equal(answerHostPing(second, first.generation, 7_001).isAffirmed, false);
    assert.equal(answerHostPing(second, second.generation, 7_002).isAffirmed, true);
  });
});

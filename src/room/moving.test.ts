import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DataChannelReceiveState, LeaveRequest_Action, SyncState } from '@livekit/protocol';
import { legId, type LegId, type NodeId } from '../protocol/ids.ts';
import type { ActualLeg, ActualPublication } from '../protocol/leg-messages.ts';
import type { HeldData } from '../protocol/leg-snapshot.ts';
import type { RoomEffect } from './events.ts';
import type { LegMoveAction } from './move-state.ts';
import { legSnapshot, TestRoom, type Session } from './room-test-kit.ts';

const target = 'ND_target' as NodeId;
const home = { nodeId: target, workerIndex: 0 };

const data: HeldData = { lastReliableSequence: 7, lastOrder: 9, delivered: [] };
const chromium = { client: { browser: 'chrome' } };

class MovingRoom extends TestRoom {
  move(action: Partial<LegMoveAction> & { kind: LegMoveAction['kind'] }): RoomEffect[] {
    return this.step({ kind: 'move', action: { roomName: 'lobby', ...action } as LegMoveAction });
  }

  prepareLeg(session: Session): RoomEffect[] {
    return this.move({ kind: 'prepareLeg', participantSid: session.sid, target });
  }

  /** As far as the new leg has all it needs. */
  prepare(session: Session, publications: ActualPublication[] = [], number = 2): LegId {
    this.prepareLeg(session);
    this.leg({ kind: 'exported', leg: session.sid, snapshot: legSnapshot });
    const leg = legId(session.sid, number);
    this.leg({ kind: 'prepared', leg, publications });
    return leg;
  }

  trigger(session: Session, how: 'in-place' | 'resume'): RoomEffect[] {
    return this.move({ kind: 'triggerLegs', legs: [{ participantSid: session.sid, how }] });
  }

  arrive(leg: LegId, changes: Partial<ActualLeg> = {}): RoomEffect[] {
    const actual: ActualLeg = {
      version: 1,
      publisher: 'new',
      subscriber: 'connected',
      publications: [],
      subscriptions: [],
      ...changes,
    };
    return this.leg({ kind: 'actual', leg, actual });
  }

  stateOf(session: Session) {
    return this.room.movableLegs(this.nowMs).find(({ participantSid }) => participantSid === session.sid);
  }

  /** A listener: it has no publisher connection. */
  listen(identity: string): Session {
    const session = this.join(identity, chromium);
    this.actual(session, { subscriber: 'connected' });
    return session;
  }

  closedLegs(): string[] {
    return this.toLeg('close').map(({ leg, reason }) => `${leg} ${reason}`);
  }
}

describe('moving a participant to another leg', () => {
  it('asks the old leg what it is like, and opens the new one on the target with that', () => {
    const room = new MovingRoom();
    const bob = room.listen('bob');
    room.prepareLeg(bob);
    assert.deepEqual(room.toLeg('export'), [{ kind: 'export', leg: bob.sid }]);
    assert.equal(room.stateOf(bob)?.move.kind, 'preparing');
    const effects = room.leg({ kind: 'exported', leg: bob.sid, snapshot: legSnapshot });
    const [opened] = effects.filter((effect) => effect.kind === 'toLeg' && effect.message.kind === 'open');
    assert.ok(opened?.kind === 'toLeg' && opened.message.kind === 'open');
    assert.equal(opened.target, target);
    assert.equal(opened.message.leg, legId(bob.sid, 2));
    assert.equal(opened.message.identity.participantSid, bob.sid);
    assert.deepEqual(opened.message.moved, legSnapshot);
    room.leg({ kind: 'prepared', leg: legId(bob.sid, 2), publications: [] });
    assert.equal(room.stateOf(bob)?.move.kind, 'prepared');
    // Repeating it changes nothing.
    assert.deepEqual(room.prepareLeg(bob), []);
  });

  it('moves a listener in place: hold, cut in the same step, then the new leg is the one that counts', () => {
    const room = new MovingRoom();
    const bob = room.listen('bob');
    const leg = room.prepare(bob);
    room.trigger(bob, 'in-place');
    assert.deepEqual(room.order(), ['toLeg.hold', 'toLeg.cut']);
    assert.deepEqual([room.toLeg('hold')[0]?.leg, room.toLeg('cut')[0]?.leg], [bob.sid, leg]);
    room.signal(bob, { case: 'offer', value: { type: 'offer', sdp: 'early', id: 1 } as never });
    assert.deepEqual(room.toLeg('clientOffer'), [], 'neither leg can take it');
    room.leg({ kind: 'held', leg: bob.sid, snapshot: legSnapshot, data });
    assert.deepEqual(room.order(), ['toLeg.activate', 'toLeg.clientOffer']);
    assert.equal(room.toLeg('clientOffer')[0]?.leg, leg);
    room.leg({ kind: 'offer', leg, id: 5, sdp: 'new transport', midToTrackId: {} });
    assert.equal(room.receivedOf(bob, 'offer')[0]?.id, 5);
    room.signal(bob, { case: 'answer', value: { type: 'answer', sdp: 'x', id: 5 } as never });
    assert.equal(room.toLeg('clientAnswer')[0]?.leg, leg);
    room.arrive(leg);
    assert.equal(room.stateOf(bob)?.leg, bob.sid, 'the old leg is still there');
    assert.deepEqual(room.pass(490), []);
    room.pass(20);
    assert.deepEqual(room.closedLegs(), [`${bob.sid} moved`]);
    assert.deepEqual(room.stateOf(bob)?.move, { kind: 'staying', failures: 0, retryInMs: 0 });
    assert.equal(room.stateOf(bob)?.leg, leg);
  });

  it('ignores what the old leg says once the new one is in charge', () => {
    const room = new MovingRoom();
    const bob = room.listen('bob');
    const leg = room.prepare(bob);
    room.trigger(bob, 'in-place');
    room.leg({ kind: 'held', leg: bob.sid, snapshot: legSnapshot, data });
    assert.deepEqual(room.leg({ kind: 'failed', leg: bob.sid, failure: 'dtls-failed', detail: '' }), []);
    room.arrive(leg);
    assert.deepEqual(room.leg({ kind: 'failed', leg: bob.sid, failure: 'worker-died', detail: '' }).length, 1);
    assert.deepEqual(room.closedLegs(), [`${bob.sid} moved`]);
  });

  it('moves a publisher by a closed socket and a resume, whatever it was told to do', () => {
    const room = new MovingRoom();
    const alice = room.enter('alice', chromium);
    const leg = room.prepare(alice);
    room.trigger(alice, 'in-place');
    assert.deepEqual(room.order(), ['toGateway.closeSocket', 'toLeg.away']);
    assert.equal(room.stateOf(alice)?.move.kind, 'triggered');
    alice.connectionId = room.askToResume(alice);
    assert.deepEqual(room.order(), ['toLeg.hold', 'toLeg.cut']);
    room.leg({ kind: 'held', leg: alice.sid, snapshot: legSnapshot, data });
    assert.deepEqual(
      room.toLeg('activate').map(({ how, leg: activated }) => [how, activated]),
      [['resume', leg]],
    );
    room.leg({ kind: 'resumed', leg, lastReliableSequence: 7 });
    const first = room.first(alice.connectionId);
    assert.ok(first.case === 'reconnect' && first.value.lastMessageSeq === 7);
    const state = new SyncState({ datachannelReceiveStates: [new DataChannelReceiveState()] });
    state.datachannelReceiveStates = [];
    room.signal(alice, { case: 'syncState', value: state });
    assert.equal(room.toLeg('receivedUpTo')[0]?.leg, leg, 'the new leg waits for it');
    room.leg({ kind: 'late', leg: alice.sid, packet: Uint8Array.of(1) });
    assert.deepEqual(room.toLeg('late'), [{ kind: 'late', leg, packet: Uint8Array.of(1) }]);
  });

  it('makes the next producers known in advance and switches all subscribers when the publisher is up', () => {
    const room = new MovingRoom();
    const alice = room.enter('alice', chromium);
    const bob = room.enter('bob', chromium);
    const sid = room.publish(alice, { cid: 'microphone' });
    room.bind(bob, sid);
    const [old] = alice.actual.publications;
    assert.ok(old !== undefined);
    const next = { ...old, producerId: `${sid}.2`, home };
    const leg = room.prepare(alice, [next]);
    const told = room.wantedOf(bob)?.subscriptions[0];
    assert.deepEqual(told?.successor, { producerId: next.producerId, home });
    assert.equal(told.producerId, old.producerId);
    assert.equal(room.stateOf(alice)?.move.kind, 'preparing', 'bob is not ready');
    room.actual(bob, {
      subscriptions: [{ trackSid: sid, producerId: old.producerId, state: 'bound', successorId: next.producerId }],
    });
    assert.equal(room.stateOf(alice)?.move.kind, 'prepared');
    room.trigger(alice, 'resume');
    alice.connectionId = room.askToResume(alice);
    room.leg({ kind: 'held', leg: alice.sid, snapshot: legSnapshot, data });
    room.leg({ kind: 'resumed', leg, lastReliableSequence: 7 });
    room.arrive(leg, { publisher: 'connecting', publications: [next] });
    assert.deepEqual(room.effects, [], 'the old producer still has the media');
    room.arrive(leg, { publisher: 'connected', publications: [next] });
    const switched = room.wantedOf(bob)?.subscriptions[0];
    assert.equal(switched?.producerId, next.producerId);
    assert.equal(switched.predecessor, old.producerId);
    assert.equal(switched.successor, undefined);
    assert.deepEqual(room.updates(bob), [], 'nothing that a client sees has changed');
    room.pass(600);
    assert.deepEqual(room.closedLegs(), [], 'bob still takes the old producer');
    room.actual(bob, { subscriptions: [{ trackSid: sid, producerId: next.producerId, state: 'bound' }] });
    room.pass(150);
    assert.deepEqual(room.closedLegs(), [`${alice.sid} moved`]);
    assert.deepEqual(room.webhooks(), []);
  });

  it('switches publishers that move together in one step', () => {
    const room = new MovingRoom();
    const publishers = ['alice', 'bob'].map((identity) => room.enter(identity, chromium));
    const carol = room.enter('carol', chromium);
    const moving = publishers.map((session) => {
      const sid = room.publish(session, { cid: 'microphone' });
      const [old] = session.actual.publications;
      assert.ok(old !== undefined);
      return { session, next: { ...old, trackSid: sid, producerId: `${sid}.2`, home } };
    });
    const legs = moving.map(({ session, next }) => room.prepare(session, [next]));
    room.pass(2001);
    room.move({
      kind: 'triggerLegs',
      legs: publishers.map(({ sid }) => ({ participantSid: sid, how: 'resume' as const })),
    });
    for (const { session } of moving) {
      session.connectionId = room.askToResume(session);
      room.leg({ kind: 'held', leg: session.sid, snapshot: legSnapshot, data });
    }
    const [first, second] = moving;
    const [firstLeg, secondLeg] = legs;
    assert.ok(first && second && firstLeg !== undefined && secondLeg !== undefined);
    room.arrive(firstLeg, { publisher: 'connected', publications: [first.next] });
    assert.equal(room.wantedOf(carol), undefined, 'the other one is on its way');
    room.pass(50);
    room.arrive(secondLeg, { publisher: 'connected', publications: [second.next] });
    assert.deepEqual(
      room.wantedOf(carol)?.subscriptions.map(({ producerId }) => producerId),
      [first.next.producerId, second.next.producerId],
    );
  });

  it('takes everything back when the new leg fails before the client was told, and waits longer each time', () => {
    const room = new MovingRoom();
    const bob = room.listen('bob');
    for (const [attempt, waitMs] of [1000, 2000, 4000].entries()) {
      const leg = room.prepare(bob, [], attempt + 2);
      room.leg({ kind: 'failed', leg, failure: 'worker-died', detail: 'gone' });
      assert.deepEqual(room.closedLegs(), [`${leg} move-aborted`]);
      assert.deepEqual(room.stateOf(bob)?.move, { kind: 'staying', failures: attempt + 1, retryInMs: waitMs });
      assert.deepEqual(room.prepareLeg(bob), [], 'too early');
      room.pass(waitMs);
    }
  });

  it('does not count it as a failure when nobody wants the move any more', () => {
    const room = new MovingRoom();
    const bob = room.listen('bob');
    room.prepare(bob);
    room.move({ kind: 'abortPreparation', participantSid: bob.sid, why: 'drain-ended' });
    assert.deepEqual(room.stateOf(bob)?.move, { kind: 'staying', failures: 0, retryInMs: 0 });
  });

  it('lets the old leg go on when it cannot be held, and gives it the resume that waits', () => {
    const room = new MovingRoom();
    const alice = room.enter('alice', chromium);
    const leg = room.prepare(alice);
    room.trigger(alice, 'resume');
    alice.connectionId = room.askToResume(alice);
    room.leg({ kind: 'notHeld', leg: alice.sid, detail: 'busy' });
    assert.deepEqual(room.closedLegs(), [`${leg} move-aborted`]);
    assert.equal(room.toLeg('resume')[0]?.leg, alice.sid);
    room.leg({ kind: 'resumed', leg: alice.sid, lastReliableSequence: 0 });
    assert.equal(room.first(alice.connectionId).case, 'reconnect');
  });

  it('takes it back by itself when whoever planned it is gone', () => {
    const room = new MovingRoom();
    const bob = room.listen('bob');
    const leg = room.prepare(bob);
    room.pass(18_001);
    assert.deepEqual(room.closedLegs(), [`${leg} move-aborted`]);
  });

  it('tells a client to join anew that does not come up, and lets its session live until it does', () => {
    const room = new MovingRoom();
    const alice = room.enter('alice', chromium);
    const bob = room.listen('bob');
    room.prepare(bob);
    room.trigger(bob, 'in-place');
    room.leg({ kind: 'held', leg: bob.sid, snapshot: legSnapshot, data });
    const effects = room.pass(7_001);
    assert.ok(effects.length > 0);
    assert.equal(room.receivedOf(bob, 'leave')[0]?.action, LeaveRequest_Action.RECONNECT);
    assert.equal(room.stateOf(bob)?.move.kind, 'reconnecting');
    assert.deepEqual(room.updates(alice), []);
    const resuming = room.askToResume(bob);
    const first = room.first(resuming);
    assert.ok(first.case === 'leave' && first.value.action === LeaveRequest_Action.RECONNECT);
    room.join('bob', chromium);
    assert.deepEqual(room.closedLegs(), [`${legId(bob.sid, 2)} server-shutdown`, `${bob.sid} server-shutdown`]);
  });

  it('does not tell a client that is about to come back, or has just done so', () => {
    const room = new MovingRoom();
    const alice = room.enter('alice', chromium);
    room.prepare(alice);
    alice.connectionId = room.askToResume(alice);
    assert.deepEqual(room.trigger(alice, 'resume'), []);
    room.leg({ kind: 'resumed', leg: alice.sid, lastReliableSequence: 7 });
    assert.deepEqual(room.trigger(alice, 'resume'), []);
    room.pass(4_000);
    room.trigger(alice, 'resume');
    assert.deepEqual(room.order(), ['toGateway.closeSocket', 'toLeg.away']);
  });

  it('gives a client that was slow to come back its whole time to come up', () => {
    const room = new MovingRoom();
    const alice = room.enter('alice', chromium);
    const leg = room.prepare(alice);
    room.trigger(alice, 'resume');
    room.pass(6_000);
    alice.connectionId = room.askToResume(alice);
    room.pass(2_900);
    room.leg({ kind: 'held', leg: alice.sid, snapshot: legSnapshot, data });
    room.leg({ kind: 'resumed', leg, lastReliableSequence: 7 });
    room.pass(6_900);
    const { move } = room.stateOf(alice) ?? {};
    assert.deepEqual([move?.kind, move?.kind === 'triggered' && move.ageMs], ['triggered', 6_900]);
    room.pass(200);
    assert.equal(room.stateOf(alice)?.move.kind, 'reconnecting');
  });

  it('closes all legs of a participant that leaves half-way', () => {
    const room = new MovingRoom();
    const bob = room.listen('bob');
    const leg = room.prepare(bob);
    room.signal(bob, { case: 'leave', value: {} as never });
    assert.deepEqual(room.closedLegs(), [`${bob.sid} left`, `${leg} left`]);
  });
});

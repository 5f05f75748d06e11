import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LeaveRequest_Action, ParticipantPermission, UpdateParticipantRequest } from '@livekit/protocol';
import { legId, type ConnectionId, type LegId } from '../protocol/ids.ts';
import type { ActualLeg, RestatedLeg, WantedLeg } from '../protocol/leg-messages.ts';
import type { RoomEffect, RoomEvent } from './events.ts';
import { TestRoom, type Session } from './room-test-kit.ts';
import { decodeSavedRoom } from './saved-room.ts';
import { timing } from './settings.ts';

/** A room with legs that keep what they are given, and a store that keeps what is saved. */
class KeptRoom extends TestRoom {
  readonly parts = new Map<string, Uint8Array>();
  readonly keepsakes = new Map<LegId, Uint8Array>();
  readonly wanted = new Map<LegId, WantedLeg>();

  constructor(former?: KeptRoom) {
    super({ givesKeepsakes: true }, undefined, former && decodeSavedRoom(former.parts));
    for (const [name, bytes] of former?.parts ?? []) this.parts.set(name, bytes);
    if (former !== undefined) this.nowMs = former.nowMs;
  }

  override step(event: RoomEvent): RoomEffect[] {
    const effects = super.step(event);
    for (const effect of effects) {
      if (effect.kind === 'save') {
        for (const { name, bytes } of effect.parts) {
          if (bytes === undefined) this.parts.delete(name);
          else this.parts.set(name, bytes);
        }
      } else if (effect.kind === 'toLeg') {
        const { message } = effect;
        if (message.kind === 'keep') this.keepsakes.set(message.leg, message.keepsake);
        if (message.kind === 'open' || message.kind === 'wanted') this.wanted.set(message.leg, message.wanted);
      }
    }
    return effects;
  }

  restated(session: Session, actual: Partial<ActualLeg> = {}): RestatedLeg {
    const keepsake = this.keepsakes.get(session.sid);
    const wanted = this.wanted.get(session.sid);
    assert.ok(keepsake !== undefined && wanted !== undefined, `a keepsake of ${session.identity}`);
    return structuredClone({ leg: session.sid, keepsake, wanted, actual: { ...session.actual, ...actual } });
  }

  /** The next host, which these legs have stated themselves to. */
  next(legs: RestatedLeg[], isComplete = true): KeptRoom {
    const room = new KeptRoom(this);
    for (const { leg, wanted } of legs) room.wanted.set(leg, wanted);
    // Sockets of the former host keep their names.
    for (let count = 0; count < 10; count += 1) room.nextConnection();
    room.step({ kind: 'restated', legs, isComplete });
    return room;
  }

  attach(session: Session): void {
    const { connectionId, sid: participantSid } = session;
    this.step({ kind: 'gateway', message: { kind: 'attach', connectionId, roomName: 'lobby', participantSid } });
  }
}

function call() {
  const room = new KeptRoom();
  const alice = room.enter('alice', { metadata: 'first', attributes: { seat: '1' } });
  const bob = room.enter('bob', { adaptiveStream: true });
  const camera = room.publishCamera(alice);
  room.signal(bob, {
    case: 'trackSetting',
    value: { trackSids: [camera], width: 640, height: 360 } as never,
  });
  room.bind(bob, camera);
  const permission = new ParticipantPermission({ canSubscribe: true, canPublish: false });
  room.command('UpdateParticipant', new UpdateParticipantRequest({ room: 'lobby', identity: 'bob', permission }));
  room.pass(timing.keepsakeDelayMs);
  return { room, alice, bob, camera };
}

describe('a room under a new host', () => {
  it('goes on with sids, tracks, mids, wishes and permissions, and nobody is told that anybody came', () => {
    const { room, alice, bob, camera } = call();
    const next = room.next([room.restated(alice), room.restated(bob)]);
    assert.deepEqual(next.webhooks(), []);
    assert.deepEqual(
      next.order().filter((step) => step.startsWith('toGateway')),
      [],
    );
    assert.equal(next.room.sid, room.room.sid);
    for (const { sid } of [alice, bob]) {
      const [before, after] = [room.wanted.get(sid), next.wanted.get(sid)];
      assert.ok(before !== undefined && after !== undefined && after.version >= before.version);
      assert.deepEqual({ ...after, version: before.version }, before);
    }
    next.attach(alice);
    assert.equal(next.order()[0], 'toGateway.attached');
    const [update] = next.receivedOf(alice, 'update');
    const infos = new Map(update?.participants.map((info) => [info.identity, info]));
    assert.deepEqual([infos.get('alice')?.sid, infos.get('bob')?.sid], [alice.sid, bob.sid]);
    const [track] = infos.get('alice')?.tracks ?? [];
    assert.deepEqual([track?.sid, track?.mid, track?.mimeType], [camera, '0', 'video/VP8']);
    assert.equal(infos.get('alice')?.attributes['seat'], '1');
    assert.equal(infos.get('bob')?.permission?.canPublish, false);
    next.attach(bob);
    // What they do from now on is heard as before.
    next.signal(alice, { case: 'mute', value: { sid: camera, muted: true } as never });
    assert.deepEqual(next.updates(bob), ['alice:ACTIVE']);
    assert.equal(next.wantedOf(bob)?.subscriptions[0]?.paused, true);
  });

  it('tells what changed while it had no host', () => {
    const { room, alice, bob, camera } = call();
    const next = room.next([room.restated(alice, { publications: [] }), room.restated(bob)]);
    assert.deepEqual(next.webhooks(), ['track_unpublished']);
    assert.deepEqual(next.wantedOf(bob)?.subscriptions, []);
    next.attach(bob);
    const infos = next.receivedOf(bob, 'update').flatMap(({ participants }) => participants);
    assert.deepEqual(infos.find(({ identity }) => identity === 'alice')?.tracks, []);
    assert.equal(
      next.room.snapshot().participants[0]?.tracks.some(({ sid }) => sid === camera),
      false,
    );
  });

  it('ends the sessions whose legs are gone, once, and lets their clients join anew', () => {
    const { room, alice, bob, camera } = call();
    const lost = room.restated(alice);
    const next = room.next([room.restated(bob)]);
    assert.deepEqual(next.webhooks(), ['participant_left']);
    assert.equal(next.webhookEvents()[0]?.participant?.sid, alice.sid);
    assert.deepEqual(next.wantedOf(bob)?.subscriptions, []);
    next.attach(bob);
    assert.ok(next.updates(bob).includes('alice:DISCONNECTED'), next.updates(bob).join());
    next.attach(alice);
    const [leave] = next.receivedOf(alice, 'leave');
    assert.equal(leave?.action, LeaveRequest_Action.RECONNECT);
    assert.equal(next.toGateway('closeSocket')[0]?.connectionId, alice.connectionId);
    // Its leg is heard of after all.
    next.step({ kind: 'restated', legs: [lost], isComplete: true });
    assert.deepEqual(
      next.toLeg('close').map(({ leg }) => leg),
      [alice.sid],
    );
    const again = next.enter('alice', { metadata: 'ignored' });
    assert.notEqual(again.sid, alice.sid);
    assert.equal(again.join.participant?.metadata, 'first');
    assert.deepEqual(next.webhooks(), ['participant_joined']);
    assert.equal(
      next.room.snapshot().participants.some((who) => who.tracks.some(({ sid }) => sid === camera)),
      false,
    );
  });

  it('takes nothing away from subscribers while legs are still to come', () => {
    const { room, alice, bob, camera } = call();
    const late = room.restated(alice);
    const next = room.next([room.restated(bob)], false);
    assert.deepEqual(next.webhooks(), []);
    assert.deepEqual(
      next.wanted.get(bob.sid)?.subscriptions.map(({ trackSid }) => trackSid),
      [camera],
    );
    next.step({ kind: 'restated', legs: [late], isComplete: true });
    assert.deepEqual(next.webhooks(), []);
    assert.deepEqual(
      next.wanted.get(bob.sid)?.subscriptions.map(({ trackSid }) => trackSid),
      [camera],
    );
    const other = room.next([room.restated(bob)], false);
    other.pass(timing.collectLegsMs);
    assert.deepEqual(other.webhooks(), ['participant_left']);
    assert.deepEqual(other.wanted.get(bob.sid)?.subscriptions, []);
  });

  it('is not empty before its legs had time', () => {
    const { room, alice, bob } = call();
    for (const [name, bytes] of room.parts) {
      if (name === 'room') {
        const text = new TextDecoder().decode(bytes).replace(/"departureTimeoutS":\d+/, '"departureTimeoutS":1');
        room.parts.set(name, new TextEncoder().encode(text));
      }
    }
    const next = new KeptRoom(room);
    next.pass(timing.collectLegsMs / 2);
    assert.equal(next.room.isClosed, false);
    next.step({ kind: 'restated', legs: [room.restated(alice), room.restated(bob)], isComplete: true });
    next.pass(60_000);
    assert.equal(next.room.isClosed, false);
    const deserted = new KeptRoom(room);
    assert.equal(
      deserted.pass(60_000).some(({ kind }) => kind === 'closed'),
      true,
    );
  });

  it('reads keepsakes of newer versions, and lets clients join anew whose keepsake it cannot read', () => {
    const { room, alice, bob } = call();
    const kept = JSON.parse(new TextDecoder().decode(room.keepsakes.get(alice.sid))) as Record<string, unknown>;
    const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
    const newer = { ...room.restated(alice), keepsake: encode({ ...kept, version: 9, newer: { field: [1] } }) };
    const next = room.next([newer, room.restated(bob)]);
    assert.deepEqual(next.webhooks(), []);
    assert.equal(next.room.snapshot().participants.length, 2);
    const { join: _join, ...without } = kept;
    const unreadable = [encode({ ...kept, least: 2 }), encode(without), encode([]), encode(null), new Uint8Array()];
    for (const keepsake of [...unreadable, Uint8Array.of(0xff, 0)]) {
      const refused = room.next([{ ...room.restated(alice), keepsake }, room.restated(bob)]);
      assert.deepEqual(
        refused.toLeg('close').map(({ leg }) => leg),
        [alice.sid],
      );
      assert.deepEqual(refused.webhooks(), ['participant_left']);
      refused.attach(alice);
      assert.equal(refused.receivedOf(alice, 'leave')[0]?.action, LeaveRequest_Action.RECONNECT);
    }
  });

  it('gives a socket what its leg said before it came', () => {
    const { room, alice, bob } = call();
    const next = room.next([room.restated(alice), room.restated(bob)]);
    next.leg({ kind: 'offer', leg: bob.sid, id: 7, sdp: 'first', midToTrackId: {} });
    next.leg({ kind: 'offer', leg: bob.sid, id: 8, sdp: 'second', midToTrackId: {} });
    next.leg({ kind: 'answer', leg: bob.sid, id: 3, sdp: 'answer' });
    next.attach(bob);
    assert.deepEqual(
      next.receivedOf(bob, 'offer').map(({ id }) => id),
      [8],
    );
    assert.deepEqual(
      next.receivedOf(bob, 'answer').map(({ id }) => id),
      [3],
    );
    next.leg({ kind: 'offer', leg: bob.sid, id: 9, sdp: 'third', midToTrackId: {} });
    assert.deepEqual(
      next.receivedOf(bob, 'offer').map(({ id }) => id),
      [9],
    );
  });

  it('keeps the newest socket of a session', () => {
    const { room, alice, bob } = call();
    const next = room.next([room.restated(alice), room.restated(bob)]);
    const old = { ...alice };
    next.resume(alice);
    next.attach(old);
    assert.deepEqual(
      next.toGateway('closeSocket').map(({ connectionId }) => connectionId),
      [old.connectionId],
    );
    next.signal(alice, { case: 'leave', value: { action: LeaveRequest_Action.DISCONNECT } as never });
    assert.deepEqual(next.webhooks(), ['track_unpublished', 'participant_left']);
  });

  it('gives a leg its keepsake when something changed, and at once before the room moves', () => {
    const { room, alice, bob, camera } = call();
    room.signal(bob, { case: 'trackSetting', value: { trackSids: [camera], disabled: true } as never });
    assert.deepEqual(room.toLeg('keep'), []);
    room.step({ kind: 'moving' });
    assert.deepEqual(
      room.toLeg('keep').map(({ leg }) => leg),
      [bob.sid],
    );
    room.signal(alice, { case: 'mute', value: { sid: camera, muted: true } as never });
    assert.deepEqual(
      room.toLeg('keep').map(({ leg }) => leg),
      [alice.sid],
    );
    const none = 'CO_none' as ConnectionId;
    room.step({ kind: 'gateway', message: { kind: 'socketClosed', connectionId: none, cause: 'client-closed' } });
    assert.deepEqual(room.toLeg('keep'), []);
  });

  it('goes on with the leg that has the client when the former host was lost in the middle of a move', () => {
    for (const isLate of [false, true]) {
      const { room, alice, bob } = call();
      const old = room.restated(bob);
      const moved = { ...old, leg: legId(bob.sid, 3) };
      const next = isLate ? room.next([room.restated(alice), old]) : room.next([old, room.restated(alice), moved]);
      if (isLate) next.step({ kind: 'restated', legs: [moved], isComplete: true });
      assert.deepEqual(
        next.toLeg('close').map(({ leg, reason }) => [leg, reason]),
        [[bob.sid, 'moved']],
      );
      assert.equal(next.room.snapshot().participants.length, 2);
      next.attach(bob);
      next.signal(bob, { case: 'answer', value: { type: 'answer', sdp: 'x', id: 1 } as never });
      assert.equal(next.toLeg('clientAnswer')[0]?.leg, moved.leg);
      assert.ok(next.toLeg('keep').every(({ leg }) => leg !== bob.sid));
    }
  });
});

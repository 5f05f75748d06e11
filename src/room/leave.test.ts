import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  DisconnectReason,
  LeaveRequest,
  LeaveRequest_Action,
  ReconnectReason,
  SimulateScenario,
  SyncState,
  TrackInfo,
  TrackPublishedResponse,
  UpdateParticipantRequest,
} from '@livekit/protocol';
import { TestRoom } from './room-test-kit.ts';

const { RESUME, RECONNECT, DISCONNECT } = LeaveRequest_Action;

describe('leaving', () => {
  it('removes a client that says goodbye, with the reason it states', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    room.publish(bob, { cid: 'mic' });
    room.signal(bob, { case: 'leave', value: new LeaveRequest({ reason: DisconnectReason.USER_REJECTED }) });
    assert.deepEqual(room.updates(alice), ['bob:DISCONNECTED']);
    const update = room.receivedOf(alice, 'update')[0];
    assert.equal(update?.participants[0]?.disconnectReason, DisconnectReason.USER_REJECTED);
    assert.deepEqual(room.webhooks(), ['track_unpublished', 'participant_left']);
    assert.deepEqual(
      room.toLeg('close').map((close) => [close.leg, close.reason]),
      [[bob.sid, 'left']],
    );
    assert.deepEqual(room.wantedOf(alice)?.subscriptions, []);
    assert.deepEqual(
      room.toGateway('closeSocket').map((message) => message.code),
      [1000],
    );
  });

  it('does not announce the coming or going of a hidden participant, but tells webhooks', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const ghost = room.enter('ghost', { grants: { hidden: true } });
    assert.deepEqual(room.updates(alice), []);
    assert.deepEqual(room.webhooks(), ['participant_joined']);
    room.signal(ghost, { case: 'leave', value: new LeaveRequest() });
    assert.deepEqual(room.updates(alice), []);
    assert.deepEqual(room.webhooks(), ['participant_left']);
  });

  it('tells those who are to join anew so, and nobody else', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const step = { kind: 'reconnectClient', roomName: 'lobby', why: 'cannot-move' } as const;
    room.step({ kind: 'move', action: { ...step, participantSid: 'PA_unknown' as typeof bob.sid } });
    assert.deepEqual(room.effects, []);
    room.step({ kind: 'move', action: { ...step, participantSid: bob.sid } });
    const [leave] = room.receivedOf(bob, 'leave');
    assert.deepEqual([leave?.action, leave?.reason], [RECONNECT, DisconnectReason.MIGRATION]);
    assert.deepEqual(room.receivedOf(alice, 'leave'), []);
    assert.deepEqual(room.toLeg('close'), [], 'the others hear and see it until it is back');
    room.step({ kind: 'move', action: { kind: 'closeLeg', roomName: 'lobby', participantSid: bob.sid } });
    assert.deepEqual(
      room.toLeg('close').map((close) => close.leg),
      [bob.sid],
    );
  });

  it('closes the socket on bytes that are no SignalRequest and keeps the session of a connected client', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    room.signalBytes(alice, Uint8Array.from([0xff, 0xff, 0xff]));
    assert.deepEqual(
      room.toGateway('closeSocket').map((message) => [message.code, message.reason]),
      [[1007, 'malformed-message']],
    );
    assert.equal(room.room.snapshot().participants.length, 1);
    room.resume(alice);
    assert.equal(room.received(alice)[0]?.case, 'reconnect');
  });

  it('removes a client that sends garbage before it is connected', () => {
    const room = new TestRoom();
    room.enter('alice');
    const bob = room.join('bob');
    room.signalBytes(bob, Uint8Array.from([0x0a, 0x7f]));
    assert.deepEqual(
      room.room.snapshot().participants.map((participant) => participant.identity),
      ['alice'],
    );
    assert.deepEqual(room.webhooks(), ['participant_connection_aborted']);
  });
});

describe('loss of the socket', () => {
  it('keeps a connected participant as long as its media lives', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    room.cutSocket(bob);
    room.pass(10 * 60_000);
    assert.deepEqual(room.updates(alice), []);
    assert.equal(room.room.snapshot().participants.length, 2);
  });

  it('removes a participant that was never connected', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.join('bob');
    room.cutSocket(bob);
    assert.deepEqual(room.updates(alice), ['bob:DISCONNECTED']);
    assert.equal(room.receivedOf(alice, 'update')[0]?.participants[0]?.disconnectReason, DisconnectReason.SIGNAL_CLOSE);
  });

  it('removes a participant without a socket some seconds after its media is lost too', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    room.cutSocket(bob);
    room.leg({ kind: 'failed', leg: bob.sid, failure: 'ice-lost', detail: '' });
    room.pass(4_999);
    assert.deepEqual(room.updates(alice), []);
    room.pass(1);
    assert.deepEqual(room.updates(alice), ['bob:DISCONNECTED']);
    assert.equal(room.webhookEvents()[0]?.participant?.disconnectReason, DisconnectReason.CONNECTION_TIMEOUT);
  });
});

describe('failure of a leg', () => {
  it('asks a client whose media was lost to resume, and takes it back', () => {
    const room = new TestRoom();
    const bob = room.enter('bob');
    room.leg({ kind: 'failed', leg: bob.sid, failure: 'ice-lost', detail: '' });
    assert.deepEqual(
      room.receivedOf(bob, 'leave').map((leave) => [leave.action, leave.canReconnect]),
      [[RESUME, true]],
    );
    assert.equal(room.toGateway('closeSocket').length, 1);
    room.resume(bob);
    room.actual(bob, { subscriber: 'connected' });
    room.pass(60_000);
    assert.equal(room.room.snapshot().participants.length, 1);
  });

  it('tells its leg of a resume after lost media from one after a lost socket, by what is known here and by what the client says', () => {
    const room = new TestRoom();
    const bob = room.enter('bob');
    const mediaLost = (): boolean | undefined => room.toLeg('resume').at(-1)?.mediaLost;
    room.askToResume(bob);
    assert.equal(mediaLost(), false);
    room.leg({ kind: 'resumed', leg: bob.sid, lastReliableSequence: 0 });
    room.leg({ kind: 'failed', leg: bob.sid, failure: 'ice-lost', detail: '' });
    room.askToResume(bob);
    assert.equal(mediaLost(), true);
    room.leg({ kind: 'resumed', leg: bob.sid, lastReliableSequence: 0 });
    room.actual(bob, { subscriber: 'connected' });
    for (const reason of [ReconnectReason.RR_PUBLISHER_FAILED, ReconnectReason.RR_SIGNAL_DISCONNECTED]) {
      room.askToJoin('bob', { resume: { participantSid: bob.sid, reason } });
      assert.equal(mediaLost(), reason === ReconnectReason.RR_PUBLISHER_FAILED);
    }
  });

  it('only closes the socket of a client that does not know how to resume by word', () => {
    const room = new TestRoom();
    const bob = room.enter('bob', { client: { protocol: 12 } });
    room.leg({ kind: 'failed', leg: bob.sid, failure: 'ice-lost', detail: '' });
    assert.deepEqual(room.receivedOf(bob, 'leave'), []);
    assert.equal(room.toGateway('closeSocket').length, 1);
  });

  it('gives up a resumed client whose media stays away', () => {
    const room = new TestRoom();
    const bob = room.enter('bob');
    room.leg({ kind: 'failed', leg: bob.sid, failure: 'ice-lost', detail: '' });
    room.resume(bob);
    room.pass(15_000);
    assert.deepEqual(
      room.receivedOf(bob, 'leave').map((leave) => [leave.action, leave.reason]),
      [[RECONNECT, DisconnectReason.CONNECTION_TIMEOUT]],
    );
  });

  for (const [failure, reason, legReason] of [
    ['worker-died', DisconnectReason.MEDIA_FAILURE, 'connection-lost'],
    ['dtls-failed', DisconnectReason.MEDIA_FAILURE, 'connection-lost'],
    ['internal', DisconnectReason.MEDIA_FAILURE, 'connection-lost'],
    ['negotiation-failed', DisconnectReason.STATE_MISMATCH, 'state-mismatch'],
    ['negotiation-timeout', DisconnectReason.STATE_MISMATCH, 'state-mismatch'],
    ['bad-description', DisconnectReason.STATE_MISMATCH, 'state-mismatch'],
    ['data-channel-stuck', DisconnectReason.STATE_MISMATCH, 'slow-reader'],
  ] as const) {
    it(`makes the client join anew after ${failure}`, () => {
      const room = new TestRoom();
      const bob = room.enter('bob');
      room.leg({ kind: 'failed', leg: bob.sid, failure, detail: '' });
      assert.deepEqual(
        room.receivedOf(bob, 'leave').map((leave) => [leave.action, leave.reason, leave.canReconnect]),
        [[RECONNECT, reason, true]],
      );
      assert.deepEqual(
        room.toLeg('close').map((close) => close.reason),
        [legReason],
      );
      assert.equal(room.room.snapshot().participants.length, 0);
    });
  }

  it('describes those whom it made join anew as before, and those who left by themselves by their tokens', () => {
    const room = new TestRoom();
    const next = (end: (session: ReturnType<TestRoom['enter']>) => void): string[] => {
      const bob = room.enter('bob', { metadata: 'of the token' });
      const change = { room: 'lobby', identity: 'bob', metadata: 'described', attributes: { seat: '12' } };
      room.command('UpdateParticipant', new UpdateParticipantRequest(change));
      end(bob);
      const again = room.enter('bob', { metadata: 'of the token' });
      const { participant } = again.join;
      room.signal(again, { case: 'leave', value: new LeaveRequest() });
      return [participant?.metadata ?? '', participant?.attributes['seat'] ?? ''];
    };
    const lost = { kind: 'failed', failure: 'worker-died', detail: '' } as const;
    assert.deepEqual(
      next((bob) => room.leg({ ...lost, leg: bob.sid })),
      ['described', '12'],
    );
    assert.deepEqual(
      next((bob) => room.signal(bob, { case: 'leave', value: new LeaveRequest() })),
      ['of the token', ''],
    );
  });

  it('makes everybody join anew when the node of the legs is lost', () => {
    const room = new TestRoom();
    const sessions = [room.enter('alice'), room.enter('bob')];
    room.step({ kind: 'legsLost' });
    for (const session of sessions) {
      assert.deepEqual(
        room.receivedOf(session, 'leave').map((leave) => leave.action),
        [RECONNECT],
      );
    }
  });

  it('ignores what a leg says after its participant is gone', () => {
    const room = new TestRoom();
    const bob = room.enter('bob');
    room.signal(bob, { case: 'leave', value: new LeaveRequest() });
    room.connect(bob);
    assert.deepEqual(room.effects, []);
    room.leg({ kind: 'closed', leg: bob.sid });
    assert.deepEqual(room.effects, []);
  });
});

describe('resuming', () => {
  it('sends reconnect first, then departures, everybody, the room, and lets the leg restart ICE', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const carol = room.enter('carol');
    room.cutSocket(alice);
    room.signal(carol, { case: 'leave', value: new LeaveRequest() });
    alice.connectionId = room.askToResume(alice);
    assert.deepEqual(
      room.toLeg('resume').map((message) => message.leg),
      [alice.sid],
    );
    assert.deepEqual(room.received(alice), []);
    room.leg({ kind: 'resumed', leg: alice.sid, lastReliableSequence: 42 });
    assert.deepEqual(
      room.received(alice).map((message) => message.case),
      ['reconnect', 'update', 'update', 'roomUpdate'],
    );
    assert.equal(room.receivedOf(alice, 'reconnect')[0]?.lastMessageSeq, 42);
    assert.deepEqual(room.updates(alice), ['carol:DISCONNECTED', 'alice:ACTIVE', 'bob:ACTIVE']);
    room.leg({ kind: 'offer', leg: alice.sid, id: 5, sdp: 'v=0', midToTrackId: {} });
    assert.equal(room.receivedOf(alice, 'offer')[0]?.id, 5);
    assert.deepEqual(room.updates(bob), []);
  });

  it('does not end a participant that is back under a new session', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    room.cutSocket(alice);
    room.signal(bob, { case: 'leave', value: new LeaveRequest() });
    room.enter('bob');
    room.resume(alice);
    assert.deepEqual(room.updates(alice), ['alice:ACTIVE', 'bob:ACTIVE']);
  });

  it('lets the newest socket win and closes the old one without a word', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const old = alice.connectionId;
    alice.connectionId = room.askToResume(alice);
    assert.deepEqual(
      room.toGateway('closeSocket').map((message) => [message.connectionId, message.reason]),
      [[old, 'replaced']],
    );
    assert.deepEqual(room.receivedOf({ connectionId: old }, 'leave'), []);
    room.leg({ kind: 'resumed', leg: alice.sid, lastReliableSequence: 0 });
    room.step({ kind: 'gateway', message: { kind: 'socketClosed', connectionId: old, cause: 'client-closed' } });
    assert.equal(room.room.snapshot().participants[0]?.connectionId, alice.connectionId);
  });

  it('refuses an unknown session with leave RECONNECT, never with join', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    room.signal(alice, { case: 'leave', value: new LeaveRequest() });
    const first = room.first(room.askToResume(alice));
    assert.ok(first.case === 'leave');
    assert.deepEqual([first.value.action, first.value.reason], [RECONNECT, DisconnectReason.STATE_MISMATCH]);
  });

  it('refuses a session of another identity', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const connectionId = room.askToJoin('mallory', { resume: { participantSid: alice.sid, reason: 1 } });
    assert.equal(room.first(connectionId).case, 'leave');
  });

  it('gives up when the leg does not answer', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    room.cutSocket(alice);
    const connectionId = room.askToResume(alice);
    room.pass(2_000);
    const first = room.first(connectionId);
    assert.ok(first.case === 'leave');
    assert.equal(first.value.action, RECONNECT);
  });

  it('skips the reconnect message for clients that cannot read it', () => {
    const room = new TestRoom();
    const alice = room.enter('alice', { client: { version: '1.6.2' } });
    room.resume(alice);
    assert.equal(room.received(alice)[0]?.case, 'update');
  });

  it('makes a client join anew that believes in a track unknown here', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    room.resume(alice);
    const track = new TrackInfo({ sid: 'TR_unknown' });
    room.signal(alice, {
      case: 'syncState',
      value: new SyncState({ publishTracks: [new TrackPublishedResponse({ cid: 'c', track })] }),
    });
    assert.deepEqual(
      room.receivedOf(alice, 'leave').map((leave) => [leave.action, leave.reason]),
      [[RECONNECT, DisconnectReason.STATE_MISMATCH]],
    );
  });

  it('takes over wishes, disabled tracks and receive states from sync_state', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const microphone = room.publish(bob, { cid: 'mic' });
    const camera = room.publishCamera(bob);
    room.resume(alice);
    const state = new SyncState({
      subscription: { trackSids: [microphone], subscribe: false, participantTracks: [] },
      trackSidsDisabled: [camera],
      datachannelReceiveStates: [{ publisherSid: bob.sid, lastSeq: 7 }],
    });
    room.signal(alice, { case: 'syncState', value: state });
    assert.deepEqual(
      room.wantedOf(alice)?.subscriptions.map((entry) => [entry.trackSid, entry.paused]),
      [[camera, true]],
    );
    assert.deepEqual(
      room.toLeg('receivedUpTo').map((message) => message.states),
      [[{ publisherSid: bob.sid, sequence: 7 }]],
    );
  });
});

describe('simulated trouble', () => {
  const simulate = (scenario: SimulateScenario['scenario']) => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    room.signal(alice, { case: 'simulate', value: new SimulateScenario({ scenario }) });
    return { room, alice };
  };

  it('server leave ends the session', () => {
    const { room, alice } = simulate({ case: 'serverLeave', value: true });
    assert.deepEqual(
      room.receivedOf(alice, 'leave').map((leave) => leave.action),
      [DISCONNECT],
    );
  });

  it('a requested full reconnect is one', () => {
    const { room, alice } = simulate({ case: 'leaveRequestFullReconnect', value: true });
    assert.deepEqual(
      room.receivedOf(alice, 'leave').map((leave) => leave.action),
      [RECONNECT],
    );
  });

  it('node failure drops the participant without a word', () => {
    const { room, alice } = simulate({ case: 'nodeFailure', value: true });
    assert.deepEqual(room.receivedOf(alice, 'leave'), []);
    assert.equal(room.room.snapshot().participants.length, 0);
  });

  it('a bandwidth cap goes to the leg', () => {
    const { room } = simulate({ case: 'subscriberBandwidth', value: 100_000n });
    assert.deepEqual(
      room.toLeg('limitBandwidth').map((message) => message.bitrateBps),
      [100_000],
    );
  });

  it('a speaker update begins and ends', () => {
    const { room, alice } = simulate({ case: 'speakerUpdate', value: 3 });
    assert.equal(room.receivedOf(alice, 'speakersChanged')[0]?.speakers[0]?.active, true);
    room.pass(3_000);
    assert.equal(room.receivedOf(alice, 'speakersChanged')[0]?.speakers[0]?.active, false);
  });

  it('the next resume is cut after its messages, or before any', () => {
    const after = simulate({ case: 'disconnectSignalOnResume', value: true });
    after.room.resume(after.alice);
    assert.equal(after.room.received(after.alice)[0]?.case, 'reconnect');
    assert.equal(after.room.toGateway('closeSocket').at(-1)?.reason, 'simulated');
    after.room.resume(after.alice);
    assert.equal(after.room.room.snapshot().participants[0]?.connectionId, after.alice.connectionId);
    const before = simulate({ case: 'disconnectSignalOnResumeNoMessages', value: true });
    before.room.askToResume(before.alice);
    assert.equal(before.room.toGateway('refused').length, 1);
    before.room.resume(before.alice);
    assert.equal(before.room.room.snapshot().participants[0]?.connectionId, before.alice.connectionId);
  });
});

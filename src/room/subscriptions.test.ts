import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  CreateRoomRequest,
  SubscriptionError,
  SubscriptionPermission,
  TrackPermission,
  UpdateSubscription,
  UpdateSubscriptionsRequest,
  UpdateTrackSettings,
  VideoQuality,
} from '@livekit/protocol';
import { TestRoom, type Session } from './room-test-kit.ts';

function subscribe(room: TestRoom, session: Session, trackSids: string[], wish: boolean): void {
  room.signal(session, { case: 'subscription', value: new UpdateSubscription({ trackSids, subscribe: wish }) });
}

function setTrack(room: TestRoom, session: Session, settings: Partial<UpdateTrackSettings>): void {
  room.signal(session, { case: 'trackSetting', value: new UpdateTrackSettings(settings) });
}

describe('wishes', () => {
  it('are automatic unless the client says otherwise', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const manual = room.enter('manual', { autoSubscribe: false });
    const sid = room.publish(alice, { cid: 'mic' });
    assert.equal(room.wantedOf(manual), undefined);
    subscribe(room, manual, [sid], true);
    assert.deepEqual(
      room.wantedOf(manual)?.subscriptions.map((entry) => entry.trackSid),
      [sid],
    );
    subscribe(room, manual, [sid], false);
    assert.deepEqual(room.wantedOf(manual)?.subscriptions, []);
  });

  it('raise the version of the wanted state by one per change, and say nothing when nothing changes', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const sid = room.publish(alice, { cid: 'mic' });
    assert.equal(room.wantedOf(bob)?.version, 2);
    subscribe(room, bob, [sid], true);
    assert.deepEqual(room.effects, []);
    subscribe(room, bob, [sid, sid], false);
    assert.equal(room.toLeg('wanted').length, 1);
    assert.equal(room.wantedOf(bob)?.version, 3);
  });

  it('that end and begin again ask the leg for a new section, however quickly they follow each other', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const sid = room.publish(alice, { cid: 'mic' });
    const generation = (): number | undefined => room.wantedOf(bob)?.subscriptions[0]?.generation;
    assert.equal(generation(), undefined);
    subscribe(room, bob, [sid], true);
    assert.equal(generation(), undefined, 'it was not let go');
    for (const wish of [false, false, true]) subscribe(room, bob, [sid], wish);
    assert.equal(generation(), 1);
    for (const wish of [false, true]) subscribe(room, bob, [sid], wish);
    assert.equal(generation(), 2);
  });

  it('for unknown tracks wait a minute and then fail', () => {
    const room = new TestRoom();
    const bob = room.enter('bob', { autoSubscribe: false });
    subscribe(room, bob, ['TR_later:odd'], true);
    room.pass(59_999);
    assert.deepEqual(room.receivedOf(bob, 'subscriptionResponse'), []);
    room.pass(1);
    assert.deepEqual(
      room.receivedOf(bob, 'subscriptionResponse').map((response) => [response.trackSid, response.err]),
      [['TR_later:odd', SubscriptionError.SE_TRACK_NOTFOUND]],
    );
  });

  it('for unknown tracks are met when the track appears in time', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob', { autoSubscribe: false });
    const sid = room.announce(alice, { cid: 'mic' });
    subscribe(room, bob, [sid], true);
    room.carry(alice, sid, 'mic');
    assert.deepEqual(
      room.wantedOf(bob)?.subscriptions.map((entry) => entry.trackSid),
      [sid],
    );
    room.pass(60_000);
    assert.deepEqual(room.receivedOf(bob, 'subscriptionResponse'), []);
  });

  it('come from the server API too', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const sid = room.publish(alice, { cid: 'mic' });
    const request = new UpdateSubscriptionsRequest({
      room: 'lobby',
      identity: 'bob',
      trackSids: [sid],
      subscribe: false,
    });
    assert.equal(room.command('UpdateSubscriptions', request)?.ok, true);
    assert.deepEqual(room.wantedOf(bob)?.subscriptions, []);
  });

  it('never reach a hidden publisher', () => {
    const room = new TestRoom();
    const bob = room.enter('bob');
    const ghost = room.enter('ghost', { grants: { hidden: true } });
    room.publish(ghost, { cid: 'mic' });
    assert.equal(room.wantedOf(bob), undefined);
    assert.deepEqual(room.updates(bob), []);
  });
});

describe('tracks that belong together', () => {
  it('are given as one stream where the room or the server wants them in step', () => {
    const streamsOf = (room: TestRoom, protocol: number): string[] => {
      const alice = room.enter('alice');
      room.publish(alice, { cid: 'mic' });
      room.publishCamera(alice);
      const bob = room.join('bob', { client: { protocol } });
      return (room.wantedOf(bob)?.subscriptions ?? []).map(({ streamId }) => streamId.replace(alice.sid, 'alice'));
    };
    assert.deepEqual(streamsOf(new TestRoom({ syncStreams: true }), 17), ['alice|camera', 'alice|camera']);
    const asked = new TestRoom();
    asked.command('CreateRoom', new CreateRoomRequest({ name: 'lobby', syncStreams: true }));
    assert.deepEqual(streamsOf(asked, 17), ['alice|camera', 'alice|camera']);
    // Before protocol 10 clients know a track by its stream.
    assert.ok(streamsOf(new TestRoom({ syncStreams: true }), 9).every((stream) => stream.startsWith('alice|TR_')));
    assert.equal(new Set(streamsOf(new TestRoom(), 17)).size, 2);
  });
});

describe('the state of a subscription', () => {
  it('is told to the publisher once, when the first visible subscriber accepted the track', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const ghost = room.enter('ghost', { grants: { hidden: true } });
    const bob = room.enter('bob');
    const carol = room.enter('carol');
    const sid = room.publish(alice, { cid: 'mic' });
    room.bind(ghost, sid);
    assert.deepEqual(room.receivedOf(alice, 'trackSubscribed'), []);
    room.bind(bob, sid, 'offered');
    assert.deepEqual(room.receivedOf(alice, 'trackSubscribed'), []);
    room.bind(bob, sid);
    assert.deepEqual(
      room.receivedOf(alice, 'trackSubscribed').map((message) => message.trackSid),
      [sid],
    );
    room.bind(carol, sid);
    assert.deepEqual(room.receivedOf(alice, 'trackSubscribed'), []);
  });

  it('is told to the publisher after its resume, when it had no socket at the time', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const sid = room.publish(alice, { cid: 'mic' });
    room.cutSocket(alice);
    room.bind(bob, sid);
    room.resume(alice);
    assert.deepEqual(
      room.receivedOf(alice, 'trackSubscribed').map((message) => message.trackSid),
      [sid],
    );
  });

  it('is told to the subscriber when it has no codec for it, once', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const sid = room.publishCamera(alice);
    room.bind(bob, sid, 'codec-unsupported');
    assert.deepEqual(
      room.receivedOf(bob, 'subscriptionResponse').map((response) => [response.trackSid, response.err]),
      [[sid, SubscriptionError.SE_CODEC_UNSUPPORTED]],
    );
    room.actual(bob, { version: 3 });
    assert.deepEqual(room.receivedOf(bob, 'subscriptionResponse'), []);
  });
});

describe('track settings', () => {
  it('begin low for adaptive stream clients and high for others', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const plain = room.enter('plain');
    const adaptive = room.enter('adaptive', { adaptiveStream: true });
    room.publishCamera(alice);
    assert.equal(room.wantedOf(plain)?.subscriptions[0]?.quality, 2);
    assert.equal(room.wantedOf(adaptive)?.subscriptions[0]?.quality, 0);
  });

  it('choose the smallest layer that covers the picture, and carry frame rate, priority and pause', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const sid = room.publishCamera(alice);
    setTrack(room, bob, {
      trackSids: [sid],
      width: 600,
      height: 340,
      quality: VideoQuality.HIGH,
      fps: 15,
      priority: 2,
    });
    const wanted = room.wantedOf(bob)?.subscriptions[0];
    assert.deepEqual([wanted?.quality, wanted?.maxFps, wanted?.priority, wanted?.paused], [1, 15, 1, false]);
    setTrack(room, bob, { trackSids: [sid], disabled: true });
    assert.equal(room.wantedOf(bob)?.subscriptions[0]?.paused, true);
    setTrack(room, bob, { trackSids: [sid], quality: VideoQuality.OFF });
    assert.equal(room.room.snapshot().participants[1]?.subscriptions.length, 1);
  });
});

describe('subscription permission', () => {
  const onlyBob = new SubscriptionPermission({
    trackPermissions: [new TrackPermission({ participantIdentity: 'bob', allTracks: true })],
  });

  it('ends and begins subscriptions, and each affected subscriber is told', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const carol = room.enter('carol');
    const recorder = room.enter('recorder', { grants: { recorder: true } });
    const sid = room.publish(alice, { cid: 'mic' });
    room.signal(alice, { case: 'subscriptionPermission', value: onlyBob });
    assert.deepEqual(room.wantedOf(carol)?.subscriptions, []);
    assert.deepEqual([room.wantedOf(bob), room.wantedOf(recorder)], [undefined, undefined]);
    assert.deepEqual(
      room
        .receivedOf(carol, 'subscriptionPermissionUpdate')
        .map((message) => [message.participantSid, message.trackSid, message.allowed]),
      [[alice.sid, sid, false]],
    );
    assert.deepEqual(room.receivedOf(bob, 'subscriptionPermissionUpdate'), []);
    room.signal(alice, {
      case: 'subscriptionPermission',
      value: new SubscriptionPermission({ allParticipants: true }),
    });
    assert.deepEqual(
      room.receivedOf(carol, 'subscriptionPermissionUpdate').map((message) => message.allowed),
      [true],
    );
    assert.equal(room.wantedOf(carol)?.subscriptions.length, 1);
  });

  it('may name tracks and session ids', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const first = room.publish(alice, { cid: 'one' });
    room.publish(alice, { cid: 'two' });
    const entry = new TrackPermission({ participantSid: bob.sid, trackSids: [first] });
    room.signal(alice, {
      case: 'subscriptionPermission',
      value: new SubscriptionPermission({ trackPermissions: [entry] }),
    });
    assert.deepEqual(
      room.wantedOf(bob)?.subscriptions.map((wanted) => wanted.trackSid),
      [first],
    );
  });

  it('holds for those who come later and is repeated after a resume', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    room.publish(alice, { cid: 'mic' });
    room.signal(alice, { case: 'subscriptionPermission', value: onlyBob });
    const dave = room.join('dave');
    assert.deepEqual(room.wantedOf(dave)?.subscriptions, []);
    assert.deepEqual(
      room.received(dave).map((message) => message.case),
      ['join', 'subscriptionPermissionUpdate'],
    );
    room.connect(dave);
    room.resume(dave);
    assert.deepEqual(
      room.receivedOf(dave, 'subscriptionPermissionUpdate').map((message) => message.allowed),
      [false],
    );
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type DataTrackSubscriberHandles,
  LeaveRequest,
  LeaveRequest_Action,
  PublishDataTrackRequest,
  PublishDataTrackResponse,
  RequestResponse_Reason,
  SubscriptionPermission,
  SyncState,
  TrackPermission,
  UnpublishDataTrackRequest,
  UpdateDataSubscription,
  UpdateDataSubscription_Update,
  UpdateParticipantRequest,
  ParticipantPermission,
} from '@livekit/protocol';
import { joinParameters, TestRoom, type Session } from './room-test-kit.ts';

const { NOT_ALLOWED, INVALID_HANDLE, INVALID_NAME, DUPLICATE_HANDLE, DUPLICATE_NAME, NOT_FOUND } =
  RequestResponse_Reason;

function publish(room: TestRoom, session: Session, pubHandle: number, name: string): string {
  const value = new PublishDataTrackRequest({ pubHandle, name });
  room.signal(session, { case: 'publishDataTrackRequest', value });
  return room.receivedOf(session, 'publishDataTrackResponse').at(-1)?.info?.sid ?? '';
}

function subscribe(room: TestRoom, session: Session, trackSid: string, wish = true): void {
  const updates = [new UpdateDataSubscription_Update({ trackSid, subscribe: wish })];
  room.signal(session, { case: 'updateDataSubscription', value: new UpdateDataSubscription({ updates }) });
}

/** What the last message of this kind said, in the step before. */
function handles(room: TestRoom, session: Session): Record<string, string> | undefined {
  const last: DataTrackSubscriberHandles | undefined = room.receivedOf(session, 'dataTrackSubscriberHandles').at(-1);
  return last === undefined
    ? undefined
    : Object.fromEntries(
        Object.entries(last.subHandles).map(([handle, track]) => [
          handle,
          `${track.publisherIdentity} ${track.trackSid}`,
        ]),
      );
}

describe('data tracks', () => {
  it('are answered with their sid and told to all, until they are unpublished', () => {
    const room = new TestRoom();
    const [alice, bob] = [room.enter('alice'), room.enter('bob')];
    const sid = publish(room, alice, 3, 'telemetry');
    assert.match(sid, /^DTR_/);
    const told = (): unknown[] =>
      room
        .receivedOf(bob, 'update')
        .flatMap(({ participants }) => participants)
        .map(({ dataTracks }) => dataTracks.map(({ name, pubHandle }) => [name, pubHandle]));
    assert.deepEqual(told(), [[['telemetry', 3]]]);
    const value = new UnpublishDataTrackRequest({ pubHandle: 3 });
    room.signal(alice, { case: 'unpublishDataTrackRequest', value });
    assert.equal(room.receivedOf(alice, 'unpublishDataTrackResponse')[0]?.info?.sid, sid);
    assert.deepEqual(told(), [[]]);
  });

  it('that cannot be published are refused with the reason', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const mute = room.enter('mute', { grants: { canPublishData: false } });
    publish(room, alice, 1, 'one');
    for (const [session, pubHandle, name, reason] of [
      [mute, 1, 'one', NOT_ALLOWED],
      [alice, 0, 'two', INVALID_HANDLE],
      [alice, 65_536, 'two', INVALID_HANDLE],
      [alice, 2, '', INVALID_NAME],
      [alice, 2, 'x'.repeat(257), INVALID_NAME],
      [alice, 1, 'two', DUPLICATE_HANDLE],
      [alice, 2, 'one', DUPLICATE_NAME],
    ] as const) {
      publish(room, session, pubHandle, name);
      const [answer] = room.receivedOf(session, 'requestResponse');
      assert.deepEqual([answer?.reason, answer?.request.case], [reason, 'publishDataTrack'], `${pubHandle} ${name}`);
    }
    room.signal(alice, { case: 'unpublishDataTrackRequest', value: new UnpublishDataTrackRequest({ pubHandle: 9 }) });
    assert.equal(room.receivedOf(alice, 'requestResponse')[0]?.reason, NOT_FOUND);
  });

  it('are received by those who ask, who are told all their handles after every change', () => {
    const room = new TestRoom();
    const [alice, bob] = [room.enter('alice'), room.enter('bob')];
    const [first, second] = [publish(room, alice, 7, 'first'), publish(room, alice, 8, 'second')];
    subscribe(room, bob, first);
    assert.deepEqual(handles(room, bob), { 1: `alice ${first}` });
    assert.deepEqual(room.wantedOf(bob)?.dataTracks, [{ direction: 'in', handle: 1 }]);
    assert.deepEqual(room.wantedOf(alice)?.dataTracks, [
      { direction: 'out', handle: 1, publisherHandle: 7, receivers: 1 },
      { direction: 'out', handle: 2, publisherHandle: 8, receivers: 0 },
    ]);
    subscribe(room, bob, second);
    assert.deepEqual(handles(room, bob), { 1: `alice ${first}`, 2: `alice ${second}` });
    subscribe(room, bob, first, false);
    assert.deepEqual(handles(room, bob), { 2: `alice ${second}` });
    room.signal(alice, { case: 'unpublishDataTrackRequest', value: new UnpublishDataTrackRequest({ pubHandle: 8 }) });
    assert.deepEqual(handles(room, bob), {});
    subscribe(room, bob, 'DTR_unknown');
    assert.equal(handles(room, bob), undefined);
  });

  it('are received at once by those who join with that wish, until the publisher leaves', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob', { autoSubscribeDataTracks: true });
    assert.equal(joinParameters('x').autoSubscribeDataTracks, undefined);
    const sid = publish(room, alice, 1, 'telemetry');
    assert.deepEqual(handles(room, bob), { 1: `alice ${sid}` });
    room.signal(alice, { case: 'leave', value: new LeaveRequest({ action: LeaveRequest_Action.DISCONNECT }) });
    assert.deepEqual(handles(room, bob), {});
  });

  it('follow the permissions of publisher and subscriber', () => {
    const room = new TestRoom();
    const [alice, bob] = [room.enter('alice'), room.enter('bob')];
    const sid = publish(room, alice, 1, 'telemetry');
    subscribe(room, bob, sid);
    const allow = (trackSids: string[]): unknown =>
      room.signal(alice, {
        case: 'subscriptionPermission',
        value: new SubscriptionPermission({
          trackPermissions: [new TrackPermission({ participantIdentity: 'bob', trackSids })],
        }),
      });
    allow([]);
    assert.deepEqual(handles(room, bob), {});
    allow([sid]);
    assert.deepEqual(handles(room, bob), { 1: `alice ${sid}` });
    room.command(
      'UpdateParticipant',
      new UpdateParticipantRequest({
        room: 'lobby',
        identity: 'alice',
        permission: new ParticipantPermission({ canSubscribe: true, canPublish: true, canPublishData: false }),
      }),
    );
    assert.equal(room.receivedOf(alice, 'unpublishDataTrackResponse')[0]?.info?.sid, sid);
    assert.deepEqual(handles(room, bob), {});
  });

  it('are stated again after a resume, and one that is unknown here makes the client join anew', () => {
    const room = new TestRoom();
    const [alice, bob] = [room.enter('alice'), room.enter('bob')];
    const sid = publish(room, alice, 1, 'telemetry');
    subscribe(room, bob, sid);
    room.resume(bob);
    assert.deepEqual(handles(room, bob), { 1: `alice ${sid}` });
    room.resume(alice);
    const known = new PublishDataTrackResponse({ info: { sid } });
    room.signal(alice, { case: 'syncState', value: new SyncState({ publishDataTracks: [known] }) });
    assert.deepEqual(room.receivedOf(alice, 'leave'), []);
    const unknown = new PublishDataTrackResponse({ info: { sid: 'DTR_other' } });
    room.signal(alice, { case: 'syncState', value: new SyncState({ publishDataTracks: [unknown] }) });
    assert.equal(room.receivedOf(alice, 'leave')[0]?.action, LeaveRequest_Action.RECONNECT);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  AddTrackRequest,
  DisconnectReason,
  LeaveRequest,
  LeaveRequest_Action,
  ParticipantInfo_State,
  RoomConfiguration,
  SessionDescription,
  SignalRequest,
  SignalTarget,
  TrickleRequest,
} from '@livekit/protocol';
import { joinParameters, TestRoom } from './room-test-kit.ts';

describe('joining', () => {
  it('answers with a complete join, then opens the leg, then refreshes the token', () => {
    const room = new TestRoom();
    const alice = room.join('alice', { name: 'Alice', metadata: 'm', attributes: { a: '1' } });
    assert.deepEqual(room.order(), [
      'webhook',
      'toGateway.accepted',
      'toLeg.open',
      'refreshToken',
      'save',
      'publishRoom',
    ]);
    const { join } = alice;
    assert.equal(join.serverInfo?.version, '1.13.5');
    assert.equal(join.serverVersion, '1.13.5');
    assert.equal(join.serverInfo.protocol, 17);
    assert.equal(join.serverInfo.region, 'here');
    assert.equal(join.serverRegion, 'here');
    assert.equal(join.pingTimeout, 15);
    assert.equal(join.pingInterval, 5);
    assert.equal(join.subscriberPrimary, true);
    assert.equal(join.fastPublish, true);
    assert.ok(join.sifTrailer.length > 8);
    assert.equal(join.room?.name, 'lobby');
    assert.match(join.room.sid, /^RM_/);
    assert.equal(join.room.numParticipants, 1);
    assert.deepEqual(
      join.enabledPublishCodecs.map((codec) => codec.mime),
      ['video/VP8', 'video/H264', 'video/VP9', 'video/AV1', 'audio/opus'],
    );
    assert.deepEqual(
      join.iceServers.map((server) => server.username),
      [alice.sid],
    );
    assert.equal(join.participant?.state, ParticipantInfo_State.JOINED);
    assert.equal(join.participant.name, 'Alice');
    assert.deepEqual(join.participant.attributes, { a: '1' });
    assert.equal(join.participant.permission?.canPublish, true);
    assert.equal(join.participant.clientProtocol, 2);
    assert.deepEqual(join.participant.capabilities, [1]);
  });

  it('on a single peer connection hears what came with the join, and passes on what the client has to offer', () => {
    const room = new TestRoom();
    const early = [
      new SignalRequest({ message: { case: 'addTrack', value: new AddTrackRequest({ cid: 'mic' }) } }),
      new SignalRequest({
        message: { case: 'offer', value: new SessionDescription({ type: 'offer', sdp: 'o', id: 1 }) },
      }),
    ];
    const alice = room.join('alice', {
      singlePeerConnection: true,
      earlyMessages: early.map((message) => message.toBinary()),
    });
    assert.equal(alice.join.subscriberPrimary, false);
    assert.deepEqual(
      room.order().filter((effect) => effect.startsWith('toLeg')),
      ['toLeg.open', 'toLeg.wanted', 'toLeg.clientOffer'],
      'the leg knows of the track before the offer',
    );
    room.leg({ kind: 'answer', leg: alice.sid, id: 1, sdp: 'a', midToTrackId: { 3: 'TR_x' } });
    assert.deepEqual(room.receivedOf(alice, 'answer').at(-1)?.midToTrackId, { 3: 'TR_x' });
    room.leg({ kind: 'sectionsNeeded', leg: alice.sid, audio: 2, video: 1 });
    const needed = room.receivedOf(alice, 'mediaSectionsRequirement').at(-1);
    assert.deepEqual([needed?.numAudios, needed?.numVideos], [2, 1]);
  });

  it('lists the others with their public tracks, but nobody who is hidden', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    room.enter('ghost', { grants: { hidden: true } });
    const sid = room.publish(alice, { cid: 'mic' });
    room.announce(alice, { cid: 'not yet public' });
    const bob = room.join('bob');
    assert.deepEqual(
      bob.join.otherParticipants.map((info) => info.identity),
      ['alice'],
    );
    assert.deepEqual(
      bob.join.otherParticipants[0]?.tracks.map((track) => track.sid),
      [sid],
    );
  });

  it('puts existing tracks into the first wanted state of the leg', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const sid = room.publish(alice, { cid: 'mic' });
    const bob = room.join('bob');
    const wanted = room.wantedOf(bob);
    assert.equal(wanted?.version, 1);
    assert.deepEqual(
      wanted.subscriptions.map((subscription) => [
        subscription.trackSid,
        subscription.streamId,
        subscription.producerId,
      ]),
      [[sid, `${alice.sid}|${sid}`, `${sid}.1`]],
    );
  });

  it('gives tracks to clients before protocol 8 only once they are connected', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    room.publish(alice, { cid: 'mic' });
    const old = room.join('old', { client: { protocol: 7 } });
    assert.equal(room.wantedOf(old)?.subscriptions.length, 0);
    room.connect(old);
    assert.equal(room.wantedOf(old)?.subscriptions.length, 1);
  });

  it('tells a client without the right to subscribe to lead with its publisher', () => {
    const room = new TestRoom();
    const alice = room.join('alice', { grants: { canSubscribe: false } });
    assert.equal(alice.join.subscriberPrimary, false);
    assert.equal(room.wantedOf(alice)?.canSubscribe, false);
    room.actual(alice, { subscriber: 'connected' });
    assert.deepEqual(room.webhooks(), []);
    room.actual(alice, { publisher: 'connected' });
    assert.deepEqual(room.webhooks(), ['participant_joined']);
  });

  it('does not offer fast publishing to a client that may not publish', () => {
    assert.equal(new TestRoom().join('alice', { grants: { canPublish: false } }).join.fastPublish, false);
  });

  it('announces a participant when its primary connection is up', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.join('bob');
    assert.deepEqual(room.updates(alice), []);
    room.connect(bob);
    assert.deepEqual(room.updates(alice), ['bob:ACTIVE']);
    assert.deepEqual(room.webhooks(), ['participant_joined']);
  });

  it('removes a participant that does not connect within a minute', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.join('bob');
    room.pass(60_000);
    const leave = room.receivedOf(bob, 'leave')[0];
    assert.equal(leave?.reason, DisconnectReason.JOIN_FAILURE);
    assert.equal(leave.action, LeaveRequest_Action.DISCONNECT);
    assert.ok(room.updates(alice).includes('bob:DISCONNECTED'));
    assert.deepEqual(room.webhooks(), ['participant_connection_aborted']);
    assert.deepEqual(
      room.toLeg('close').map((close) => close.reason),
      ['join-timeout'],
    );
  });

  it('replaces a session of the same identity, unseen by newer clients', () => {
    const room = new TestRoom();
    const modern = room.enter('modern');
    const old = room.enter('old', { client: { protocol: 11 } });
    const first = room.enter('alice');
    const second = room.join('alice');
    const leave = room.receivedOf(first, 'leave')[0];
    assert.equal(leave?.reason, DisconnectReason.DUPLICATE_IDENTITY);
    assert.equal(leave.action, LeaveRequest_Action.DISCONNECT);
    assert.deepEqual(room.updates(modern), []);
    assert.deepEqual(room.updates(old), ['alice:DISCONNECTED']);
    assert.deepEqual(
      room.received(second).map((message) => message.case),
      ['join'],
    );
    room.connect(second);
    assert.deepEqual(room.updates(modern), ['alice:ACTIVE']);
  });

  it('refuses a participant of a full room with a leave, but lets helpers and returning ones in', () => {
    const room = new TestRoom({ maxParticipants: 1 });
    room.enter('alice');
    const connectionId = room.askToJoin('bob');
    const first = room.first(connectionId);
    assert.ok(first.case === 'leave');
    assert.equal(first.value.reason, DisconnectReason.JOIN_FAILURE);
    assert.deepEqual(
      room.toGateway('closeSocket').map((message) => message.connectionId),
      [connectionId],
    );
    room.join('recorder', { kind: 2, grants: { recorder: true } });
    room.join('alice');
  });

  it('applies the room configuration of the token that creates the room', () => {
    const configuration = new RoomConfiguration({
      emptyTimeout: 7,
      departureTimeout: 3,
      maxParticipants: 5,
      metadata: 'from token',
    });
    const creator = joinParameters('alice', { roomConfiguration: configuration.toBinary() });
    const room = new TestRoom({}, creator);
    const { join } = room.join('alice', { roomConfiguration: configuration.toBinary() });
    assert.equal(join.room?.emptyTimeout, 7);
    assert.equal(join.room.departureTimeout, 3);
    assert.equal(join.room.maxParticipants, 5);
    assert.equal(join.room.metadata, 'from token');
  });

  it('refreshes the token every five minutes with the original end in it', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    room.pass(5 * 60_000);
    const refreshed = room.effects.flatMap((effect) => (effect.kind === 'refreshToken' ? [effect] : []));
    assert.deepEqual(
      refreshed.map((effect) => [effect.connectionId, effect.token.identity, effect.token.apiKey]),
      [[alice.connectionId, 'alice', 'devkey']],
    );
  });

  it('tells Safari and Firefox on Linux which codecs to leave alone', () => {
    const safari = new TestRoom().join('s', { client: { browser: 'Safari', browserVersion: '18.4' } }).join;
    assert.deepEqual(
      safari.clientConfiguration?.disabledCodecs?.codecs.map((codec) => codec.mime),
      ['video/AV1'],
    );
    assert.deepEqual(
      safari.clientConfiguration.disabledCodecs.publish.map((codec) => codec.mime),
      ['video/VP9'],
    );
    assert.ok(!safari.enabledPublishCodecs.some((codec) => codec.mime === 'video/AV1' || codec.mime === 'video/VP9'));
    const firefox = new TestRoom().join('f', { client: { browser: 'Firefox', os: 'Linux' } }).join;
    assert.deepEqual(
      firefox.clientConfiguration?.disabledCodecs?.publish.map((codec) => codec.mime),
      ['video/H264'],
    );
    assert.equal(new TestRoom().join('c').join.clientConfiguration, undefined);
  });

  it('batches comings and goings of listeners in a large room, never past the news of a return', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    for (let index = 0; index < 30; index += 1) {
      room.enter(`listener ${index}`);
    }
    const bob = room.enter('bob');
    assert.deepEqual(room.updates(alice), []);
    room.pass(500);
    assert.deepEqual(room.updates(alice), ['listener 28:ACTIVE', 'listener 29:ACTIVE', 'bob:ACTIVE']);
    room.signal(bob, { case: 'leave', value: new LeaveRequest() });
    assert.deepEqual(room.updates(alice), []);
    const again = room.enter('bob');
    room.publish(again, { cid: 'mic' });
    assert.deepEqual(room.updates(alice), ['bob:DISCONNECTED', 'bob:ACTIVE']);
  });
});

describe('negotiation', () => {
  it('passes through the room untouched, both ways', () => {
    const room = new TestRoom();
    const alice = room.join('alice');
    const description = (type: string, id: number) => new SessionDescription({ type, id, sdp: `sdp of ${type}` });
    room.signal(alice, { case: 'offer', value: description('offer', 4) });
    assert.deepEqual(room.toLeg('clientOffer'), [{ kind: 'clientOffer', leg: alice.sid, id: 4, sdp: 'sdp of offer' }]);
    room.signal(alice, { case: 'answer', value: description('answer', 0) });
    assert.deepEqual(room.toLeg('clientAnswer'), [
      { kind: 'clientAnswer', leg: alice.sid, id: 0, sdp: 'sdp of answer' },
    ]);
    const trickle = new TrickleRequest({ candidateInit: '{}', target: SignalTarget.SUBSCRIBER, final: true });
    room.signal(alice, { case: 'trickle', value: trickle });
    assert.deepEqual(room.toLeg('clientCandidate'), [
      { kind: 'clientCandidate', leg: alice.sid, target: 'subscriber', candidateInit: '{}', final: true },
    ]);
    room.leg({ kind: 'answer', leg: alice.sid, id: 4, sdp: 'ours' });
    assert.deepEqual(
      room.receivedOf(alice, 'answer').map((answer) => [answer.type, answer.id, answer.sdp]),
      [['answer', 4, 'ours']],
    );
    room.leg({ kind: 'offer', leg: alice.sid, id: 9, sdp: 'ours', midToTrackId: { '0': 'TR_1' } });
    const offer = room.receivedOf(alice, 'offer')[0];
    assert.deepEqual([offer?.type, offer?.id, offer?.midToTrackId], ['offer', 9, { '0': 'TR_1' }]);
  });
});

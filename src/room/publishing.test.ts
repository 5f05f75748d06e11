import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  AddTrackRequest,
  AudioTrackFeature,
  MuteTrackRequest,
  ParticipantPermission,
  RequestResponse_Reason,
  TrackSource,
  TrackType,
  UpdateLocalAudioTrack,
  UpdateLocalVideoTrack,
  UpdateParticipantMetadata,
  UpdateParticipantRequest,
  VideoLayer_Mode,
} from '@livekit/protocol';
import { cameraRequest, TestRoom, type Session } from './room-test-kit.ts';

const { QUEUED, NOT_ALLOWED, UNSUPPORTED_TYPE, LIMIT_EXCEEDED, NOT_FOUND, OK } = RequestResponse_Reason;

function addTrack(room: TestRoom, session: Session, request: Partial<AddTrackRequest>): number[] {
  const value = new AddTrackRequest({ type: TrackType.AUDIO, source: TrackSource.MICROPHONE, ...request });
  room.signal(session, { case: 'addTrack', value });
  return room.receivedOf(session, 'requestResponse').map((response) => response.reason);
}

describe('announcing a track', () => {
  it('is answered at once with a complete TrackInfo, told to the leg and to nobody else', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const sid = room.announce(alice, { cid: 'camera', ...cameraRequest('camera') });
    assert.match(sid, /^TR_VC/);
    const info = room.receivedOf(alice, 'trackPublished')[0]?.track;
    assert.equal(info?.stream, 'camera');
    assert.equal(info.simulcast, true);
    assert.equal(info.source, TrackSource.CAMERA);
    assert.deepEqual(
      info.layers.map((layer) => [layer.quality, layer.width, layer.rid, layer.spatialLayer]),
      [
        [0, 320, 'q', 0],
        [1, 640, 'h', 1],
        [2, 1280, 'f', 2],
      ],
    );
    assert.equal(info.codecs[0]?.mimeType, 'video/VP8');
    assert.equal(info.codecs[0].videoLayerMode, VideoLayer_Mode.ONE_SPATIAL_LAYER_PER_STREAM);
    assert.ok(info.version !== undefined);
    assert.deepEqual(
      room.wantedOf(alice)?.publications.map((entry) => [entry.trackSid, entry.codecs[0]?.cid]),
      [[sid, 'camera']],
    );
    assert.deepEqual(room.received(bob), []);
  });

  it('keeps an announced backup codec apart from the section of the first one', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    room.announce(alice, {
      cid: 'c',
      ...cameraRequest('c'),
      simulcastCodecs: [
        { codec: 'vp9', cid: 'c' },
        { codec: 'vp8', cid: '' },
      ] as AddTrackRequest['simulcastCodecs'],
    });
    const info = room.receivedOf(alice, 'trackPublished')[0]?.track;
    assert.equal(info?.simulcast, false);
    assert.equal(info.codecs[0]?.videoLayerMode, VideoLayer_Mode.MULTIPLE_SPATIAL_LAYERS_PER_STREAM);
    assert.deepEqual(
      room.wantedOf(alice)?.publications[0]?.codecs.map((codec) => [codec.codec, codec.cid]),
      [
        ['vp9', 'c'],
        ['vp8', ''],
      ],
    );
  });

  it('replaces a codec that is not enabled by the first enabled one', () => {
    const room = new TestRoom({
      enabledCodecs: [
        { mime: 'video/VP8', fmtpLine: '' },
        { mime: 'audio/opus', fmtpLine: '' },
      ],
    });
    const alice = room.enter('alice');
    room.announce(alice, {
      cid: 'c',
      ...cameraRequest('c'),
      simulcastCodecs: [{ codec: 'av1', cid: 'c' }] as AddTrackRequest['simulcastCodecs'],
    });
    assert.equal(room.receivedOf(alice, 'trackPublished')[0]?.track?.codecs[0]?.mimeType, 'video/VP8');
  });

  it('registers the section of a backup codec under the same sid', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const simulcastCodecs = [
      { codec: 'vp9', cid: 'c' },
      { codec: 'vp8', cid: '' },
    ] as AddTrackRequest['simulcastCodecs'];
    const sid = room.publish(alice, { cid: 'c', ...cameraRequest('c'), simulcastCodecs });
    const again = room.announce(alice, { cid: 'c2', sid, ...cameraRequest('c2') });
    assert.equal(again, sid);
    assert.deepEqual(
      room.wantedOf(alice)?.publications[0]?.codecs.map((codec) => [codec.codec, codec.cid]),
      [
        ['vp9', 'c'],
        ['vp8', 'c2'],
      ],
    );
  });

  it('is refused without permission, for data, beyond the limits and for unknown backups', () => {
    const room = new TestRoom();
    const mute = room.enter('mute', { grants: { canPublish: false } });
    assert.deepEqual(addTrack(room, mute, { cid: 'c' }), [NOT_ALLOWED]);
    const speaker = room.enter('speaker', { grants: { canPublishSources: [TrackSource.MICROPHONE] } });
    assert.deepEqual(addTrack(room, speaker, { cid: 'c', source: TrackSource.CAMERA }), [NOT_ALLOWED]);
    assert.deepEqual(addTrack(room, speaker, { cid: 'c', source: TrackSource.UNKNOWN }), [NOT_ALLOWED]);
    const alice = room.enter('alice');
    assert.deepEqual(addTrack(room, alice, { cid: 'c', type: TrackType.DATA }), [UNSUPPORTED_TYPE]);
    assert.deepEqual(addTrack(room, alice, { cid: 'c', name: 'x'.repeat(41) }), [LIMIT_EXCEEDED]);
    assert.deepEqual(addTrack(room, alice, { cid: 'c', sid: 'TR_unknown' }), [NOT_FOUND]);
    const answers = Array.from({ length: 7 }, (_, index) => addTrack(room, alice, { cid: `c${index}` }));
    assert.deepEqual(
      answers.map((reasons) => reasons[0]),
      [undefined, undefined, undefined, undefined, undefined, undefined, LIMIT_EXCEEDED],
    );
  });

  it('echoes the refused request', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    addTrack(room, alice, { cid: 'c', type: TrackType.DATA });
    const { request } = room.receivedOf(alice, 'requestResponse')[0] ?? {};
    assert.ok(request?.case === 'addTrack');
    assert.equal(request.value.cid, 'c');
  });
});

describe('publishing a track', () => {
  it('tells everybody before their legs, once the leg carries it', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const sid = room.announce(alice, { cid: 'mic' });
    room.carry(alice, sid, 'mic', { mid: '3' });
    const update = room.receivedOf(bob, 'update')[0]?.participants[0];
    assert.equal(update?.isPublisher, true);
    assert.deepEqual(
      update.tracks.map((track) => [track.sid, track.mimeType, track.mid]),
      [[sid, 'audio/opus', '3']],
    );
    assert.deepEqual(
      room.wantedOf(bob)?.subscriptions.map((entry) => entry.producerId),
      [`${sid}.1`],
    );
    const order = room.order();
    assert.ok(order.indexOf('toGateway.send') < order.indexOf('toLeg.wanted'), order.join());
    const event = room.webhookEvents()[0];
    assert.equal(event?.event, 'track_published');
    assert.equal(event.room?.name, 'lobby');
    assert.equal(event.room.emptyTimeout, 0);
    assert.equal(event.participant?.identity, 'alice');
    assert.equal(event.track?.sid, sid);
  });

  it('tells webhooks of no track before its publisher has joined', () => {
    const room = new TestRoom();
    const alice = room.join('alice');
    room.publish(alice, { cid: 'mic' });
    assert.deepEqual(room.webhooks(), []);
    room.connect(alice);
    assert.deepEqual(room.webhooks(), ['participant_joined', 'track_published']);
    const bob = room.join('bob');
    room.publish(bob, { cid: 'mic' });
    room.cutSocket(bob);
    assert.deepEqual(room.webhooks(), ['participant_connection_aborted']);
  });

  it('sends the update as one message to all receivers', () => {
    const room = new TestRoom();
    const sessions = ['alice', 'bob', 'carol'].map((identity) => room.enter(identity));
    const alice = sessions[0];
    assert.ok(alice !== undefined);
    const sid = room.announce(alice, { cid: 'mic' });
    room.carry(alice, sid, 'mic');
    assert.deepEqual(
      room.toGateway('send').map((message) => message.connectionIds),
      [sessions.map((session) => session.connectionId)],
    );
  });

  it('fills in what the section really carries', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const sid = room.announce(alice, { cid: 'camera', ...cameraRequest('camera') });
    room.carry(alice, sid, 'camera', {
      sdpCid: 'other',
      layers: [
        { quality: 0, rid: 'q', ssrc: 11 },
        { quality: 1, rid: 'h', ssrc: 12 },
        { quality: 2, rid: 'f', ssrc: 13 },
      ],
    });
    const track = room.receivedOf(bob, 'update')[0]?.participants[0]?.tracks[0];
    assert.deepEqual(
      track?.layers.map((layer) => [layer.rid, layer.ssrc]),
      [
        ['q', 11],
        ['h', 12],
        ['f', 13],
      ],
    );
    assert.equal(track.codecs[0]?.sdpCid, 'other');
    assert.equal(track.codecs[0].mimeType, 'video/VP8');
  });

  it('ends when the leg no longer carries it, and the same cid may come again under the same sid', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const sid = room.publish(alice, { cid: 'mic' });
    assert.deepEqual(addTrack(room, alice, { cid: 'mic' }), [QUEUED]);
    room.actual(alice, { publications: [] });
    assert.deepEqual(room.webhooks(), ['track_unpublished']);
    assert.deepEqual(room.receivedOf(bob, 'update')[0]?.participants[0]?.tracks, []);
    assert.deepEqual(room.wantedOf(bob)?.subscriptions, []);
    assert.equal(room.receivedOf(alice, 'trackPublished')[0]?.track?.sid, sid);
    room.carry(alice, sid, 'mic', { producerId: `${sid}.2` });
    assert.deepEqual(
      room.wantedOf(bob)?.subscriptions.map((entry) => entry.producerId),
      [`${sid}.2`],
    );
  });

  it('does not end a pending track that the leg does not carry yet', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const sid = room.announce(alice, { cid: 'mic' });
    room.actual(alice, { version: 2, publications: [] });
    assert.equal(room.room.snapshot().participants[0]?.tracks[0]?.sid, sid);
  });
});

describe('muting', () => {
  it('reaches everybody and pauses the legs', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const sid = room.publish(alice, { cid: 'mic' });
    room.signal(alice, { case: 'mute', value: new MuteTrackRequest({ sid, muted: true }) });
    assert.equal(room.receivedOf(bob, 'update')[0]?.participants[0]?.tracks[0]?.muted, true);
    assert.equal(room.wantedOf(bob)?.subscriptions[0]?.paused, true);
    assert.equal(room.wantedOf(alice)?.publications[0]?.muted, true);
    room.signal(alice, { case: 'mute', value: new MuteTrackRequest({ sid, muted: false }) });
    assert.equal(room.wantedOf(bob)?.subscriptions[0]?.paused, false);
  });

  it('in a large room is told at once when nothing was told lately, and else together with what came since', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const first = room.publish(alice, { cid: 'mic' });
    const second = room.publish(bob, { cid: 'mic' });
    for (let index = 0; index < 30; index += 1) {
      room.enter(`listener ${index}`);
    }
    room.pass(1000);
    room.signal(alice, { case: 'mute', value: new MuteTrackRequest({ sid: first, muted: true }) });
    assert.deepEqual(room.updates(bob), ['alice:ACTIVE']);
    room.signal(alice, { case: 'mute', value: new MuteTrackRequest({ sid: first, muted: false }) });
    assert.deepEqual(room.updates(bob), []);
    assert.deepEqual(room.updates(alice), ['alice:ACTIVE']);
    room.signal(bob, { case: 'mute', value: new MuteTrackRequest({ sid: second, muted: true }) });
    room.pass(80);
    assert.deepEqual(room.updates(bob), ['alice:ACTIVE', 'bob:ACTIVE']);
    const told = room.receivedOf(bob, 'update')[0]?.participants.map(({ tracks }) => tracks[0]?.muted);
    assert.deepEqual(told, [false, true]);
    // A new track does not wait, and takes along what does.
    room.signal(alice, { case: 'mute', value: new MuteTrackRequest({ sid: first, muted: true }) });
    room.publish(bob, { cid: 'second mic' });
    assert.deepEqual(room.updates(alice), ['alice:ACTIVE', 'bob:ACTIVE']);
  });

  it('in a huge room is told the more seldom the more people are in it', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const sid = room.publish(alice, { cid: 'mic' });
    const bob = room.enter('bob');
    for (let index = 0; index < 498; index += 1) {
      room.enter(`listener ${index}`);
    }
    room.pass(1000);
    room.signal(alice, { case: 'mute', value: new MuteTrackRequest({ sid, muted: true }) });
    room.signal(alice, { case: 'mute', value: new MuteTrackRequest({ sid, muted: false }) });
    room.pass(124);
    assert.deepEqual(room.updates(bob), []);
    room.pass(1);
    assert.deepEqual(room.updates(bob), ['alice:ACTIVE']);
  });

  it('of an unknown track is answered', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    room.signal(alice, { case: 'mute', value: new MuteTrackRequest({ sid: 'TR_x', muted: true }) });
    assert.deepEqual(
      room.receivedOf(alice, 'requestResponse').map((response) => response.reason),
      [NOT_FOUND],
    );
  });
});

describe('changes by the publisher', () => {
  it('of features and picture size are broadcast', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const microphone = room.publish(alice, { cid: 'mic' });
    const features = [AudioTrackFeature.TF_STEREO];
    room.signal(alice, {
      case: 'updateAudioTrack',
      value: new UpdateLocalAudioTrack({ trackSid: microphone, features }),
    });
    assert.deepEqual(room.receivedOf(bob, 'update')[0]?.participants[0]?.tracks[0]?.audioFeatures, features);
    const camera = room.publishCamera(alice);
    room.signal(alice, {
      case: 'updateVideoTrack',
      value: new UpdateLocalVideoTrack({ trackSid: camera, width: 720, height: 1280 }),
    });
    const track = room
      .receivedOf(bob, 'update')[0]
      ?.participants[0]?.tracks.find((candidate) => candidate.sid === camera);
    assert.deepEqual([track?.width, track?.height], [720, 1280]);
  });

  it('of metadata are answered, broadcast to itself too, and put into a new token', () => {
    const room = new TestRoom();
    const alice = room.enter('alice', { attributes: { keep: '1', drop: '2' } });
    const value = new UpdateParticipantMetadata({ metadata: 'new', attributes: { drop: '', add: '3' }, requestId: 9 });
    room.signal(alice, { case: 'updateMetadata', value });
    const info = room.receivedOf(alice, 'update')[0]?.participants[0];
    assert.equal(info?.metadata, 'new');
    assert.deepEqual(info.attributes, { keep: '1', add: '3' });
    assert.deepEqual(
      room.receivedOf(alice, 'requestResponse').map((response) => [response.requestId, response.reason]),
      [[9, OK]],
    );
    const token = room.effects.find((effect) => effect.kind === 'refreshToken');
    assert.equal(token?.kind === 'refreshToken' ? token.token.metadata : '', 'new');
  });

  it('of metadata are refused without the right or beyond the limits', () => {
    const room = new TestRoom();
    const bob = room.enter('bob', { grants: { canUpdateOwnMetadata: false } });
    const alice = room.enter('alice');
    const ask = (session: Session, request: Partial<UpdateParticipantMetadata>): number[] => {
      room.signal(session, { case: 'updateMetadata', value: new UpdateParticipantMetadata(request) });
      return room.receivedOf(session, 'requestResponse').map((response) => response.reason);
    };
    assert.deepEqual(ask(bob, { name: 'Bob' }), [NOT_ALLOWED]);
    assert.deepEqual(ask(alice, { name: 'x'.repeat(41) }), [LIMIT_EXCEEDED]);
    assert.deepEqual(ask(alice, { metadata: 'ü'.repeat(51) }), [LIMIT_EXCEEDED]);
    assert.deepEqual(ask(alice, { attributes: { key: 'x'.repeat(50) } }), [LIMIT_EXCEEDED]);
  });

  it('hear of their change before it is confirmed, so that the next one builds on it', () => {
    const room = new TestRoom();
    const alice = room.enter('alice', { grants: { canUpdateOwnMetadata: true } });
    room.received(alice);
    const value = new UpdateParticipantMetadata({ metadata: 'changed', requestId: 7 });
    room.signal(alice, { case: 'updateMetadata', value });
    const order = room
      .received(alice)
      .flatMap(({ case: kind }) => (kind === 'update' || kind === 'requestResponse' ? [kind] : []));
    assert.deepEqual(order, ['update', 'requestResponse']);
  });

  it('OK is not sent to clients before protocol 15', () => {
    const room = new TestRoom();
    const alice = room.enter('alice', { client: { protocol: 14 } });
    room.signal(alice, { case: 'updateMetadata', value: new UpdateParticipantMetadata({ name: 'A' }) });
    assert.deepEqual(room.receivedOf(alice, 'requestResponse'), []);
  });
});

describe('permissions withdrawn at run time', () => {
  it('end the tracks that are no longer allowed and the subscriptions', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const microphone = room.publish(alice, { cid: 'mic' });
    const camera = room.publishCamera(alice);
    room.publish(bob, { cid: 'bobs' });
    const permission = new ParticipantPermission({ canPublish: true, canPublishSources: [TrackSource.MICROPHONE] });
    room.command('UpdateParticipant', new UpdateParticipantRequest({ room: 'lobby', identity: 'alice', permission }));
    assert.deepEqual(
      room.receivedOf(alice, 'trackUnpublished').map((message) => message.trackSid),
      [camera],
    );
    assert.deepEqual(
      room.receivedOf(bob, 'update')[0]?.participants[0]?.tracks.map((track) => track.sid),
      [microphone],
    );
    assert.deepEqual(
      room.wantedOf(bob)?.subscriptions.map((entry) => entry.trackSid),
      [microphone],
    );
    const wanted = room.wantedOf(alice);
    assert.equal(wanted?.canSubscribe, false);
    assert.equal(wanted.canPublishData, false);
    assert.deepEqual(wanted.subscriptions, []);
    assert.deepEqual(
      wanted.publications.map((entry) => entry.trackSid),
      [microphone],
    );
    assert.equal(room.receivedOf(alice, 'update')[0]?.participants[0]?.permission?.canSubscribe, false);
  });

  it('are told to clients before protocol 7 as a mute', () => {
    const room = new TestRoom();
    const alice = room.enter('alice', { client: { protocol: 6 } });
    const sid = room.publish(alice, { cid: 'mic' });
    const permission = new ParticipantPermission({ canSubscribe: true });
    room.command('UpdateParticipant', new UpdateParticipantRequest({ room: 'lobby', identity: 'alice', permission }));
    assert.deepEqual(
      room.receivedOf(alice, 'mute').map((message) => [message.sid, message.muted]),
      [[sid, true]],
    );
    assert.deepEqual(room.receivedOf(alice, 'trackUnpublished'), []);
  });
});

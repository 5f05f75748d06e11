import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  ConnectionQuality,
  LeaveRequest,
  MuteTrackRequest,
  StreamState,
  UpdateTrackSettings,
  VideoQuality,
  type AddTrackRequest,
  type SubscribedQualityUpdate,
} from '@livekit/protocol';
import type { TrackSid } from '../protocol/ids.ts';
import type { TrackQualityReport } from '../protocol/leg-messages.ts';
import { cameraRequest, TestRoom, type Session } from './room-test-kit.ts';

const enabled = (update: SubscribedQualityUpdate | undefined): boolean[] | undefined =>
  update?.subscribedQualities.map((quality) => quality.enabled);

function watch(room: TestRoom, session: Session, sid: TrackSid, quality: VideoQuality): void {
  room.signal(session, { case: 'trackSetting', value: new UpdateTrackSettings({ trackSids: [sid], quality }) });
}

describe('dynacast', () => {
  it('switches layers off after a delay and on at once', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const sid = room.publishCamera(alice);
    watch(room, bob, sid, VideoQuality.LOW);
    assert.deepEqual(room.receivedOf(alice, 'subscribedQualityUpdate'), []);
    room.pass(4_999);
    assert.deepEqual(room.receivedOf(alice, 'subscribedQualityUpdate'), []);
    room.pass(1);
    assert.deepEqual(enabled(room.receivedOf(alice, 'subscribedQualityUpdate')[0]), [true, false, false]);
    watch(room, bob, sid, VideoQuality.MEDIUM);
    const update = room.receivedOf(alice, 'subscribedQualityUpdate')[0];
    assert.deepEqual(enabled(update), [true, true, false]);
    assert.equal(update?.trackSid, sid);
    assert.deepEqual(
      update.subscribedCodecs.map((codec) => codec.codec),
      ['vp8'],
    );
  });

  it('switches everything off when nobody watches, and the last watcher leaving is nobody', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    room.publishCamera(alice);
    room.signal(bob, { case: 'leave', value: new LeaveRequest() });
    room.pass(5_000);
    assert.deepEqual(enabled(room.receivedOf(alice, 'subscribedQualityUpdate')[0]), [false, false, false]);
    room.enter('carol');
    const state = room.room.snapshot();
    assert.equal(state.participants.length, 2);
  });

  it('a new watcher switches it on in the step in which it joins', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    room.publishCamera(alice);
    room.pass(5_000);
    room.join('bob');
    assert.deepEqual(enabled(room.receivedOf(alice, 'subscribedQualityUpdate')[0]), [true, true, true]);
  });

  it('keeps a backup codec off', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const simulcastCodecs = [
      { codec: 'vp9', cid: 'c' },
      { codec: 'vp8', cid: '' },
    ] as AddTrackRequest['simulcastCodecs'];
    const sid = room.announce(alice, { cid: 'c', ...cameraRequest('c'), simulcastCodecs });
    room.carry(alice, sid, 'c', { mimeType: 'video/VP9', svc: true });
    watch(room, bob, sid, VideoQuality.LOW);
    room.pass(5_000);
    const codecs = room.receivedOf(alice, 'subscribedQualityUpdate')[0]?.subscribedCodecs;
    assert.deepEqual(
      codecs?.map((codec) => [codec.codec, codec.qualities.map((quality) => quality.enabled)]),
      [
        ['vp9', [true, false, false]],
        ['vp8', [false, false, false]],
      ],
    );
  });

  it('is repeated to a publisher that resumes', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    room.publishCamera(alice);
    room.pass(5_000);
    room.resume(alice);
    assert.deepEqual(enabled(room.receivedOf(alice, 'subscribedQualityUpdate')[0]), [false, false, false]);
  });
});

describe('speakers', () => {
  it('are told to those who hear them and to themselves, and end', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const deaf = room.enter('deaf', { autoSubscribe: false });
    const sid = room.publish(alice, { cid: 'mic' });
    room.leg({ kind: 'levels', roomName: 'lobby', levels: [{ trackSid: sid, levelDbov: 6 }] });
    room.pass(400);
    for (const session of [alice, bob]) {
      const speakers = room.receivedOf(session, 'speakersChanged')[0]?.speakers;
      assert.deepEqual(
        speakers?.map((speaker) => [speaker.sid, speaker.active]),
        [[alice.sid, true]],
      );
    }
    assert.deepEqual(room.receivedOf(deaf, 'speakersChanged'), []);
    room.pass(4_000);
    const last = room.receivedOf(bob, 'speakersChanged').at(-1)?.speakers[0];
    assert.deepEqual([last?.active, last?.level], [false, 0]);
  });

  it('are told to who begins to hear them in mid-sentence', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const sid = room.publish(alice, { cid: 'mic' });
    room.leg({ kind: 'levels', roomName: 'lobby', levels: [{ trackSid: sid, levelDbov: 6 }] });
    room.pass(400);
    const late = room.enter('late');
    room.receivedOf(late, 'speakersChanged');
    room.bind(late, sid);
    const speakers = room.receivedOf(late, 'speakersChanged')[0]?.speakers;
    assert.deepEqual(
      speakers?.map((speaker) => [speaker.sid, speaker.active]),
      [[alice.sid, true]],
    );
  });

  it('stop at once when they mute or leave', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const sid = room.publish(alice, { cid: 'mic' });
    const speak = (): void => {
      room.leg({ kind: 'levels', roomName: 'lobby', levels: [{ trackSid: sid, levelDbov: 6 }] });
      room.pass(400);
    };
    speak();
    room.signal(alice, { case: 'mute', value: new MuteTrackRequest({ sid, muted: true }) });
    assert.equal(room.receivedOf(bob, 'speakersChanged')[0]?.speakers[0]?.active, false);
    room.signal(alice, { case: 'mute', value: new MuteTrackRequest({ sid, muted: false }) });
    speak();
    room.signal(alice, { case: 'leave', value: new LeaveRequest() });
    assert.equal(room.receivedOf(bob, 'speakersChanged')[0]?.speakers[0]?.active, false);
  });

  it('do not keep a silent room awake', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const sid = room.publish(alice, { cid: 'mic' });
    room.leg({ kind: 'levels', roomName: 'lobby', levels: [{ trackSid: sid, levelDbov: 6 }] });
    const timers = room.room.snapshot().timers;
    room.pass(4_900);
    assert.ok(room.room.snapshot().timers < timers);
  });
});

const report = (trackSid: TrackSid, changes: Partial<TrackQualityReport>): TrackQualityReport => ({
  trackSid,
  direction: 'publish',
  kind: 'audio',
  packets: 250,
  packetsLost: 0,
  bitrateBps: 32_000,
  rttMs: 20,
  jitterMs: 2,
  currentLayer: 0,
  wantedLayer: 0,
  idle: false,
  ...changes,
});

describe('connection quality', () => {
  it('is told every five seconds, only when it changed, to itself and to subscribers', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const sid = room.publish(alice, { cid: 'mic' });
    room.pass(5_000);
    const first = room.receivedOf(bob, 'connectionQuality')[0];
    assert.deepEqual(
      first?.updates.map((update) => [update.participantSid, update.quality]),
      [
        [alice.sid, ConnectionQuality.EXCELLENT],
        [bob.sid, ConnectionQuality.EXCELLENT],
      ],
    );
    assert.deepEqual(room.receivedOf(alice, 'connectionQuality')[0]?.updates.length, 1);
    room.pass(5_000);
    assert.deepEqual(room.receivedOf(bob, 'connectionQuality'), []);
    room.leg({ kind: 'quality', leg: alice.sid, reports: [report(sid, { packetsLost: 50 })] });
    room.pass(5_000);
    const later = room.receivedOf(bob, 'connectionQuality')[0]?.updates;
    assert.deepEqual(
      later?.map((update) => [update.participantSid, update.quality]),
      [[alice.sid, ConnectionQuality.POOR]],
    );
  });

  it('is LOST for a publisher whose media stopped, never for one that is muted, and POOR for old clients', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const old = room.enter('old', { client: { protocol: 10 } });
    const sid = room.publish(alice, { cid: 'mic' });
    const stop = (): void => {
      for (let window = 0; window < 2; window += 1) {
        room.leg({ kind: 'quality', leg: alice.sid, reports: [report(sid, { packets: 0 })] });
        room.pass(5_000);
      }
    };
    stop();
    assert.deepEqual(
      room.receivedOf(alice, 'connectionQuality')[0]?.updates.map((update) => update.quality),
      [ConnectionQuality.LOST],
    );
    assert.deepEqual(
      room.receivedOf(old, 'connectionQuality')[0]?.updates.map((update) => update.quality),
      [ConnectionQuality.POOR],
    );
    room.signal(alice, { case: 'mute', value: new MuteTrackRequest({ sid, muted: true }) });
    stop();
    assert.ok(
      room
        .receivedOf(alice, 'connectionQuality')
        .every((update) => update.updates[0]?.quality !== ConnectionQuality.LOST),
    );
  });
});

describe('stream state', () => {
  it('reaches the subscriber whose track congestion control stopped', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const sid = room.publishCamera(alice);
    room.leg({ kind: 'streamState', leg: bob.sid, states: [{ trackSid: sid, paused: true }] });
    const states = room.receivedOf(bob, 'streamStateUpdate')[0]?.streamStates;
    assert.deepEqual(
      states?.map((state) => [state.participantSid, state.trackSid, state.state]),
      [[alice.sid, sid, StreamState.PAUSED]],
    );
    assert.deepEqual(room.received(alice), []);
  });
});

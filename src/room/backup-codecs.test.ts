import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AddTrackRequest, BackupCodecPolicy, SubscriptionError } from '@livekit/protocol';
import type { TrackSid } from '../protocol/ids.ts';
import { cameraRequest, TestRoom, type Session } from './room-test-kit.ts';

const codecs = [
  { codec: 'vp9', cid: 'main' },
  { codec: 'vp8', cid: '' },
] as AddTrackRequest['simulcastCodecs'];

/** Alice publishes VP9 with VP8 as backup to Bob and Carol, and Bob lacks VP9. */
class BackupRoom {
  readonly room = new TestRoom();
  readonly alice: Session;
  readonly bob: Session;
  readonly carol: Session;
  readonly sid: TrackSid;

  constructor(policy = BackupCodecPolicy.PREFER_REGRESSION, simulcastCodecs = codecs) {
    this.alice = this.room.enter('alice');
    this.bob = this.room.enter('bob');
    this.carol = this.room.enter('carol');
    const request = { ...cameraRequest('main'), simulcastCodecs, backupCodecPolicy: policy };
    this.sid = this.room.announce(this.alice, { cid: 'main', ...request });
    this.room.carry(this.alice, this.sid, 'main', { mimeType: 'video/VP9', svc: true });
    this.room.bind(this.carol, this.sid);
    this.room.bind(this.bob, this.sid, 'codec-unsupported');
  }

  /** Alice's client does as it was told: another AddTrack for the same track, and a section for it. */
  publishBackup(): void {
    const { room, alice, sid } = this;
    const again = { sid, simulcastCodecs: [{ codec: 'vp8', cid: 'spare' }] as AddTrackRequest['simulcastCodecs'] };
    const value = new AddTrackRequest({ ...cameraRequest('spare'), cid: 'spare', ...again });
    room.signal(alice, { case: 'addTrack', value });
    assert.equal(room.receivedOf(alice, 'trackPublished')[0]?.track?.sid, sid);
    room.carry(alice, sid, 'spare', { mimeType: 'video/VP8', producerId: `${sid}.2`, mid: '1' });
  }

  producerOf(session: Session): string | undefined {
    return this.room.wantedOf(session)?.subscriptions[0]?.producerId;
  }

  /** Codecs of which at least one layer is to be sent, by the last word in this step. */
  enabled(): string | undefined {
    const update = this.room.receivedOf(this.alice, 'subscribedQualityUpdate').at(-1);
    const sent = update?.subscribedCodecs.filter(({ qualities }) => qualities.some(({ enabled }) => enabled));
    return sent?.map(({ codec }) => codec).join(' ');
  }
}

describe('a subscriber that lacks the codec of a track', () => {
  it('makes the publisher send the backup that it announced, and is given that instead of a refusal', () => {
    const { room, bob, sid } = new BackupRoom();
    assert.deepEqual(room.receivedOf(bob, 'subscriptionResponse'), []);
    assert.deepEqual(room.wantedOf(bob)?.subscriptions, []);
    const other = new BackupRoom();
    assert.equal(other.enabled(), 'vp9 vp8');
    other.publishBackup();
    assert.equal(other.producerOf(other.bob), `${sid}.2`);
    assert.equal(other.room.receivedOf(other.bob, 'subscriptionResponse').length, 0);
  });

  it('takes everybody to the backup, so that the publisher encodes once', () => {
    const party = new BackupRoom();
    party.publishBackup();
    assert.equal(party.producerOf(party.carol), `${party.sid}.2`);
    party.room.pass(6_000);
    assert.equal(party.enabled(), 'vp8');
  });

  it('leaves the others with the first codec when the publisher chose to send both', () => {
    const party = new BackupRoom(BackupCodecPolicy.SIMULCAST);
    party.publishBackup();
    assert.equal(party.producerOf(party.bob), `${party.sid}.2`);
    assert.ok([undefined, `${party.sid}.1`].includes(party.producerOf(party.carol)));
    party.room.pass(6_000);
    assert.equal(party.enabled(), undefined);
  });

  it('finds the backup there when it comes later', () => {
    const party = new BackupRoom(BackupCodecPolicy.REGRESSION);
    party.publishBackup();
    const dora = party.room.join('dora');
    assert.equal(party.producerOf(dora), `${party.sid}.2`);
  });

  it('is refused when no backup was announced, or when it does not come', () => {
    const alone = new BackupRoom(BackupCodecPolicy.PREFER_REGRESSION, codecs.slice(0, 1));
    assert.equal(
      alone.room.receivedOf(alone.bob, 'subscriptionResponse')[0]?.err,
      SubscriptionError.SE_CODEC_UNSUPPORTED,
    );
    const waiting = new BackupRoom();
    waiting.room.pass(14_000);
    assert.deepEqual(waiting.room.receivedOf(waiting.bob, 'subscriptionResponse'), []);
    waiting.room.pass(2_000);
    assert.equal(
      waiting.room.receivedOf(waiting.bob, 'subscriptionResponse')[0]?.err,
      SubscriptionError.SE_CODEC_UNSUPPORTED,
    );
  });

  it('goes back to the first codec when the backup ends', () => {
    const party = new BackupRoom();
    party.publishBackup();
    const publications = party.alice.actual.publications.filter(({ cid }) => cid === 'main');
    party.room.actual(party.alice, { publications });
    assert.equal(party.producerOf(party.carol), `${party.sid}.1`);
    assert.deepEqual(party.room.wantedOf(party.bob)?.subscriptions, []);
  });
});

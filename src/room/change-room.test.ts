import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MoveParticipantRequest, RoomMovedResponse, type TrackInfo } from '@livekit/protocol';
import { legId } from '../protocol/ids.ts';
import type { HeldData } from '../protocol/leg-snapshot.ts';
import { legSnapshot, TestRoom, type JoinOverrides, type Session } from './room-test-kit.ts';

const data: HeldData = { lastReliableSequence: 7, lastOrder: 9, delivered: [], early: [Uint8Array.of(1, 2)] };
const chromium: JoinOverrides = { client: { browser: 'chrome' } };
const request = new MoveParticipantRequest({ room: 'lobby', identity: 'alice', destinationRoom: 'lobby' });

const json = (value: object): { toBinary: () => Uint8Array } => ({
  toBinary: () => new TextEncoder().encode(JSON.stringify(value)),
});

const closed = (room: TestRoom): string[] => room.toLeg('close').map(({ leg, reason }) => `${leg} ${reason}`);

/** Of its move; undefined when it is not in the room. */
function stateOf({ room, nowMs }: TestRoom, { sid }: Session): string | undefined {
  return room.movableLegs(nowMs).find((leg) => leg.participantSid === sid)?.move.kind;
}

function results(room: TestRoom): unknown[] {
  return room.effects.flatMap((effect) =>
    effect.kind === 'toGateway' && effect.message.kind === 'commandResult'
      ? [effect.message.result.ok ? effect.message.result.response : effect.message.result.message]
      : [],
  );
}

/** As far as the first room has described the participant to the second, which has made its leg ready. */
function carryOver(
  from: TestRoom,
  to: TestRoom,
  alice: Session,
): { leg: ReturnType<typeof legId>; told: RoomMovedResponse } {
  from.command('ExportParticipant', request);
  from.leg({ kind: 'held', leg: alice.sid, snapshot: legSnapshot, data });
  const [transfer] = results(from);
  assert.ok(transfer instanceof Uint8Array);
  to.command('ImportParticipant', { toBinary: () => transfer });
  const leg = legId(alice.sid, 2);
  to.leg({ kind: 'prepared', leg, publications: [] });
  const [answer] = results(to);
  assert.ok(answer instanceof Uint8Array);
  return { leg, told: RoomMovedResponse.fromBinary(answer) };
}

const ending = (how: string, told?: RoomMovedResponse): { toBinary: () => Uint8Array } =>
  json({
    identity: 'alice',
    destinationRoom: 'elsewhere',
    how,
    ...(told === undefined ? {} : { told: Buffer.from(told.toBinary()).toString('base64') }),
  });

describe('a participant that is moved to another room', () => {
  it('is held there, made ready here, told, and goes on by a resume with its sid and tracks', () => {
    const [from, to] = [new TestRoom(), new TestRoom()];
    const [bob, alice] = [from.enter('bob'), from.enter('alice', chromium)];
    const carol = to.enter('carol');
    const track = from.publish(alice, { cid: 'microphone' });
    const { leg, told } = carryOver(from, to, alice);
    assert.equal(told.participant?.sid, alice.sid);
    assert.deepEqual(
      told.otherParticipants.map(({ identity }) => identity),
      ['carol'],
    );

    from.command('EndMove', ending('moves', told));
    const [away] = from.effects.filter((effect) => effect.kind === 'sendAway');
    assert.ok(away !== undefined);
    assert.deepEqual(
      [away.connectionId, away.token.roomName, away.token.grants.room],
      [alice.connectionId, 'elsewhere', 'elsewhere'],
    );
    assert.equal(RoomMovedResponse.fromBinary(away.told ?? new Uint8Array()).room?.name, 'lobby');
    assert.match(from.updates(bob).join(), /alice/);
    assert.deepEqual(closed(from), [], 'its connections end when it has others');
    from.pass(5_000);
    assert.deepEqual(closed(from), [`${alice.sid} moved`]);

    const arrived: Session = { ...alice, connectionId: to.askToResume(alice) };
    assert.deepEqual(
      to.toLeg('activate').map((message) => [message.leg, message.how, message.data.early]),
      [[leg, 'resume', data.early]],
    );
    to.leg({ kind: 'resumed', leg, lastReliableSequence: 7 });
    const first = to.first(arrived.connectionId);
    assert.ok(first.case === 'reconnect' && first.value.lastMessageSeq === 7);
    assert.deepEqual(to.updates(carol), [], 'carol knows nothing of it before its media is there');
    to.leg({
      kind: 'actual',
      leg,
      actual: { ...alice.actual, version: 1, subscriber: 'connected', publisher: 'connected' },
    });
    const [info] = to.receivedOf(carol, 'update').flatMap(({ participants }) => participants);
    assert.deepEqual([info?.sid, info?.tracks.map(({ sid }: TrackInfo) => sid)], [alice.sid, [track]]);
    assert.deepEqual(to.webhooks(), ['participant_joined', 'track_published']);
  });

  it('joins the other room anew when it has a single peer connection', () => {
    const room = new TestRoom();
    room.enter('alice', { ...chromium, singlePeerConnection: true });
    const result = room.command('ExportParticipant', request);
    assert.ok(result?.ok === true);
    assert.deepEqual(JSON.parse(new TextDecoder().decode(result.response)), { kind: 'rejoin' });
  });

  it('joins the other room anew when its client cannot be moved to other connections', () => {
    const room = new TestRoom();
    const alice = room.enter('alice', { client: { browser: 'firefox' } });
    const result = room.command('ExportParticipant', request);
    assert.ok(result?.ok === true);
    assert.deepEqual(JSON.parse(new TextDecoder().decode(result.response)), { kind: 'rejoin' });
    room.command('EndMove', ending('rejoins'));
    const [away] = room.effects.filter((effect) => effect.kind === 'sendAway');
    assert.equal(away?.told, undefined);
    assert.ok(away?.farewell !== undefined);
    assert.equal(away.token.grants.room, 'elsewhere');
    assert.equal(stateOf(room, alice), undefined);
  });

  it('stays where it is when the other room does not take it, or nobody goes on', () => {
    for (const how of ['stays', 'nothing']) {
      const room = new TestRoom();
      const alice = room.enter('alice', chromium);
      room.command('ExportParticipant', request);
      room.leg({ kind: 'held', leg: alice.sid, snapshot: legSnapshot, data });
      if (how === 'stays') room.command('EndMove', ending(how));
      else room.pass(12_000);
      assert.deepEqual(
        room.toLeg('unhold').map((message) => message.leg),
        [alice.sid],
      );
      assert.equal(stateOf(room, alice), 'staying');
    }
  });

  it('is answered with the reason when it cannot be moved now', () => {
    const room = new TestRoom();
    const alice = room.enter('alice', chromium);
    const nobody = new MoveParticipantRequest({ identity: 'nobody', destinationRoom: 'elsewhere' });
    assert.equal((room.command('ExportParticipant', nobody) as { code?: string }).code, 'not_found');
    room.command('ExportParticipant', request);
    room.leg({ kind: 'notHeld', leg: alice.sid, detail: 'the client does not answer an offer' });
    assert.deepEqual(results(room), ['the client does not answer an offer']);
    room.cutSocket(alice);
    assert.equal((room.command('ExportParticipant', request) as { code?: string }).code, 'failed_precondition');
  });

  it('is forgotten by the other room when its leg cannot be made ready, or its client does not come', () => {
    const [from, to] = [new TestRoom(), new TestRoom()];
    const alice = from.enter('alice', chromium);
    from.command('ExportParticipant', request);
    from.leg({ kind: 'held', leg: alice.sid, snapshot: legSnapshot, data });
    const [transfer] = results(from);
    assert.ok(transfer instanceof Uint8Array);
    to.command('ImportParticipant', { toBinary: () => transfer });
    to.leg({ kind: 'failed', leg: legId(alice.sid, 2), failure: 'worker-died', detail: 'no media worker is running' });
    assert.deepEqual([results(to), stateOf(to, alice)], [['no media worker is running'], undefined]);

    const other = new TestRoom();
    carryOver(from, other, from.enter('alice', chromium));
    other.pass(15_000);
    assert.equal(stateOf(other, alice), undefined);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  CreateRoomRequest,
  DataPacket,
  DataPacket_Kind,
  DeleteRoomRequest,
  DisconnectReason,
  LeaveRequest,
  ListParticipantsRequest,
  ListParticipantsResponse,
  MuteRoomTrackRequest,
  MuteRoomTrackResponse,
  ParticipantInfo,
  PerformRpcRequest,
  PerformRpcResponse,
  Room as RoomMessage,
  RoomParticipantIdentity,
  RpcAck,
  RpcError,
  RpcResponse,
  SendDataRequest,
  UpdateParticipantRequest,
  UpdateRoomMetadataRequest,
} from '@livekit/protocol';
import type { CommandResult } from '../protocol/session-messages.ts';
import { answerWithoutRoom } from './commands.ts';
import { TestRoom, type Session } from './room-test-kit.ts';

function payload(result: CommandResult | undefined): Uint8Array {
  assert.ok(result?.ok === true, JSON.stringify(result));
  return result.response;
}

function failure(result: CommandResult | undefined): [string, string] {
  assert.ok(result?.ok === false);
  return [result.code, result.message];
}

const bobOf = (changes: object = {}) => ({ room: 'lobby', identity: 'bob', ...changes });

describe('rooms', () => {
  it('CreateRoom changes an existing room by what is given', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const request = new CreateRoomRequest({ name: 'lobby', emptyTimeout: 9, maxParticipants: 4, metadata: 'hello' });
    const created = RoomMessage.fromBinary(payload(room.command('CreateRoom', request)));
    assert.deepEqual(
      [created.emptyTimeout, created.departureTimeout, created.maxParticipants, created.metadata],
      [9, 20, 4, 'hello'],
    );
    assert.equal(created.numParticipants, 1);
    assert.equal(room.receivedOf(alice, 'roomUpdate')[0]?.room?.metadata, 'hello');
  });

  it('UpdateRoomMetadata reaches everybody at once', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const updated = payload(
      room.command('UpdateRoomMetadata', new UpdateRoomMetadataRequest({ room: 'lobby', metadata: 'x' })),
    );
    assert.equal(RoomMessage.fromBinary(updated).metadata, 'x');
    assert.equal(room.receivedOf(alice, 'roomUpdate')[0]?.room?.metadata, 'x');
    const published = room.effects.find((effect) => effect.kind === 'publishRoom');
    assert.equal(published?.kind === 'publishRoom' ? RoomMessage.fromBinary(published.room).metadata : '', 'x');
  });

  it('metadata over the limit is refused', () => {
    const room = new TestRoom();
    const metadata = 'x'.repeat(101);
    assert.equal(failure(room.command('CreateRoom', new CreateRoomRequest({ metadata })))[0], 'invalid_argument');
    assert.equal(
      failure(room.command('UpdateRoomMetadata', new UpdateRoomMetadataRequest({ metadata })))[0],
      'invalid_argument',
    );
  });

  it('DeleteRoom ends every session, then the room', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    payload(room.command('DeleteRoom', new DeleteRoomRequest({ room: 'lobby' })));
    assert.equal(room.receivedOf(alice, 'leave')[0]?.reason, DisconnectReason.ROOM_DELETED);
    assert.deepEqual(room.webhooks(), ['participant_left', 'room_finished']);
    assert.equal(room.closed, true);
    assert.equal(room.room.deadlineMs(), undefined);
    room.askToJoin('bob');
    assert.equal(room.toGateway('refused')[0]?.status, 503);
    assert.deepEqual(failure(room.command('DeleteRoom', new DeleteRoomRequest())), [
      'not_found',
      'requested room does not exist',
    ]);
  });

  it('that do not exist are answered as clients of the API expect', () => {
    const missing: [string, string] = ['not_found', 'requested room does not exist'];
    assert.equal(answerWithoutRoom('CreateRoom'), undefined);
    assert.deepEqual(
      ListParticipantsResponse.fromBinary(payload(answerWithoutRoom('ListParticipants'))).participants,
      [],
    );
    assert.deepEqual(failure(answerWithoutRoom('DeleteRoom')), missing);
    assert.deepEqual(failure(answerWithoutRoom('GetParticipant')), ['not_found', 'participant does not exist']);
  });

  it('requests that cannot be decoded are malformed', () => {
    const room = new TestRoom();
    const broken = { toBinary: () => Uint8Array.from([0xff, 0xff]) };
    assert.equal(failure(room.command('CreateRoom', broken))[0], 'malformed');
    assert.equal(failure(room.command('PerformRpc', broken))[0], 'malformed');
  });
});

describe('participants', () => {
  it('are listed with hidden ones and found by identity', () => {
    const room = new TestRoom();
    room.enter('alice');
    room.enter('ghost', { grants: { hidden: true } });
    const list = ListParticipantsResponse.fromBinary(
      payload(room.command('ListParticipants', new ListParticipantsRequest({ room: 'lobby' }))),
    );
    assert.deepEqual(
      list.participants.map((info) => info.identity),
      ['alice', 'ghost'],
    );
    const found = payload(
      room.command('GetParticipant', new RoomParticipantIdentity({ room: 'lobby', identity: 'ghost' })),
    );
    assert.equal(ParticipantInfo.fromBinary(found).identity, 'ghost');
    assert.deepEqual(failure(room.command('GetParticipant', new RoomParticipantIdentity(bobOf()))), [
      'not_found',
      'participant does not exist',
    ]);
  });

  it('are removed with a word', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    payload(room.command('RemoveParticipant', new RoomParticipantIdentity(bobOf())));
    assert.equal(room.receivedOf(bob, 'leave')[0]?.reason, DisconnectReason.PARTICIPANT_REMOVED);
    assert.deepEqual(room.updates(alice), ['bob:DISCONNECTED']);
    assert.equal(failure(room.command('RemoveParticipant', new RoomParticipantIdentity(bobOf())))[0], 'not_found');
  });

  it('are updated within the limits', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    room.enter('bob', { name: 'Bob', attributes: { old: '1' } });
    const request = new UpdateParticipantRequest(bobOf({ metadata: 'm', attributes: { old: '', fresh: '2' } }));
    const info = ParticipantInfo.fromBinary(payload(room.command('UpdateParticipant', request)));
    assert.deepEqual([info.name, info.metadata, info.attributes], ['Bob', 'm', { fresh: '2' }]);
    assert.equal(room.receivedOf(alice, 'update')[0]?.participants[0]?.metadata, 'm');
    const tooLong = new UpdateParticipantRequest(bobOf({ metadata: 'x'.repeat(101) }));
    assert.equal(failure(room.command('UpdateParticipant', tooLong))[0], 'invalid_argument');
  });

  it('are muted by the API, and unmuted only where that is enabled', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    const sid = room.publish(bob, { cid: 'mic' });
    const mute = (muted: boolean, trackSid: string = sid) => new MuteRoomTrackRequest(bobOf({ trackSid, muted }));
    const muted = payload(room.command('MutePublishedTrack', mute(true)));
    assert.equal(MuteRoomTrackResponse.fromBinary(muted).track?.muted, true);
    assert.deepEqual(
      room.receivedOf(bob, 'mute').map((message) => message.muted),
      [true],
    );
    assert.equal(room.receivedOf(alice, 'update')[0]?.participants[0]?.tracks[0]?.muted, true);
    assert.deepEqual(failure(room.command('MutePublishedTrack', mute(false))), [
      'failed_precondition',
      'remote unmute not enabled',
    ]);
    assert.deepEqual(failure(room.command('MutePublishedTrack', mute(true, 'TR_x'))), [
      'not_found',
      'track is not found',
    ]);
    const lenient = new TestRoom({ enableRemoteUnmute: true });
    const track = lenient.publish(lenient.enter('bob'), { cid: 'mic', muted: true });
    payload(lenient.command('MutePublishedTrack', mute(false, track)));
  });
});

describe('SendData', () => {
  const send = (changes: Partial<SendDataRequest>) =>
    new SendDataRequest({ room: 'lobby', data: Uint8Array.of(1, 2), kind: DataPacket_Kind.LOSSY, ...changes });

  it('sends a packet without a sender to everybody or to those named', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    const bob = room.enter('bob');
    payload(room.command('SendData', send({ topic: 't' })));
    const [message] = room.toLeg('serverPacket');
    assert.deepEqual([message?.recipients, message?.reliable], [[], false]);
    const packet = DataPacket.fromBinary(message?.packet ?? new Uint8Array());
    assert.ok(packet.value.case === 'user');
    assert.deepEqual([...packet.value.value.payload], [1, 2]);
    assert.deepEqual([packet.participantSid, packet.sequence, packet.value.value.topic], ['', 0, 't']);
    payload(room.command('SendData', send({ destinationIdentities: ['bob'], destinationSids: [alice.sid] })));
    assert.deepEqual(room.toLeg('serverPacket')[0]?.recipients, [bob.sid, alice.sid]);
  });

  it('does not send to everybody when none of those named is here', () => {
    const room = new TestRoom();
    room.enter('alice');
    payload(room.command('SendData', send({ destinationIdentities: ['nobody'] })));
    assert.deepEqual(room.toLeg('serverPacket'), []);
  });

  it('sends once what is retried with the same nonce', () => {
    const room = new TestRoom();
    room.enter('alice');
    const nonce = new Uint8Array(16).fill(7);
    payload(room.command('SendData', send({ nonce })));
    assert.equal(room.toLeg('serverPacket').length, 1);
    payload(room.command('SendData', send({ nonce })));
    assert.equal(room.toLeg('serverPacket').length, 0);
  });
});

describe('PerformRpc', () => {
  const call = (room: TestRoom, changes: Partial<PerformRpcRequest> = {}) => {
    const request = new PerformRpcRequest({
      room: 'lobby',
      destinationIdentity: 'bob',
      method: 'greet',
      payload: 'hi',
      ...changes,
    });
    const result = room.command('PerformRpc', request);
    const packet = room.toLeg('serverPacket')[0]?.packet;
    const value = packet === undefined ? undefined : DataPacket.fromBinary(packet).value;
    const rpc = value?.case === 'rpcRequest' ? value.value : undefined;
    return { result, rpc, requestId: room.lastRequestId };
  };
  const say = (room: TestRoom, session: Session, value: DataPacket['value']) =>
    room.leg({ kind: 'rpcPacket', roomName: 'lobby', leg: session.sid, packet: new DataPacket({ value }).toBinary() });
  const rpcFailure = (result: CommandResult | undefined) => {
    assert.ok(result?.ok === false);
    return [result.code, result.meta?.['rpc_code']];
  };

  it('sends the request and answers with the response', () => {
    const room = new TestRoom();
    const bob = room.enter('bob');
    const { result, rpc, requestId } = call(room);
    assert.equal(result, undefined);
    assert.deepEqual([rpc?.method, rpc?.payload, rpc?.version, rpc?.responseTimeoutMs], ['greet', 'hi', 1, 10_000]);
    assert.deepEqual(
      room.toLeg('interceptRpc').map((message) => [message.requestId, message.active]),
      [[rpc?.id, true]],
    );
    assert.deepEqual(
      room.order().filter((kind) => kind.startsWith('toLeg')),
      ['toLeg.interceptRpc', 'toLeg.serverPacket'],
    );
    say(room, bob, { case: 'rpcAck', value: new RpcAck({ requestId: rpc?.id ?? '' }) });
    room.pass(5_000);
    say(room, bob, {
      case: 'rpcResponse',
      value: new RpcResponse({ requestId: rpc?.id ?? '', value: { case: 'payload', value: 'hello' } }),
    });
    assert.equal(PerformRpcResponse.fromBinary(payload(room.resultOf(requestId))).payload, 'hello');
    assert.deepEqual(
      room.toLeg('interceptRpc').map((message) => message.active),
      [false],
    );
  });

  it('fails without an ack, without a response, and when the recipient leaves', () => {
    const room = new TestRoom();
    const bob = room.enter('bob');
    const first = call(room);
    room.pass(2_000);
    assert.deepEqual(rpcFailure(room.resultOf(first.requestId)), ['deadline_exceeded', '1501']);
    const second = call(room, { responseTimeoutMs: 3_000 });
    say(room, bob, { case: 'rpcAck', value: new RpcAck({ requestId: second.rpc?.id ?? '' }) });
    room.pass(3_000);
    assert.deepEqual(rpcFailure(room.resultOf(second.requestId)), ['deadline_exceeded', '1502']);
    const third = call(room);
    room.signal(bob, { case: 'leave', value: new LeaveRequest() });
    assert.deepEqual(rpcFailure(room.resultOf(third.requestId)), ['unavailable', '1503']);
    assert.equal(room.room.snapshot().pendingRpcs, 0);
  });

  it('passes the error of the application on', () => {
    const room = new TestRoom();
    const bob = room.enter('bob');
    const { rpc, requestId } = call(room);
    const error = new RpcError({ code: 4711, message: 'no', data: 'why' });
    say(room, bob, {
      case: 'rpcResponse',
      value: new RpcResponse({ requestId: rpc?.id ?? '', value: { case: 'error', value: error } }),
    });
    const result = room.resultOf(requestId);
    assert.deepEqual(result, {
      ok: false,
      code: 'unknown',
      message: 'no',
      meta: { rpc_code: '4711', rpc_data: 'why' },
    });
  });

  it('is refused for unknown recipients and large payloads, and ignores answers of others', () => {
    const room = new TestRoom();
    room.enter('bob');
    const mallory = room.enter('mallory');
    assert.deepEqual(rpcFailure(call(room, { destinationIdentity: 'nobody' }).result), ['not_found', '1401']);
    assert.deepEqual(rpcFailure(call(room, { payload: 'ü'.repeat(7_681) }).result), ['invalid_argument', '1402']);
    const { rpc, requestId } = call(room);
    say(room, mallory, {
      case: 'rpcResponse',
      value: new RpcResponse({ requestId: rpc?.id ?? '', value: { case: 'payload', value: 'x' } }),
    });
    assert.equal(room.resultOf(requestId), undefined);
    room.leg({ kind: 'rpcPacket', roomName: 'lobby', leg: mallory.sid, packet: Uint8Array.of(255) });
    assert.equal(room.resultOf(requestId), undefined);
  });
});

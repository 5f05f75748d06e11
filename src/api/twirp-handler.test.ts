import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import {
  CreateRoomRequest,
  DataPacket_Kind,
  ListRoomsRequest,
  ListRoomsResponse,
  ParticipantInfo,
  ParticipantPermission,
  PerformRpcRequest,
  PerformRpcResponse,
  Room,
  RoomEgress,
  TrackInfo,
} from '@livekit/protocol';
import {
  AccessToken,
  AgentDispatchClient,
  EgressClient,
  IngressClient,
  RoomServiceClient,
  SipClient,
  type VideoGrant,
} from 'livekit-server-sdk';
import { startApiTestServer, type ApiTestServer } from './api-test-server.ts';

type TwirpErrorBody = { code: string; msg: string; meta?: Record<string, string> };

describe('Twirp API', () => {
  let server: ApiTestServer;
  let rooms: RoomServiceClient;

  beforeEach(async () => {
    server = await startApiTestServer();
    rooms = new RoomServiceClient(server.url, 'devkey', 'secret');
  });

  afterEach(async () => {
    const { pendingCount } = server.client;
    await server.close();
    assert.equal(pendingCount, 0);
  });

  async function token(grants: VideoGrant): Promise<string> {
    const accessToken = new AccessToken('devkey', 'secret', { identity: 'tester' });
    accessToken.addGrant(grants);
    return accessToken.toJwt();
  }

  type RawCall = { path: string; body?: string | Uint8Array; contentType?: string; grants?: VideoGrant };

  async function post({ path, body = '{}', contentType = 'application/json', grants }: RawCall): Promise<Response> {
    const headers: Record<string, string> = { 'content-type': contentType };
    if (grants !== undefined) {
      headers['authorization'] = `Bearer ${await token(grants)}`;
    }
    return fetch(`${server.url}${path}`, {
      method: 'POST',
      body: new Blob([body as Uint8Array<ArrayBuffer>]),
      headers,
    });
  }

  async function postForError(call: RawCall): Promise<TwirpErrorBody & { status: number }> {
    const response = await post(call);
    assert.equal(response.headers.get('content-type'), 'application/json');
    return { status: response.status, ...((await response.json()) as TwirpErrorBody) };
  }

  function addAna(): void {
    server.node.addParticipant(
      'demo',
      new ParticipantInfo({
        sid: 'PA_ana',
        identity: 'ana',
        tracks: [new TrackInfo({ sid: 'TR_AManas', name: 'mic' })],
      }),
    );
  }

  describe('with livekit-server-sdk', () => {
    it('creates rooms, and updates one that exists', async () => {
      const room = await rooms.createRoom({ name: 'demo', emptyTimeout: 60, maxParticipants: 5, metadata: 'm1' });
      assert.equal(room.sid, 'RM_demo');
      assert.equal(room.emptyTimeout, 60);
      const again = await rooms.createRoom({ name: 'demo', metadata: 'm2' });
      assert.deepEqual([again.sid, again.maxParticipants, again.metadata], ['RM_demo', 5, 'm2']);
    });

    it('lists all rooms or the named ones', async () => {
      await rooms.createRoom({ name: 'a' });
      await rooms.createRoom({ name: 'b' });
      assert.deepEqual(
        (await rooms.listRooms()).map(({ name }) => name),
        ['a', 'b'],
      );
      assert.deepEqual(
        (await rooms.listRooms(['b', 'c'])).map(({ name }) => name),
        ['b'],
      );
    });

    it('deletes a room, and says when there is none', async () => {
      await rooms.createRoom({ name: 'demo' });
      await rooms.deleteRoom('demo');
      assert.equal(server.node.rooms.size, 0);
      await assert.rejects(rooms.deleteRoom('demo'), {
        status: 404,
        code: 'not_found',
        message: 'requested room does not exist',
      });
    });

    it('lists participants; a room that does not exist has none', async () => {
      addAna();
      assert.deepEqual(
        (await rooms.listParticipants('demo')).map(({ identity }) => identity),
        ['ana'],
      );
      assert.deepEqual(await rooms.listParticipants('nowhere'), []);
    });

    it('a room that ends between look-up and call has no participants either', async () => {
      addAna();
      server.node.intercept = (link, requestId) =>
        link.send({
          kind: 'commandResult',
          requestId,
          result: { ok: false, code: 'not_found', message: 'requested room does not exist' },
        });
      assert.deepEqual(await rooms.listParticipants('demo'), []);
    });

    it('gets and removes a participant', async () => {
      addAna();
      assert.equal((await rooms.getParticipant('demo', 'ana')).sid, 'PA_ana');
      await rooms.removeParticipant('demo', 'ana', { revokeTokenTs: 5n });
      const missing = { status: 404, code: 'not_found', message: 'participant does not exist' };
      await assert.rejects(rooms.getParticipant('demo', 'ana'), missing);
      await assert.rejects(rooms.removeParticipant('demo', 'ana'), missing);
    });

    it('mutes a track; the host’s refusal to unmute arrives as it is', async () => {
      addAna();
      assert.equal((await rooms.mutePublishedTrack('demo', 'ana', 'TR_AManas', true)).muted, true);
      await assert.rejects(rooms.mutePublishedTrack('demo', 'ana', 'TR_AManas', false), {
        status: 412,
        code: 'failed_precondition',
      });
      await assert.rejects(rooms.mutePublishedTrack('demo', 'ana', 'TR_no', true), { message: 'track is not found' });
    });

    it('updates a participant', async () => {
      addAna();
      const permission = new ParticipantPermission({ canSubscribe: true });
      const updated = await rooms.updateParticipant('demo', 'ana', { name: 'Ana', attributes: { a: '1' }, permission });
      assert.deepEqual([updated.name, updated.attributes, updated.permission?.canSubscribe], ['Ana', { a: '1' }, true]);
    });

    it('updates subscriptions', async () => {
      addAna();
      await rooms.updateSubscriptions('demo', 'ana', ['TR_1', 'TR_2'], true);
      assert.deepEqual(server.node.subscriptions[0]?.trackSids, ['TR_1', 'TR_2']);
    });

    it('sends data', async () => {
      addAna();
      const data = new TextEncoder().encode('hello');
      await rooms.sendData('demo', data, DataPacket_Kind.LOSSY, { topic: 't', destinationIdentities: ['ana'] });
      const sent = server.node.rooms.get('demo')?.data[0];
      assert.equal(new TextDecoder().decode(sent?.data), 'hello');
      assert.deepEqual([sent?.kind, sent?.topic, sent?.destinationIdentities], [DataPacket_Kind.LOSSY, 't', ['ana']]);
      assert.equal(sent?.nonce.length, 16);
    });

    it('updates the metadata of a room', async () => {
      await rooms.createRoom({ name: 'demo' });
      assert.equal((await rooms.updateRoomMetadata('demo', 'new')).metadata, 'new');
      await assert.rejects(rooms.updateRoomMetadata('nowhere', 'new'), { code: 'not_found' });
    });

    it('does not forward participants, and moves them only to another room that exists', async () => {
      addAna();
      await assert.rejects(rooms.forwardParticipant('demo', 'ana', 'other'), { status: 501, code: 'unimplemented' });
      await assert.rejects(rooms.moveParticipant('demo', 'ana', 'other'), { status: 404, code: 'not_found' });
      await assert.rejects(rooms.moveParticipant('demo', 'ana', 'demo'), { status: 400, code: 'invalid_argument' });
    });

    it('says of other services that they are not offered', async () => {
      const unimplemented = { status: 501, code: 'unimplemented', message: /is not offered by this server/ };
      const credentials = [server.url, 'devkey', 'secret'] as const;
      await assert.rejects(new EgressClient(...credentials).listEgress(), unimplemented);
      await assert.rejects(new IngressClient(...credentials).listIngress(), unimplemented);
      await assert.rejects(new AgentDispatchClient(...credentials).listDispatch('demo'), unimplemented);
      await assert.rejects(new SipClient(...credentials).listSipInboundTrunk(), unimplemented);
    });

    it('refuses a foreign key', async () => {
      await assert.rejects(new RoomServiceClient(server.url, 'devkey', 'wrong').listRooms(), { status: 401 });
    });
  });

  describe('grants', () => {
    const denied = { status: 401, code: 'unauthenticated', msg: 'permissions denied' };
    const cases: { method: string; grants: VideoGrant[] }[] = [
      { method: 'CreateRoom', grants: [{}, { roomList: true }, { roomAdmin: true, room: 'demo' }] },
      { method: 'DeleteRoom', grants: [{}, { roomAdmin: true, room: 'demo' }] },
      { method: 'ListRooms', grants: [{}, { roomCreate: true }] },
      ...[
        'ListParticipants',
        'GetParticipant',
        'RemoveParticipant',
        'MutePublishedTrack',
        'UpdateParticipant',
        'UpdateSubscriptions',
        'SendData',
        'UpdateRoomMetadata',
        'PerformRpc',
        'ForwardParticipant',
        'MoveParticipant',
      ].map((method) => ({
        method,
        grants: [
          {},
          { roomCreate: true, roomList: true },
          { roomJoin: true, room: 'demo' },
          { roomAdmin: true, room: 'other' },
          { roomAdmin: true },
        ],
      })),
    ];
    for (const { method, grants } of cases) {
      it(`${method} needs its own grant`, async () => {
        addAna();
        const body = JSON.stringify({ room: 'demo', name: 'demo', identity: 'ana', destination_room: 'other' });
        const path = `/twirp/livekit.RoomService/${method}`;
        assert.deepEqual(await postForError({ path, body }), denied);
        for (const grant of grants) {
          assert.deepEqual(await postForError({ path, body, grants: grant }), denied);
        }
      });
    }

    it('moving needs the destination room in the token', async () => {
      const path = '/twirp/livekit.RoomService/MoveParticipant';
      const body = JSON.stringify({ room: 'demo', identity: 'ana', destination_room: 'other' });
      assert.deepEqual(
        await postForError({ path, body, grants: { roomAdmin: true, room: 'demo', destinationRoom: 'third' } }),
        denied,
      );
    });

    it('nothing of a stranger’s body is decoded', async () => {
      assert.deepEqual(await postForError({ path: '/twirp/livekit.RoomService/ListRooms', body: 'garbage' }), denied);
    });
  });

  describe('wire format', () => {
    const path = '/twirp/livekit.RoomService/CreateRoom';
    const grants = { roomCreate: true, roomList: true };

    it('answers protobuf with protobuf', async () => {
      const body = new CreateRoomRequest({ name: 'demo' }).toBinary();
      const created = await post({ path, body, contentType: 'application/protobuf', grants });
      assert.equal(created.headers.get('content-type'), 'application/protobuf');
      assert.equal(Room.fromBinary(new Uint8Array(await created.arrayBuffer())).name, 'demo');
      const listPath = '/twirp/livekit.RoomService/ListRooms';
      const list = new ListRoomsRequest().toBinary();
      const listed = await post({ path: listPath, body: list, contentType: 'application/protobuf', grants });
      assert.equal(ListRoomsResponse.fromBinary(new Uint8Array(await listed.arrayBuffer())).rooms[0]?.sid, 'RM_demo');
    });

    it('answers JSON with snake case, defaults and int64 as text, and ignores unknown fields', async () => {
      const body = JSON.stringify({ name: 'demo', emptyTimeout: 60, invented: { by: 'a newer SDK' } });
      const response = await post({ path, body, contentType: 'application/json; charset=utf-8', grants });
      assert.equal(response.headers.get('content-type'), 'application/json');
      const json = (await response.json()) as Record<string, unknown>;
      assert.equal(json['empty_timeout'], 60);
      assert.equal(json['num_participants'], 0);
      assert.equal(json['creation_time'], '0');
    });

    it('says that a body is malformed', async () => {
      const malformed = { status: 400, code: 'malformed' };
      for (const body of ['', '{', '[]', '"x"', '{"name": 5}', '[['.repeat(100_000), new Uint8Array([0xff, 0xfe])]) {
        const { msg, ...rest } = await postForError({ path, body, grants });
        assert.deepEqual(rest, malformed);
        assert.equal(msg, 'the json request could not be decoded');
      }
      const truncated = new CreateRoomRequest({ name: 'a long enough name' }).toBinary().subarray(0, 5);
      const { msg, ...rest } = await postForError({
        path,
        body: truncated,
        contentType: 'application/protobuf',
        grants,
      });
      assert.deepEqual(rest, malformed);
      assert.equal(msg, 'the protobuf request could not be decoded');
    });

    it('knows no other routes and content types', async () => {
      for (const unknown of [
        '/twirp/livekit.RoomService/Explode',
        '/twirp/livekit.Nothing/CreateRoom',
        '/twirp/x',
        '/twirp/livekit.RoomService/__proto__',
        '/twirp/livekit.RoomService/CreateRoom/',
      ]) {
        const error = await postForError({ path: unknown, grants });
        assert.deepEqual(
          [error.status, error.code, error.meta?.['twirp_invalid_route']],
          [404, 'bad_route', `POST ${unknown}`],
        );
      }
      const error = await postForError({ path, contentType: 'text/plain', grants });
      assert.deepEqual(
        [error.status, error.code, error.msg],
        [404, 'bad_route', 'unexpected Content-Type: "text/plain"'],
      );
    });

    it('performs RPC and hands on the error’s meta data', async () => {
      addAna();
      const rpcPath = '/twirp/livekit.RoomService/PerformRpc';
      const rpcGrants = { roomAdmin: true, room: 'demo' };
      const request = new PerformRpcRequest({
        room: 'demo',
        destinationIdentity: 'ana',
        method: 'greet',
        payload: 'hi',
      });
      const response = await post({
        path: rpcPath,
        body: request.toBinary(),
        contentType: 'application/protobuf',
        grants: rpcGrants,
      });
      assert.equal(PerformRpcResponse.fromBinary(new Uint8Array(await response.arrayBuffer())).payload, 'greet:hi');
      const body = request.clone();
      body.method = 'missing';
      const error = await postForError({ path: rpcPath, body: body.toJsonString(), grants: rpcGrants });
      assert.deepEqual([error.code, error.meta], ['unimplemented', { rpc_code: '1400' }]);
    });

    it('reports each request to the observer, unknown names as unknown', async () => {
      await post({ path, body: '{"name":"demo"}', grants });
      await post({ path: '/twirp/livekit.RoomService/Invented', grants });
      const seen = server.outcomes.map(({ service, method, status, code }) => [service, method, status, code]);
      assert.deepEqual(seen, [
        ['RoomService', 'CreateRoom', 200, 'ok'],
        ['unknown', 'unknown', 404, 'bad_route'],
      ]);
    });
  });

  describe('limits', () => {
    const admin = { roomAdmin: true, room: 'demo' };
    const cases: { method: string; body: Record<string, unknown>; grants?: VideoGrant; msg: string }[] = [
      { method: 'CreateRoom', body: {}, grants: { roomCreate: true }, msg: 'no room name' },
      {
        method: 'CreateRoom',
        body: { name: 'x'.repeat(257) },
        grants: { roomCreate: true },
        msg: 'room name length exceeds limits',
      },
      {
        method: 'CreateRoom',
        body: { name: 'x', metadata: 'é'.repeat(300_000) },
        grants: { roomCreate: true },
        msg: 'metadata size exceeds limits',
      },
      {
        method: 'CreateRoom',
        body: { name: 'x', room_preset: 'p' },
        grants: { roomCreate: true },
        msg: 'room preset does not exist',
      },
      { method: 'UpdateRoomMetadata', body: { metadata: 'x'.repeat(524_289) }, msg: 'metadata size exceeds limits' },
      {
        method: 'UpdateParticipant',
        body: { identity: 'ana', name: 'x'.repeat(257) },
        msg: 'name length exceeds limits',
      },
      {
        method: 'UpdateParticipant',
        body: { identity: 'ana', metadata: 'x'.repeat(524_289) },
        msg: 'metadata size exceeds limits',
      },
      {
        method: 'UpdateParticipant',
        body: { identity: 'ana', attributes: { a: 'x'.repeat(65_536) } },
        msg: 'attribute size exceeds limits',
      },
      { method: 'GetParticipant', body: {}, msg: 'identity cannot be empty' },
      {
        method: 'RemoveParticipant',
        body: { identity: 'x'.repeat(257) },
        msg: 'participant identity length exceeds limits',
      },
      {
        method: 'SendData',
        body: { data: Buffer.alloc(64_001).toString('base64') },
        msg: 'data size exceeds limits of 64000 bytes',
      },
      { method: 'SendData', body: { nonce: 'AAAA' }, msg: 'nonce should be 16-bytes or not present, got: 3 bytes' },
      { method: 'PerformRpc', body: { method: 'm' }, msg: 'destination identity cannot be empty' },
      { method: 'PerformRpc', body: { destination_identity: 'ana' }, msg: 'method cannot be empty' },
      {
        method: 'PerformRpc',
        body: { destination_identity: 'ana', method: 'm', payload: 'x'.repeat(15_361) },
        msg: 'payload size exceeds limits of 15360 bytes',
      },
      {
        method: 'PerformRpc',
        body: { destination_identity: 'ana', method: 'm', response_timeout_ms: 50_001 },
        msg: 'response timeout exceeds 50000 ms',
      },
    ];
    for (const { method, body, grants = admin, msg } of cases) {
      it(`${method} refuses: ${msg}`, async () => {
        addAna();
        const path = `/twirp/livekit.RoomService/${method}`;
        const error = await postForError({ path, body: JSON.stringify({ room: 'demo', ...body }), grants });
        assert.deepEqual([error.status, error.code, error.msg], [400, 'invalid_argument', msg]);
      });
    }

    it('a room that should be recorded is not made without its recording', async () => {
      await assert.rejects(rooms.createRoom({ name: 'demo', egress: new RoomEgress() }), { code: 'unimplemented' });
      assert.equal(server.node.rooms.size, 0);
    });
  });

  describe('when hosts fail', () => {
    it('a link that breaks is `unavailable`, and the next call opens another', async () => {
      addAna();
      server.node.intercept = (link) => link.close();
      await assert.rejects(rooms.getParticipant('demo', 'ana'), { status: 503, code: 'unavailable' });
      server.node.intercept = undefined;
      assert.equal((await rooms.getParticipant('demo', 'ana')).identity, 'ana');
      assert.equal(server.node.links.length, 6, 'what may be repeated is, a few times');
    });

    it('a cluster without room says so', async () => {
      server.node.hasCapacity = false;
      await assert.rejects(rooms.createRoom({ name: 'demo' }), {
        status: 503,
        code: 'unavailable',
        message: 'no node may take the room',
      });
    });

    it('an unexpected failure is `internal` and tells nothing of the inside', async () => {
      server.node.list = () => Promise.reject(new Error('secret detail'));
      await assert.rejects(rooms.listRooms(), { status: 500, code: 'internal', message: 'internal error' });
    });
  });
});

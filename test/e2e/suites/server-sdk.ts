import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, it } from 'node:test';
import {
  DataPacket_Kind,
  DisconnectReason,
  ParticipantInfo_State,
  RoomEgress,
  TrackSource,
  type WebhookEvent,
} from '@livekit/protocol';
import { RoomEvent, RpcError } from '@livekit/rtc-node';
import { AccessToken, RoomServiceClient, type TwirpError } from 'livekit-server-sdk';
import { LightClient, type LightClientOptions } from '../../kit/light-client.ts';
import { LightEndpoint } from '../../kit/light/light-endpoint.ts';
import type { StartTarget, TestTarget } from '../../kit/target.ts';
import { RtcClient } from '../../kit/rtc-node.ts';
import { devKey, joinToken, type TokenOptions } from '../../kit/tokens.ts';
import { until } from '../../kit/until.ts';
import { WebhookTarget } from '../../kit/webhook-receiver.ts';

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);

export function serverSdkSuite(start: StartTarget): void {
  let hooks: WebhookTarget;
  let node: TestTarget;
  let endpoint: LightEndpoint;
  let rooms: RoomServiceClient;

  before(async () => {
    hooks = await WebhookTarget.start();
    node = await start({
      webhook: { api_key: devKey.apiKey, urls: [hooks.url] },
      room: { departure_timeout: 1 },
    });
    endpoint = await LightEndpoint.start();
    rooms = new RoomServiceClient(node.url.replace('http', 'ws'), devKey.apiKey, devKey.apiSecret);
  });

  after(async () => {
    await endpoint?.close();
    await node?.close();
    await hooks?.close();
  });

  async function join(
    room: string,
    identity: string,
    options: Partial<LightClientOptions> & Partial<TokenOptions> = {},
  ): Promise<LightClient> {
    return LightClient.join({
      url: node.url,
      token: await joinToken({ room, identity, ...options }),
      endpoint,
      ...options,
    });
  }

  /** A call that must fail, with what the SDK makes of it. */
  async function refused(call: Promise<unknown>): Promise<{ status: number; code: string; message: string }> {
    try {
      await call;
    } catch (error) {
      const { status, code, message } = error as TwirpError;
      return { status, code: code ?? '', message };
    }
    return assert.fail('the call succeeded');
  }

  /** The SDK has no PerformRpc yet. */
  async function performRpc(request: object, grants = { roomAdmin: true, room: 'data' }) {
    const token = new AccessToken(devKey.apiKey, devKey.apiSecret);
    token.addGrant(grants);
    const response = await fetch(`${node.url}/twirp/livekit.RoomService/PerformRpc`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await token.toJwt()}`, 'content-type': 'application/json' },
      body: JSON.stringify({ room: 'data', ...request }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  it('creates, lists, changes and deletes rooms, and their members see it', async () => {
    const created = await rooms.createRoom({
      name: 'planned',
      emptyTimeout: 90,
      departureTimeout: 7,
      maxParticipants: 2,
      metadata: '{"topic":"plan"}',
      minPlayoutDelay: 50,
      maxPlayoutDelay: 300,
      syncStreams: true,
      nodeId: '',
      agents: [],
    });
    assert.match(created.sid, /^RM_/);
    const { name, emptyTimeout, departureTimeout, maxParticipants, metadata, numParticipants } = created;
    assert.deepEqual(
      { name, emptyTimeout, departureTimeout, maxParticipants, metadata, numParticipants },
      {
        name: 'planned',
        emptyTimeout: 90,
        departureTimeout: 7,
        maxParticipants: 2,
        metadata: '{"topic":"plan"}',
        numParticipants: 0,
      },
    );
    const [listed] = await rooms.listRooms(['planned', 'unknown']);
    assert.equal(listed?.sid, created.sid);

    const ana = await join('planned', 'ana', { publish: { audio: true } });
    const bob = await join('planned', 'bob');
    assert.equal(bob.joinResponse.room?.sid, created.sid);
    await assert.rejects(join('planned', 'carl'), /answered with leave .*"reason":"JOIN_FAILURE"/);
    await until(async () => {
      const [room] = await rooms.listRooms(['planned']);
      return room?.numParticipants === 2 && room.numPublishers === 1
        ? ''
        : `counters ${room?.numParticipants} and ${room?.numPublishers}`;
    });
    assert.ok((await rooms.listRooms()).some((room) => room.name === 'planned'));

    const again = await rooms.createRoom({ name: 'planned', maxParticipants: 5 });
    assert.deepEqual([again.sid, again.maxParticipants, again.metadata], [created.sid, 5, '{"topic":"plan"}']);
    const updated = await rooms.updateRoomMetadata('planned', 'changed');
    assert.equal(updated.metadata, 'changed');
    await bob.waitForMessage((message) => message.case === 'roomUpdate' && message.value.room?.metadata === 'changed');

    await rooms.deleteRoom('planned');
    for (const client of [ana, bob]) {
      assert.equal((await client.waitForLeave()).reason, DisconnectReason.ROOM_DELETED);
    }
    assert.deepEqual(await rooms.listRooms(['planned']), []);
    assert.deepEqual(await rooms.listParticipants('planned'), []);
    await Promise.all([ana.leave(), bob.leave()]);
  });

  it('shows participants and changes their name, metadata, attributes and permissions', async () => {
    const ana = await join('people', 'ana', {
      name: 'Ana',
      metadata: 'm',
      attributes: { role: 'host', seat: '1' },
      publish: { audio: true, video: true },
    });
    const bob = await RtcClient.join({ url: node.url, room: 'people', identity: 'bob' });
    const changes: Record<string, string>[] = [];
    bob.room.on(RoomEvent.ParticipantAttributesChanged, (changed) => changes.push(changed));
    await until(() => (bob.subscribed.size === 2 ? '' : `bob receives ${bob.subscribed.size}`));

    const list = await rooms.listParticipants('people');
    assert.deepEqual(list.map(({ identity }) => identity).toSorted(), ['ana', 'bob']);
    const info = await rooms.getParticipant('people', 'ana');
    assert.deepEqual(
      [info.sid, info.name, info.metadata, info.attributes, info.state, info.isPublisher, info.tracks.length],
      [ana.sid, 'Ana', 'm', { role: 'host', seat: '1' }, ParticipantInfo_State.ACTIVE, true, 2],
    );
    assert.deepEqual([info.permission?.canPublish, info.permission?.canSubscribe], [true, true]);

    const updated = await rooms.updateParticipant('people', 'ana', {
      name: 'Anna',
      metadata: 'n',
      attributes: { role: 'guest', seat: '' },
    });
    assert.deepEqual([updated.name, updated.metadata, updated.attributes], ['Anna', 'n', { role: 'guest' }]);
    await ana.waitForParticipant('ana', ({ name, attributes }) => name === 'Anna' && attributes['role'] === 'guest');
    await until(() => {
      const seen = bob.room.remoteParticipants.get('ana');
      const { name, metadata, attributes } = seen ?? {};
      return name === 'Anna' && metadata === 'n' && attributes?.['role'] === 'guest' && attributes['seat'] === undefined
        ? ''
        : `bob sees ${JSON.stringify({ name, metadata, attributes })}`;
    });
    assert.ok(changes.length > 0);

    // The older form of the same call, which many applications use.
    await rooms.updateParticipant('people', 'ana', undefined, {
      canPublish: false,
      canSubscribe: true,
      canPublishData: true,
    });
    for (const trackSid of ana.publishedTrackSids) {
      await ana.waitForMessage((message) => message.case === 'trackUnpublished' && message.value.trackSid === trackSid);
    }
    await until(() => (bob.subscribed.size === 0 ? '' : `bob still receives ${bob.subscribed.size}`));
    const silenced = await rooms.getParticipant('people', 'ana');
    assert.deepEqual([silenced.tracks.length, silenced.permission?.canPublish], [0, false]);
    await assert.rejects(ana.publishAudio(), /refused the track.*NOT_ALLOWED/);

    await rooms.updateParticipant('people', 'ana', {
      permission: { canPublish: true, canSubscribe: true, canPublishSources: [TrackSource.MICROPHONE] },
    });
    await ana.waitForParticipant('ana', ({ permission }) => permission?.canPublish === true);
    const trackSid = await ana.publishAudio();
    await bob.waitForTrack('ana', 'audio');
    await assert.rejects(ana.publishVideo(), /refused the track.*NOT_ALLOWED/);

    const muted = await rooms.mutePublishedTrack('people', 'ana', trackSid, true);
    assert.deepEqual([muted.sid, muted.muted], [trackSid, true]);
    await ana.waitForMessage(
      (message) => message.case === 'mute' && message.value.sid === trackSid && message.value.muted,
    );
    await until(() =>
      bob.room.remoteParticipants.get('ana')?.trackPublications.get(trackSid)?.muted === true ? '' : 'not muted at bob',
    );
    assert.deepEqual(await refused(rooms.mutePublishedTrack('people', 'ana', trackSid, false)), {
      status: 412,
      code: 'failed_precondition',
      message: 'remote unmute not enabled',
    });

    const eve = await join('people', 'eve');
    await eve.waitFor(() => eve.subscribedTrackSids.includes(trackSid), 'that eve is subscribed');
    await rooms.updateSubscriptions('people', 'eve', [trackSid], false);
    await eve.waitFor(() => !eve.subscribedTrackSids.includes(trackSid), 'that eve is not subscribed');
    await rooms.updateSubscriptions('people', 'eve', [trackSid], true);
    await eve.waitFor(() => eve.subscribedTrackSids.includes(trackSid), 'that eve is subscribed again');
    await eve.leave();

    const disconnected = new Promise((resolve) => bob.room.on(RoomEvent.Disconnected, resolve));
    await rooms.removeParticipant('people', 'bob', { revokeTokenTs: 0n });
    assert.equal(await disconnected, DisconnectReason.PARTICIPANT_REMOVED);
    await ana.waitFor(() => !ana.participants.has('bob'), 'that bob is gone');
    assert.equal((await refused(rooms.getParticipant('people', 'bob'))).message, 'participant does not exist');
    await bob.close();
    await ana.leave();
  });

  it('sends data to all or to some and calls procedures of participants', async () => {
    const light = await join('data', 'light');
    await light.waitForChannels();
    const real = await RtcClient.join({ url: node.url, room: 'data', identity: 'real' });
    const atReal: string[] = [];
    real.room.on(RoomEvent.DataReceived, (payload, from, _kind, topic) => {
      atReal.push(`${topic ?? ''}:${text(payload)}:${from?.identity ?? 'server'}`);
    });

    await rooms.sendData('data', bytes('all'), DataPacket_Kind.RELIABLE, { topic: 'news' });
    const packet = await light.waitForPacket(
      ({ value }) => value.case === 'user' && text(value.value.payload) === 'all',
    );
    assert.ok(packet.value.case === 'user');
    assert.deepEqual(
      [packet.kind, packet.value.value.topic, packet.participantSid, packet.participantIdentity],
      [DataPacket_Kind.RELIABLE, 'news', '', ''],
    );
    await until(() => (atReal.includes('news:all:server') ? '' : `real got ${atReal.join()}`));

    await rooms.sendData('data', bytes('lossy'), DataPacket_Kind.LOSSY, {});
    const lossy = await light.waitForPacket(
      ({ value }) => value.case === 'user' && text(value.value.payload) === 'lossy',
    );
    assert.equal(lossy.kind, DataPacket_Kind.LOSSY);

    await rooms.sendData('data', bytes('by identity'), DataPacket_Kind.RELIABLE, {
      destinationIdentities: ['light', 'nobody'],
    });
    await rooms.sendData('data', bytes('by sid'), DataPacket_Kind.RELIABLE, [light.sid]);
    await rooms.sendData('data', bytes('to strangers'), DataPacket_Kind.RELIABLE, {
      destinationIdentities: ['nobody'],
    });
    await rooms.sendData('data', bytes('to real'), DataPacket_Kind.RELIABLE, { destinationIdentities: ['real'] });
    await light.waitForPacket(({ value }) => value.case === 'user' && text(value.value.payload) === 'by sid');
    await until(() => (atReal.includes(':to real:server') ? '' : `real got ${atReal.join()}`));
    const toLight = light.packets.flatMap(({ value }) => (value.case === 'user' ? [text(value.value.payload)] : []));
    assert.deepEqual(toLight, ['all', 'lossy', 'by identity', 'by sid']);
    assert.ok(!atReal.some((entry) => entry.includes('by ') || entry.includes('strangers')));

    real.local.registerRpcMethod('greet', ({ payload, callerIdentity }) =>
      Promise.resolve(`hello ${payload} ${callerIdentity}`),
    );
    real.local.registerRpcMethod('fail', () => Promise.reject(new RpcError(4711, 'no way', 'details')));
    const answer = await performRpc({ destinationIdentity: 'real', method: 'greet', payload: 'you' });
    assert.deepEqual([answer.status, answer.body['payload']], [200, 'hello you ']);
    const failed = await performRpc({ destinationIdentity: 'real', method: 'fail' });
    assert.deepEqual([failed.body['msg'], (failed.body['meta'] as { rpc_code?: string }).rpc_code], ['no way', '4711']);
    const missing = await performRpc({ destinationIdentity: 'nobody', method: 'greet' });
    assert.deepEqual([missing.status, missing.body['code']], [404, 'not_found']);
    const silent = await performRpc({ destinationIdentity: 'light', method: 'greet', responseTimeoutMs: 300 });
    assert.deepEqual([silent.status, silent.body['msg']], [408, 'Connection timeout']);
    const tooLarge = await performRpc({ destinationIdentity: 'real', method: 'greet', payload: 'x'.repeat(15_361) });
    assert.deepEqual([tooLarge.status, tooLarge.body['code']], [400, 'invalid_argument']);
    await real.close();
    await light.leave();
  });

  it('gets the errors that applications match on', async () => {
    const ana = await join('errors', 'ana');
    const noRoom = { status: 404, code: 'not_found', message: 'requested room does not exist' };
    const noParticipant = { status: 404, code: 'not_found', message: 'participant does not exist' };
    assert.deepEqual(await refused(rooms.deleteRoom('nowhere')), noRoom);
    assert.deepEqual(await refused(rooms.updateRoomMetadata('nowhere', 'x')), noRoom);
    assert.deepEqual(await refused(rooms.sendData('nowhere', bytes('x'), DataPacket_Kind.RELIABLE, {})), noRoom);
    assert.deepEqual(await rooms.listParticipants('nowhere'), []);
    assert.equal((await refused(rooms.getParticipant('nowhere', 'ana'))).code, 'not_found');
    assert.deepEqual(await refused(rooms.getParticipant('errors', 'bob')), noParticipant);
    assert.deepEqual(await refused(rooms.removeParticipant('errors', 'bob')), noParticipant);
    assert.deepEqual(await refused(rooms.updateParticipant('errors', 'bob', { name: 'x' })), noParticipant);
    assert.deepEqual(await refused(rooms.updateSubscriptions('errors', 'bob', ['TR_x'], true)), noParticipant);
    assert.deepEqual(await refused(rooms.mutePublishedTrack('errors', 'bob', 'TR_x', true)), noParticipant);
    assert.deepEqual(await refused(rooms.mutePublishedTrack('errors', 'ana', 'TR_x', true)), {
      ...noParticipant,
      message: 'track is not found',
    });
    const invalid = async (call: Promise<unknown>): Promise<string> => {
      const { status, code, message } = await refused(call);
      assert.deepEqual([status, code], [400, 'invalid_argument']);
      return message;
    };
    assert.equal(await invalid(rooms.createRoom({ name: '' })), 'no room name');
    assert.equal(await invalid(rooms.createRoom({ name: 'x'.repeat(257) })), 'room name length exceeds limits');
    const huge = 'x'.repeat(512 * 1024 + 1);
    assert.equal(await invalid(rooms.createRoom({ name: 'y', metadata: huge })), 'metadata size exceeds limits');
    assert.equal(await invalid(rooms.updateRoomMetadata('errors', huge)), 'metadata size exceeds limits');
    assert.match(
      await invalid(rooms.updateParticipant('errors', 'ana', { attributes: { a: 'x'.repeat(65_536) } })),
      /attribute size exceeds limits/,
    );
    assert.match(
      await invalid(rooms.sendData('errors', randomBytes(64_001), DataPacket_Kind.RELIABLE, {})),
      /data size exceeds limits/,
    );
    assert.match(await invalid(rooms.moveParticipant('errors', 'ana', 'errors')), /destination room/);
    assert.deepEqual(await refused(rooms.moveParticipant('errors', 'ana', 'elsewhere')), noRoom);
    assert.deepEqual(await refused(rooms.moveParticipant('errors', 'bob', 'elsewhere')), noRoom);
    for (const call of [
      rooms.forwardParticipant('errors', 'ana', 'elsewhere'),
      rooms.createRoom({ name: 'recorded', egress: new RoomEgress() }),
    ]) {
      const { status, code } = await refused(call);
      assert.deepEqual([status, code], [501, 'unimplemented']);
    }
    assert.deepEqual(await rooms.listRooms(['recorded']), []);
    await ana.leave();
  });

  it('needs a grant for each call', async () => {
    await rooms.createRoom({ name: 'guarded' });
    const call = async (method: string, body: object, grant: object): Promise<[number, unknown]> => {
      const token = new AccessToken(devKey.apiKey, devKey.apiSecret, { identity: 'caller' });
      token.addGrant(grant);
      const response = await fetch(`${node.url}/twirp/livekit.RoomService/${method}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await token.toJwt()}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      return [response.status, ((await response.json()) as { msg?: string }).msg];
    };
    const denied = [401, 'permissions denied'];
    assert.deepEqual(await call('CreateRoom', { name: 'guarded' }, { roomList: true }), denied);
    assert.deepEqual(await call('ListRooms', {}, { roomCreate: true }), denied);
    assert.deepEqual(await call('DeleteRoom', { room: 'guarded' }, { roomAdmin: true, room: 'guarded' }), denied);
    assert.deepEqual(await call('ListParticipants', { room: 'guarded' }, { roomAdmin: true, room: 'other' }), denied);
    assert.deepEqual(await call('SendData', { room: 'guarded' }, { roomJoin: true, room: 'guarded' }), denied);
    assert.equal((await call('ListParticipants', { room: 'guarded' }, { roomAdmin: true, room: 'guarded' }))[0], 200);

    const unknownKey = await refused(new RoomServiceClient(node.url, 'nobody', 'secret').listRooms());
    assert.deepEqual([unknownKey.status, unknownKey.message], [401, 'invalid API key']);
    const wrongSecret = await refused(new RoomServiceClient(node.url, devKey.apiKey, 'wrong').listRooms());
    assert.equal(wrongSecret.status, 401);
    await rooms.deleteRoom('guarded');
  });

  it('verifies every webhook of a call, in order, over a receiver that fails and recovers', async () => {
    hooks.failNext(2);
    await rooms.createRoom({ name: 'hooked', departureTimeout: 1 });
    await hooks.waitFor('hooked', 'room_started');
    assert.equal(hooks.failed, 2);
    const ana = await join('hooked', 'ana', { publish: { audio: true } });
    const bob = await RtcClient.join({ url: node.url, room: 'hooked', identity: 'bob' });
    await bob.waitForTrack('ana', 'audio');
    const [trackSid = ''] = ana.publishedTrackSids;
    await ana.unpublish(trackSid);
    await hooks.waitFor('hooked', 'track_unpublished');
    await ana.publishVideo();
    await bob.waitForTrack('ana', 'video');
    await bob.close();
    await ana.leave();
    const finished = await hooks.waitFor('hooked', 'room_finished');

    const events = hooks.ofRoom('hooked');
    const told = events.map(({ event, participant, track }) =>
      `${event} ${participant?.identity ?? ''}${track ? ' track' : ''}`.trim(),
    );
    assert.deepEqual(told, [
      'room_started',
      'participant_joined ana',
      'track_published ana track',
      'participant_joined bob',
      'track_unpublished ana track',
      'track_published ana track',
      'participant_left bob',
      'track_unpublished ana track',
      'participant_left ana',
      'room_finished',
    ]);
    assert.deepEqual(hooks.complaints, []);
    assert.equal(new Set(events.map(({ id }) => id)).size, events.length);
    assert.ok(events.every(({ id, createdAt }) => id.startsWith('EV_') && Number(createdAt) > Date.now() / 1000 - 600));
    assert.ok(events.every(({ room }) => room?.sid === finished.room?.sid));
    const [, joined] = events as [WebhookEvent, WebhookEvent];
    assert.equal(joined.participant?.state, ParticipantInfo_State.ACTIVE);
    const left = events.find(({ event }) => event === 'participant_left');
    assert.equal(left?.participant?.disconnectReason, DisconnectReason.CLIENT_INITIATED);
    assert.equal(events[2]?.track?.sid, trackSid);
  });

  it('finds numbers in the metrics that fit the call', async () => {
    const before = await node.metrics();
    const publisher = await join('measured', 'publisher', { publish: { audio: true, video: true } });
    const subscribers = await Promise.all([join('measured', 'one'), join('measured', 'two')]);
    for (const subscriber of subscribers) {
      for (const trackSid of publisher.publishedTrackSids) await subscriber.waitForTrack(trackSid);
    }
    const notDecodable = new Uint8Array([0xff, 0xff, 0xff]);
    await publisher.sendData(bytes('counted'));
    publisher.publisherPeer?.send(0, notDecodable);
    await until(
      async () => {
        const now = await node.metrics();
        const grown = (name: string, labels: Record<string, string> = {}): number =>
          now.sum(name, labels) - before.sum(name, labels);
        const complaints = Object.entries({
          rooms: now.sum('livekit_room_total') === 1,
          participants: now.sum('livekit_participant_total') === 3,
          'published audio': now.sum('livekit_track_published_total', { kind: 'audio' }) === 1,
          'published video': now.sum('livekit_track_published_total', { kind: 'video' }) === 1,
          'subscribed audio': now.sum('livekit_track_subscribed_total', { kind: 'audio' }) === 2,
          'subscribed video': now.sum('livekit_track_subscribed_total', { kind: 'video' }) === 2,
          sockets: now.sum('plenum_signal_connections') === 3,
          joins: grown('livekit_participant_join_total', { state: 'rtc_connected' }) === 3,
          'join latencies': grown('livekit_session_join_latency_ms_count') === 3,
          publishes: grown('livekit_track_publish_counter') === 2,
          'packets in': grown('livekit_packet_total', { direction: 'incoming', transmission: 'initial' }) > 50,
          'packets out': grown('livekit_packet_total', { direction: 'outgoing', transmission: 'initial' }) > 100,
          'bytes out': grown('livekit_packet_bytes', { direction: 'outgoing' }) > 10_000,
          'key frames': grown('livekit_pli_total', { direction: 'incoming' }) > 0,
          'dropped data': grown('plenum_data_packets_dropped_total', { reason: 'malformed' }) === 1,
          'worker CPU': now.sum('plenum_worker_cpu_seconds_total') > 0,
          'worker memory': now.sum('plenum_worker_resident_bytes') > 1_000_000,
        }).flatMap(([what, isRight]) => (isRight ? [] : [what]));
        return complaints.join(', ');
      },
      { timeoutMs: 20_000, intervalMs: 500 },
    );
    await Promise.all([publisher, ...subscribers].map((client) => client.leave()));
    await rooms.deleteRoom('measured');
    const end = await node.metrics();
    assert.equal(end.sum('livekit_room_total'), 0);
    assert.equal(end.sum('livekit_participant_total'), 0);
    assert.equal(end.sum('livekit_session_duration_ms_count') - before.sum('livekit_session_duration_ms_count'), 3);
    assert.equal(end.sum('livekit_room_duration_seconds_count') - before.sum('livekit_room_duration_seconds_count'), 1);
    assert.ok(end.sum('livekit_node_twirp_request_status', { method: 'DeleteRoom', code: 'not_found' }) >= 1);
    assert.ok(end.sum('livekit_webhook_dispatch_total', { status: 'delivered' }) > 20);
  });
}

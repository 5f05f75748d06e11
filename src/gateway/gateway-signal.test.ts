import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import {
  ClientInfo_SDK,
  DisconnectReason,
  JoinRequest,
  LeaveRequest_Action,
  SignalRequest,
  SignalResponse,
  WrappedJoinRequest,
} from '@livekit/protocol';
import { PlenumError } from '../lib/errors.ts';
import { nodeId } from '../protocol/ids.ts';
import { decodeSignalRequest } from '../protocol/signal.ts';
import {
  accessToken,
  joined,
  joinFrame,
  joinUrl,
  startGateway,
  TestClient,
  until,
  type TestGateway,
} from './gateway-test-kit.ts';

function muteFrame(sid: string): Uint8Array {
  return new SignalResponse({ message: { case: 'mute', value: { sid, muted: true } } }).toBinary();
}

function muteRequest(sid: string): Uint8Array {
  return new SignalRequest({ message: { case: 'mute', value: { sid, muted: true } } as never }).toBinary();
}

function wrapped(request: JoinRequest): string {
  const bytes = new WrappedJoinRequest({ joinRequest: request.toBinary() }).toBinary();
  return Buffer.from(bytes).toString('base64url');
}

function mutesOf(gateway: TestGateway): string[] {
  return gateway.host.of('signal').flatMap(({ message }) => {
    const request = SignalRequest.fromBinary(message).message;
    return request.case === 'mute' ? [request.value.sid] : [];
  });
}

/** A full exchange: what the host said before has arrived. */
async function settled(gateway: TestGateway, client: TestClient): Promise<void> {
  client.request({ case: 'mute', value: { sid: 'TR_first', muted: true } });
  await until('the first message', () => mutesOf(gateway).length === 1);
}

function causes(gateway: { host: { of: (kind: 'socketClosed') => { cause: string }[] } }): string[] {
  return gateway.host.of('socketClosed').map((message) => message.cause);
}

describe('join', () => {
  it('opens the socket with the first answer of the room and carries messages both ways', async () => {
    await using gateway = await startGateway();
    const client = await joined(gateway);
    assert.equal((await client.first()).message.case, 'join');
    const [{ join, connectionId } = assert.fail('no join')] = gateway.host.of('join');
    assert.equal(join.identity, 'alice');
    assert.equal(join.roomName, 'hall');
    assert.equal(join.client.address, '127.0.0.1');
    client.request({ case: 'mute', value: { sid: 'TR_a', muted: true } });
    const signal = await until('the signal', () => gateway.host.of('signal')[0]);
    assert.equal(signal.connectionId, connectionId);
    assert.equal(SignalRequest.fromBinary(signal.message).message.case, 'mute');
    gateway.host.say({ kind: 'send', connectionIds: [connectionId], message: muteFrame('TR_b') });
    assert.equal((await client.response(1)).message.case, 'mute');
    client.socket.close(1000);
    await until('the farewell', () => causes(gateway)[0] === 'client-closed');
    assert.deepEqual(gateway.observer.ends, ['open', 'client-closed']);
    assert.deepEqual(gateway.observer.answers, [101]);
    assert.equal(gateway.gateway.load.sessions, 0);
  });

  it('takes the token from the header, as rtc-node sends it', async () => {
    await using gateway = await startGateway();
    const client = new TestClient(`${gateway.ws}/rtc?sdk=node`, {
      headers: { authorization: `Bearer ${accessToken()}` },
    });
    await client.first();
    assert.equal(gateway.host.of('join')[0]?.join.client.sdk, 12);
    client.socket.terminate();
  });

  it('does not open the socket before the room has answered', async () => {
    await using gateway = await startGateway();
    gateway.host.onJoin = () => undefined;
    const client = new TestClient(joinUrl(gateway));
    await until('the join', () => gateway.host.of('join')[0]);
    // A full exchange on another connection: whatever the gateway would have sent by itself has arrived by then.
    assert.equal((await fetch(gateway.http)).status, 200);
    assert.equal(client.opened, false);
    assert.equal(gateway.gateway.load.pendingJoins, 1);
    gateway.host.accept(gateway.host.connectionAt());
    await client.first();
    assert.equal(gateway.gateway.load.pendingJoins, 0);
    client.socket.terminate();
  });

  it('shares one link among all connections to a node and sends one frame to many', async () => {
    await using gateway = await startGateway();
    const clients = await Promise.all([joined(gateway), joined(gateway), joined(gateway)]);
    assert.equal(gateway.host.links, 1);
    const connectionIds = gateway.host.of('join').map((message) => message.connectionId);
    gateway.host.say({ kind: 'send', connectionIds, message: muteFrame('TR_x') });
    for (const client of clients) {
      assert.equal((await client.response(1)).message.case, 'mute');
      client.socket.terminate();
    }
    assert.deepEqual(gateway.observer.sent, [[muteFrame('TR_x').length, 3]]);
  });

  it('answers refusals of the room, of the checks and of the directory before the upgrade', async () => {
    await using gateway = await startGateway();
    gateway.host.onJoin = (connectionId) =>
      gateway.host.say({ kind: 'refused', connectionId, status: 403, body: 'room is full' });
    assert.equal(await new TestClient(joinUrl(gateway)).refusal(), '403 room is full');
    assert.equal(await new TestClient(joinUrl(gateway, '', { sub: '' })).refusal(), '400 identity cannot be empty');
    assert.equal(await new TestClient(`${gateway.ws}/rtc`).refusal(), '401 permissions denied');
    assert.equal(await new TestClient(`${gateway.ws}/rtc?access_token=x`).refusal(), '401 invalid authorization token');
    assert.equal(await new TestClient(joinUrl(gateway, 'join_request=abc')).refusal(), '404 not found');
    gateway.host.placeError = new PlenumError({
      code: 'unavailable',
      reason: 'no-capacity',
      message: 'no node has room',
    });
    assert.equal(await new TestClient(joinUrl(gateway)).refusal(), '503 no node has room');
    gateway.host.placeError = new PlenumError({ code: 'not_found', reason: 'odd', message: 'lost' });
    assert.equal(await new TestClient(joinUrl(gateway)).refusal(), '503 lost', 'a 404 would be final');
    gateway.host.placeError = new TypeError('a bug');
    assert.equal(await new TestClient(joinUrl(gateway)).refusal(), '500 internal error');
    assert.deepEqual(causes(gateway), [], 'a host that refused needs no farewell');
    assert.equal(gateway.gateway.load.sessions, 0);
  });

  it('answers 404 on /rtc/v1 and other paths, with CORS', async () => {
    await using gateway = await startGateway();
    assert.equal(
      await new TestClient(`${gateway.ws}/rtc/v1?join_request=a&access_token=${accessToken()}`).refusal(),
      '404 not found',
    );
    assert.equal(await new TestClient(`${gateway.ws}/agent`).refusal(), '404 not found');
  });

  it('hands the join request of /rtc/v1 to the room, with what came in it', async () => {
    await using gateway = await startGateway({ settings: { rtc: { single_peer_connection: true } } });
    const request = new JoinRequest({
      clientInfo: { sdk: ClientInfo_SDK.NODE, protocol: 17, version: '2.23.0' },
      connectionSettings: { autoSubscribe: true },
      publisherOffer: { type: 'offer', sdp: 'x'.repeat(40_000), id: 1 },
    });
    const url = (path: string, text: string): string =>
      `${gateway.ws}${path}?join_request=${text}&access_token=${accessToken()}`;
    const client = new TestClient(url('/rtc/v1', wrapped(request)));
    await client.first();
    const [join] = gateway.host.of('join');
    assert.equal(join?.join.singlePeerConnection, true);
    assert.equal(join.join.autoSubscribe, true);
    assert.equal(join.join.client.version, '2.23.0');
    const [early] = join.join.earlyMessages ?? [];
    assert.equal(decodeSignalRequest(early ?? new Uint8Array())?.message.case, 'offer');
    client.socket.terminate();
    assert.equal(await new TestClient(url('/rtc/v1', '%2A')).refusal(), '400 join_request is malformed');
    assert.equal(await new TestClient(url('/rtc/v1', '')).refusal(), '400 join_request is required');
  });

  it('refuses rooms that do not exist when joining does not make them', async () => {
    await using gateway = await startGateway({ settings: { room: { auto_create: false } } });
    assert.equal(await new TestClient(joinUrl(gateway)).refusal(), '404 requested room does not exist');
    const creator = new TestClient(joinUrl(gateway, '', { video: { roomJoin: true, room: 'hall', roomCreate: true } }));
    await creator.first();
    creator.socket.terminate();
    gateway.host.rooms.add('hall');
    (await joined(gateway)).socket.terminate();
  });

  it('answers a resume into a room that is gone with leave RECONNECT, never with an error', async () => {
    await using gateway = await startGateway({ settings: { room: { auto_create: false } } });
    const client = new TestClient(joinUrl(gateway, 'reconnect=1&sid=PA_x'));
    const { message } = await client.first();
    assert.equal(message.case, 'leave');
    assert.equal(message.value?.action, LeaveRequest_Action.RECONNECT);
    assert.equal(message.value?.reason, DisconnectReason.STATE_MISMATCH);
    assert.match(await client.closing(), /^1000 /);
    assert.deepEqual(gateway.host.received, []);
  });

  it('gives up with 503 when the room does not answer, and tells it', async () => {
    await using gateway = await startGateway({ timings: { firstAnswerTimeoutMs: 30 } });
    gateway.host.onJoin = () => undefined;
    const client = new TestClient(joinUrl(gateway));
    assert.equal(await client.refusal(), '503 the room did not answer in time');
    await until('the farewell', () => causes(gateway)[0] === 'client-closed');
    gateway.host.accept(gateway.host.connectionAt());
    assert.equal((await fetch(gateway.http)).status, 200);
    assert.equal(client.opened, false);
  });

  it('tells the room when the client vanishes before the answer', async () => {
    await using gateway = await startGateway();
    gateway.host.onJoin = () => undefined;
    const reset = new TestClient(joinUrl(gateway));
    await until('the join', () => gateway.host.of('join')[0]);
    reset.socket.terminate();
    await until('the farewell', () => causes(gateway).length === 1);
    const path = joinUrl(gateway).slice(gateway.ws.length);
    const key = randomBytes(16).toString('base64');
    const socket = connect(gateway.gateway.port, '127.0.0.1').on('error', () => undefined);
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
    );
    await until('the second join', () => gateway.host.of('join')[1]);
    socket.end();
    await until('the second farewell', () => causes(gateway).length === 2);
    await until('the end of all connections', () => gateway.observer.connections === 0);
    assert.deepEqual(causes(gateway), ['client-closed', 'client-closed']);
    assert.deepEqual(gateway.gateway.load, { connections: 0, sessions: 0, pendingJoins: 0, hostLinks: 1 });
  });

  it('turns away clients that send before they are answered', async () => {
    await using gateway = await startGateway();
    gateway.host.onJoin = () => undefined;
    const socket = connect(gateway.gateway.port, '127.0.0.1').on('error', () => undefined);
    let received = '';
    socket.setEncoding('utf8').on('data', (chunk) => (received += chunk));
    const path = joinUrl(gateway).slice(gateway.ws.length);
    const key = randomBytes(16).toString('base64');
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
    );
    await until('the join', () => gateway.host.of('join')[0]);
    socket.write('too early');
    await until('the refusal', () => received.startsWith('HTTP/1.1 400 '));
    await until('the farewell', () => causes(gateway).length === 1);
  });

  it('refuses handshakes that are none, before the room hears of them', async () => {
    await using gateway = await startGateway();
    const path = joinUrl(gateway).slice(gateway.ws.length);
    const socket = connect(gateway.gateway.port, '127.0.0.1').on('error', () => undefined);
    let received = '';
    socket.setEncoding('utf8').on('data', (chunk) => (received += chunk));
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: short\r\n\r\n`,
    );
    await until('the refusal', () => received.startsWith('HTTP/1.1 400 '));
    assert.deepEqual(gateway.host.received, []);
  });

  it('bounds the joins that are under way', async () => {
    await using gateway = await startGateway({ settings: { limit: { max_pending_joins: 1 } } });
    gateway.host.onJoin = () => undefined;
    const first = new TestClient(joinUrl(gateway));
    await until('the join', () => gateway.host.of('join')[0]);
    assert.equal(await new TestClient(joinUrl(gateway)).refusal(), '503 too many joins under way');
    gateway.host.accept(gateway.host.connectionAt());
    await first.first();
    first.socket.terminate();
  });
});

describe('pings', () => {
  it('of both kinds are answered at the edge', async () => {
    await using gateway = await startGateway();
    const client = await joined(gateway);
    const sentAtMs = BigInt(Date.now());
    client.request({ case: 'ping', value: sentAtMs });
    client.request({ case: 'pingReq', value: { timestamp: 42n, rtt: 3n } });
    const pong = (await client.response(1)).message;
    assert.ok(pong.case === 'pong' && pong.value >= sentAtMs);
    const pongResp = (await client.response(2)).message;
    assert.ok(
      pongResp.case === 'pongResp' && pongResp.value.lastPingTimestamp === 42n && pongResp.value.timestamp >= sentAtMs,
    );
    assert.deepEqual(gateway.host.of('signal'), []);
    client.socket.terminate();
  });

  it('of the WebSocket keep a silent client alive, and its absence ends the session', async () => {
    await using gateway = await startGateway({ timings: { pingIntervalMs: 20, pingTimeoutMs: 200 } });
    const alive = await joined(gateway);
    const dead = await joined(gateway, { autoPong: false });
    await until('the dead one to be cut', () => dead.closed);
    assert.deepEqual(causes(gateway), ['ping-timeout']);
    assert.equal(gateway.host.of('socketClosed')[0]?.connectionId, gateway.host.connectionAt(1));
    await until('more pings', () => alive.pings > 12);
    assert.equal(alive.closed, undefined);
    alive.socket.terminate();
  });
});

describe('JSON frames', () => {
  it('are answered with JSON, and binary again after a binary message', async () => {
    await using gateway = await startGateway();
    const client = await joined(gateway);
    client.socket.send('{"pingReq":{"timestamp":"7"}}');
    const pong = await until('the answer', () => client.messages[1]);
    assert.equal(pong.isBinary, false);
    assert.equal(
      (JSON.parse(pong.data.toString()) as { pongResp: { lastPingTimestamp: string } }).pongResp.lastPingTimestamp,
      '7',
    );
    client.socket.send('{"mute":{"sid":"TR_a"}}');
    const signal = await until('the signal', () => gateway.host.of('signal')[0]);
    assert.equal(SignalRequest.fromBinary(signal.message).message.case, 'mute');
    gateway.host.say({ kind: 'send', connectionIds: [signal.connectionId], message: muteFrame('TR_b') });
    const mute = await until('the message', () => client.messages[2]);
    assert.deepEqual(JSON.parse(mute.data.toString()), { mute: { sid: 'TR_b', muted: true } });
    client.request({ case: 'ping', value: 1n });
    assert.equal((await client.response(3)).message.case, 'pong');
    client.socket.terminate();
  });
});

describe('bad input', () => {
  const attacks: Record<string, { attack: (client: TestClient) => void; closing: RegExp; cause: string }> = {
    garbage: {
      attack: (client) => client.socket.send(Buffer.alloc(50, 0xff)),
      closing: /^1007 undecodable signal message$/,
      cause: 'bad-message',
    },
    'truncated protobuf': {
      attack: (client) => client.socket.send(Buffer.from([0x0a, 0x40, 1, 2])),
      closing: /^1007 /,
      cause: 'bad-message',
    },
    'text that is not protojson': {
      attack: (client) => client.socket.send('{"offer":3}'),
      closing: /^1007 /,
      cause: 'bad-message',
    },
    'an oversized message': {
      attack: (client) => client.socket.send(Buffer.alloc(2001)),
      closing: /^1009 /,
      cause: 'message-too-large',
    },
    'a message that is oversized after decompression': {
      attack: (client) => client.socket.send(Buffer.alloc(100_000), { compress: true }),
      closing: /^1009 /,
      cause: 'message-too-large',
    },
    'a flood of messages': {
      attack: (client) => {
        for (let count = 0; count < 6000; count += 1) {
          client.socket.send(Buffer.from([0x2a, 0]));
        }
      },
      closing: /^1008 too many signal messages$/,
      cause: 'bad-message',
    },
  };
  for (const [name, { attack, closing, cause }] of Object.entries(attacks)) {
    it(`${name} ends this socket with its documented code and no other`, async () => {
      await using gateway = await startGateway({ settings: { limit: { signal_message_size_limit: 2000 } } });
      const bystander = await joined(gateway);
      const client = await joined(gateway, { perMessageDeflate: { threshold: 0 } });
      attack(client);
      assert.match(await client.closing(), closing);
      await until('the farewell', () => causes(gateway)[0]);
      assert.deepEqual(causes(gateway), [cause]);
      bystander.request({ case: 'ping', value: 1n });
      assert.equal((await bystander.response(1)).message.case, 'pong');
      bystander.socket.terminate();
    });
  }

  it('a client that never reads is closed at its bound while others go on', async () => {
    await using gateway = await startGateway({ settings: { limit: { signal_queue_bytes: 1_000_000 } } });
    const reader = await joined(gateway);
    const slow = await joined(gateway);
    slow.socket.pause();
    const connectionIds = gateway.host.of('join').map((message) => message.connectionId);
    // Random bytes do not shrink; the kernel's buffers take several MB before anything waits in the gateway.
    const update = new SignalResponse({
      message: { case: 'refreshToken', value: randomBytes(150_000).toString('base64') },
    }).toBinary();
    let rounds = 0;
    await until('the slow one to be closed', () => {
      // Paced by the reader, which shares this test's thread and must not run into the bound itself.
      if (reader.messages.length === rounds + 1) {
        rounds += 1;
        gateway.host.say({ kind: 'send', connectionIds, message: update });
      }
      return causes(gateway)[0];
    });
    assert.deepEqual(causes(gateway), ['slow-client']);
    assert.equal(gateway.host.of('socketClosed')[0]?.connectionId, connectionIds[1]);
    await until('the reader to have all', () => reader.messages.length === rounds + 1);
    await until('the slow connection to be cut', () => gateway.observer.connections === 1);
    reader.socket.terminate();
    slow.socket.terminate();
  });

  it('1,000 half-open connections do not hold up a join and are dropped', async () => {
    await using gateway = await startGateway({ timings: { headersTimeoutMs: 1_000 } });
    const sockets: Socket[] = [];
    for (let count = 0; count < 1000; count += 1) {
      const socket = connect(gateway.gateway.port, '127.0.0.1')
        .on('error', () => undefined)
        .resume();
      if (count % 2 === 0) {
        socket.write('GET /rtc?access_token=');
      }
      sockets.push(socket);
    }
    await until('1,000 connections', () => gateway.observer.connections >= 1000);
    const startedAtMs = performance.now();
    const client = await joined(gateway);
    assert.ok(performance.now() - startedAtMs < 1_000);
    await until('all of them to be dropped', () => gateway.observer.connections === 1, 10_000);
    client.request({ case: 'ping', value: 1n });
    assert.equal((await client.response(1)).message.case, 'pong');
    client.socket.terminate();
    for (const socket of sockets) {
      socket.destroy();
    }
  });
});

describe('the end of a session', () => {
  it('follows the host: everything sent before, then its code and reason, and no farewell', async () => {
    await using gateway = await startGateway();
    const client = await joined(gateway);
    const connectionId = gateway.host.connectionAt();
    gateway.host.say({ kind: 'send', connectionIds: [connectionId], message: muteFrame('TR_last') });
    gateway.host.say({ kind: 'closeSocket', connectionId, code: 1000, reason: 'removed' });
    assert.equal(await client.closing(), '1000 removed');
    assert.equal((await client.response(1)).message.case, 'mute');
    assert.deepEqual(causes(gateway), []);
    assert.deepEqual(gateway.observer.ends, ['open', 'host-closed']);
  });

  it('survives close codes and reasons that WebSockets do not allow', async () => {
    await using gateway = await startGateway();
    const client = await joined(gateway);
    gateway.host.say({
      kind: 'closeSocket',
      connectionId: gateway.host.connectionAt(),
      code: 0,
      reason: 'ä'.repeat(100),
    });
    assert.equal(await client.closing(), `1000 ${'ä'.repeat(61)}`);
  });

  it('tells clients to reconnect when the node of their room is lost, and takes pending ones to the next', async () => {
    await using gateway = await startGateway();
    const client = await joined(gateway);
    gateway.host.onJoin = () => undefined;
    const pending = new TestClient(joinUrl(gateway));
    await until('the second join', () => gateway.host.of('join')[1]);
    gateway.host.onJoin = (connectionId) => gateway.host.accept(connectionId);
    gateway.host.link?.close();
    const { message } = await client.response(1);
    assert.ok(
      message.case === 'leave' && message.value.action === LeaveRequest_Action.RECONNECT && message.value.canReconnect,
    );
    assert.match(await client.closing(), /^1012 /);
    assert.equal((await pending.response(0)).message.case, 'join');
    assert.equal(gateway.host.links, 2, 'the next join opens a new link');
    pending.socket.terminate();
  });

  it('of a node refuses its pending joins when no other node has the room in time', async () => {
    await using gateway = await startGateway({ timings: { holdMs: 0 } });
    gateway.host.onJoin = () => undefined;
    const pending = new TestClient(joinUrl(gateway));
    await until('the join', () => gateway.host.of('join')[0]);
    gateway.host.link?.close();
    assert.equal(await pending.refusal(), '503 the node of the room was lost');
    assert.equal(gateway.gateway.load.hostLinks, 0);
  });

  it('makes joins go elsewhere that a node does not host any more', async () => {
    await using gateway = await startGateway();
    gateway.host.onJoin = (connectionId) => {
      gateway.host.onJoin = (again) => gateway.host.accept(again);
      gateway.host.say({ kind: 'notHere', connectionId });
    };
    const client = new TestClient(joinUrl(gateway));
    assert.equal((await client.response(0)).message.case, 'join');
    assert.equal(gateway.host.of('join').length, 2);
    client.socket.terminate();
  });

  it('tells the clients of a room that a node gives away to reconnect when it tells no sessions, and no others', async () => {
    await using gateway = await startGateway();
    gateway.host.onJoin = (connectionId) => gateway.host.say({ kind: 'accepted', connectionId, message: joinFrame() });
    const client = await joined(gateway);
    const other = new TestClient(joinUrl(gateway, '', { sub: 'other', video: { roomJoin: true, room: 'other' } }));
    await other.response(0);
    gateway.host.say({ kind: 'roomLost', roomName: gateway.host.of('join')[0]?.join.roomName ?? '' });
    const { message } = await client.response(1);
    assert.ok(message.case === 'leave' && message.value.action === LeaveRequest_Action.RECONNECT);
    assert.equal(other.socket.readyState, other.socket.OPEN);
    other.socket.terminate();
  });

  it('keeps the sockets of sessions whose media is elsewhere, and takes them to the next host', async () => {
    await using gateway = await startGateway();
    gateway.host.rooms.add('hall');
    const client = await joined(gateway);
    const connectionId = gateway.host.connectionAt();
    gateway.host.say({ kind: 'legHome', connectionId, nodeId: nodeId('elsewhere') });
    await settled(gateway, client);
    gateway.host.link?.close();
    const attach = await until('the session at the next host', () => gateway.host.of('attach')[0]);
    assert.deepEqual(attach, { kind: 'attach', connectionId, roomName: 'hall', participantSid: 'PA_alice' });
    client.request({ case: 'mute', value: { sid: 'TR_meanwhile', muted: true } });
    // Its former host had not dealt with this one.
    gateway.host.say({ kind: 'returned', connectionId, message: muteRequest('TR_before') });
    await until('the message', () => gateway.observer.received === 2);
    assert.deepEqual(mutesOf(gateway), ['TR_first'], 'the next host was told before it had taken the session');
    gateway.host.say({ kind: 'attached', connectionId });
    await until('all that was said', () => mutesOf(gateway).length === 3);
    assert.deepEqual(mutesOf(gateway), ['TR_first', 'TR_before', 'TR_meanwhile']);
    gateway.host.say({ kind: 'send', connectionIds: [connectionId], message: muteFrame('TR_b') });
    assert.equal((await client.response(1)).message.case, 'mute');
    client.socket.close(1000);
    await until('the farewell', () => causes(gateway)[0] === 'client-closed');
  });

  it('follows a room to the node that it was given to, and looks on when that one does not have it', async () => {
    await using gateway = await startGateway();
    gateway.host.rooms.add('hall');
    const client = await joined(gateway);
    const connectionId = gateway.host.connectionAt();
    gateway.host.say({ kind: 'roomLost', roomName: 'hall', nodeId: gateway.host.nodeId });
    await until('the session at the next host', () => gateway.host.of('attach')[0]);
    gateway.host.say({ kind: 'notHere', connectionId });
    await until('another try', () => gateway.host.of('attach')[1]);
    client.socket.close(1000);
    await until('the end of the socket', () => gateway.observer.ends.includes('client-closed'));
    gateway.host.say({ kind: 'attached', connectionId });
    await until('the farewell', () => causes(gateway)[0] === 'client-closed');
  });

  it('tells sessions to join anew for which no host is found in time, or no room', async () => {
    await using gateway = await startGateway({ timings: { hostGraceMs: 100 } });
    gateway.host.rooms.add('hall');
    const client = await joined(gateway);
    const connectionId = gateway.host.connectionAt();
    gateway.host.say({ kind: 'roomLost', roomName: 'hall' });
    await until('the session at the next host', () => gateway.host.of('attach')[0]);
    const again = setInterval(() => gateway.host.say({ kind: 'notHere', connectionId }), 10);
    const { message } = await client.response(1).finally(() => clearInterval(again));
    assert.ok(message.case === 'leave' && message.value.action === LeaveRequest_Action.RECONNECT);
    const other = await joined(gateway);
    gateway.host.rooms.clear();
    gateway.host.say({ kind: 'roomLost', roomName: 'hall' });
    const second = await other.response(1);
    assert.ok(second.message.case === 'leave' && second.message.value.action === LeaveRequest_Action.RECONNECT);
  });

  it('of the gateway closes its sockets with 1001 and tells the host', async () => {
    const gateway = await startGateway();
    const client = await joined(gateway);
    gateway.host.onJoin = () => undefined;
    const pending = new TestClient(joinUrl(gateway));
    await until('the second join', () => gateway.host.of('join')[1]);
    await Promise.all([gateway.gateway.close(), gateway.gateway.close()]);
    assert.equal(await client.closing(), '1001 server is shutting down');
    assert.equal(await pending.refusal(), '503 server is shutting down');
    await until('the farewells', () => causes(gateway).length === 2);
    assert.deepEqual(causes(gateway).sort(), ['client-closed', 'gateway-shutdown']);
    assert.deepEqual(gateway.gateway.load, { connections: 0, sessions: 0, pendingJoins: 0, hostLinks: 0 });
  });

  it('draining refuses new joins and waits for the sessions that run', async () => {
    await using gateway = await startGateway();
    const client = await joined(gateway);
    let drained = false;
    const draining = gateway.gateway.drain().then(() => {
      drained = true;
    });
    assert.equal(await new TestClient(joinUrl(gateway)).refusal(), '503 server is shutting down');
    assert.equal(drained, false);
    client.socket.close();
    await draining;
    await gateway.gateway.drain(AbortSignal.abort());
  });
});

describe('compression', () => {
  it('is used for long messages of clients that offer it', async () => {
    await using gateway = await startGateway();
    const client = await joined(gateway, { perMessageDeflate: true });
    assert.match(client.socket.extensions, /permessage-deflate/);
    const connectionId = gateway.host.connectionAt();
    const bytesBefore = (client.socket as unknown as { _socket: Socket })._socket.bytesRead;
    const long = new SignalResponse({ message: { case: 'refreshToken', value: 'abc'.repeat(100_000) } }).toBinary();
    gateway.host.say({ kind: 'send', connectionIds: [connectionId], message: long });
    gateway.host.say({ kind: 'send', connectionIds: [connectionId], message: joinFrame('second') });
    assert.equal((await client.response(1)).message.case, 'refreshToken');
    assert.equal((await client.response(2)).message.case, 'join', 'order is kept');
    assert.ok((client.socket as unknown as { _socket: Socket })._socket.bytesRead - bytesBefore < 20_000);
    client.socket.terminate();
  });
});

import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { after, afterEach, before, describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  AddTrackRequest,
  LeaveRequest_Action,
  RequestResponse_Reason,
  SessionDescription,
  SignalRequest,
  SignalResponse,
  TrackSource,
  TrackType,
  UpdateParticipantMetadata,
  type LeaveRequest,
} from '@livekit/protocol';
import { RoomServiceClient, type VideoGrant } from 'livekit-server-sdk';
import { WebSocket } from 'ws';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { channelStreams } from '../kit/light/light-publisher.ts';
import type { SignalMessage } from '../kit/light/light-signal.ts';
import { startNode, type InProcessNode } from '../kit/node.ts';
import { devKey, joinToken, type TokenOptions } from '../kit/tokens.ts';
import { until, withDeadline } from '../kit/until.ts';

const nowS = Math.floor(Date.now() / 1000);
const megabyte = 1_000_000;
const maxTracks = 4;

type Refusal = { status: number; body: string };

/** A signal socket and nothing else: what it is told, and how it ends. */
type RawClient = {
  socket: WebSocket;
  messages: SignalMessage[];
  send: (message: SignalRequest['message']) => void;
  ended: () => Promise<{ code: number; reason: string }>;
  waitFor: <Case extends SignalMessage['case']>(kind: Case) => Promise<Extract<SignalMessage, { case: Case }>['value']>;
};

describe('bad input, with a call under way', () => {
  let node: InProcessNode;
  let endpoint: LightEndpoint;
  let call: { publisher: LightClient; subscriber: LightClient; startedAtMs: number };
  let initial: { state: unknown; engine: unknown; heapBytes: number };
  let halfOpen: Socket[] = [];
  let collectGarbage: () => void;
  let round = 0;

  before(async () => {
    setFlagsFromString('--expose-gc');
    collectGarbage = runInNewContext('gc') as () => void;
    node = await startNode({
      config: { room: { departure_timeout: 0 }, limit: { max_tracks_per_participant: maxTracks } },
    });
    endpoint = await LightEndpoint.start();
    call = await startCall();
    // What is made on first use is no leak.
    const warm = await raw({ room: 'warm' });
    warm.socket.close();
    await warm.ended();
    await new RoomServiceClient(node.url, devKey.apiKey, devKey.apiSecret).listParticipants('call');
    await until(() => (node.debug.state().legs.rooms === 1 ? '' : 'the other room is there'));
    initial = await footprint();
    halfOpen = Array.from({ length: 1000 }, (_, index) => openHalf(index));
  });

  /** Half of them say nothing, half begin a request and never end it. */
  function openHalf(index: number): Socket {
    const socket = connect(node.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.resume();
    if (index % 2 === 0) socket.write('GET /rtc?access_token=');
    return socket;
  }

  afterEach(async () => {
    // The call notices nothing of it: not a packet lost, no pause, and data goes through at once.
    const [track = ''] = call.publisher.publishedTrackSids;
    const { lost, runMs } = await call.subscriber.stats(track);
    assert.equal(lost, 0);
    const callMs = performance.now() - call.startedAtMs;
    assert.ok(runMs >= callMs - 200, `an unbroken run of ${runMs} ms in a call of ${callMs} ms`);
    round += 1;
    await call.publisher.sendData(Buffer.from(`round ${round}`));
    const text = `round ${round}`;
    await call.subscriber.waitForPacket(
      ({ value }) => value.case === 'user' && Buffer.from(value.value.payload).toString() === text,
      1000,
    );
  });

  after(async () => {
    for (const socket of halfOpen) socket.destroy();
    await endpoint?.close();
    await node?.close();
  });

  async function startCall(): Promise<typeof call> {
    const join = async (identity: string, audio: boolean): Promise<LightClient> =>
      LightClient.join({
        url: node.url,
        token: await joinToken({ room: 'call', identity }),
        endpoint,
        publish: { audio },
      });
    const publisher = await join('publisher', true);
    const subscriber = await join('subscriber', false);
    await publisher.connectPublisher();
    await subscriber.waitForChannels();
    const [track = ''] = publisher.publishedTrackSids;
    await subscriber.waitForTrack(track, { contiguousMs: 200 });
    await subscriber.stats(track, { reset: true });
    return { publisher, subscriber, startedAtMs: performance.now() };
  }

  async function footprint(): Promise<typeof initial> {
    collectGarbage();
    const { gateway, host, legs, rooms, directoryRooms } = node.debug.state();
    // Those of the API's clients end some time later, by themselves.
    const state = {
      gateway: { ...gateway, connections: 0 },
      host,
      legs,
      rooms: rooms.map(({ name }) => name),
      directoryRooms,
    };
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return { state, engine: await node.debug.engine(), heapBytes: heapUsed + arrayBuffers };
  }

  /** A signal socket of a participant without media. */
  async function raw(options: Partial<TokenOptions> & { room: string }): Promise<RawClient> {
    const token = await joinToken({ identity: 'raw', ...options });
    const socket = new WebSocket(`${node.wsUrl}/rtc?access_token=${token}&protocol=17&sdk=js&version=2.23.0`, {
      // What is repeated would shrink to nothing.
      perMessageDeflate: false,
    });
    const messages: SignalMessage[] = [];
    socket.on('message', (data: Buffer) => {
      const { message } = SignalResponse.fromBinary(data);
      if (message.case !== undefined) messages.push(message);
    });
    socket.on('error', () => {});
    const closed = once(socket, 'close').then(([code, reason]: unknown[]) => ({
      code: Number(code),
      reason: String(reason),
    }));
    await withDeadline(once(socket, 'message'), 'join of a raw client', 5000);
    return {
      socket,
      messages,
      ended: () => withDeadline(closed, 'close of the socket', 10_000),
      send: (message) => socket.send(new SignalRequest({ message }).toBinary()),
      waitFor: async (kind) => {
        const look = () => messages.find((message) => message.case === kind);
        await until(() => (look() ? '' : `no ${kind}: ${messages.map((message) => message.case).join()}`));
        return look()?.value as never;
      },
    };
  }

  describe('in a token', () => {
    const forge = (header: object, claims: object, secret = devKey.apiSecret): string => {
      const text = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
      return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
    };
    const hs256 = { alg: 'HS256', typ: 'JWT' };
    const good = { iss: devKey.apiKey, sub: 'me', exp: nowS + 600, video: { roomJoin: true, room: 'tokens' } };
    const withVideo = (video: VideoGrant): object => ({ ...good, video });

    const cases: [name: string, token: string, expected: { status: number; body: RegExp }][] = [
      ['no JWT', 'garbage', { status: 401, body: /^invalid authorization token$/ }],
      ['three dots', '...', { status: 401, body: /^invalid authorization token$/ }],
      ['binary', randomBytes(300).toString('base64url'), { status: 401, body: /^invalid authorization token$/ }],
      ['algorithm none', forge({ alg: 'none' }, good), { status: 401, body: /^invalid authorization token$/ }],
      ['a foreign key', forge(hs256, { ...good, iss: 'stranger' }), { status: 401, body: /^invalid API key$/ }],
      ['a wrong signature', forge(hs256, good, 'guess'), { status: 401, body: /^invalid authorization token: / }],
      [
        'an old one',
        forge(hs256, { ...good, exp: nowS - 120 }),
        { status: 401, body: /^invalid authorization token: / },
      ],
      [
        'one for later',
        forge(hs256, { ...good, nbf: nowS + 300 }),
        { status: 401, body: /^invalid authorization token: / },
      ],
      ['no expiry', forge(hs256, { ...good, exp: undefined }), { status: 401, body: /^invalid authorization token: / }],
      [
        'claims of wrong types',
        forge(hs256, { ...good, video: 'all' }),
        { status: 401, body: /^invalid authorization token: / },
      ],
      ['no grants', forge(hs256, { ...good, video: undefined }), { status: 401, body: /^permissions denied$/ }],
      [
        'no roomJoin',
        forge(hs256, withVideo({ roomAdmin: true, room: 'tokens' })),
        { status: 401, body: /^permissions denied$/ },
      ],
      ['no room', forge(hs256, withVideo({ roomJoin: true })), { status: 400, body: /^no room name$/ }],
      ['no identity', forge(hs256, { ...good, sub: undefined }), { status: 400, body: /^identity cannot be empty$/ }],
      [
        'a long identity',
        forge(hs256, { ...good, sub: 'i'.repeat(257) }),
        { status: 400, body: /^participant identity length exceeds limits/ },
      ],
      [
        'a long room name',
        forge(hs256, withVideo({ roomJoin: true, room: 'r'.repeat(257) })),
        { status: 400, body: /^room name length exceeds limits/ },
      ],
      [
        'a long name',
        forge(hs256, { ...good, name: 'n'.repeat(257) }),
        { status: 400, body: /^participant name length exceeds limits/ },
      ],
      [
        'large attributes',
        forge(hs256, { ...good, attributes: { a: 'x'.repeat(66_000) } }),
        { status: 400, body: /^attribute size exceeds limits/ },
      ],
      ['large metadata', forge(hs256, { ...good, metadata: 'm'.repeat(600_000) }), { status: 431, body: /^/ }],
    ];
    for (const [name, token, expected] of cases) {
      it(`is refused with its status and text: ${name}`, async () => {
        const upgrade = await refusedUpgrade(`/rtc?access_token=${token}`);
        assert.equal(upgrade.status, expected.status);
        assert.match(upgrade.body, expected.body);
        const validate = await fetch(`${node.url}/rtc/validate`, { headers: { authorization: `Bearer ${token}` } });
        assert.equal(validate.status, expected.status);
        assert.match(await validate.text(), expected.body);
      });
    }

    it('gives no right to the API', async () => {
      const token = forge(hs256, good);
      const ask = async (authorization: string): Promise<number> =>
        (
          await fetch(`${node.url}/twirp/livekit.RoomService/DeleteRoom`, {
            method: 'POST',
            headers: { authorization, 'content-type': 'application/json' },
            body: '{"room":"call"}',
          })
        ).status;
      assert.equal(await ask(`Bearer ${token}`), 401);
      assert.equal(await ask(token), 401);
      assert.equal(await ask('Bearer nonsense'), 401);
    });

    async function refusedUpgrade(path: string): Promise<Refusal> {
      const socket = new WebSocket(`${node.wsUrl}${path}`);
      socket.on('error', () => {});
      const { promise, resolve } = Promise.withResolvers<Refusal>();
      socket.on('unexpected-response', (_request, response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      });
      return withDeadline(promise, 'refusal of the upgrade', 5000);
    }
  });

  describe('on the signal socket', () => {
    const offer = new SignalRequest({
      message: { case: 'offer', value: new SessionDescription({ type: 'offer', sdp: 'v=0\r\n'.repeat(50), id: 1 }) },
    }).toBinary();
    // A well-formed field 1 whose content is no SessionDescription.
    const brokenInside = Buffer.from([0x0a, 0x03, 0x0a, 0xff, 0x01]);
    const frames: [name: string, frame: Uint8Array | string, code: number][] = [
      ['random bytes', Buffer.concat([Buffer.from([0xff, 0x07]), randomBytes(500)]), 1007],
      ['a truncated message', offer.subarray(0, offer.length - 5), 1007],
      ['a message that is broken inside', brokenInside, 1007],
      ['text that is no JSON', '{"offer":', 1007],
      ['JSON that is no signal', '[[[[]]]]', 1007],
      ['a message of 3 MB', Buffer.alloc(3 * megabyte), 1009],
    ];
    for (const [name, frame, code] of frames) {
      it(`closes it with ${code}: ${name}`, async () => {
        const client = await raw({ room: 'frames' });
        client.socket.send(frame);
        assert.equal((await client.ended()).code, code);
      });
    }

    it('closes it with 1008: a flood', async () => {
      const client = await raw({ room: 'frames' });
      const trackSetting = new SignalRequest({
        message: { case: 'mute', value: { sid: 'TR_x', muted: true } },
      }).toBinary();
      for (let count = 0; count < 6000; count += 1) client.socket.send(trackSetting);
      assert.equal((await client.ended()).code, 1008);
    });

    it('ends a socket, not a session: one with media resumes', async () => {
      const client = await LightClient.join({
        url: node.url,
        token: await joinToken({ room: 'back', identity: 'back' }),
        endpoint,
        publish: { audio: true },
      });
      client.sendFrame('garbage');
      await client.waitFor(() => client.socketCloseCode !== undefined, 'close of the socket');
      assert.equal(client.socketCloseCode, 1007);
      await client.resume();
      const listener = await LightClient.join({
        url: node.url,
        token: await joinToken({ room: 'back', identity: 'listener' }),
        endpoint,
      });
      await listener.waitForTrack(client.publishedTrackSids[0] ?? '', { contiguousMs: 200 });
      await client.leave();
      await listener.leave();
    });
  });

  describe('in session descriptions', () => {
    const transport = [
      'a=ice-ufrag:abcd',
      `a=ice-pwd:${'p'.repeat(22)}`,
      `a=fingerprint:sha-256 ${Array.from({ length: 32 }, () => 'AB').join(':')}`,
      'a=setup:actpass',
    ];
    const section = (mid: number | string, lines: string[] = []): string[] => [
      'm=video 9 UDP/TLS/RTP/SAVPF 96',
      `a=mid:${mid}`,
      ...transport,
      'a=rtcp-mux',
      'a=sendonly',
      ...lines,
    ];
    const describeAll = (sections: string[][], mids: (number | string)[]): string =>
      [
        'v=0',
        'o=- 1 1 IN IP4 0.0.0.0',
        's=-',
        't=0 0',
        `a=group:BUNDLE ${mids.join(' ')}`,
        ...sections.flat(),
        '',
      ].join('\r\n');
    const vp8 = ['a=rtpmap:96 VP8/90000'];

    const many = Array.from({ length: 4000 }, (_, index) => index);
    const hostile: [name: string, sdp: string][] = [
      [
        'thousands of sections',
        describeAll(
          many.map((mid) => section(mid, vp8)),
          many,
        ),
      ],
      ['duplicate mids', describeAll([section(0, vp8), section(0, vp8)], [0])],
      ['garbage', randomBytes(5000).toString('latin1')],
      ['nothing', ''],
      [
        'no transport',
        'v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n',
      ],
      ['an endless line', `v=0\r\na=${'x'.repeat(100_000)}\r\n`],
    ];
    for (const [name, sdp] of hostile) {
      for (const kind of ['offer', 'answer'] as const) {
        it(`sends the client to a new join: ${name} as ${kind}`, async () => {
          const client = await raw({ room: 'sdp' });
          const { id } = kind === 'answer' ? await client.waitFor('offer') : { id: 1 };
          client.send({ case: kind, value: new SessionDescription({ type: kind, sdp, id }) });
          const leave: LeaveRequest = await client.waitFor('leave');
          assert.equal(leave.action, LeaveRequest_Action.RECONNECT);
          assert.equal((await client.ended()).code, 1000);
        });
      }
    }

    it('answers a section of unknown codecs as inactive or refused, and the rest as usual', async () => {
      const client = await raw({ room: 'sdp' });
      client.send({ case: 'addTrack', value: videoTrack('evil') });
      await client.waitFor('trackPublished');
      const evil = section(0, [
        'a=msid:- evil',
        'a=rtpmap:96 EVIL/1',
        'a=fmtp:96 apt=96;apt=97',
        'a=rtcp-fb:96 nonsense',
      ]);
      client.send({
        case: 'offer',
        value: new SessionDescription({ type: 'offer', sdp: describeAll([evil], [0]), id: 1 }),
      });
      const answer = await client.waitFor('answer');
      assert.match(answer.sdp, /m=video (0 |[\s\S]*a=inactive)/);
      client.socket.close();
      await client.ended();
    });
  });

  describe('of oversized things', () => {
    it('is refused by name: metadata, attributes and names', async () => {
      const client = await raw({ room: 'large', grants: { canUpdateOwnMetadata: true } });
      const changes: [number, Partial<UpdateParticipantMetadata>][] = [
        [1, { metadata: 'm'.repeat(600_000) }],
        [2, { attributes: { key: 'a'.repeat(70_000) } }],
        [3, { attributes: Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`k${index}`, 'v'])) }],
        [4, { name: 'n'.repeat(300) }],
      ];
      for (const [requestId, change] of changes) {
        client.send({ case: 'updateMetadata', value: new UpdateParticipantMetadata({ requestId, ...change }) });
      }
      for (const [requestId] of changes) {
        const find = () =>
          client.messages.find(
            (message) => message.case === 'requestResponse' && message.value.requestId === requestId,
          );
        await until(() => (find() ? '' : `no answer to ${requestId}`));
        const found = find();
        assert.ok(found?.case === 'requestResponse');
        assert.equal(found.value.reason, RequestResponse_Reason.LIMIT_EXCEEDED);
      }
      client.socket.close();
      await client.ended();
    });

    it('is refused: more tracks than one may have', async () => {
      const client = await raw({ room: 'large' });
      for (let index = 0; index < 40; index += 1) client.send({ case: 'addTrack', value: videoTrack(`c${index}`) });
      const answers = () =>
        client.messages.filter(({ case: kind }) => kind === 'trackPublished' || kind === 'requestResponse');
      await until(() => (answers().length === 40 ? '' : `${answers().length} answers`));
      const taken = answers().filter(({ case: kind }) => kind === 'trackPublished');
      assert.equal(taken.length, maxTracks);
      for (const answer of answers()) {
        if (answer.case === 'requestResponse') assert.equal(answer.value.reason, RequestResponse_Reason.LIMIT_EXCEEDED);
      }
      client.socket.close();
      await client.ended();
    });

    it('is refused by the API', async () => {
      const token = await joinToken({ room: 'call', identity: 'api', grants: { roomAdmin: true } });
      const ask = async (body: Uint8Array<ArrayBuffer> | string, type: string): Promise<number> =>
        (
          await fetch(`${node.url}/twirp/livekit.RoomService/ListParticipants`, {
            method: 'POST',
            headers: { authorization: `Bearer ${token}`, 'content-type': type },
            body,
          })
        ).status;
      assert.equal(await ask(new Uint8Array(11 * megabyte), 'application/protobuf'), 413);
      assert.equal(await ask(Uint8Array.from([0x0a, 0xff, 0xff]), 'application/protobuf'), 400);
      assert.equal(await ask('{"room":', 'application/json'), 400);
      assert.equal(await ask('{"room":"call"}', 'application/json'), 200);
    });
  });

  it('of a client that never reads its socket closes that socket', async () => {
    const deaf = await raw({ room: 'deaf', identity: 'deaf' });
    const talker = await raw({ room: 'deaf', identity: 'talker', grants: { canUpdateOwnMetadata: true } });
    deaf.socket.pause();
    const ended = (): boolean => node.log.lines.some(({ end }) => end === 'slow-client');
    // The kernel's buffers take some megabytes before anything waits in the server.
    for (let requestId = 1; !ended() && requestId < 60; requestId += 1) {
      const metadata = String(requestId % 10).repeat(500_000);
      talker.send({ case: 'updateMetadata', value: new UpdateParticipantMetadata({ requestId, metadata }) });
      await until(() =>
        talker.messages.some((message) => message.case === 'requestResponse' && message.value.requestId === requestId)
          ? ''
          : `no answer to ${requestId}`,
      );
      talker.messages.length = 0;
      // As fast as the server lets one participant send.
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.ok(ended(), 'the socket that nobody reads is still open');
    await until(() => (node.debug.state().gateway.sessions === 3 ? '' : 'more than call and talker are there'));
    deaf.socket.terminate();
    talker.socket.close();
    await talker.ended();
  });

  it('on the media port is dropped', async () => {
    const port = node.config.rtc.port_range_start;
    const udp = createSocket('udp4');
    const looks = [0x00, 0x01, 0x16, 0x17, 0x80, 0x90, 0xc8];
    for (let index = 0; index < 3000; index += 1) {
      const packet = randomBytes(20 + (index % 1200));
      packet[0] = looks[index % looks.length] ?? 0;
      udp.send(packet, port, '127.0.0.1');
      if (index % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const tcp = connect(port, '127.0.0.1');
    tcp.on('error', () => {});
    tcp.write(randomBytes(100_000));
    await once(tcp, 'connect');
    tcp.destroy();
    await new Promise<void>((resolve) => void udp.close(resolve));
  });

  it('on data channels is dropped', async () => {
    const client = await LightClient.join({
      url: node.url,
      token: await joinToken({ room: 'call', identity: 'garbler' }),
      endpoint,
    });
    await client.connectPublisher();
    const received = call.subscriber.packets.length;
    for (let index = 0; index < 300; index += 1) {
      client.publisherPeer?.send(
        channelStreams._reliable,
        Buffer.concat([Buffer.from([0xff]), randomBytes(index * 50)]),
      );
    }
    client.publisherPeer?.send(channelStreams._reliable, Buffer.alloc(200_000, 0xff));
    await client.sendData(Buffer.from('after all of it'));
    await call.subscriber.waitForPacket(
      ({ value }) => value.case === 'user' && Buffer.from(value.value.payload).toString() === 'after all of it',
    );
    assert.equal(call.subscriber.packets.length, received + 1);
    await client.leave();
  });

  it('of 1,000 half-open sockets ends with their time, and nothing is left of all this', async (t) => {
    await until(() => (halfOpen.every((socket) => socket.closed) ? '' : 'some are open'), { timeoutMs: 20_000 });
    await until(() => {
      const { connections, sessions } = node.debug.state().gateway;
      return connections === sessions ? '' : `${connections} connections`;
    });
    let now = initial;
    await until(async () => {
      now = await footprint();
      const left = (what: typeof initial): string => JSON.stringify([what.state, what.engine]);
      // Memory too: buffers of what was just refused are freed a collection or two later.
      const isSmall = now.heapBytes - initial.heapBytes < 10 * megabyte;
      return left(now) === left(initial) && isSmall ? '' : 'something is left';
    }).catch(() => {});
    assert.deepEqual(now.state, initial.state);
    assert.deepEqual(now.engine, initial.engine);
    const growth = now.heapBytes - initial.heapBytes;
    t.diagnostic(`memory after garbage collection: ${initial.heapBytes} bytes before, ${growth} more after`);
    assert.ok(growth < 10 * megabyte, `${growth} bytes are left`);
  });
});

function videoTrack(cid: string): AddTrackRequest {
  return new AddTrackRequest({
    cid,
    type: TrackType.VIDEO,
    source: TrackSource.CAMERA,
    name: cid,
    width: 320,
    height: 180,
  });
}

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  ChatMessage,
  DataPacket,
  DataPacket_Kind,
  DataStream_CompressionType,
  DataStream_Header,
  DataStream_TextHeader,
  EncryptedPacket,
  Encryption_Type,
  MetricsBatch,
  ParticipantInfo_Kind,
  RpcAck,
  RpcResponse,
  Transcription,
  UserPacket,
} from '@livekit/protocol';
import type { LegId, ParticipantSid } from '../protocol/ids.ts';
import type { LegIdentity } from '../protocol/leg-messages.ts';
import type { PeerPacket } from '../protocol/leg-peer-messages.ts';
import { RoomData, type DataMember, type DeliveredPacket } from './room-data.ts';

const client = {
  sdk: 1,
  version: '2.23.0',
  protocol: 16,
  clientProtocol: 0,
  os: '',
  osVersion: '',
  deviceModel: '',
  browser: '',
  browserVersion: '',
  network: '',
  address: '',
  capabilities: [],
};

function leg(name: string): LegId {
  return `PA_${name}` as ParticipantSid;
}

class Member implements DataMember {
  readonly legId: LegId;
  readonly identity: LegIdentity;
  isPresent = true;
  canPublishData = true;
  dataTracksOut = new Map<number, { handle: number; receivers: number }>();
  dataTracksIn = new Set<number>();
  readonly frames: Uint8Array[] = [];
  readonly received: { kind: string; bytes: Uint8Array; packet: DataPacket }[] = [];

  constructor(name: string, changes: Partial<LegIdentity> = {}) {
    this.legId = leg(name);
    this.identity = {
      roomName: 'room',
      participantSid: `PA_${name}` as ParticipantSid,
      identity: name,
      hidden: false,
      participantKind: 0,
      canSubscribeMetrics: false,
      client,
      ...changes,
    };
  }

  deliverFrame(bytes: Uint8Array): void {
    this.frames.push(bytes);
  }

  deliver(kind: 'reliable' | 'lossy', { bytes }: DeliveredPacket): void {
    this.received.push({ kind, bytes, packet: DataPacket.fromBinary(bytes) });
  }

  texts(): string[] {
    return this.received.map(({ packet }) =>
      packet.value.case === 'user' ? Buffer.from(packet.value.value.payload).toString() : String(packet.value.case),
    );
  }
}

function user(
  text: string,
  changes: ConstructorParameters<typeof DataPacket>[0] = {},
  inner: ConstructorParameters<typeof UserPacket>[0] = {},
): Uint8Array {
  return new DataPacket({
    value: { case: 'user', value: new UserPacket({ payload: Buffer.from(text), ...inner }) },
    ...changes,
  }).toBinary();
}

function room(...members: Member[]) {
  const clock = { ms: 0 };
  const rpc: { from: string; packet: DataPacket }[] = [];
  const dropped: string[] = [];
  const data = new RoomData({
    now: () => clock.ms,
    onDropped: (reason) => dropped.push(reason),
    onRpcPacket: (sender, bytes) => rpc.push({ from: sender.identity, packet: DataPacket.fromBinary(bytes) }),
  });
  for (const member of members) {
    data.join(member);
  }
  return { data, clock, rpc, dropped };
}

/** The parts of one room on two nodes. */
function twoNodes(here: Member[], there: Member[]) {
  const sent: PeerPacket[] = [];
  const options = { now: () => 0, onDropped: () => undefined, onRpcPacket: () => undefined };
  const remote = new RoomData(options);
  const local = new RoomData({
    ...options,
    onPacket: (packet) => {
      sent.push(packet);
      remote.receiveFromPeer(structuredClone(packet));
    },
  });
  here.forEach((member) => local.join(member));
  there.forEach((member) => remote.join(member));
  return { local, remote, sent };
}

describe('data plane of a room on two nodes', () => {
  it('sends a packet once and lets the other node find those who are meant', () => {
    const [a, b, c, d] = [new Member('a'), new Member('b'), new Member('c'), new Member('d')] as const;
    const { local, sent } = twoNodes([a, b], [c, d]);
    local.receive(leg('a'), 'reliable', user('all', { sequence: 1 }));
    local.receive(leg('a'), 'lossy', user('by identity', { destinationIdentities: ['b', 'c'] }));
    local.receive(leg('a'), 'reliable', user('by sid', { sequence: 2 }, { destinationSids: ['PA_d'] }));
    assert.equal(sent.length, 3);
    assert.deepEqual(
      [b.texts(), c.texts(), d.texts()],
      [
        ['all', 'by identity'],
        ['all', 'by identity'],
        ['all', 'by sid'],
      ],
    );
    assert.deepEqual(
      c.received.map(({ kind, packet }) => [kind, packet.participantIdentity]),
      [
        ['reliable', 'a'],
        ['lossy', 'a'],
      ],
    );
  });

  it('keeps what is meant for participants here', () => {
    const [a, b, c] = [new Member('a'), new Member('b'), new Member('c')] as const;
    const { local, sent } = twoNodes([a, b], [c]);
    local.receive(leg('a'), 'reliable', user('to b', { destinationIdentities: ['b'] }));
    local.sendFromServer(user('from the server'), 'reliable', []);
    assert.deepEqual([sent.length, b.texts(), c.texts()], [0, ['to b', 'from the server'], []]);
  });

  it('replays packets of the other node to those who join late, and only its own to other nodes', () => {
    const { local, remote } = twoNodes([new Member('a')], [new Member('c')]);
    local.receive(leg('a'), 'reliable', user('one', { sequence: 1 }));
    remote.receive(leg('c'), 'reliable', user('two', { sequence: 1 }));
    const late = new Member('late');
    remote.join(late);
    assert.deepEqual(late.texts(), ['one', 'two']);
    assert.deepEqual(
      remote.recentOwn().map(({ senderSid }) => senderSid),
      ['PA_c'],
    );
  });

  it('shows metrics of the other node to those who may see them only', () => {
    const [plain, watcher] = [new Member('plain'), new Member('watcher', { canSubscribeMetrics: true })] as const;
    const { local } = twoNodes([new Member('a')], [plain, watcher]);
    local.receive(
      leg('a'),
      'reliable',
      new DataPacket({ value: { case: 'metrics', value: new MetricsBatch() } }).toBinary(),
    );
    assert.deepEqual([plain.texts(), watcher.texts()], [[], ['metrics']]);
  });
});

describe('packets of data tracks', () => {
  const frame = (handle: number): Uint8Array =>
    Uint8Array.of(0x18, 0, handle >> 8, handle & 255, 0, 1, 0, 1, 0, 0, 0, 9, 1, 2, 3);

  it('go to those who receive the track, on all nodes, with nothing but the handle changed', () => {
    const [a, b, c, d] = [new Member('a'), new Member('b'), new Member('c'), new Member('d')] as const;
    const { local, sent } = twoNodes([a, b], [c, d]);
    a.dataTracksOut.set(3, { handle: 300, receivers: 2 });
    b.dataTracksIn.add(300);
    c.dataTracksIn.add(300);
    const original = frame(3);
    local.receiveFrame(leg('a'), original);
    assert.deepEqual([b.frames, c.frames, d.frames, a.frames], [[frame(300)], [frame(300)], [], []]);
    assert.deepEqual(original, frame(3));
    assert.deepEqual([sent.length, sent[0]?.destinations], [1, ['PA_a']]);
  });

  it('go to no other node when all receivers are here, and nowhere without any', () => {
    const [a, b] = [new Member('a'), new Member('b')] as const;
    const { local, sent } = twoNodes([a, b], [new Member('c')]);
    a.dataTracksOut.set(1, { handle: 1, receivers: 1 });
    b.dataTracksIn.add(1);
    local.receiveFrame(leg('a'), frame(1));
    a.dataTracksOut.set(1, { handle: 1, receivers: 0 });
    local.receiveFrame(leg('a'), frame(1));
    assert.deepEqual([b.frames.length, sent.length], [1, 0]);
  });

  it('are dropped without a track, without the right to publish data, and when they are no such packets', () => {
    const [a, b] = [new Member('a'), new Member('b')];
    const { data, dropped } = room(a, b);
    b.dataTracksIn.add(1);
    data.receiveFrame(leg('a'), frame(1));
    a.dataTracksOut.set(1, { handle: 1, receivers: 1 });
    data.receiveFrame(leg('a'), frame(1).subarray(0, 11));
    a.canPublishData = false;
    data.receiveFrame(leg('a'), frame(1));
    assert.deepEqual([b.frames, dropped], [[], ['not-allowed', 'malformed', 'not-allowed']]);
  });
});

describe('data plane of a room', () => {
  it('stamps sender and channel over whatever the packet claims, and never sends back', () => {
    const [a, b] = [new Member('a'), new Member('b')];
    const { data } = room(a, b);
    data.receive(
      leg('a'),
      'lossy',
      user(
        'hi',
        { kind: DataPacket_Kind.RELIABLE, participantIdentity: 'x', participantSid: 'PA_x' },
        { participantIdentity: 'x', participantSid: 'PA_x' },
      ),
    );
    assert.equal(a.received.length, 0);
    const [message] = b.received;
    assert.ok(message !== undefined && message.packet.value.case === 'user');
    assert.deepEqual(
      [
        message.kind,
        message.packet.kind,
        message.packet.participantIdentity,
        message.packet.participantSid,
        message.packet.value.value.participantIdentity,
        message.packet.value.value.participantSid,
      ],
      ['lossy', DataPacket_Kind.LOSSY, 'a', 'PA_a', 'a', 'PA_a'],
    );
  });

  it('hands the same bytes to all receivers', () => {
    const members = [new Member('a'), new Member('b'), new Member('c')] as const;
    const { data } = room(...members);
    data.receive(leg('a'), 'reliable', user('hi'));
    assert.equal(members[1].received[0]?.bytes, members[2].received[0]?.bytes);
  });

  it('knows who is too old for data packets', () => {
    const at = (protocol: number): Member => new Member(`at-${protocol}`, { client: { ...client, protocol } });
    const [old, newer] = [at(1), at(2)];
    room(new Member('a'), old, newer).data.receive(leg('a'), 'reliable', user('hi'));
    assert.deepEqual([old.texts(), newer.texts()], [[], ['hi']]);
  });

  it('leaves hidden senders nameless', () => {
    const [a, b] = [new Member('a', { hidden: true }), new Member('b')];
    room(a, b).data.receive(leg('a'), 'reliable', user('hi', { participantIdentity: 'a' }));
    assert.deepEqual([b.received[0]?.packet.participantIdentity, b.received[0]?.packet.participantSid], ['', '']);
  });

  it('drops packets without permission, from strangers, undecodable or too large ones', () => {
    const [a, b] = [new Member('a'), new Member('b')];
    const { data, dropped } = room(a, b);
    a.canPublishData = false;
    data.receive(leg('a'), 'reliable', user('1'));
    data.receiveUnlabelled(leg('a'), Buffer.from('1'));
    a.canPublishData = true;
    data.receive(leg('z'), 'reliable', user('2'));
    data.receive(leg('a'), 'reliable', Buffer.from([0xff, 0xff, 0xff]));
    data.receive(leg('a'), 'reliable', new DataPacket().toBinary());
    data.receive(leg('a'), 'reliable', user('x'.repeat(65_536)));
    assert.deepEqual(b.texts(), []);
    assert.deepEqual(dropped, ['not-allowed', 'not-allowed', 'malformed', 'not-allowed', 'too-large']);
  });

  it('routes to identities and sids from all three destination fields', () => {
    const [a, b, c, d, e] = [new Member('a'), new Member('b'), new Member('c'), new Member('d'), new Member('e')];
    const { data } = room(a, b, c, d, e);
    data.receive(
      leg('a'),
      'reliable',
      user(
        'to some',
        { destinationIdentities: ['b', 'a', 'nobody'] },
        { destinationIdentities: ['c'], destinationSids: ['PA_d'] },
      ),
    );
    assert.deepEqual(
      [a, b, c, d, e].map((member) => member.received.length),
      [0, 1, 1, 1, 0],
    );
  });

  it('drops repeated reliable sequences and remembers the last, but not those of lossy packets', () => {
    const [a, b] = [new Member('a'), new Member('b')];
    const { data } = room(a, b);
    for (const sequence of [1, 2, 2, 1, 3]) {
      data.receive(leg('a'), 'reliable', user(`r${sequence}`, { sequence }));
    }
    data.receive(leg('a'), 'lossy', user('l2', { sequence: 2 }));
    data.receive(leg('a'), 'reliable', user('unnumbered'));
    assert.deepEqual(b.texts(), ['r1', 'r2', 'r3', 'l2', 'unnumbered']);
    assert.deepEqual(
      b.received.slice(0, 3).map(({ packet }) => packet.sequence),
      [1, 2, 3],
    );
    assert.equal(data.resume(leg('a')), 3);
    assert.equal(data.resume(leg('b')), 0);
  });

  it('carries transcriptions of agents only and metrics to those who may see them', () => {
    const agent = new Member('agent', { participantKind: ParticipantInfo_Kind.AGENT });
    const [a, seeing, blind] = [
      new Member('a'),
      new Member('seeing', { canSubscribeMetrics: true }),
      new Member('blind'),
    ];
    const { data } = room(agent, a, seeing, blind);
    const transcription = new DataPacket({ value: { case: 'transcription', value: new Transcription() } }).toBinary();
    data.receive(leg('a'), 'reliable', transcription);
    assert.deepEqual(seeing.texts(), []);
    data.receive(leg('agent'), 'reliable', transcription);
    data.receive(
      leg('a'),
      'reliable',
      new DataPacket({ value: { case: 'metrics', value: new MetricsBatch() } }).toBinary(),
    );
    assert.deepEqual(seeing.texts(), ['transcription', 'metrics']);
    assert.deepEqual(blind.texts(), ['transcription']);
  });

  it('lets agents, and nobody else, speak in the name of another in generated chat messages', () => {
    const agent = new Member('agent', { participantKind: ParticipantInfo_Kind.AGENT });
    const [a, b] = [new Member('a'), new Member('b')];
    const { data } = room(agent, a, b);
    const chat = new DataPacket({
      participantIdentity: 'a',
      value: { case: 'chatMessage', value: new ChatMessage({ message: 'hi', generated: true }) },
    }).toBinary();
    data.receive(leg('agent'), 'reliable', chat);
    data.receive(leg('a'), 'reliable', chat);
    data.receive(leg('agent'), 'reliable', user('own', { participantIdentity: 'a' }));
    assert.deepEqual(
      b.received.map(({ packet }) => packet.participantIdentity),
      ['a', 'a', 'agent'],
    );
    assert.equal(b.received[0]?.packet.participantSid, 'PA_agent');
  });

  it('passes on encrypted packets, compressed streams and fields that it does not know as they came', () => {
    const [a, b] = [new Member('a'), new Member('b')];
    const { data } = room(a, b);
    const encrypted = new EncryptedPacket({
      encryptionType: Encryption_Type.GCM,
      iv: Uint8Array.of(1, 2, 3),
      keyIndex: 2,
      encryptedValue: Uint8Array.of(9, 8, 7),
    });
    const header = new DataStream_Header({
      streamId: 's',
      topic: 'lk.rpc_request',
      attributes: { 'lk.rpc_request_id': '1' },
      contentHeader: { case: 'textHeader', value: new DataStream_TextHeader() },
      inlineContent: Uint8Array.of(0x4b, 0x04, 0),
      compression: DataStream_CompressionType.DEFLATE_RAW,
    });
    data.receive(
      leg('a'),
      'reliable',
      new DataPacket({ value: { case: 'encryptedPacket', value: encrypted } }).toBinary(),
    );
    // Field 1000, a varint, that no version knows.
    const unknown = Uint8Array.of(0xc0, 0x3e, 5);
    const bytes = new DataPacket({ value: { case: 'streamHeader', value: header } }).toBinary();
    data.receive(leg('a'), 'reliable', Buffer.concat([bytes, unknown]));
    const values = b.received.map(({ packet }) => packet.value.value);
    assert.ok(encrypted.equals(values[0] as EncryptedPacket));
    assert.ok(header.equals(values[1] as DataStream_Header));
    assert.ok(Buffer.from(b.received[1]?.bytes ?? []).includes(Buffer.from(unknown)));
  });

  it('hands ack and response of an intercepted call to the host only while it is active', () => {
    const [a, b] = [new Member('a'), new Member('b')];
    const { data, rpc } = room(a, b);
    const ack = new DataPacket({ value: { case: 'rpcAck', value: new RpcAck({ requestId: 'R1' }) } }).toBinary();
    const response = new DataPacket({
      value: { case: 'rpcResponse', value: new RpcResponse({ requestId: 'R1' }) },
    }).toBinary();
    data.intercept('R1', true);
    data.receive(leg('a'), 'reliable', ack);
    data.receive(leg('a'), 'reliable', response);
    assert.deepEqual(
      rpc.map((entry) => `${entry.from} ${entry.packet.value.case}`),
      ['a rpcAck', 'a rpcResponse'],
    );
    assert.deepEqual(b.texts(), []);
    data.intercept('R1', false);
    data.receive(leg('a'), 'reliable', ack);
    assert.deepEqual(b.texts(), ['rpcAck']);
  });

  it('gives a late joiner the reliable packets of the last two seconds that are meant for it', () => {
    const [a, b] = [new Member('a'), new Member('b')];
    const { data, clock } = room(a, b);
    data.receive(leg('a'), 'reliable', user('old'));
    clock.ms = 1000;
    data.receive(leg('a'), 'reliable', user('recent'));
    data.receive(leg('a'), 'lossy', user('lossy'));
    data.receive(leg('a'), 'reliable', user('for b', { destinationIdentities: ['b'] }));
    data.receive(leg('a'), 'reliable', user('for late', { destinationIdentities: ['late'] }));
    clock.ms = 2500;
    const late = new Member('late');
    data.join(late);
    assert.deepEqual(late.texts(), ['recent', 'for late']);
  });

  it('keeps at most 100 kB for late joiners', () => {
    const a = new Member('a');
    const { data } = room(a);
    for (let index = 1; index <= 10; index += 1) {
      data.receive(leg('a'), 'reliable', user(String(index).padEnd(15_000, ' ')));
    }
    const late = new Member('late');
    data.join(late);
    assert.deepEqual(
      late.texts().map((text) => text.trim()),
      ['5', '6', '7', '8', '9', '10'],
    );
  });

  it('waits for what a client has held back while it resumed, and tells it to send again from there', () => {
    const [a, b] = [new Member('a'), new Member('b')];
    const { data, clock, dropped } = room(a, b);
    const send = (sequence: number): void => data.receive(leg('a'), 'reliable', user(`r${sequence}`, { sequence }));
    send(1);
    data.away(leg('a'));
    send(4);
    clock.ms = 5000;
    data.passOverdue(leg('a'));
    assert.deepEqual([b.texts(), data.resume(leg('a'))], [['r1'], 1]);
    [2, 3, 4, 5].forEach(send);
    assert.deepEqual([b.texts(), dropped], [['r1', 'r2', 'r3', 'r4', 'r5'], ['duplicate']]);
  });

  it('waits for a second when a number is skipped, and not at all for packets that were not allowed', () => {
    const [a, b] = [new Member('a'), new Member('b')];
    const { data, clock } = room(a, b);
    const send = (sequence: number): void => data.receive(leg('a'), 'reliable', user(`r${sequence}`, { sequence }));
    send(1);
    send(3);
    assert.deepEqual(b.texts(), ['r1']);
    clock.ms = 1000;
    data.passOverdue(leg('a'));
    a.canPublishData = false;
    send(4);
    a.canPublishData = true;
    send(5);
    assert.deepEqual(b.texts(), ['r1', 'r3', 'r5']);
  });

  it('goes on on another node with what has come there too early', () => {
    const [a, next, b] = [new Member('a'), new Member('a'), new Member('b')];
    const { data } = room(a);
    data.receive(leg('a'), 'reliable', user('r1', { sequence: 1 }));
    data.receive(leg('a'), 'reliable', user('r3', { sequence: 3 }));
    const other = room(next, b).data;
    other.takeOver(leg('a'), structuredClone(data.progressOf(leg('a'))));
    assert.equal(other.resume(leg('a')), 1);
    other.receive(leg('a'), 'reliable', user('r2', { sequence: 2 }));
    assert.deepEqual(b.texts(), ['r2', 'r3']);
  });

  it('sends packets of the server to all or to some, as they are', () => {
    const [a, b] = [new Member('a'), new Member('b')];
    const { data } = room(a, b);
    data.sendFromServer(user('all'), 'reliable', []);
    data.sendFromServer(user('one'), 'lossy', ['PA_b']);
    assert.deepEqual(a.texts(), ['all']);
    assert.deepEqual(b.texts(), ['all', 'one']);
    assert.equal(b.received[0]?.packet.participantIdentity, '');
  });

  it('wraps messages of application channels into user packets for the others', () => {
    const [a, b] = [new Member('a'), new Member('b')];
    room(a, b).data.receiveUnlabelled(leg('a'), Buffer.from('raw'));
    assert.deepEqual(b.texts(), ['raw']);
    assert.equal(b.received[0]?.packet.participantIdentity, 'a');
    assert.equal(b.received[0]?.kind, 'reliable');
  });

  it('forgets members that left', () => {
    const [a, b] = [new Member('a'), new Member('b')];
    const { data } = room(a, b);
    data.leave(leg('b'));
    data.receive(leg('a'), 'reliable', user('hi'));
    data.receive(leg('b'), 'reliable', user('ghost'));
    assert.deepEqual([a.texts(), b.texts(), data.size], [[], [], 1]);
  });
});

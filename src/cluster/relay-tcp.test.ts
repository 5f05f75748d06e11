import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { LogRecord } from '../../test/kit/log-record.ts';
import { until } from '../../test/kit/until.ts';
import { nodeId } from '../protocol/ids.ts';
import { beatFrame, bodyFrame, closeFrame, creditFrame, dataHead, openFrame } from './relay-frame.ts';
import { protocolRange } from './relay-hello.ts';
import type { RelayPeer, RelaySettings } from './relay-network.ts';
import { TcpRelay } from './relay-tcp.ts';
import { cluster, RawNode, secret, startRelay, Wire } from './relay-tcp-test-kit.ts';
import {
  acceptNotes,
  echoNotes,
  firstOf,
  identity,
  Inbox,
  note,
  noteChannel,
  notesType,
  params,
  relayContract,
  type Note,
  type RelayPair,
} from './relay-test-kit.ts';
import { encodeMessage } from './wire-codec.ts';

const heartbeat = { heartbeatIntervalMs: 100, heartbeatMisses: 4 };
const silentMs = heartbeat.heartbeatIntervalMs * heartbeat.heartbeatMisses;

async function pairOf(log: LogRecord, settings: Partial<RelaySettings>, farSecret: string): Promise<RelayPair> {
  const near = await startRelay({ suffix: 'near', log, settings });
  const far = await startRelay({ suffix: 'far', log, settings, secret: farSecret });
  const wire = await Wire.to(far.port);
  return {
    near,
    far,
    farPeer: { nodeId: nodeId('far'), host: '127.0.0.1', port: wire.port },
    farUnknown: () => far.stats.unknownMessages,
    killFar: () => wire.cut(),
    freezeFar: () => wire.stall(),
    close: async () => {
      await Promise.all([near.close(), far.close()]);
      wire.cut();
    },
  };
}

relayContract('over TLS', {
  silentMs,
  pair: (log, options) => pairOf(log, { ...heartbeat, ...options }, secret),
  strangers: (log) => pairOf(log, heartbeat, 'the secret of somebody else'),
});

describe('TcpRelay', () => {
  let log = new LogRecord();
  const relays: TcpRelay[] = [];
  const start = async (
    suffix: string,
    options: { settings?: Partial<RelaySettings>; secret?: string; previousSecrets?: string[]; cluster?: string } = {},
  ): Promise<TcpRelay> => {
    const relay = await startRelay({ suffix, log, ...options });
    relays.push(relay);
    return relay;
  };
  const peerOf = (suffix: string, relay: TcpRelay): RelayPeer => ({
    nodeId: nodeId(suffix),
    host: '127.0.0.1',
    port: relay.port,
  });
  const logged = (reason: string): number => log.lines.filter((line) => line.reason === reason).length;

  beforeEach(() => {
    log = new LogRecord();
  });

  afterEach(async () => {
    await Promise.all(relays.splice(0).map((relay) => relay.close()));
    assert.deepEqual(log.unexpectedErrors(), []);
  });

  it('says that the secret is wrong, at both ends, and not at every attempt', async () => {
    log.expectErrors(/relay-wrong-secret/);
    const near = await start('near');
    const far = await start('far', { secret: 'the secret of somebody else' });
    for (let attempt = 0; attempt < 5; attempt += 1) {
      await assert.rejects(near.reach(peerOf('far', far), AbortSignal.timeout(5_000)), {
        reason: 'relay-wrong-secret',
      });
    }
    await until(() => (logged('relay-wrong-secret') >= 2 ? '' : 'not logged at both ends'));
    assert.equal(logged('relay-wrong-secret'), 2);
  });

  it('keeps nodes together while each is started again with a new secret', async () => {
    const [old, renewed] = ['the secret of last year', 'the secret of this year'];
    const settled = { secret: old };
    const started = { secret: renewed, previousSecrets: [old] };
    const done = { secret: renewed };
    const both = async (near: object, far: object): Promise<void> => {
      const [one, two] = [await start('one', near), await start('two', far)];
      await one.reach(peerOf('two', two), AbortSignal.timeout(5_000));
      await two.reach(peerOf('one', one), AbortSignal.timeout(5_000));
    };
    await both(settled, started);
    await both(started, started);
    await both(started, done);
    log.expectErrors(/relay-wrong-secret/);
    await assert.rejects(both(settled, done), { reason: 'relay-wrong-secret' });
  });

  it('says that the peer belongs to another cluster', async () => {
    log.expectErrors(/relay-wrong-cluster/);
    const near = await start('near');
    const far = await start('far', { cluster: 'other' });
    await assert.rejects(near.reach(peerOf('far', far), AbortSignal.timeout(5_000)), { reason: 'relay-wrong-cluster' });
  });

  it('refuses a node that took over the address of the one that is meant', async () => {
    const near = await start('near');
    const far = await start('far');
    echoNotes(far);
    const old = { ...peerOf('far', far), nodeId: nodeId('old') };
    const inbox = new Inbox(near.open(old, notesType, params));
    await assert.rejects(near.reach(old, AbortSignal.timeout(5_000)), {
      reason: 'relay-other-node',
      message: /ND_far, not ND_old/,
    });
    await inbox.closed('lost');
    assert.equal((await near.reach(peerOf('far', far), AbortSignal.timeout(5_000))).nodeId, nodeId('far'));
  });

  it('shares one connection between all channels to a node', async () => {
    const near = await start('near');
    const far = await start('far');
    echoNotes(far);
    const inboxes = Array.from({ length: 10 }, () => new Inbox(near.open(peerOf('far', far), notesType, params)));
    inboxes[9]!.link.send(note(1));
    await inboxes[9]!.received(1);
    assert.deepEqual([near.stats.outgoing, far.stats.incoming, far.stats.channels], [1, 1, 10]);
    for (const inbox of inboxes) {
      inbox.link.close();
    }
    await until(() => (far.stats.channels === 0 && near.stats.channels === 0 ? '' : 'channels are left'));
  });

  it('connects again after a loss when the next channel is opened', async () => {
    const near = await start('near');
    const far = await start('far');
    echoNotes(far);
    const wire = await Wire.to(far.port);
    const peer = { nodeId: nodeId('far'), host: '127.0.0.1', port: wire.port };
    await near.reach(peer, AbortSignal.timeout(5_000));
    const lost = new Inbox(near.open(peer, notesType, params));
    wire.cut();
    await lost.closed('lost');
    const again = new Inbox(near.open(peerOf('far', far), notesType, params));
    again.link.send(note(1));
    await again.received(1);
  });

  it('makes a new connection for who opens again in the moment of the loss', async () => {
    const near = await start('near');
    const far = await start('far');
    echoNotes(far);
    const wire = await Wire.to(far.port);
    const peer = { nodeId: nodeId('far'), host: '127.0.0.1', port: wire.port };
    await near.reach(peer, AbortSignal.timeout(5_000));
    const again = new Promise<Inbox>((resolve) => {
      const link = near.open(peer, notesType, params);
      link.onClose(() => resolve(new Inbox(near.open(peerOf('far', far), notesType, params))));
    });
    wire.cut();
    const inbox = await again;
    inbox.link.send(note(1));
    await inbox.received(1);
  });

  it('listens on several addresses, and says which one it cannot have', async () => {
    const options = {
      self: identity('many'),
      cluster,
      secret,
      bindAddresses: ['127.0.0.1', '127.0.0.2'],
      port: 0,
      log: log.logger(),
    };
    const many = await TcpRelay.start(options);
    relays.push(many);
    const near = await start('near');
    await near.reach({ nodeId: nodeId('many'), host: '127.0.0.2', port: many.port }, AbortSignal.timeout(5_000));
    await assert.rejects(TcpRelay.start({ ...options, port: many.port }), {
      reason: 'relay-cannot-listen',
      message: /127\.0\.0\.1/,
    });
  });

  it('gives a small message its turn between the chunks of large ones', async () => {
    const near = await start('near');
    const far = await start('far');
    const accepted = acceptNotes(far, noteChannel('bulk'));
    echoNotes(far);
    const bulk = near.open(peerOf('far', far), noteChannel('bulk'), params);
    const small = new Inbox(near.open(peerOf('far', far), notesType, params));
    const sink = new Inbox((await firstOf(accepted)).link);
    const blob: Note = { kind: 'blob', bytes: new Uint8Array(1_000_000) };
    for (let index = 0; index < 30; index += 1) {
      bulk.send(blob);
    }
    small.link.send(note(1));
    await small.received(1);
    assert.ok(sink.messages.length < 15, `the small message waited for ${sink.messages.length} large ones`);
    await sink.received(30);
  });

  it('carries a message larger than the window, and stops a sender whose receiver is paused', async () => {
    const windowBytes = 64 * 1024;
    const near = await start('near', { settings: { windowBytes } });
    const far = await start('far', { settings: { windowBytes } });
    const accepted = acceptNotes(far);
    const mine = near.open(peerOf('far', far), notesType, params);
    const theirs = new Inbox((await firstOf(accepted)).link);
    mine.send({ kind: 'blob', bytes: new Uint8Array(3_000_000) });
    await theirs.received(1);
    theirs.link.pause();
    for (let index = 0; index < 100; index += 1) {
      mine.send({ kind: 'blob', bytes: new Uint8Array(10_000) });
    }
    await near.reach(peerOf('far', far), AbortSignal.timeout(5_000));
    assert.ok(mine.queuedBytes >= 1_000_000 - 2 * windowBytes, `only ${mine.queuedBytes} bytes wait at the sender`);
    theirs.link.resume();
    await theirs.received(101);
    assert.equal(mine.queuedBytes, 0);
  });

  it('closes a channel with `overflow` for a message larger than the peer takes', async () => {
    const near = await start('near');
    const far = await start('far', { settings: { maxMessageBytes: 100_000 } });
    echoNotes(far);
    const other = new Inbox(near.open(peerOf('far', far), notesType, params));
    const large = new Inbox(near.open(peerOf('far', far), notesType, params));
    large.link.send({ kind: 'blob', bytes: new Uint8Array(200_000) });
    await large.closed('overflow');
    const huge = new Inbox(near.open(peerOf('far', far), notesType, params));
    huge.link.send({ kind: 'blob', bytes: new Uint8Array(17 * 1024 * 1024) });
    await huge.closed('overflow');
    other.link.send(note(1));
    await other.received(1);
  });

  it('bounds what waits on one connection for all channels together', async () => {
    const near = await start('near', { settings: { maxConnectionQueuedBytes: 1_000_000 } });
    const far = await start('far');
    const accepted = acceptNotes(far);
    const first = new Inbox(near.open(peerOf('far', far), notesType, params));
    (await firstOf(accepted)).link.pause();
    first.link.send({ kind: 'blob', bytes: new Uint8Array(600_000) });
    const second = new Inbox(near.open(peerOf('far', far), notesType, params));
    second.link.send({ kind: 'blob', bytes: new Uint8Array(600_000) });
    await second.closed('overflow');
    assert.deepEqual(first.closes, []);
  });

  it('gives no more channels than it is set to', async () => {
    const near = await start('near', { settings: { maxChannels: 2 } });
    const far = await start('far');
    echoNotes(far);
    const inboxes = [1, 2, 3].map(() => new Inbox(near.open(peerOf('far', far), notesType, params)));
    await inboxes[2]!.closed('lost');
    inboxes[1]!.link.send(note(1));
    await inboxes[1]!.received(1);
  });

  it('works with a node that knows more than it does', async () => {
    const far = await start('far');
    const accepted = acceptNotes(far);
    const raw = await RawNode.connect(far.port);
    raw.hello({ maxProtocol: 99, somethingNew: { a: 1 } });
    raw.socket.write(Buffer.from([0, 0, 0, 3, 200, 1, 2]));
    raw.socket.write(openFrame(1, encodeMessage({ channel: 'notes', params: { ...params, more: true }, extra: 1 })));
    const message = encodeMessage(note(4));
    raw.socket.write(
      Buffer.concat([
        dataHead({ channelId: 1, first: true, last: true, epoch: 3, chunkBytes: message.length }),
        message,
      ]),
    );
    const { link, peer } = await firstOf(accepted);
    const inbox = new Inbox(link);
    await inbox.received(1);
    assert.deepEqual([inbox.numbers, inbox.epochs], [[4], [3]]);
    assert.equal(peer.protocol, protocolRange.max);
    raw.socket.destroy();
    await inbox.closed('lost');
  });

  it('parts from a node that it shares no protocol version with', async () => {
    const far = await start('far');
    const raw = await RawNode.connect(far.port);
    raw.hello({ minProtocol: 98, maxProtocol: 99 });
    await until(() => (raw.goodbye === undefined ? 'no goodbye' : ''));
    assert.equal(raw.goodbye?.reason, 'no-common-protocol');
  });

  const message = encodeMessage(note(1));
  const data = (
    channelId: number,
    content: Uint8Array,
    flags: { first: boolean; last: boolean } = { first: true, last: true },
  ): Buffer =>
    Buffer.concat([dataHead({ channelId, ...flags, epoch: undefined, chunkBytes: content.length }), content]);
  const opened = openFrame(1, encodeMessage({ channel: 'notes', params }));
  const garbage: Record<string, Buffer> = {
    'a frame without end': Buffer.from('ffffffff00', 'hex'),
    'an empty frame': Buffer.from('00000000', 'hex'),
    'a frame that is too short': Buffer.from('000000020501', 'hex'),
    'a second hello': bodyFrame('hello', encodeMessage({ minProtocol: 1 })),
    'an open of nothing': openFrame(1, Buffer.from([0xc1])),
    'an open with other parameters': openFrame(1, encodeMessage({ channel: 'notes', params: { room: 5 } })),
    'the same channel twice': Buffer.concat([opened, opened]),
    'a message that is no MessagePack': Buffer.concat([opened, data(1, Buffer.from([0xc1]))]),
    'a message with bytes to spare': Buffer.concat([opened, data(1, Buffer.concat([message, message]))]),
    'a message without a kind': Buffer.concat([opened, data(1, encodeMessage({ number: 1 }))]),
    'a message that is a list': Buffer.concat([opened, data(1, encodeMessage([1]))]),
    'a field of another type': Buffer.concat([
      opened,
      data(1, encodeMessage({ kind: 'note', number: 'one', text: '' })),
    ]),
    'a continuation of nothing': Buffer.concat([opened, data(1, message, { first: false, last: true })]),
    'a beginning inside a message': Buffer.concat([
      opened,
      data(1, message, { first: true, last: false }),
      data(1, message),
    ]),
  };
  for (const [what, bytes] of Object.entries(garbage)) {
    it(`ends the connection of a node that sends ${what}, with the reason, and serves the others`, async () => {
      const far = await start('far');
      echoNotes(far);
      const raw = await RawNode.connect(far.port);
      raw.hello();
      await until(() => (raw.has('hello') ? '' : 'no hello'));
      raw.socket.write(bytes);
      await until(() => (raw.goodbye === undefined ? 'no goodbye' : ''));
      assert.equal(raw.goodbye?.reason, 'bad-data');
      const near = await start('near');
      await near.reach(peerOf('far', far), AbortSignal.timeout(5_000));
      await until(() => (raw.socket.destroyed ? '' : 'still connected'));
    });
  }

  it('does not mind what is said about channels that are gone', async () => {
    const far = await start('far');
    echoNotes(far);
    const raw = await RawNode.connect(far.port);
    raw.hello();
    raw.socket.write(
      Buffer.concat([
        opened,
        closeFrame(1, 'closed'),
        data(1, message),
        creditFrame(1, 10),
        closeFrame(1, 'overflow'),
        beatFrame('ping', 77),
      ]),
    );
    await until(() => (raw.frames.some((frame) => frame.type === 'pong' && frame.sequence === 77) ? '' : 'no pong'));
    raw.socket.destroy();
  });

  it('gives up on whoever connects and says nothing, with TLS or without', async () => {
    const far = await start('far', { settings: { connectTimeoutMs: 200 } });
    const raw = await RawNode.connect(far.port);
    const plain = connect({ port: far.port, host: '127.0.0.1' });
    plain.on('error', () => undefined).resume();
    raw.socket.resume();
    const noise = connect({ port: far.port, host: '127.0.0.1' });
    noise.on('error', () => undefined).resume();
    noise.write('GET / HTTP/1.1\r\n\r\n');
    await until(() => ([raw.socket, plain, noise].every((socket) => socket.destroyed) ? '' : 'still connected'));
    assert.equal(far.stats.incoming, 0);
  });

  it('gives up on an address that takes connections and does not answer', async () => {
    const near = await start('near', { settings: { connectTimeoutMs: 200 } });
    const silent = createServer((socket) => socket.on('error', () => undefined).resume());
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const peer = { nodeId: nodeId('far'), host: '127.0.0.1', port: (silent.address() as AddressInfo).port };
    const inbox = new Inbox(near.open(peer, notesType, params));
    inbox.link.send(note(1));
    await inbox.closed('lost');
    silent.close();
    await once(silent, 'close');
  });
});

/** A small TURN client (RFC 8656), to ask a server for what browsers would never ask. */
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { withDeadline } from './until.ts';

export type TurnTarget = {
  host: string;
  port: number;
  transport: 'udp' | 'tcp' | 'tls';
  username: string;
  credential: string;
  tls?: ConnectionOptions;
};

/** `errorCode` is 0 when the server did what it was asked. */
export type TurnAnswer = { errorCode: number; reason: string; attributes: Map<number, Buffer> };

export type PeerAddress = { host: string; port: number };

const method = { binding: 1, allocate: 3, refresh: 4, send: 6, data: 7, createPermission: 8, channelBind: 9 } as const;
const attribute = {
  username: 0x0006,
  integrity: 0x0008,
  errorCode: 0x0009,
  channelNumber: 0x000c,
  lifetime: 0x000d,
  peer: 0x0012,
  data: 0x0013,
  realm: 0x0014,
  nonce: 0x0015,
  relayed: 0x0016,
  requestedTransport: 0x0019,
} as const;
const cookie = Buffer.from('2112a442', 'hex');
const [request, indication, error] = [0x000, 0x010, 0x110];

type Attributes = [type: number, value: Buffer][];
type Wire = { send(message: Buffer): void; close(): void };

export class TurnClient {
  readonly #target: TurnTarget;
  readonly #waiting = new Map<string, (message: Buffer) => void>();
  /** What peers sent. */
  readonly received: Buffer[] = [];
  #wire: Wire = { send: () => {}, close: () => {} };
  #realm = '';
  #nonce: Buffer = Buffer.alloc(0);
  /** The connection is gone. */
  isClosed = false;

  static async open(target: TurnTarget): Promise<TurnClient> {
    const client = new TurnClient(target);
    client.#wire = target.transport === 'udp' ? await client.#openUdp() : await client.#openStream();
    return client;
  }

  private constructor(target: TurnTarget) {
    this.#target = target;
  }

  /** @returns the relayed address when it was given */
  async allocate(): Promise<TurnAnswer & { relayed: PeerAddress | undefined }> {
    const answer = await this.#ask(method.allocate, [[attribute.requestedTransport, Buffer.of(17, 0, 0, 0)]]);
    const relayed = answer.attributes.get(attribute.relayed);
    return { ...answer, relayed: relayed === undefined ? undefined : toAddress(relayed) };
  }

  permit(peer: PeerAddress): Promise<TurnAnswer> {
    return this.#ask(method.createPermission, [[attribute.peer, fromAddress(peer)]]);
  }

  bindChannel(channel: number, peer: PeerAddress): Promise<TurnAnswer> {
    const number = Buffer.alloc(4);
    number.writeUInt16BE(channel);
    return this.#ask(method.channelBind, [
      [attribute.channelNumber, number],
      [attribute.peer, fromAddress(peer)],
    ]);
  }

  refresh(lifetimeS: number): Promise<TurnAnswer> {
    const value = Buffer.alloc(4);
    value.writeUInt32BE(lifetimeS);
    return this.#ask(method.refresh, [[attribute.lifetime, value]]);
  }

  /** Sends to a peer; nobody says whether it arrived. */
  send(peer: PeerAddress, data: Buffer): void {
    this.#wire.send(
      encode(method.send | indication, randomBytes(12), [
        [attribute.peer, fromAddress(peer)],
        [attribute.data, data],
      ]),
    );
  }

  /** Sends to the peer of a channel. */
  sendOnChannel(channel: number, data: Buffer): void {
    const head = Buffer.alloc(4);
    head.writeUInt16BE(channel);
    head.writeUInt16BE(data.length, 2);
    this.#wire.send(Buffer.concat([head, data, Buffer.alloc((4 - (data.length % 4)) % 4)]));
  }

  close(): void {
    this.#wire.close();
  }

  /** Asks; when the server wants credentials or a fresh nonce, once more with them. */
  async #ask(type: number, attributes: Attributes): Promise<TurnAnswer> {
    const answer = await this.#askOnce(type, attributes);
    const wantsMore = answer.errorCode === 401 || answer.errorCode === 438;
    const nonce = answer.attributes.get(attribute.nonce);
    if (!wantsMore || nonce === undefined || (this.#nonce.length > 0 && answer.errorCode === 401)) return answer;
    this.#nonce = nonce;
    this.#realm = answer.attributes.get(attribute.realm)?.toString() ?? this.#realm;
    return this.#askOnce(type, attributes);
  }

  async #askOnce(type: number, attributes: Attributes): Promise<TurnAnswer> {
    const id = randomBytes(12);
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    const key = id.toString('hex');
    this.#waiting.set(key, resolve);
    const message = this.#nonce.length === 0 ? encode(type, id, attributes) : this.#sign(type, id, attributes);
    this.#wire.send(message);
    const again = setInterval(() => {
      if (this.#target.transport === 'udp') this.#wire.send(message);
    }, 500);
    try {
      return readAnswer(await withDeadline(promise, `answer of TURN to ${type}`, 5_000));
    } finally {
      clearInterval(again);
      this.#waiting.delete(key);
    }
  }

  #sign(type: number, id: Buffer, attributes: Attributes): Buffer {
    const { username, credential } = this.#target;
    const key = createHash('md5').update(`${username}:${this.#realm}:${credential}`).digest();
    const signed: Attributes = [
      ...attributes,
      [attribute.username, Buffer.from(username)],
      [attribute.realm, Buffer.from(this.#realm)],
      [attribute.nonce, this.#nonce],
    ];
    const body = encode(type, id, signed);
    // The length that is signed includes the signature that is not there yet.
    body.writeUInt16BE(body.length - 20 + 24, 2);
    return encode(type, id, [...signed, [attribute.integrity, createHmac('sha1', key).update(body).digest()]]);
  }

  async #openUdp(): Promise<Wire> {
    const { host, port } = this.#target;
    const socket = createSocket('udp4');
    socket.on('message', (message) => this.#receive(message));
    socket.on('error', () => {});
    socket.connect(port, host);
    await once(socket, 'connect');
    return { send: (message) => socket.send(message), close: () => socket.close() };
  }

  async #openStream(): Promise<Wire> {
    const { host, port, transport, tls } = this.#target;
    const socket = transport === 'tls' ? connectTls({ host, port, ...tls }) : connectTcp({ host, port });
    await once(socket, transport === 'tls' ? 'secureConnect' : 'connect');
    let rest: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      for (let size = frameSize(rest); size > 0 && rest.length >= size; size = frameSize(rest)) {
        this.#receive(rest.subarray(0, size));
        rest = rest.subarray(size);
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.isClosed = true;
    });
    return { send: (message) => socket.write(message), close: () => socket.destroy() };
  }

  #receive(message: Buffer): void {
    if (message.readUInt8(0) >= 0x40) {
      this.received.push(message.subarray(4, 4 + message.readUInt16BE(2)));
    } else if (message.readUInt16BE(0) === (method.data | indication)) {
      this.received.push(readAttributes(message).get(attribute.data) ?? Buffer.alloc(0));
    } else {
      this.#waiting.get(message.subarray(8, 20).toString('hex'))?.(message);
    }
  }
}

/** 0 while the header is incomplete. */
function frameSize(bytes: Buffer): number {
  if (bytes.length < 4) return 0;
  const length = bytes.readUInt16BE(2);
  return bytes.readUInt8(0) >= 0x40 ? 4 + length + ((4 - (length % 4)) % 4) : 20 + length;
}

function encode(type: number, id: Buffer, attributes: Attributes): Buffer {
  const body = Buffer.concat(
    attributes.map(([kind, value]) => {
      const head = Buffer.alloc(4);
      head.writeUInt16BE(kind);
      head.writeUInt16BE(value.length, 2);
      return Buffer.concat([head, value, Buffer.alloc((4 - (value.length % 4)) % 4)]);
    }),
  );
  const head = Buffer.alloc(4);
  head.writeUInt16BE(type | request);
  head.writeUInt16BE(body.length, 2);
  return Buffer.concat([head, cookie, id, body]);
}

function readAnswer(message: Buffer): TurnAnswer {
  const attributes = readAttributes(message);
  if ((message.readUInt16BE(0) & error) !== error) return { errorCode: 0, reason: '', attributes };
  const code = attributes.get(attribute.errorCode) ?? Buffer.alloc(4);
  return {
    errorCode: (code.readUInt8(2) & 7) * 100 + code.readUInt8(3),
    reason: code.subarray(4).toString(),
    attributes,
  };
}

function readAttributes(message: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 20; at + 4 <= message.length;) {
    const length = message.readUInt16BE(at + 2);
    found.set(message.readUInt16BE(at), message.subarray(at + 4, at + 4 + length));
    at += 4 + length + ((4 - (length % 4)) % 4);
  }
  return found;
}

function fromAddress({ host, port }: PeerAddress): Buffer {
  const bytes = Buffer.concat([Buffer.of(0, 1, 0, 0), Buffer.from(host.split('.').map(Number))]);
  bytes.writeUInt16BE(port ^ 0x2112, 2);
  for (const [index, byte] of cookie.entries()) bytes[4 + index] = (bytes[4 + index] ?? 0) ^ byte;
  return bytes;
}

function toAddress(bytes: Buffer): PeerAddress {
  const host = [...bytes.subarray(4, 8)].map((byte, index) => byte ^ (cookie[index] ?? 0)).join('.');
  return { host, port: bytes.readUInt16BE(2) ^ 0x2112 };
}

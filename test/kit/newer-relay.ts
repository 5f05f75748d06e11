/**
 * Stands before a node's relay and makes it look one version newer, in both directions: the hello offers the next protocol
 * version, messages have more fields, and there are messages and frames that nobody knows yet.
 */
import { once } from 'node:events';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import {
  beatFrame,
  bodyFrame,
  closeFrame,
  creditFrame,
  dataHead,
  FrameReader,
  maxChunkBytes,
  openFrame,
  type Frame,
} from '../../src/cluster/relay-frame.ts';
import { clientTls, serverTls, type RelayKeys } from '../../src/cluster/relay-secret.ts';
import { decodeMessage, encodeMessage } from '../../src/cluster/wire-codec.ts';

/** Where the newer nodes say that they are; the nodes themselves listen on 127.0.0.1, on the same ports. */
export const newerAddress = '127.0.0.2';

type DataFrame = Extract<Frame, { type: 'data' }>;
type Plain = Record<string, unknown>;

/** After so many messages of a channel comes one of a kind that nobody knows. */
const unknownAfter = 5;
const unknownFrame = Buffer.from([0, 0, 0, 5, 42, 1, 2, 3, 4]);

/** One direction of one connection. */
class NewerWay {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #reader = new FrameReader();
  readonly #chunks = new Map<number, { epoch: number | undefined; chunks: Uint8Array[] }>();
  readonly #messages = new Map<number, number>();
  /** By channel, bytes that were added on this way and that the other end gives credit for. */
  readonly extraBytes = new Map<number, number>();

  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
  }

  /** @param back the other direction */
  push(bytes: Buffer, back: NewerWay): void {
    for (const frame of this.#reader.push(bytes)) this.#pass(frame, back);
  }

  #pass(frame: Frame, back: NewerWay): void {
    switch (frame.type) {
      case 'hello': {
        const hello = decodeMessage(frame.body) as { maxProtocol: number; features: string[] };
        const features = [...hello.features, 'from-the-future'];
        const newer = { ...hello, maxProtocol: hello.maxProtocol + 1, features, newer: { nested: [1] } };
        this.#write(bodyFrame('hello', encodeMessage(newer)));
        this.#write(unknownFrame);
        return;
      }
      case 'goodbye':
        return this.#write(bodyFrame('goodbye', frame.body));
      case 'ping':
      case 'pong':
        return this.#write(beatFrame(frame.type, frame.sequence));
      case 'open': {
        const request = decodeMessage(frame.body) as { params: Plain };
        const body = encodeMessage({ ...request, params: { ...request.params, newer: 'field' }, newer: true });
        return this.#write(openFrame(frame.channelId, body));
      }
      case 'data':
        return this.#collect(frame);
      case 'credit':
        return this.#credit(frame.channelId, frame.bytes, back);
      case 'close':
        return this.#write(closeFrame(frame.channelId, frame.reason));
      case 'unknown':
        return;
    }
  }

  #collect({ channelId, first, last, epoch, chunk }: DataFrame): void {
    const message = first ? { epoch, chunks: [] } : (this.#chunks.get(channelId) ?? { epoch, chunks: [] });
    this.#chunks.set(channelId, message);
    message.chunks.push(Uint8Array.from(chunk));
    if (!last) return;
    this.#chunks.delete(channelId);
    const old = Buffer.concat(message.chunks);
    this.#send(channelId, message.epoch, encodeMessage(withNews(decodeMessage(old))), old.length);
    const count = (this.#messages.get(channelId) ?? 0) + 1;
    this.#messages.set(channelId, count);
    if (count % unknownAfter === 0) {
      this.#send(channelId, undefined, encodeMessage({ kind: 'ofTheFuture', count }), 0);
      this.#write(unknownFrame);
    }
  }

  #send(channelId: number, epoch: number | undefined, bytes: Uint8Array, countedBytes: number): void {
    const extra = (this.extraBytes.get(channelId) ?? 0) + bytes.length - countedBytes;
    this.extraBytes.set(channelId, extra);
    for (let at = 0; at < bytes.length; at += maxChunkBytes) {
      const chunk = bytes.subarray(at, at + maxChunkBytes);
      const last = at + maxChunkBytes >= bytes.length;
      this.#write(dataHead({ channelId, first: at === 0, last, epoch, chunkBytes: chunk.length }));
      this.#write(chunk);
    }
  }

  /** The sender must not get credit for what it did not send. */
  #credit(channelId: number, bytes: number, back: NewerWay): void {
    const extra = back.extraBytes.get(channelId) ?? 0;
    const taken = Math.min(extra, bytes);
    back.extraBytes.set(channelId, extra - taken);
    if (bytes > taken) this.#write(creditFrame(channelId, bytes - taken));
  }
}

export class NewerRelay {
  readonly #server: Server;
  readonly #sockets = new Set<TLSSocket>();
  connections = 0;

  static async start(options: { port: number; key: RelayKeys }): Promise<NewerRelay> {
    const relay = new NewerRelay(options);
    relay.#server.listen(options.port, newerAddress);
    await once(relay.#server, 'listening');
    return relay;
  }

  private constructor({ port, key }: { port: number; key: RelayKeys }) {
    this.#server = createServer(serverTls(key, 5_000), (near) => {
      this.connections += 1;
      const far = connect({ host: '127.0.0.1', port, ...clientTls(key) });
      const there = new NewerWay((bytes) => void far.write(bytes));
      const back = new NewerWay((bytes) => void near.write(bytes));
      near.on('data', (bytes: Buffer) => there.push(bytes, back));
      far.on('data', (bytes: Buffer) => back.push(bytes, there));
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        socket.setNoDelay(true);
        this.#sockets.add(socket);
        socket.on('error', () => undefined);
        // What was written (a goodbye) may still go out.
        socket.on('end', () => other.end());
        socket.on('close', () => {
          this.#sockets.delete(socket);
          other.destroySoon();
        });
      }
    });
    this.#server.on('tlsClientError', () => undefined);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** More fields in the message and in whatever in it has a name, but not in maps whose keys are somebody's own. */
function withNews(message: unknown): unknown {
  if (typeof message !== 'object' || message === null || Array.isArray(message) || message instanceof Uint8Array) {
    return message;
  }
  const fields: Plain = {};
  for (const [key, value] of Object.entries(message)) fields[key] = key === 'identity' ? withNews(value) : value;
  return { ...fields, newer: { list: [1, 'two'], bytes: Uint8Array.of(3) } };
}

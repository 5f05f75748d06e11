/** A network between two relays that can be broken, and a node that says what it should not. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { LogRecord } from '../../test/kit/log-record.ts';
import { bodyFrame, FrameReader, type Frame } from './relay-frame.ts';
import { readGoodbye, type Goodbye } from './relay-hello.ts';
import type { RelaySettings } from './relay-network.ts';
import { clientTls, relayKeys } from './relay-secret.ts';
import { TcpRelay } from './relay-tcp.ts';
import { identity } from './relay-test-kit.ts';
import { encodeMessage } from './wire-codec.ts';

export const cluster = 'test';
export const secret = 'a secret of the tests';

export type StartRelay = {
  suffix: string;
  log: LogRecord;
  settings?: Partial<RelaySettings>;
  secret?: string;
  previousSecrets?: string[];
  cluster?: string;
};

export function startRelay(options: StartRelay): Promise<TcpRelay> {
  return TcpRelay.start({
    self: identity(options.suffix),
    cluster: options.cluster ?? cluster,
    secret: options.secret ?? secret,
    previousSecrets: options.previousSecrets ?? [],
    bindAddresses: ['127.0.0.1'],
    port: 0,
    settings: options.settings ?? {},
    log: options.log.logger(),
  });
}

/** A wire between a port of its own and another. */
export class Wire {
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((socket) => this.#accept(socket));
  readonly #targetPort: number;
  #stalled = false;

  constructor(targetPort: number) {
    this.#targetPort = targetPort;
  }

  static async to(targetPort: number): Promise<Wire> {
    const wire = new Wire(targetPort);
    wire.#server.listen(0, '127.0.0.1');
    await once(wire.#server, 'listening');
    return wire;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Nothing passes any more, and nobody is told. */
  stall(): void {
    this.#stalled = true;
    for (const socket of this.#sockets) {
      socket.unpipe();
      socket.pause();
    }
  }

  /** All connections end and none is taken any more. */
  cut(): void {
    this.#server.close();
    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }

  #accept(near: Socket): void {
    const far = connect({ port: this.#targetPort, host: '127.0.0.1', noDelay: true });
    near.setNoDelay(true);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        if (!this.#stalled) {
          other.destroy();
        }
      });
    }
    near.pipe(far).pipe(near);
  }
}

/** A node that holds the secret and speaks frames, written by the test. */
export class RawNode {
  readonly frames: Frame[] = [];
  readonly socket: TLSSocket;
  readonly #reader = new FrameReader();

  static async connect(port: number): Promise<RawNode> {
    const socket = connectTls({ port, host: '127.0.0.1', ...clientTls(relayKeys(cluster, secret)) });
    socket.on('error', () => undefined);
    await once(socket, 'secureConnect');
    return new RawNode(socket);
  }

  private constructor(socket: TLSSocket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => this.frames.push(...this.#reader.push(chunk)));
  }

  get goodbye(): Goodbye | undefined {
    const frame = this.frames.find(({ type }) => type === 'goodbye');
    return frame?.type === 'goodbye' ? readGoodbye(frame.body) : undefined;
  }

  has(type: Frame['type']): boolean {
    return this.frames.some((frame) => frame.type === type);
  }

  hello(fields: Record<string, unknown> = {}): void {
    this.socket.write(bodyFrame('hello', encodeMessage({ ...rawHello, ...fields })));
  }
}

const rawHello = {
  minProtocol: 1,
  maxProtocol: 1,
  cluster,
  nodeId: 'ND_raw',
  role: 'media',
  software: '9.9.9',
  features: ['from-the-future'],
  windowBytes: 65_536,
  maxMessageBytes: 1_000_000,
};

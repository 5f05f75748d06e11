import { createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from 'node:tls';
import type { KeyPair } from '../certificates/certificate.ts';
import type { ClientAddresses } from './client-address.ts';
import { readClientHello } from './client-hello.ts';
import type { ConnectionLimits } from './connection-limits.ts';
import { listenOnAll } from './listen.ts';
import type { EdgeObserver, EdgeRefusal } from './observer.ts';
import { readOpening } from './opening-bytes.ts';
import { readProxyHeader, type ProxyHeader } from './proxy-protocol.ts';
import { defaultEdgeTimings, type EdgeTimings } from './timings.ts';
import { spliceToTurn, type TurnBackend } from './turn-splice.ts';

export type TurnSplit = {
  /** Connections for this name are TURN's, encrypted as they are; empty when it is the same as that of HTTPS. */
  domain: string;
  /** In order of preference for the next connection. */
  backends: () => readonly TurnBackend[];
};

export type EdgeListenerOptions = {
  bindAddresses: readonly string[];
  port: number;
  certificate: KeyPair;
  addresses: ClientAddresses;
  limits: ConnectionLimits;
  maxConnections: number;
  /** Whether trusted proxies begin with a PROXY header. */
  proxyProtocol: boolean;
  /** Without it, everything is HTTP. */
  turn?: TurnSplit | undefined;
  onHttp: (socket: TLSSocket) => void;
  observer: EdgeObserver;
  timings?: Partial<EdgeTimings>;
};

/** A full record and a PROXY header. */
const maxOpeningBytes = 24 * 1024;

/** Forward secrecy and authenticated encryption; TLS 1.3 has nothing else. */
const cipherList = 'ECDHE+AESGCM:ECDHE+CHACHA20';
const httpProtocol = 'http/1.1';
const turnProtocol = 'stun.turn';

/** The public TLS port: HTTPS, and TURN over TLS beside it. */
export class EdgeListener {
  readonly #options: EdgeListenerOptions;
  readonly #timings: EdgeTimings;
  readonly #tls: TlsServer;
  readonly #sockets = new Set<Socket>();
  /** Clients behind load balancers, by the end of the connection that can be seen from here. */
  readonly #proxied = new Map<string, string>();
  #servers: Server[] = [];
  #port = 0;

  constructor(options: EdgeListenerOptions) {
    this.#options = options;
    this.#timings = { ...defaultEdgeTimings, ...options.timings };
    this.#tls = this.#createTls();
  }

  /** 0 before `listen`. */
  get port(): number {
    return this.#port;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** Rejects with reason `listen-failed`. */
  async listen(): Promise<void> {
    const { bindAddresses, port } = this.#options;
    const opened = await listenOnAll({ bindAddresses, port, option: 'tls.port' }, () =>
      createServer({ noDelay: true }, (socket) => this.#accept(socket)),
    );
    this.#servers = opened.servers;
    this.#port = opened.port;
  }

  /** New connections get this certificate; open ones stay as they are. */
  use({ chain, key }: KeyPair): void {
    this.#tls.setSecureContext({ ...secureOptions, cert: chain, key });
  }

  /** Stops listening, and cuts what is not HTTP: that ends with the gateway. Safe to call twice. */
  async close(): Promise<void> {
    const closed = this.#servers.splice(0).map((server) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      return promise;
    });
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    await Promise.all(closed);
  }

  #createTls(): TlsServer {
    const { certificate, observer } = this.#options;
    const server = createTlsServer({
      ...secureOptions,
      cert: certificate.chain,
      key: certificate.key,
      handshakeTimeout: this.#timings.handshakeTimeoutMs,
      // HTTP/2 is not offered: WebSockets over it (RFC 8441) would gain nothing here.
      ALPNCallback: ({ protocols }) => protocols.find((name) => name === httpProtocol || name === turnProtocol),
    });
    server.on('secureConnection', (socket) => {
      // Until the next owner listens: a reset in between must not end the process.
      socket.on('error', () => socket.destroy());
      void this.#sort(socket);
    });
    server.on('tlsClientError', (_error, socket) => {
      observer.connectionRefused('handshake');
      socket.destroy();
    });
    return server;
  }

  #accept(socket: Socket): void {
    const { maxConnections, observer } = this.#options;
    socket.on('error', () => socket.destroy());
    if (this.#sockets.size >= maxConnections) {
      this.#refuse(socket, 'too-many');
      return;
    }
    this.#sockets.add(socket);
    observer.connectionOpened();
    socket.once('close', () => {
      this.#sockets.delete(socket);
      observer.connectionClosed();
    });
    void this.#open(socket);
  }

  /** From the first byte to the TLS handshake. */
  async #open(socket: Socket): Promise<void> {
    const { addresses, limits, proxyProtocol } = this.#options;
    const peer = addresses.ofSocket(socket);
    const expectsProxy = proxyProtocol && addresses.isTrusted(peer);
    const release = expectsProxy ? undefined : limits.admit(peer);
    if (release === undefined && !expectsProxy) {
      this.#refuse(socket, 'address-limit');
      return;
    }
    socket.once('close', () => release?.());
    const opening = await readOpening(socket, {
      decide: (bytes) => readStart(bytes, expectsProxy),
      maxBytes: maxOpeningBytes,
      timeoutMs: this.#timings.openingTimeoutMs,
    });
    if (opening === undefined) {
      this.#options.observer.connectionRefused('silent');
      return;
    }
    const { decision, bytes } = opening;
    if (decision.kind === 'bad' || !this.#admitProxied(socket, decision)) {
      this.#refuse(socket, decision.kind === 'bad' ? 'not-tls' : 'address-limit');
      return;
    }
    await this.#route(socket, decision.serverName, bytes.subarray(decision.proxyBytes));
  }

  /** The client behind a load balancer, counted once it is known. */
  #admitProxied(socket: Socket, { address }: { address: string | undefined }): boolean {
    if (address === undefined) {
      return true;
    }
    const end = remoteEnd(socket);
    this.#options.addresses.state(socket, address);
    this.#proxied.set(end, address);
    socket.once('close', () => this.#proxied.delete(end));
    const release = this.#options.limits.admit(this.#options.addresses.ofSocket(socket));
    if (release !== undefined) {
      socket.once('close', release);
    }
    return release !== undefined;
  }

  async #route(socket: Socket, serverName: string, bytes: Buffer): Promise<void> {
    const { turn } = this.#options;
    if (turn !== undefined && turn.domain !== '' && turn.domain === serverName) {
      await this.#splice(socket, turn, { bytes, encrypt: false });
      return;
    }
    socket.unshift(bytes);
    this.#tls.emit('connection', socket);
  }

  /** After the handshake. Without a TURN domain of its own only what a client says first tells TURN from HTTP. */
  async #sort(socket: TLSSocket): Promise<void> {
    const { turn, onHttp, observer } = this.#options;
    this.#keepAddress(socket);
    const isTurn = socket.alpnProtocol === turnProtocol;
    if (turn === undefined || (socket.alpnProtocol !== false && !isTurn)) {
      onHttp(socket);
      return;
    }
    const opening = await readOpening(socket, {
      decide: (bytes) => (isStun(bytes) ? ('turn' as const) : ('http' as const)),
      maxBytes: maxOpeningBytes,
      timeoutMs: this.#timings.openingTimeoutMs,
    });
    if (opening === undefined) {
      observer.connectionRefused('silent');
    } else if (opening.decision === 'turn') {
      await this.#splice(socket, turn, { bytes: opening.bytes, encrypt: true });
    } else {
      socket.unshift(opening.bytes);
      onHttp(socket);
      socket.resume();
    }
  }

  async #splice(client: Duplex, turn: TurnSplit, how: { bytes: Buffer; encrypt: boolean }): Promise<void> {
    const { observer } = this.#options;
    const { connectTimeoutMs, turnIdleTimeoutMs: idleTimeoutMs } = this.#timings;
    observer.turnOpened();
    const isReached = await spliceToTurn({
      client,
      ...how,
      backends: turn.backends(),
      connectTimeoutMs,
      idleTimeoutMs,
    });
    observer.turnClosed();
    if (!isReached) {
      observer.connectionRefused('no-turn');
    }
  }

  /** What the load balancer said about the raw connection holds for the one inside. */
  #keepAddress(socket: TLSSocket): void {
    const address = this.#proxied.get(remoteEnd(socket));
    if (address !== undefined) {
      this.#options.addresses.state(socket, address);
    }
  }

  #refuse(socket: Socket, why: EdgeRefusal): void {
    this.#options.observer.connectionRefused(why);
    // A reset leaves nothing behind; an orderly end would keep the socket in TIME_WAIT here.
    socket.resetAndDestroy();
  }
}

function remoteEnd(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

const secureOptions = { minVersion: 'TLSv1.2', ciphers: cipherList, honorCipherOrder: true } as const;

type Start =
  | { kind: 'bad' }
  /** `address`: of the client, when a proxy stated one. */
  | { kind: 'hello'; serverName: string; proxyBytes: number; address: string | undefined };

function readStart(bytes: Buffer, expectsProxy: boolean): Start | undefined {
  const header: ProxyHeader = expectsProxy ? readProxyHeader(bytes) : { kind: 'none' };
  if (header.kind === 'incomplete') {
    return undefined;
  }
  if (header.kind === 'bad') {
    return header;
  }
  const proxyBytes = header.kind === 'header' ? header.lengthBytes : 0;
  const hello = readClientHello(bytes.subarray(proxyBytes));
  switch (hello.kind) {
    case 'incomplete':
      return undefined;
    case 'not-tls':
      return { kind: 'bad' };
    default: {
      const address = header.kind === 'header' ? header.address : undefined;
      return { kind: 'hello', serverName: hello.serverName, proxyBytes, address };
    }
  }
}

/** RFC 8489, 5: the two highest bits of a STUN message are zero; HTTP begins with a letter. */
function isStun(bytes: Buffer): boolean {
  return ((bytes[0] ?? 0xff) & 0xc0) === 0;
}

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, isIPv6, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { joinRefusal } from '../protocol/http-errors.ts';
import { listenFailed } from './errors.ts';
import type { EdgeGuards } from '../edge/guards.ts';
import type { GatewayObserver } from './observer.ts';
import { refuseUpgrade } from './responses.ts';
import type { GatewayTimings } from './timings.ts';

export type HttpListenerOptions = {
  bindAddresses: readonly string[];
  /** 0 = any free one, the same on all addresses. */
  port: number;
  maxConnections: number;
  timings: GatewayTimings;
  observer: GatewayObserver;
  guards: EdgeGuards;
  onRequest: (request: IncomingMessage, response: ServerResponse) => void;
  onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
};

/** A join_request or token in the query makes request lines of several kB; Node's own limit is 16 kB for all headers. */
const maxHeaderBytes = 128 * 1024;

/** One port on several addresses, with the bounds that slow and half-open clients run into. */
export class HttpListener {
  readonly #options: HttpListenerOptions;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  /** Connections that another port has held against the limits of their address. */
  readonly #counted = new WeakSet<Socket>();

  constructor(options: HttpListenerOptions) {
    this.#options = options;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** The port it listens on; 0 before `listen`. */
  get port(): number {
    const address = this.#servers[0]?.address();
    return isAddressInfo(address) ? address.port : 0;
  }

  /** Rejects with reason `listen-failed`, and then listens nowhere. */
  async listen(): Promise<void> {
    for (const bindAddress of this.#options.bindAddresses) {
      const port = this.#options.port === 0 ? this.port : this.#options.port;
      const server = this.#createServer();
      this.#servers.push(server);
      try {
        await listenOn(server, {
          port,
          host: bindAddress,
          ipv6Only: this.#options.bindAddresses.length > 1 && isIPv6(bindAddress),
        });
      } catch (error) {
        this.#servers.pop();
        await this.close(0);
        throw listenFailed(bindAddress, port, error);
      }
    }
  }

  /** Serves a connection that came through another port; whoever accepted it has counted it. */
  serve(socket: Socket): void {
    const [server] = this.#servers;
    if (server === undefined) {
      socket.destroy();
      return;
    }
    this.#counted.add(socket);
    server.emit('connection', socket);
  }

  /** Stops listening, gives running answers the grace time, then cuts every connection, upgraded ones included. */
  async close(graceMs: number): Promise<void> {
    const closed = this.#servers.splice(0).map((server) => closeServer(server));
    const cut = setTimeout(() => this.#cutAll(), graceMs);
    await Promise.all(closed);
    clearTimeout(cut);
  }

  #cutAll(): void {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }

  #createServer(): Server {
    const { timings, onRequest, onUpgrade } = this.#options;
    const server = createServer({
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: timings.headersTimeoutMs,
      requestTimeout: timings.requestTimeoutMs,
      connectionsCheckingInterval: Math.min(2_000, timings.headersTimeoutMs / 2),
      keepAliveTimeout: 10_000,
      noDelay: true,
      // Some HTTP clients (Java's, curl --http2) offer `Upgrade: h2c` on ordinary requests; those stay HTTP/1.1.
      shouldUpgradeCallback: (request) => request.headers.upgrade?.toLowerCase() === 'websocket',
    });
    server.setTimeout(timings.idleTimeoutMs);
    server.on('request', onRequest);
    server.on('upgrade', onUpgrade);
    server.on('connection', (socket) => this.#accept(socket));
    return server;
  }

  #accept(socket: Socket): void {
    if (this.#sockets.size >= this.#options.maxConnections) {
      this.#options.observer.connectionRejected();
      refuseUpgrade(socket, joinRefusal.tooManyConnections);
      return;
    }
    const release = this.#admit(socket);
    if (release === undefined) {
      this.#options.observer.connectionRejected();
      socket.resetAndDestroy();
      return;
    }
    this.#sockets.add(socket);
    this.#options.observer.connectionOpened();
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#options.observer.connectionClosed();
      release();
    });
  }

  #admit(socket: Socket): (() => void) | undefined {
    const { addresses, connections } = this.#options.guards;
    return this.#counted.has(socket) ? () => undefined : connections.admit(addresses.ofSocket(socket));
  }
}

type ListenAddress = { port: number; host: string; ipv6Only: boolean };

function listenOn(server: Server, address: ListenAddress): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  // A crowd that reconnects after a node's death arrives within a second; Node's default queue is 511.
  server.listen({ ...address, backlog: 4096 }, () => {
    server.off('error', reject);
    resolve();
  });
  return promise;
}

function closeServer(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  server.closeIdleConnections();
  return promise;
}

function isAddressInfo(address: string | AddressInfo | null | undefined): address is AddressInfo {
  return typeof address === 'object' && address !== null;
}

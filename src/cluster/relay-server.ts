import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { ConnectionEnd, RelayConnection } from './relay-connection.ts';
import { cannotListen } from './relay-errors.ts';
import type { LimitedLog } from './relay-log.ts';
import type { RelaySettings } from './relay-network.ts';
import { serverTls, type RelayKeys } from './relay-secret.ts';

export type RelayServerOptions = {
  keys: RelayKeys;
  bindAddresses: readonly string[];
  port: number;
  settings: RelaySettings;
  log: LimitedLog;
  /** Makes the connection of a socket whose TLS stands. */
  connect: (where: string, onEnd: (end: ConnectionEnd) => void) => RelayConnection;
};

const maxSockets = 4_096;

/** Where other nodes connect to. */
export class RelayServer {
  readonly #options: RelayServerOptions;
  #servers: Server[] = [];
  readonly #connections = new Set<RelayConnection>();
  #port = 0;

  constructor(options: RelayServerOptions) {
    this.#options = options;
  }

  /** The port that it listens on, on every address. */
  get port(): number {
    return this.#port;
  }

  get connections(): ReadonlySet<RelayConnection> {
    return this.#connections;
  }

  /** @throws PlenumError `relay-cannot-listen`, and then listens nowhere. */
  async listen(): Promise<void> {
    this.#port = this.#options.port;
    for (const address of this.#options.bindAddresses) {
      const server = this.#createServer();
      this.#servers.push(server);
      try {
        server.listen(this.#port, address);
        await once(server, 'listening');
      } catch (error) {
        await this.#stopListening();
        throw cannotListen(`${address}:${this.#port}`, error);
      }
      // With port 0 the first address finds one; the others take the same.
      this.#port = (server.address() as AddressInfo).port;
    }
  }

  async close(): Promise<void> {
    const stopped = this.#stopListening();
    await Promise.all([...this.#connections].map((connection) => connection.close()));
    await stopped;
  }

  #createServer(): Server {
    const { keys, settings, log } = this.#options;
    const server = createServer(serverTls(keys, settings.connectTimeoutMs), (socket) => this.#accept(socket));
    server.maxConnections = maxSockets;
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      const { reason, message } = describeStranger(error.code ?? '');
      // Other failures end the socket by themselves, after the alert that tells the peer why.
      if (error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT') {
        socket.destroy();
      }
      log.say('warn', reason, { message, from: socket.remoteAddress, code: error.code });
    });
    return server;
  }

  #accept(socket: TLSSocket): void {
    const where = `${socket.remoteAddress}:${socket.remotePort}`;
    const connection = this.#options.connect(where, () => this.#connections.delete(connection));
    this.#connections.add(connection);
    connection.attach(socket);
  }

  async #stopListening(): Promise<void> {
    const servers = this.#servers;
    this.#servers = [];
    // Does not wait for their sockets: connections end theirs, and TLS that is not done has its own time limit.
    for (const server of servers) {
      server.close();
    }
  }
}

function describeStranger(code: string): { reason: string; message: string } {
  switch (code) {
    case 'ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC':
      return { reason: 'relay-wrong-secret', message: 'a node with another cluster secret tried to connect' };
    case 'ERR_SSL_PSK_IDENTITY_NOT_FOUND':
      return { reason: 'relay-wrong-cluster', message: 'a node of a cluster of another name tried to connect' };
    default:
      return { reason: 'relay-no-tls', message: 'something that is no node tried to connect' };
  }
}

import { connect, type TLSSocket } from 'node:tls';
import type { PlenumError } from '../lib/errors.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { ConnectionEnd, RelayConnection } from './relay-connection.ts';
import { relayClosed, unreachable, wrongCluster, wrongSecret } from './relay-errors.ts';
import type { RelayPeer } from './relay-network.ts';
import { clientTls, type RelayKeys } from './relay-secret.ts';

export type RelayClientsOptions = {
  keys: RelayKeys;
  connect: (peer: RelayPeer, onEnd: (end: ConnectionEnd) => void) => RelayConnection;
};

/** Our connections to other nodes: one per node, made when it is first needed, shared by all channels. */
export class RelayClients {
  readonly #options: RelayClientsOptions;
  readonly #connections = new Map<NodeId, RelayConnection>();
  #closed = false;

  constructor(options: RelayClientsOptions) {
    this.#options = options;
  }

  get connections(): Iterable<RelayConnection> {
    return this.#connections.values();
  }

  /** The connection to this node, which may still be under way; one that has ended when we are closed. */
  to(peer: RelayPeer): RelayConnection {
    if (this.#closed) {
      const connection = this.#options.connect(peer, () => undefined);
      connection.fail('closed', relayClosed());
      return connection;
    }
    const connection = this.#connections.get(peer.nodeId);
    // Whoever opens again from the very call that says a link is lost must not get the connection that is just ending.
    return connection === undefined || connection.ended ? this.#dial(peer) : connection;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#connections.values()].map((connection) => connection.close()));
  }

  #dial(peer: RelayPeer): RelayConnection {
    const { keys } = this.#options;
    const socket = connect({ host: peer.host, port: peer.port, ...clientTls(keys) });
    const connection = this.#options.connect(peer, () => {
      if (this.#connections.get(peer.nodeId) === connection) {
        this.#connections.delete(peer.nodeId);
      }
      if (socket.connecting || !isSecure(socket)) {
        socket.destroy();
      }
    });
    this.#connections.set(peer.nodeId, connection);
    socket.once('secureConnect', () => connection.attach(socket));
    // Before the socket is attached these are about dialling; after that the connection has its own handlers, and the first wins.
    socket.on('error', (error: NodeJS.ErrnoException) => connection.fail('reset', dialError(peer, error)));
    socket.on('close', () => connection.fail('reset', unreachable(describe(peer), 'it closed the connection')));
    return connection;
  }
}

function isSecure(socket: TLSSocket): boolean {
  return socket.getCipher()?.name !== undefined;
}

function describe(peer: RelayPeer): string {
  return `${peer.nodeId} at ${peer.host}:${peer.port}`;
}

function dialError(peer: RelayPeer, error: NodeJS.ErrnoException): PlenumError {
  switch (error.code) {
    case 'ERR_SSL_SSL/TLS_ALERT_BAD_RECORD_MAC':
    case 'ERR_SSL_SSLV3_ALERT_BAD_RECORD_MAC':
      return wrongSecret(describe(peer), error);
    case 'ERR_SSL_TLSV1_ALERT_UNKNOWN_PSK_IDENTITY':
      return wrongCluster(describe(peer), error);
    default:
      return unreachable(describe(peer), error.message || error.code || 'connection failed', error);
  }
}

import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** A TURN server's port for TLS, which takes plain TCP too. */
export type TurnBackend = { host: string; port: number };

export type SpliceOptions = {
  client: Duplex;
  /** What the client has said already. */
  bytes: Buffer;
  /** In order of preference. */
  backends: readonly TurnBackend[];
  connectTimeoutMs: number;
  /** A call sends all the time; whoever is silent for so long is gone. */
  idleTimeoutMs: number;
};

/** At most that many are tried: clients give up after some seconds. */
const maxAttempts = 3;

/**
 * Joins a client with a TURN server until one of them ends. The client's stream must be paused.
 * @returns false when no server could be reached; the client's stream is then destroyed
 */
export async function spliceToTurn(options: SpliceOptions): Promise<boolean> {
  const { client, bytes, backends, idleTimeoutMs } = options;
  for (const backend of backends.slice(0, maxAttempts)) {
    const server = await open(backend, options.connectTimeoutMs);
    if (client.destroyed) {
      server?.destroy();
      return true;
    }
    if (server !== undefined) {
      await join(client, server, { bytes, idleTimeoutMs });
      return true;
    }
  }
  client.destroy();
  return false;
}

function open({ host, port }: TurnBackend, timeoutMs: number): Promise<Socket | undefined> {
  const { promise, resolve } = Promise.withResolvers<Socket | undefined>();
  const socket = connect({ host, port, noDelay: true });
  const timer = setTimeout(() => socket.destroy(), timeoutMs);
  socket.once('connect', () => resolve(socket));
  socket.on('error', () => socket.destroy());
  socket.once('close', () => resolve(undefined));
  return promise.finally(() => clearTimeout(timer));
}

/** Resolves when both ends are closed. Pipes stop reading while the other end does not take more. */
async function join(client: Duplex, server: Socket, how: { bytes: Buffer; idleTimeoutMs: number }): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let closed = 0;
  for (const [one, other] of [
    [client, server],
    [server, client],
  ] as const) {
    one.on('error', () => one.destroy());
    one.once('close', () => {
      other.destroy();
      closed += 1;
      if (closed === 2) resolve();
    });
  }
  server.setTimeout(how.idleTimeoutMs, () => server.destroy());
  server.write(how.bytes);
  client.pipe(server);
  server.pipe(client);
  await promise;
}

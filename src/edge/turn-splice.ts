import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';

/** A TURN server's port for TLS. */
export type TurnBackend = { host: string; port: number };

export type SpliceOptions = {
  client: Duplex;
  /** What the client has said already. */
  bytes: Buffer;
  /** The client's TLS ended here, so that another begins; else it goes through to the server as it is. */
  encrypt: boolean;
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
    const server = await open(backend, options);
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

function open(
  { host, port }: TurnBackend,
  { encrypt, connectTimeoutMs }: Pick<SpliceOptions, 'encrypt' | 'connectTimeoutMs'>,
): Promise<Socket | undefined> {
  const { promise, resolve } = Promise.withResolvers<Socket | undefined>();
  // The certificate is the one that is served here, or the one before or after it, and for another name than the address.
  // Whoever stood in between would see what goes over UDP without any TLS: STUN, and media that is encrypted end to end.
  const socket = encrypt ? connectTls({ host, port, rejectUnauthorized: false }) : connect({ host, port });
  socket.setNoDelay(true);
  const timer = setTimeout(() => socket.destroy(), connectTimeoutMs);
  socket.once(encrypt ? 'secureConnect' : 'connect', () => resolve(socket));
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

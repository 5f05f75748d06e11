/** People who want to keep a server from others: connections that do nothing, or hardly anything, and bad tokens. */
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';

export type AttackTarget = { httpPort: number; tlsPort: number };

/** How many connections from how many addresses of 127.0.0.0/8. */
export type Crowd = { addresses: number; each: number };

/** What a connection does once it is there. */
type Opening = (localAddress: string, number: number) => Socket;

/** A ClientHello of 508 bytes (RFC 8446, 4.1.2), up to its random bytes. */
const slowHello = Buffer.from('1603010200010001fc0303', 'hex');

/** At a time, so that a crowd comes in a stream. */
const openedTogether = 25;

export class EdgeAttack {
  readonly #target: AttackTarget;
  readonly #sockets = new Set<Socket>();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[] = [];
  /** Statuses of what was asked with bad tokens; 0 = the connection was refused. */
  readonly answers = new Map<number, number>();
  /** The longest that the server has borne with a slow connection. */
  longestSlowMs = 0;
  /** Which of the slow ones the server has sent away at least once. */
  readonly slowEnded = new Set<string>();

  constructor(target: AttackTarget) {
    this.#target = target;
  }

  /** Shakes hands and then says nothing; comes back when it is sent away. Resolves when all were there once. */
  async idle(crowd: Crowd, net: string): Promise<void> {
    await this.#fill(crowd, net, (localAddress) => this.#openTls(localAddress));
  }

  /** Begins a handshake or a request and goes on with a byte per second; comes back when it is sent away. */
  async slow(crowd: Crowd, net: string): Promise<void> {
    await this.#fill(crowd, net, (localAddress, number) => this.#openSlow(localAddress, number));
  }

  /** Asks with tokens that are none, as fast as it goes. */
  flood(localAddress: string): void {
    const agent = new Agent({ keepAlive: true, maxSockets: 5, localAddress });
    this.#stop.signal.addEventListener('abort', () => agent.destroy());
    for (let number = 0; number < 5; number += 1) this.#running.push(this.#ask(agent));
  }

  /** One connection over TLS. @returns whether it was let in */
  async tryTls(localAddress: string): Promise<boolean> {
    return isLetIn(this.#openTls(localAddress));
  }

  async close(): Promise<void> {
    this.#stop.abort();
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#running);
  }

  async #fill({ addresses, each }: Crowd, net: string, open: Opening): Promise<void> {
    const slots = Array.from({ length: addresses * each }, (_, slot) => ({
      localAddress: `${net}.${(slot % addresses) + 1}`,
      number: Math.floor(slot / addresses),
    }));
    for (let from = 0; from < slots.length; from += openedTogether) {
      const first = slots.slice(from, from + openedTogether).map(({ localAddress, number }) => {
        const socket = open(localAddress, number);
        this.#running.push(this.#hold(socket, () => open(localAddress, number)));
        return isLetIn(socket);
      });
      if (!(await Promise.all(first)).every(Boolean)) throw new Error('a connection within the limits was refused');
    }
  }

  async #hold(first: Socket, open: () => Socket): Promise<void> {
    for (let socket = first; ; socket = open()) {
      await ended(socket);
      if (this.#stop.signal.aborted) return;
    }
  }

  #openTls(localAddress: string): Socket {
    const { tlsPort: port } = this.#target;
    return this.#keep(
      connectTls({ port, host: '127.0.0.1', localAddress, rejectUnauthorized: false } as ConnectionOptions),
    );
  }

  #openSlow(localAddress: string, number: number): Socket {
    const { httpPort, tlsPort } = this.#target;
    const isHandshake = number % 2 === 0;
    const head = isHandshake ? slowHello : Buffer.from('GET / HTTP/1.1\r\nX: ');
    const socket = this.#keep(connectTcp({ port: isHandshake ? tlsPort : httpPort, host: '127.0.0.1', localAddress }));
    const openedMs = performance.now();
    socket.write(head);
    const drip = setInterval(() => socket.write('a'), 1_000);
    socket.once('close', () => {
      clearInterval(drip);
      if (this.#stop.signal.aborted) return;
      this.slowEnded.add(`${localAddress} ${number}`);
      this.longestSlowMs = Math.max(this.longestSlowMs, performance.now() - openedMs);
    });
    return socket;
  }

  #keep(socket: Socket): Socket {
    this.#sockets.add(socket);
    // Whatever comes is read, so that an end is noticed.
    socket.on('error', () => {}).resume();
    socket.once('close', () => this.#sockets.delete(socket));
    return socket;
  }

  async #ask(agent: Agent): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const status = await askWithBadToken(agent, this.#target.httpPort).catch(() => 0);
      this.answers.set(status, (this.answers.get(status) ?? 0) + 1);
    }
  }
}

async function isLetIn(socket: Socket): Promise<boolean> {
  const event = 'encrypted' in socket ? 'secureConnect' : 'connect';
  return Promise.race([once(socket, event).then(() => true), ended(socket).then(() => false)]).catch(() => false);
}

async function ended(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (socket.closed) return;
  socket.once('close', () => resolve());
  await promise;
}

function askWithBadToken(agent: Agent, port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  request({ agent, port, host: '127.0.0.1', path: '/rtc/validate?access_token=a.b.c' }, (response) => {
    response.resume().on('end', () => resolve(response.statusCode ?? 0));
  })
    .on('error', reject)
    .end();
  return promise;
}

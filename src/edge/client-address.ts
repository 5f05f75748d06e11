import type { IncomingMessage } from 'node:http';
import { BlockList, isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/**
 * Who a request comes from. Headers, and the PROXY protocol, are believed only from `trusted_proxies`; anybody on the
 * internet can write them. Even then a client may have sent `X-Forwarded-For` to the proxy, which appends to it, so the
 * last address that is not a proxy's is taken and not the first. The address counts for limits and is told to clients;
 * nothing may be allowed because of it.
 */
export class ClientAddresses {
  readonly #trusted = new BlockList();
  /** What a load balancer said about a connection in the PROXY protocol. */
  readonly #stated = new WeakMap<object, string>();

  /** @param trustedProxies addresses and networks (`10.0.0.0/8`) */
  constructor(trustedProxies: readonly string[]) {
    for (const entry of trustedProxies) {
      const [address = '', prefix] = entry.split('/');
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
      if (prefix === undefined) {
        this.#trusted.addAddress(address, family);
      } else {
        this.#trusted.addSubnet(address, Number(prefix), family);
      }
    }
  }

  isTrusted(address: string): boolean {
    const family = isIP(address);
    return family !== 0 && this.#trusted.check(address, family === 4 ? 'ipv4' : 'ipv6');
  }

  /** A trusted proxy has said where this connection comes from. */
  state(socket: Duplex, address: string): void {
    this.#stated.set(socket, plainAddress(address));
  }

  ofSocket(socket: Socket): string {
    return this.#stated.get(socket) ?? plainAddress(socket.remoteAddress ?? '');
  }

  of(request: IncomingMessage): string {
    const peer = this.ofSocket(request.socket);
    if (!this.isTrusted(peer)) {
      return peer;
    }
    return (
      fromHeader(request, 'cf-connecting-ip') ?? this.#forwardedFor(request) ?? fromHeader(request, 'x-real-ip') ?? peer
    );
  }

  #forwardedFor(request: IncomingMessage): string | undefined {
    const header = request.headers['x-forwarded-for'];
    const list = (Array.isArray(header) ? header.join(',') : (header ?? ''))
      .split(',')
      .map(plainAddress)
      .filter((item) => isIP(item) !== 0);
    return list.findLast((item) => !this.isTrusted(item)) ?? list[0];
  }
}

function fromHeader(request: IncomingMessage, name: string): string | undefined {
  const header = request.headers[name];
  const address = plainAddress(typeof header === 'string' ? header : '');
  return isIP(address) === 0 ? undefined : address;
}

/** IPv4 addresses on a dual-stack socket come as `::ffff:1.2.3.4`. */
function plainAddress(address: string): string {
  const trimmed = address.trim();
  return trimmed.startsWith('::ffff:') ? trimmed.slice(7) : trimmed;
}

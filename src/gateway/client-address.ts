import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';

const trusted = createTrustedProxies();

function createTrustedProxies(): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of [
    ['127.0.0.0', 8],
    ['10.0.0.0', 8],
    ['172.16.0.0', 12],
    ['192.168.0.0', 16],
    ['169.254.0.0', 16],
  ] as const) {
    list.addSubnet(network, prefix, 'ipv4');
  }
  for (const [network, prefix] of [
    ['::1', 128],
    ['fc00::', 7],
    ['fe80::', 10],
  ] as const) {
    list.addSubnet(network, prefix, 'ipv6');
  }
  return list;
}

/**
 * The client's address. Headers are believed only when the peer is a loopback or private address, i.e. may be our own
 * proxy; anybody on the internet can write them. Even then a client may have sent `X-Forwarded-For` to the proxy, which
 * appends to it, so the last address that is not private is taken and not the first. The address is for information
 * (participant info, logs); nothing may be allowed because of it.
 */
export function clientAddress(request: IncomingMessage): string {
  const peer = plainAddress(request.socket.remoteAddress ?? '');
  if (!isTrusted(peer)) {
    return peer;
  }
  return (
    fromHeader(request, 'cf-connecting-ip') ?? fromForwardedFor(request) ?? fromHeader(request, 'x-real-ip') ?? peer
  );
}

function fromForwardedFor(request: IncomingMessage): string | undefined {
  const header = request.headers['x-forwarded-for'];
  const list = (Array.isArray(header) ? header.join(',') : (header ?? ''))
    .split(',')
    .map(plainAddress)
    .filter((item) => isIP(item) !== 0);
  return list.findLast((item) => !isTrusted(item)) ?? list[0];
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

function isTrusted(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && trusted.check(address, family === 4 ? 'ipv4' : 'ipv6');
}

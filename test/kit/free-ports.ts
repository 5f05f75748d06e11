import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below the ephemeral range, whose ports any connection of this machine may take before a server does. */
const lowestPort = 12_000;
const lowestRangePort = 20_000;
const ephemeralPort = 32_000;

/** What this process has given out: its servers start at the same time, and look free until they listen. */
const given = new Set<number>();

/** A port that is free for TCP and UDP. */
export async function freePort(): Promise<number> {
  return freePorts({ from: lowestPort, to: lowestRangePort, count: 1 });
}

/** First of `count` consecutive ports that are free for UDP and TCP. */
export async function freePortRange(count: number): Promise<number> {
  return freePorts({ from: lowestRangePort, to: ephemeralPort, count });
}

async function freePorts({ from, to, count }: { from: number; to: number; count: number }): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const first = from + Math.floor(Math.random() * (to - from - count));
    const ports = Array.from({ length: count }, (_, index) => first + index);
    if (ports.some((port) => given.has(port))) continue;
    for (const port of ports) given.add(port);
    const free = await Promise.all(ports.map(isFree));
    if (free.every(Boolean)) return first;
    for (const port of ports) given.delete(port);
  }
  throw new Error(`no ${count} consecutive free ports found`);
}

async function isFree(port: number): Promise<boolean> {
  const udp = createSocket('udp4');
  const tcp = createServer();
  try {
    udp.bind(port, '127.0.0.1');
    await once(udp, 'listening');
    tcp.listen(port, '127.0.0.1');
    await once(tcp, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    try {
      udp.close();
    } catch {
      // It never got bound.
    }
    if (tcp.listening) tcp.close();
  }
}

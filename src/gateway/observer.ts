import type { SocketEnd } from './close-codes.ts';

export type RouteName = 'rtc' | 'validate' | 'twirp' | 'health' | 'page' | 'admin' | 'other';

/** What the gateway tells whoever counts; methods must be quick and must not throw. */
export interface GatewayObserver {
  connectionOpened(): void;
  connectionClosed(): void;
  /** A connection past `limit.max_connections` was turned away. */
  connectionRejected(): void;
  /** An ordinary HTTP request was answered. */
  requestAnswered(route: RouteName, status: number): void;
  /** An upgrade request was answered; status 101 is a socket. */
  joinAnswered(status: number, latencyMs: number): void;
  socketOpened(): void;
  socketEnded(end: SocketEnd): void;
  /** A signal message from a client, pings included. */
  signalReceived(sizeBytes: number): void;
  /** One message handed to this many sockets. */
  signalSent(sizeBytes: number, receivers: number): void;
}

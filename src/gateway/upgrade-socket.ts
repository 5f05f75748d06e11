import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocket, WebSocketServer } from 'ws';
import { type HttpRefusal, joinRefusal } from '../protocol/http-errors.ts';
import { refuseUpgrade } from './responses.ts';

/** The bare socket of an upgrade request while its answer is still open. Exactly one of `refuse` and `upgrade` ends that. */
export class UpgradeSocket {
  readonly #request: IncomingMessage;
  readonly #socket: Duplex;
  readonly #onGone = (): void => this.#gone();
  #vanished: (() => void) | undefined;
  #settled = false;

  constructor(request: IncomingMessage, socket: Duplex) {
    this.#request = request;
    this.#socket = socket;
    // Without a listener a reset connection would end the process; it stays for the time after a refusal.
    socket.on('error', this.#onGone);
    socket.on('end', this.#onGone);
    socket.on('close', this.#onGone);
    // Reading is what makes Node notice that the client is gone. A client that sends before it was answered breaks
    // RFC 6455 (4.1), and keeping what it sends would need a bound: it is turned away.
    socket.on('data', this.#onEarlyData);
  }

  /** Called once when the client goes away before it was answered. */
  onVanished(vanished: () => void): void {
    this.#vanished = vanished;
  }

  refuse(refusal: HttpRefusal): void {
    if (!this.#settled) {
      this.#settled = true;
      refuseUpgrade(this.#socket, refusal);
    }
  }

  /** Undefined when the client went away at this very moment. */
  upgrade(server: WebSocketServer): WebSocket | undefined {
    if (this.#settled) {
      return undefined;
    }
    this.#settled = true;
    let webSocket: WebSocket | undefined;
    this.#socket.off('data', this.#onEarlyData).off('end', this.#onGone).off('close', this.#onGone);
    server.handleUpgrade(this.#request, this.#socket, Buffer.alloc(0), (opened) => {
      webSocket = opened;
    });
    return webSocket;
  }

  readonly #onEarlyData = (): void => {
    if (!this.#settled) {
      this.refuse(joinRefusal.notWebSocket);
      this.#vanished?.();
    }
  };

  #gone(): void {
    if (!this.#settled) {
      this.#settled = true;
      this.#socket.destroy();
      this.#vanished?.();
    }
  }
}

/** What the WebSocket library checks too, but only after the room has accepted the client. */
export function isWebSocketHandshake(request: IncomingMessage): boolean {
  const { headers } = request;
  return (
    request.method === 'GET' &&
    headers.upgrade?.toLowerCase() === 'websocket' &&
    /^[+/0-9A-Za-z]{22}==$/.test(headers['sec-websocket-key'] ?? '') &&
    ['13', '8'].includes(String(headers['sec-websocket-version']))
  );
}

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { WebhookEvent } from '@livekit/protocol';
import { WebhookReceiver } from 'livekit-server-sdk';
import { devKey } from './tokens.ts';
import { until } from './until.ts';

export type ReceivedWebhook = { event: WebhookEvent; atMs: number };

/** An application's webhook endpoint: what LiveKit's own receiver does not verify is a complaint. */
export class WebhookTarget {
  readonly received: ReceivedWebhook[] = [];
  /** Requests that the receiver refused, with the reason. */
  readonly complaints: string[] = [];
  /** Requests that were answered with 500 because `failNext` asked for it. */
  failed = 0;
  #failuresLeft = 0;
  readonly #server: Server;
  readonly #host: string;
  readonly #receiver = new WebhookReceiver(devKey.apiKey, devKey.apiSecret);

  /** @param host where it listens */
  static async start(host = '127.0.0.1'): Promise<WebhookTarget> {
    const target = new WebhookTarget(host);
    target.#server.listen(0, host);
    await once(target.#server, 'listening');
    return target;
  }

  private constructor(host: string) {
    this.#host = host;
    this.#server = createServer((request, response) => {
      void this.#receive(request).then((status) => response.writeHead(status).end());
    });
  }

  get url(): string {
    const address = this.#server.address();
    return `http://${this.#host}:${typeof address === 'object' && address !== null ? address.port : 0}/hooks`;
  }

  failNext(count: number): void {
    this.#failuresLeft = count;
  }

  /** Events about one room, oldest first. */
  ofRoom(name: string): WebhookEvent[] {
    return this.received.map(({ event }) => event).filter((event) => event.room?.name === name);
  }

  async waitFor(room: string, event: string, timeoutMs = 20_000): Promise<WebhookEvent> {
    let found: WebhookEvent | undefined;
    await until(
      () => {
        found = this.ofRoom(room).find((candidate) => candidate.event === event);
        return found
          ? ''
          : `no ${event} for ${room}: ${this.ofRoom(room)
              .map((candidate) => candidate.event)
              .join()}`;
      },
      { timeoutMs },
    );
    if (!found) throw new Error('unreachable');
    return found;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #receive(request: IncomingMessage): Promise<number> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (this.#failuresLeft > 0) {
      this.#failuresLeft -= 1;
      this.failed += 1;
      return 500;
    }
    try {
      const body = Buffer.concat(chunks).toString('utf8');
      // The SDK's WebhookEvent is a copy of the protocol's with `event` narrowed to its known names.
      const event = (await this.#receiver.receive(body, request.headers.authorization)) as unknown as WebhookEvent;
      this.received.push({ event, atMs: performance.now() });
      return 200;
    } catch (error) {
      this.complaints.push(error instanceof Error ? error.message : String(error));
      return 400;
    }
  }
}

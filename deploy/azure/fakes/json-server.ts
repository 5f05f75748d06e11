import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { ServerCertificate } from './server-certificate.ts';

export type JsonRequest = { method: string; url: URL; headers: IncomingMessage['headers']; body: unknown };
export type JsonResponse = {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
  /** The connection breaks instead. */
  lost?: boolean;
};
export type JsonHandler = (request: JsonRequest) => JsonResponse | Promise<JsonResponse>;

/** A server on one address that speaks JSON, over TLS when it has a certificate. */
export class JsonServer {
  readonly #server: Server;
  readonly #scheme: string;
  readonly #host: string;

  static async start(options: {
    handler: JsonHandler;
    certificate?: ServerCertificate;
    host?: string;
    port?: number;
  }): Promise<JsonServer> {
    const { handler, certificate, host = '127.0.0.1', port = 0 } = options;
    const listener = (request: IncomingMessage, response: ServerResponse): void =>
      void answer(handler, request, response);
    const server = certificate === undefined ? createHttpServer(listener) : createHttpsServer(certificate, listener);
    server.listen(port, host);
    await once(server, 'listening');
    return new JsonServer(server, certificate === undefined ? 'http' : 'https', host);
  }

  private constructor(server: Server, scheme: string, host: string) {
    this.#server = server;
    this.#scheme = scheme;
    this.#host = host;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `${this.#scheme}://${this.#host}:${this.port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

async function answer(handler: JsonHandler, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
  }
  const text = Buffer.concat(chunks).toString();
  const url = new URL(request.url ?? '/', 'http://x');
  const { status, body, headers, lost } = await run(handler, {
    method: request.method ?? 'GET',
    url,
    headers: request.headers,
    body: text === '' ? undefined : (JSON.parse(text) as unknown),
  });
  if (lost === true) {
    request.socket.destroy();
    return;
  }
  response.writeHead(status, { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}

async function run(handler: JsonHandler, request: JsonRequest): Promise<JsonResponse> {
  try {
    return await handler(request);
  } catch (error) {
    return { status: 500, body: { error: { code: 'Fake', message: error instanceof Error ? error.stack : error } } };
  }
}

/** The plain HTTP port of a site that is served over TLS: answers certificate authorities and sends people to HTTPS. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Logger } from '../observe/log.ts';
import type { ConnectionLimits } from './connection-limits.ts';
import { listenOnAll } from './listen.ts';

export type RedirectServerOptions = {
  bindAddresses: readonly string[];
  /** 0 = any free one. */
  port: number;
  /** To which HTTPS port people are sent. */
  httpsPort: () => number;
  /** What an authority wants to hear for a token (RFC 8555, 8.3); undefined when nobody here asked for it. */
  challenge: (token: string) => Promise<string | undefined>;
  limits: ConnectionLimits;
  log: Logger;
};

export type RedirectServer = { readonly port: number; close(): Promise<void> };

const challengePath = '/.well-known/acme-challenge/';
const maxConnections = 2_000;
const timeouts = { headersTimeout: 5_000, requestTimeout: 5_000, connectionsCheckingInterval: 1_000 };

/** Rejects with reason `listen-failed`. */
export async function startRedirectServer(options: RedirectServerOptions): Promise<RedirectServer> {
  const opened = await listenOnAll({ ...options, option: 'tls.http_port' }, () => createRedirectServer(options));
  return {
    port: opened.port,
    close: async () => {
      await Promise.all(opened.servers.map((server) => closeServer(server as Server)));
    },
  };
}

function createRedirectServer(options: RedirectServerOptions): Server {
  const server = createServer({ ...timeouts, keepAliveTimeout: 2_000 }, (request, response) => {
    answer(request, response, options).catch((error: unknown) => {
      options.log.warn({ err: error }, 'a certificate authority could not be answered');
      // It asks again; a 404 would fail the order at once.
      response.writeHead(503).end();
    });
  });
  server.maxConnections = maxConnections;
  server.setTimeout(10_000);
  server.on('connection', (socket) => {
    const release = options.limits.admit(socket.remoteAddress ?? '');
    if (release === undefined) {
      socket.resetAndDestroy();
    } else {
      socket.once('close', release);
    }
  });
  return server;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { challenge, httpsPort }: RedirectServerOptions,
): Promise<void> {
  const target = request.url ?? '/';
  response.setHeader('Connection', 'close');
  if (target.startsWith(challengePath)) {
    const text = await challenge(target.slice(challengePath.length));
    response.writeHead(text === undefined ? 404 : 200, { 'Content-Type': 'application/octet-stream' });
    response.end(text ?? '');
    return;
  }
  const host = hostOf(request.headers.host ?? '');
  if (host === undefined || !target.startsWith('/')) {
    response.writeHead(400).end();
    return;
  }
  const port = httpsPort() === 443 ? '' : `:${httpsPort()}`;
  // 308 keeps method and body, so that an API client with an old address goes on to work.
  response.writeHead(308, { Location: `https://${host}${port}${target}` }).end();
}

/** Without its port; undefined when it is no host name or address, so that nothing else gets into the answer. */
function hostOf(header: string): string | undefined {
  return /^([\w.-]{1,255}|\[[\d.:A-Fa-f]+\])(?::\d{1,5})?$/.exec(header)?.[1];
}

function closeServer(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  server.closeAllConnections();
  return promise;
}

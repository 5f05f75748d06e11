/** Serves the metrics to Prometheus on a port of its own, which is never meant for the public. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';
import { metricsListenFailed } from './errors.ts';
import type { Logger } from './log.ts';

export type MetricsServerOptions = {
  registry: Registry;
  /** 0 takes any free port. */
  port: number;
  bindAddress: string;
  /** Asked of every scraper (HTTP Basic); nobody is asked when the user is empty. */
  credentials?: { username: string; password: string };
  log: Logger;
};

export type MetricsServer = {
  readonly port: number;
  /** Ends open connections too. Safe to call twice. */
  close(): Promise<void>;
};

/** Resolves when the port listens; rejects with a PlenumError when it cannot be had. */
export async function startMetricsServer(options: MetricsServerOptions): Promise<MetricsServer> {
  const server = createServer((request, response) => {
    answer(request, response, options).catch((error: unknown) => {
      options.log.warn({ err: error }, 'metrics could not be collected');
      response.destroy();
    });
  });
  server.requestTimeout = 10_000;
  server.maxConnections = 100;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(metricsListenFailed(options.bindAddress, options.port, error)));
    server.listen(options.port, options.bindAddress, resolve);
  });
  server.on('error', (error) => options.log.error({ err: error }, 'metrics server failed'));
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    close: () => closeServer(server),
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { registry, credentials }: MetricsServerOptions,
): Promise<void> {
  if (credentials !== undefined && credentials.username !== '' && !isAuthorized(request, credentials)) {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="metrics"' }).end();
    return;
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end();
    return;
  }
  // Any path, as LiveKit's endpoint answers; scrapers are configured with different ones.
  const text = await registry.metrics();
  response.writeHead(200, { 'content-type': registry.contentType });
  response.end(request.method === 'HEAD' ? undefined : text);
}

/** Compared as digests, so that neither length nor content can be guessed from the time that it takes. */
function isAuthorized(
  request: IncomingMessage,
  { username, password }: { username: string; password: string },
): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const wanted = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  return timingSafeEqual(digest(wanted), digest(request.headers.authorization ?? ''));
}

async function closeServer(server: Server): Promise<void> {
  if (!server.listening) {
    return;
  }
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

/** Serves the metrics to Prometheus on a port of its own, which is never meant for the public. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';
import { metricsListenFailed } from './errors.ts';
import type { Logger } from './log.ts';

export type MetricsServerOptions = {
  registry: Registry;
  /** 0 takes any free port. */
  port: number;
  bindAddress: string;
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
    answer(request, response, options.registry).catch((error: unknown) => {
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

async function answer(request: IncomingMessage, response: ServerResponse, registry: Registry): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end();
    return;
  }
  // Any path, as LiveKit's endpoint answers; scrapers are configured with different ones.
  const text = await registry.metrics();
  response.writeHead(200, { 'content-type': registry.contentType });
  response.end(request.method === 'HEAD' ? undefined : text);
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

/** Answers whether a node works that has no public face: `OK`, or 406 with the reason, as LiveKit's health check does. */
import { createServer } from 'node:http';
import { healthListenFailed } from './errors.ts';
import type { Logger } from './log.ts';

export type HealthServerOptions = {
  /** 0 takes any free port. */
  port: number;
  bindAddress: string;
  /** What is wrong; empty when nothing is. */
  complaint: () => string;
  log: Logger;
};

export type HealthServer = {
  readonly port: number;
  /** Ends open connections too. */
  close(): Promise<void>;
};

/** Resolves when the port listens; rejects with a PlenumError when it cannot be had. */
export async function startHealthServer({
  port,
  bindAddress,
  complaint,
  log,
}: HealthServerOptions): Promise<HealthServer> {
  const server = createServer((_request, response) => {
    const wrong = complaint();
    response.writeHead(wrong === '' ? 200 : 406, { 'content-type': 'text/plain' });
    response.end(wrong === '' ? 'OK' : `Not Ready\n${wrong}`);
  });
  server.requestTimeout = 10_000;
  server.maxConnections = 100;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(healthListenFailed(bindAddress, port, error)));
    server.listen(port, bindAddress, resolve);
  });
  server.on('error', (error) => log.error({ err: error }, 'health server failed'));
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

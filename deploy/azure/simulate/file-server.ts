import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { ServerCertificate } from '../fakes/server-certificate.ts';

/** Serves one file, as the place that releases are fetched from. */
export class FileServer {
  readonly #server: Server;
  readonly #name: string;
  readonly #host: string;
  fetches = 0;

  static async start(file: string, certificate: ServerCertificate, host = '127.0.0.1'): Promise<FileServer> {
    const name = `/${encodeURIComponent(path.basename(file))}`;
    const server = createServer(certificate, (request, response) => {
      if (request.url !== name) {
        response.writeHead(404).end();
        return;
      }
      served.fetches += 1;
      response.writeHead(200);
      createReadStream(file).pipe(response);
    });
    const served = new FileServer(server, name, host);
    server.listen(0, host);
    await once(server, 'listening');
    return served;
  }

  private constructor(server: Server, name: string, host: string) {
    this.#server = server;
    this.#name = name;
    this.#host = host;
  }

  get url(): string {
    return `https://${this.#host}:${(this.#server.address() as AddressInfo).port}${this.#name}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

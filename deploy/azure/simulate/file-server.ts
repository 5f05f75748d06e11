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
  fetches = 0;

  static async start(file: string, certificate: ServerCertificate): Promise<FileServer> {
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
    const served = new FileServer(server, name);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return served;
  }

  private constructor(server: Server, name: string) {
    this.#server = server;
    this.#name = name;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}${this.#name}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

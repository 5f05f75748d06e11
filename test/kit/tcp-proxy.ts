import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

type Pair = { client: Socket; server: Socket };

/** Stands between clients and a server's port, so that a test can break their connections as a network does. */
export class TcpProxy {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  readonly #orphans = new Set<Socket>();
  #port = 0;

  /** @param targetPort on 127.0.0.1; a function is asked for each new connection */
  static async start(targetPort: number | (() => number)): Promise<TcpProxy> {
    const proxy = new TcpProxy(targetPort);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    proxy.#port = (proxy.#server.address() as AddressInfo).port;
    return proxy;
  }

  private constructor(targetPort: number | (() => number)) {
    this.#server = createServer((client) =>
      this.#accept(client, typeof targetPort === 'number' ? targetPort : targetPort()),
    );
  }

  /** `http://127.0.0.1:port` */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /**
   * Breaks everything that is connected now; new connections are served.
   * @param ends `both` see a reset; with `client` the server's end stays open and silent, as when a phone changes networks
   */
  cut(ends: 'both' | 'client' = 'both'): void {
    const pairs = [...this.#pairs];
    this.#pairs.clear();
    for (const { client, server } of pairs) {
      client.unpipe(server);
      server.unpipe(client);
      if (ends === 'both') server.resetAndDestroy();
      else this.#orphan(server);
      client.resetAndDestroy();
    }
  }

  async close(): Promise<void> {
    this.cut();
    for (const orphan of this.#orphans) orphan.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(client: Socket, targetPort: number): void {
    const server = connect({ port: targetPort, host: '127.0.0.1', noDelay: true });
    const pair = { client, server };
    this.#pairs.add(pair);
    client.setNoDelay(true);
    for (const socket of [client, server]) {
      socket.on('error', () => {});
      socket.on('close', () => this.#pairs.delete(pair));
    }
    client.pipe(server).pipe(client);
    client.on('close', () => {
      if (!this.#orphans.has(server)) server.destroy();
    });
    server.on('close', () => client.destroy());
  }

  #orphan(server: Socket): void {
    this.#orphans.add(server);
    server.resume();
    server.on('close', () => this.#orphans.delete(server));
  }
}

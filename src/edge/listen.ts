import { isIPv6, type AddressInfo, type Server } from 'node:net';
import { edgeListenFailed } from './errors.ts';

export type ListenOptions = {
  bindAddresses: readonly string[];
  /** 0 = any free one, the same on all addresses. */
  port: number;
  /** Names the port in errors. */
  option: string;
};

/** One server per address on the same port. Rejects with `listen-failed`, and then nothing listens. */
export async function listenOnAll(
  { bindAddresses, port, option }: ListenOptions,
  create: () => Server,
): Promise<{ servers: Server[]; port: number }> {
  const servers: Server[] = [];
  let openPort = port;
  for (const bindAddress of bindAddresses) {
    const server = create();
    try {
      await listen(server, {
        port: openPort,
        host: bindAddress,
        ipv6Only: bindAddresses.length > 1 && isIPv6(bindAddress),
        backlog: 4096,
      });
    } catch (error) {
      for (const opened of servers) {
        opened.close();
      }
      throw edgeListenFailed(bindAddress, openPort, option, error);
    }
    servers.push(server);
    openPort = (server.address() as AddressInfo).port;
  }
  return { servers, port: openPort };
}

type Address = { port: number; host: string; ipv6Only: boolean; backlog: number };

function listen(server: Server, address: Address): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(address, () => {
    server.off('error', reject);
    resolve();
  });
  return promise;
}

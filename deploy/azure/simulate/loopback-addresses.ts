/** Addresses of the virtual network on this machine. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { portOf } from '../../../src/azure/port-table.ts';
import { masterAddresses } from '../template/variables.ts';

/** `10.0.1.4` of the virtual network. */
export function loopback(address: string): string {
  return address.replace(/^10\./, '127.');
}

/** The addresses are the same each time: two simulations cannot run side by side. */
export async function mustBeFree(): Promise<void> {
  for (const address of masterAddresses.map(loopback)) {
    const server = createServer().listen(portOf('masters', 'Redis').first, address);
    await once(server, 'listening').catch((error: unknown) => {
      throw new Error('another simulation runs on this machine, or something else uses its addresses', {
        cause: error,
      });
    });
    server.close();
    await once(server, 'close');
  }
}

/** What somebody on the internet reaches of a machine, against what the port table says that he may. */
import { connect } from 'node:net';
import { portTable, type PortRow } from '../../../src/azure/port-table.ts';

const atOnce = 256;
const answerMs = 3_000;
const lastPort = 65_535;

export type OutsideView = {
  /** TCP ports that answer. */
  open: number[];
  /** Those of them that nobody should reach. */
  undocumented: number[];
};

/** Tries every TCP port. */
export async function viewFromOutside(address: string, on: PortRow['on']): Promise<OutsideView> {
  const open: number[] = [];
  let next = 1;
  const work = async (): Promise<void> => {
    while (next <= lastPort) {
      const port = next;
      next += 1;
      if (await answers(address, port)) {
        open.push(port);
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  const rows = portTable.filter(
    (row) => row.on === on && row.protocol === 'Tcp' && row.inactive !== true && row.from.includes('internet'),
  );
  const isDocumented = (port: number): boolean => rows.some(({ first, last }) => first <= port && port <= last);
  open.sort((one, other) => one - other);
  return { open, undocumented: open.filter((port) => !isDocumented(port)) };
}

function answers(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, address);
    const end = (isOpen: boolean): void => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.on('connect', () => end(true)).on('error', () => end(false));
    socket.setTimeout(answerMs, () => end(false));
  });
}

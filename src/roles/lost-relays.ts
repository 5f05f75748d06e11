/** Which relays of TURN servers are gone, for legs whose clients were behind one. */
import type { Config } from '../config/options.ts';

/** @param isRelay whether this was one of them */
export type RelaysLost = (isRelay: (address: string, port: number) => boolean) => void;

/** Until masters, which hear of it with a heartbeat, lead clients to a server that is back. */
const settleMs = 1_500;

export class LostRelays {
  readonly #range: { first: number; last: number };
  #listener: RelaysLost = () => undefined;
  #known: readonly string[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor({ turn }: Pick<Config, 'turn'>) {
    this.#range = { first: turn.relay_range_start, last: turn.relay_range_end };
  }

  onLost(listener: RelaysLost): void {
    this.#listener = listener;
  }

  /** The TURN server of this node has ended and is back. */
  serverEnded(addresses: readonly string[]): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tell(addresses), settleMs);
  }

  /** Addresses of all media nodes; those that are no longer among them have taken their relays with them. */
  nodesAre(addresses: readonly string[]): void {
    const gone = this.#known.filter((one) => !addresses.includes(one));
    this.#known = addresses;
    if (gone.length > 0) {
      this.#tell(gone);
    }
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #tell(addresses: readonly string[]): void {
    const { first, last } = this.#range;
    this.#listener((address, port) => addresses.includes(address) && port >= first && port <= last);
  }
}

import { RateTable } from '../lib/rate-table.ts';
import { addressKey } from './address-key.ts';

export type ConnectionLimitOptions = {
  /** Open connections of one address; 0 = no limit. */
  perAddress: number;
  /** New connections of one address per second, with `perAddress` at once after a rest; 0 = no limit. */
  perSecond: number;
  /** Addresses that speak for many clients. */
  isExempt: (address: string) => boolean;
  /** Monotonic milliseconds. */
  now: () => number;
};

/** Addresses that are remembered at a time. */
const maxAddresses = 50_000;
const unlimited = Number.POSITIVE_INFINITY;

/** How many connections one address has, and how fast it opens new ones. Shared by all ports of a node. */
export class ConnectionLimits {
  readonly #options: ConnectionLimitOptions;
  readonly #open = new Map<string, number>();
  readonly #rates: RateTable;

  constructor(options: ConnectionLimitOptions) {
    this.#options = options;
    const burst = Math.max(options.perAddress, options.perSecond);
    this.#rates = new RateTable({ perSecond: options.perSecond, burst, maxKeys: maxAddresses });
  }

  /** Counts a new connection. @returns what to call when it has ended; undefined when it must be turned away */
  admit(address: string): (() => void) | undefined {
    const { perAddress, perSecond, isExempt, now } = this.#options;
    if (isExempt(address)) {
      return () => undefined;
    }
    const key = addressKey(address);
    const open = this.#open.get(key) ?? 0;
    if (open >= (perAddress || unlimited) || (perSecond > 0 && !this.#rates.take(key, now()))) {
      return undefined;
    }
    this.#open.set(key, open + 1);
    let isOpen = true;
    return () => {
      if (isOpen) {
        isOpen = false;
        this.#release(key);
      }
    };
  }

  #release(key: string): void {
    const open = (this.#open.get(key) ?? 1) - 1;
    if (open === 0) {
      this.#open.delete(key);
    } else {
      this.#open.set(key, open);
    }
  }
}

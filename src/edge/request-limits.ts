import { RateTable } from '../lib/rate-table.ts';
import { addressKey } from './address-key.ts';

export type RequestLimitOptions = {
  /** Requests without a valid token, of one address, per second; 0 = no limit. */
  anonymousPerSecond: number;
  /** Requests with a token that is not valid; 0 = no limit. */
  badTokensPerSecond: number;
  /** Addresses that speak for many clients. */
  isExempt: (address: string) => boolean;
  /** Monotonic milliseconds. */
  now: () => number;
};

/** Seconds for which an address that was quiet may exceed its rate: a page brings a dozen files, an office many people. */
const burstSeconds = 10;
const maxAddresses = 50_000;

/**
 * What one address may ask without showing that it is allowed to. Whoever has a valid token is not counted, so a flood
 * from an address that many people share does not lock out those who belong here.
 */
export class RequestLimits {
  readonly #options: RequestLimitOptions;
  readonly #anonymous: RateTable;
  readonly #badTokens: RateTable;

  constructor(options: RequestLimitOptions) {
    this.#options = options;
    this.#anonymous = table(options.anonymousPerSecond);
    this.#badTokens = table(options.badTokensPerSecond);
  }

  /** Counts a request without a token. @returns false when it must be turned away */
  allowsAnonymous(address: string): boolean {
    return this.#take(this.#anonymous, this.#options.anonymousPerSecond, address);
  }

  allowsBadToken(address: string): boolean {
    return this.#take(this.#badTokens, this.#options.badTokensPerSecond, address);
  }

  #take(buckets: RateTable, perSecond: number, address: string): boolean {
    const { isExempt, now } = this.#options;
    return perSecond === 0 || isExempt(address) || buckets.take(addressKey(address), now());
  }
}

function table(perSecond: number): RateTable {
  return new RateTable({ perSecond, burst: Math.max(1, perSecond * burstSeconds), maxKeys: maxAddresses });
}

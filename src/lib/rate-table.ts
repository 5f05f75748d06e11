/** Token buckets by key, of bounded number: how much one address may do. Time is monotonic milliseconds. */

export type RateLimits = {
  /** What flows back per second. */
  perSecond: number;
  /** What may be used at once after a rest. */
  burst: number;
  /** Buckets that are remembered; the least recently used one is forgotten first. */
  maxKeys: number;
};

type Bucket = { level: number; atMs: number };

export class RateTable {
  readonly #limits: RateLimits;
  /** In order of their last use. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(limits: RateLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Uses one unit of this key. @returns false when there is none left */
  take(key: string, nowMs: number): boolean {
    const level = this.#level(key, nowMs);
    const isAllowed = level >= 1;
    this.#buckets.delete(key);
    this.#buckets.set(key, { level: isAllowed ? level - 1 : level, atMs: nowMs });
    this.#forget();
    return isAllowed;
  }

  /** Whether `take` would be allowed. */
  has(key: string, nowMs: number): boolean {
    return this.#level(key, nowMs) >= 1;
  }

  #level(key: string, nowMs: number): number {
    const { perSecond, burst } = this.#limits;
    const bucket = this.#buckets.get(key);
    return bucket === undefined ? burst : Math.min(burst, bucket.level + ((nowMs - bucket.atMs) / 1000) * perSecond);
  }

  #forget(): void {
    for (const key of this.#buckets.keys()) {
      if (this.#buckets.size <= this.#limits.maxKeys) {
        return;
      }
      this.#buckets.delete(key);
    }
  }
}

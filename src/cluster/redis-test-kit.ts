/** Stores on test servers, closed by the test that made them. */
import { randomUUID } from 'node:crypto';
import { createLog } from '../observe/log.ts';
import type { RedisHost } from './redis-sentinel.ts';
import { RedisStore, type RedisStoreOptions } from './redis-store.ts';
import { contractTimings } from './store-contract-test-kit.ts';

export type TestStoreOptions = Partial<RedisStoreOptions> & { port?: number };

export class RedisTestStores {
  /** One namespace per object, so that tests can share a server. */
  readonly keyPrefix = `test-${randomUUID().slice(0, 8)}`;
  readonly #defaults: TestStoreOptions;
  readonly #stores: RedisStore[] = [];

  constructor(defaults: TestStoreOptions) {
    this.#defaults = defaults;
  }

  /** @returns one that answers */
  async connect(options: TestStoreOptions = {}): Promise<RedisStore> {
    const store = this.open(options);
    await store.ready(15_000);
    return store;
  }

  open(options: TestStoreOptions = {}): RedisStore {
    const { port = 0, ...rest } = { ...this.#defaults, ...options };
    const address: RedisHost = { host: '127.0.0.1', port };
    const store = new RedisStore({
      address,
      username: '',
      password: '',
      db: 0,
      tls: undefined,
      sentinel: undefined,
      minReplicas: 0,
      clientName: 'plenum-test',
      keyPrefix: this.keyPrefix,
      timings: contractTimings,
      commandTimeoutMs: 1_000,
      log: createLog({ level: 'silent', json: true }),
      ...rest,
    });
    this.#stores.push(store);
    return store;
  }

  async close(): Promise<void> {
    await Promise.all(this.#stores.map((store) => store.close()));
  }
}

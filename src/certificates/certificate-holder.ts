import type { StoreHealth, Unsubscribe } from '../cluster/store.ts';
import type { Logger } from '../observe/log.ts';
import { checkPair, type CertificateFacts, type StoredCertificate } from './certificate.ts';
import type { CertificateStore } from './certificate-store.ts';

export type HeldCertificate = { certificate: StoredCertificate; facts: CertificateFacts };

/** A copy on this machine, for starts while the store is away. */
export interface CertificateCopy {
  load(): Promise<StoredCertificate | undefined>;
  save(certificate: StoredCertificate): Promise<void>;
}

export type CertificateHolderOptions = {
  store: CertificateStore;
  health: StoreHealth;
  copy?: CertificateCopy | undefined;
  log: Logger;
  /** Unix milliseconds. */
  now: () => number;
};

/** Notices of changes may be lost. */
const lookEveryMs = 60_000;

/** The certificate as this node serves it: the newest in the store that works. */
export class CertificateHolder {
  readonly #options: CertificateHolderOptions;
  readonly #listeners = new Set<(held: HeldCertificate) => void>();
  readonly #subscriptions: Unsubscribe[] = [];
  #held: HeldCertificate | undefined;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #again = false;
  #closed = false;

  constructor(options: CertificateHolderOptions) {
    this.#options = options;
  }

  /** Undefined until there is one. */
  get current(): HeldCertificate | undefined {
    return this.#held;
  }

  /** Resolves after the first look, whether or not it found one. */
  async start(): Promise<void> {
    const look = (): void => void this.look();
    this.#timer = setInterval(look, lookEveryMs);
    this.#subscriptions.push(
      this.#options.store.onChange(look),
      this.#options.health.onChange((change) => {
        if (change === 'back') look();
      }),
    );
    await this.look();
    if (this.#held === undefined) {
      await this.#use(() => this.#options.copy?.load() ?? Promise.resolve(undefined));
    }
  }

  /** Calls it with the present certificate, when there is one, and with each that follows. */
  follow(listener: (held: HeldCertificate) => void): Unsubscribe {
    this.#listeners.add(listener);
    if (this.#held !== undefined) {
      listener(this.#held);
    }
    return () => this.#listeners.delete(listener);
  }

  /** Resolves when there is one, or after that time. */
  async first(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const unsubscribe = this.follow(() => resolve());
    const timer = setTimeout(resolve, timeoutMs);
    await promise;
    clearTimeout(timer);
    unsubscribe();
  }

  /** Reads the store now; a change during a look is looked at again. */
  look(): Promise<void> {
    this.#again = this.#looking !== undefined;
    this.#looking ??= this.#use(() => this.#options.store.load()).finally(() => {
      this.#looking = undefined;
      if (this.#again) {
        this.#again = false;
        void this.look();
      }
    });
    return this.#looking;
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    for (const unsubscribe of this.#subscriptions.splice(0)) {
      unsubscribe();
    }
    this.#listeners.clear();
  }

  /** What cannot be used is not taken: the old one is better than none. */
  async #use(load: () => Promise<StoredCertificate | undefined>): Promise<void> {
    const { log, now, copy } = this.#options;
    try {
      const certificate = await load();
      if (certificate === undefined || this.#closed || certificate.chain === this.#held?.certificate.chain) {
        return;
      }
      this.#held = { certificate, facts: checkPair(certificate, now()) };
      for (const listener of this.#listeners) {
        listener(this.#held);
      }
      await copy?.save(certificate);
    } catch (error) {
      log.warn({ err: error }, 'the stored certificate is not taken over');
    }
  }
}

import type { Epoch, Leases, StoreTimings } from '../cluster/store.ts';
import { PlenumError } from '../lib/errors.ts';
import type { Logger } from '../observe/log.ts';
import { checkPair, readCertificate, type StoredCertificate } from './certificate.ts';
import type { CertificateStatus, CertificateStore } from './certificate-store.ts';
import { OrderFailed } from './errors.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { retryDelayMs } from './renewal.ts';
import type { CertificateSource } from './source.ts';

export interface CertificateObserver {
  /** A new certificate is stored. */
  certificateIssued(): void;
  /** @param reason stable, of a fixed set */
  attemptFailed(reason: string): void;
}

export type CertificateManagerOptions = {
  store: CertificateStore;
  source: CertificateSource;
  leases: Leases;
  timings: StoreTimings;
  nodeId: string;
  observer: CertificateObserver;
  log: Logger;
  /** Unix milliseconds. */
  now: () => number;
  /** 0 to 1. */
  random: () => number;
};

/** Longer waits are cut into pieces: timers end at 2³¹ ms, and a suspended machine must not sleep through a renewal. */
const longestWaitMs = 3_600_000;
const shortestWaitMs = 1_000;

/** Runs on every master; the one that holds the lease sees to it that the store has a certificate that works. */
export class CertificateManager {
  readonly #options: CertificateManagerOptions;
  readonly #lease: LeaseKeeper;
  #epoch: Epoch | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isWorking = false;
  #failures = 0;
  #closed = false;

  constructor(options: CertificateManagerOptions) {
    this.#options = options;
    const { leases, timings, nodeId, log } = options;
    this.#lease = new LeaseKeeper({
      leases,
      timings,
      name: 'certificates',
      holder: nodeId,
      onGained: (epoch) => this.#lead(epoch),
      onLost: () => this.#follow(),
      log,
    });
  }

  start(): void {
    this.#lease.start();
  }

  /** Does not wait for an order that runs: what it stores is still good. Safe to call twice. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#follow();
    await this.#lease.close();
  }

  #lead(epoch: Epoch): void {
    this.#options.log.debug({ epoch }, 'this node looks after the certificate');
    this.#epoch = epoch;
    this.#failures = 0;
    this.#schedule(0);
  }

  #follow(): void {
    this.#epoch = undefined;
    clearTimeout(this.#timer);
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    if (!this.#closed && this.#epoch !== undefined) {
      this.#timer = setTimeout(() => this.#work(), Math.min(delayMs, longestWaitMs));
    }
  }

  /** One attempt at a time, also when the lease goes and comes back meanwhile. */
  #work(): void {
    const epoch = this.#epoch;
    if (epoch === undefined || this.#isWorking) {
      return;
    }
    this.#isWorking = true;
    this.#attempt(epoch)
      .then((delayMs) => {
        this.#isWorking = false;
        // A lease that came anew meanwhile begins at once.
        this.#schedule(this.#epoch === epoch ? delayMs : 0);
      })
      .catch((error: unknown) => {
        this.#isWorking = false;
        this.#options.log.error({ err: error }, 'looking after the certificate failed');
      });
  }

  /** @returns milliseconds until the next look */
  async #attempt(epoch: Epoch): Promise<number> {
    const { store, source, now, observer, log } = this.#options;
    let current: StoredCertificate | undefined;
    try {
      current = await this.#current();
      const answer = await source.next({ current, epoch, nowMs: now() });
      let nextMs = now() + shortestWaitMs;
      if (answer.kind === 'replace') {
        const facts = checkPair(answer.certificate, now());
        await store.save(answer.certificate, epoch);
        current = answer.certificate;
        observer.certificateIssued();
        log.info(
          { names: facts.names, kind: current.kind, notAfter: new Date(facts.notAfterMs).toISOString() },
          'a new certificate is served',
        );
      } else {
        nextMs = answer.untilMs;
      }
      this.#failures = 0;
      await this.#report(epoch, { current, reason: '', nextMs });
      return Math.max(shortestWaitMs, nextMs - now());
    } catch (error) {
      return this.#failed(error, epoch, current);
    }
  }

  /** One that cannot be opened (the cluster secret has changed) or read counts as none: it would never work again. */
  async #current(): Promise<StoredCertificate | undefined> {
    try {
      return await this.#options.store.load();
    } catch (error) {
      if (error instanceof PlenumError && error.code === 'unavailable') {
        throw error;
      }
      this.#options.log.error({ err: error }, 'the stored certificate is lost and will be replaced');
      return undefined;
    }
  }

  async #failed(error: unknown, epoch: Epoch, current: StoredCertificate | undefined): Promise<number> {
    const { observer, log, random, now } = this.#options;
    if (error instanceof PlenumError && error.reason === 'not-leader') {
      return longestWaitMs;
    }
    this.#failures += 1;
    const isRateLimited = error instanceof OrderFailed && error.isRateLimited;
    const delayMs = retryDelayMs({ failures: this.#failures, isRateLimited }, random());
    const reason = isRateLimited ? 'rate-limited' : error instanceof PlenumError ? error.reason : 'internal';
    observer.attemptFailed(reason);
    const level = error instanceof PlenumError ? 'warn' : 'error';
    log[level](
      { err: error, reason, failures: this.#failures, nextAttemptInSeconds: Math.round(delayMs / 1000) },
      current === undefined ? 'there is no certificate yet' : 'the certificate could not be renewed; the old one stays',
    );
    const message = error instanceof Error ? error.message : String(error);
    await this.#report(epoch, { current, reason: `${reason}: ${message}`, nextMs: now() + delayMs });
    return delayMs;
  }

  /** Best effort: an operator's view must not hold up the work. */
  async #report(
    epoch: Epoch,
    { current, reason, nextMs }: { current: StoredCertificate | undefined; reason: string; nextMs: number },
  ): Promise<void> {
    const facts = current === undefined ? undefined : readCertificate(current.chain);
    const status: CertificateStatus = {
      state: reason !== '' ? 'failing' : facts === undefined ? 'none' : 'serving',
      reason: reason.slice(0, 2_000),
      notAfterMs: facts?.notAfterMs ?? 0,
      names: facts?.names ?? [],
      nextAttemptAtMs: Math.round(nextMs),
    };
    await this.#options.store.saveStatus(status, epoch).catch((error: unknown) => {
      this.#options.log.debug({ err: error }, 'the status of the certificate could not be stored');
    });
  }
}

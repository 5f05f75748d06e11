/**
 * Who makes the first secrets of a deployment: the holder of a lease on a blob. What was agreed upon is the content of
 * that blob, written under the lease, so that a holder who slept through its end cannot change it any more.
 */
import type { BlockBlobClient, ContainerClient } from '@azure/storage-blob';
import { z } from 'zod';
import { isGone, isTaken } from './azure-errors.ts';
import { lockLost } from './errors.ts';

const agreementSchema = z.object({
  /** Version of each secret that all nodes use from the first boot on. */
  versions: z.record(z.string(), z.string()),
  /** Address of the master whose Redis begins as the master. */
  redisMaster: z.string(),
  agreedAt: z.iso.datetime(),
});

export type Agreement = z.infer<typeof agreementSchema>;

const leaseSeconds = 60;
const renewMs = 15_000;

export class FirstBootLock {
  readonly #blob: BlockBlobClient;

  constructor(container: ContainerClient) {
    this.#blob = container.getBlockBlobClient('first-boot.json');
  }

  /** What was agreed upon; undefined before that. */
  async read(signal: AbortSignal): Promise<Agreement | undefined> {
    try {
      const text = (await this.#blob.downloadToBuffer(0, undefined, { abortSignal: signal })).toString();
      return text === '' ? undefined : agreementSchema.parse(JSON.parse(text));
    } catch (error) {
      if (isGone(error)) {
        return undefined;
      }
      throw error;
    }
  }

  /** Undefined while somebody else holds it. */
  async acquire(signal: AbortSignal): Promise<HeldLock | undefined> {
    await this.#create(signal);
    const lease = this.#blob.getBlobLeaseClient();
    try {
      await lease.acquireLease(leaseSeconds, { abortSignal: signal });
    } catch (error) {
      if (isTaken(error)) {
        return undefined;
      }
      throw error;
    }
    return new HeldLock(this.#blob, lease);
  }

  async #create(signal: AbortSignal): Promise<void> {
    try {
      await this.#blob.upload('', 0, { conditions: { ifNoneMatch: '*' }, abortSignal: signal });
    } catch (error) {
      if (!isTaken(error)) {
        throw error;
      }
    }
  }
}

type Lease = ReturnType<BlockBlobClient['getBlobLeaseClient']>;

export class HeldLock {
  readonly #blob: BlockBlobClient;
  readonly #lease: Lease;
  readonly #lost = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #validUntilMs = performance.now() + leaseSeconds * 1_000;

  constructor(blob: BlockBlobClient, lease: Lease) {
    this.#blob = blob;
    this.#lease = lease;
    this.#timer = setInterval(() => void this.#renew(), renewMs).unref();
  }

  /** Aborts when somebody else may hold it. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** To be called right before each write that the lock stands for. @throws PlenumError `first-boot-lock-lost` */
  check(): void {
    if (this.#lost.signal.aborted || performance.now() >= this.#validUntilMs - renewMs) {
      throw lockLost();
    }
  }

  async write(agreement: Agreement, signal: AbortSignal): Promise<void> {
    const text = JSON.stringify(agreement);
    try {
      await this.#blob.upload(text, Buffer.byteLength(text), {
        conditions: { leaseId: this.#lease.leaseId },
        abortSignal: signal,
      });
    } catch (error) {
      throw isTaken(error) ? lockLost() : error;
    }
  }

  async release(): Promise<void> {
    clearInterval(this.#timer);
    await this.#lease.releaseLease().catch(() => undefined);
  }

  async #renew(): Promise<void> {
    const askedMs = performance.now();
    try {
      await this.#lease.renewLease({ abortSignal: AbortSignal.timeout(renewMs) });
      this.#validUntilMs = askedMs + leaseSeconds * 1_000;
    } catch (error) {
      if (isTaken(error) || performance.now() >= this.#validUntilMs) {
        clearInterval(this.#timer);
        this.#lost.abort(lockLost());
      }
    }
  }
}

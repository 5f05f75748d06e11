/** What the nodes share about the certificate, each piece in a record of the cluster's store. */
import { z } from 'zod';
import type { Epoch, SharedRecords, Unsubscribe } from '../cluster/store.ts';
import { storedCertificate, type StoredCertificate } from './certificate.ts';
import { notLeader } from './errors.ts';
import type { Seal } from './seal.ts';

const certificateName = 'certificate';
const statusName = 'certificate-status';
const accountName = (directoryUrl: string): string => `acme-account:${directoryUrl}`;
const challengeName = (token: string): string => `acme-challenge:${token}`;

/** An authority asks within seconds; an order that takes longer has failed. */
const challengeLifeMs = 15 * 60_000;
const maxTokenLength = 200;

const statusSchema = z.looseObject({
  state: z.enum(['none', 'serving', 'failing']),
  /** Why the last attempt failed; empty when it did not. */
  reason: z.string(),
  /** Unix milliseconds; 0 = none. */
  notAfterMs: z.number(),
  nextAttemptAtMs: z.number(),
  names: z.array(z.string()),
});

const accountSchema = z.looseObject({
  /** Private key in PEM. */
  key: z.string(),
  url: z.string(),
});

export type AcmeAccount = { key: string; url: string };

/** How it stands about the certificate, for operators. */
export type CertificateStatus = z.output<typeof statusSchema>;

export class CertificateStore {
  readonly #records: SharedRecords;
  readonly #seal: Seal;

  constructor(records: SharedRecords, seal: Seal) {
    this.#records = records;
    this.#seal = seal;
  }

  /** Undefined when there is none. Rejects with `seal-broken` when it cannot be opened. */
  async load(): Promise<StoredCertificate | undefined> {
    const text = await this.#loadSealed(certificateName);
    return text === undefined ? undefined : storedCertificate.parse(JSON.parse(text));
  }

  /** Rejects with `not-leader` when another master has a higher epoch. */
  async save(certificate: StoredCertificate, epoch: Epoch): Promise<void> {
    await this.#saveSealed(certificateName, JSON.stringify(certificate), epoch);
  }

  onChange(listener: () => void): Unsubscribe {
    return this.#records.onChange((name) => {
      if (name === certificateName) {
        listener();
      }
    });
  }

  /** The account at an authority; undefined when there is none. */
  async account(directoryUrl: string): Promise<AcmeAccount | undefined> {
    const text = await this.#loadSealed(accountName(directoryUrl));
    return text === undefined ? undefined : accountSchema.parse(JSON.parse(text));
  }

  async saveAccount(directoryUrl: string, account: AcmeAccount, epoch: Epoch): Promise<void> {
    await this.#saveSealed(accountName(directoryUrl), JSON.stringify(account), epoch);
  }

  async forgetAccount(directoryUrl: string, epoch: Epoch): Promise<void> {
    await this.#records.remove(accountName(directoryUrl), epoch);
  }

  /** What any master answers to an authority that asks for this token. It is public, so it is not sealed. */
  async putChallenge(token: string, answer: string, epoch: Epoch): Promise<void> {
    await this.#set(challengeName(token), Buffer.from(answer), { epoch, lifeMs: challengeLifeMs });
  }

  async challenge(token: string): Promise<string | undefined> {
    if (token.length > maxTokenLength || !/^[\w-]+$/.test(token)) {
      return undefined;
    }
    const found = await this.#records.get(challengeName(token));
    return found === undefined ? undefined : Buffer.from(found.value).toString();
  }

  async removeChallenge(token: string, epoch: Epoch): Promise<void> {
    await this.#records.remove(challengeName(token), epoch);
  }

  async saveStatus(status: CertificateStatus, epoch: Epoch): Promise<void> {
    await this.#set(statusName, Buffer.from(JSON.stringify(status)), { epoch });
  }

  async status(): Promise<CertificateStatus | undefined> {
    const found = await this.#records.get(statusName);
    return found === undefined ? undefined : statusSchema.parse(JSON.parse(Buffer.from(found.value).toString()));
  }

  async #loadSealed(name: string): Promise<string | undefined> {
    const found = await this.#records.get(name);
    return found === undefined ? undefined : Buffer.from(this.#seal.open(name, found.value)).toString();
  }

  async #saveSealed(name: string, text: string, epoch: Epoch): Promise<void> {
    await this.#set(name, this.#seal.close(name, Buffer.from(text)), { epoch });
  }

  async #set(name: string, value: Uint8Array, rest: { epoch: Epoch; lifeMs?: number }): Promise<void> {
    if (!(await this.#records.set(name, { value, ...rest }))) {
      throw notLeader();
    }
  }
}

/** One order at an ACME authority (RFC 8555) over HTTP-01. */
import { isIP } from 'node:net';
import { Client, crypto as acmeCrypto, type Authorization, type Order } from 'acme-client';
import type { Epoch } from '../cluster/store.ts';
import type { KeyPair } from './certificate.ts';
import type { CertificateStore } from './certificate-store.ts';
import { OrderFailed } from './errors.ts';
import { PlenumError } from '../lib/errors.ts';

export type OrderRequest = { names: readonly string[]; epoch: Epoch };

/** Rejects with reason `order-failed` when the authority refuses or does not answer. */
export type OrderCertificate = (request: OrderRequest) => Promise<KeyPair>;

export type AcmeOrderOptions = {
  directoryUrl: string;
  /** Where the authority sends warnings; empty = nowhere. */
  email: string;
  /** Which kind of certificate; empty = the authority's default, and `shortlived` for addresses. */
  profile: string;
  store: CertificateStore;
};

/** Between two looks at an order that the authority is still working on. */
const polling = { backoffMin: 500, backoffMax: 5_000, backoffAttempts: 30 };
const orderTimeoutMs = 5 * 60_000;

/** The library hands on what the authority wrote for people, and not its `accountDoesNotExist`. */
const unknownAccount = /account.*(?:not found|not exist)|find.*account/i;

export function createAcmeOrder(options: AcmeOrderOptions): OrderCertificate {
  return async (request) => {
    const timeout = AbortSignal.timeout(orderTimeoutMs);
    const expired = new Promise<never>((_resolve, reject) => {
      timeout.addEventListener('abort', () => reject(new Error('the authority took too long')), { once: true });
    });
    try {
      return await Promise.race([new AcmeOrder(options, request.epoch).run(request.names), expired]);
    } catch (error) {
      if (error instanceof PlenumError) {
        throw error;
      }
      const why = error instanceof Error ? error.message : String(error);
      throw new OrderFailed(
        `${options.directoryUrl} gave no certificate for ${request.names.join(', ')}: ${why}`,
        error,
      );
    }
  };
}

class AcmeOrder {
  readonly #options: AcmeOrderOptions;
  readonly #epoch: Epoch;

  constructor(options: AcmeOrderOptions, epoch: Epoch) {
    this.#options = options;
    this.#epoch = epoch;
  }

  async run(names: readonly string[]): Promise<KeyPair> {
    const { client, order } = await this.#createOrder(names);
    const authorizations = await client.getAuthorizations(order);
    const tokens: string[] = [];
    try {
      for (const authorization of authorizations) {
        await this.#prove(client, authorization, tokens);
      }
      return await this.#collect(client, order, names);
    } finally {
      for (const token of tokens) {
        // They expire by themselves; a store that is away now must not spoil the order.
        await this.#options.store.removeChallenge(token, this.#epoch).catch(() => false);
      }
    }
  }

  /** With a new account when the authority has forgotten the one that we had. */
  async #createOrder(names: readonly string[]): Promise<{ client: Client; order: Order }> {
    const wanted = orderFor(names, this.#options.profile);
    try {
      const client = await this.#openAccount();
      return { client, order: await client.createOrder(wanted) };
    } catch (error) {
      if (!(error instanceof Error) || !unknownAccount.test(error.message)) {
        throw error;
      }
      await this.#options.store.forgetAccount(this.#options.directoryUrl, this.#epoch);
      const client = await this.#openAccount();
      return { client, order: await client.createOrder(wanted) };
    }
  }

  /**
   * The account outlives orders, leaders and restarts: authorities limit how many one may open. Its URL is kept too, since
   * asking for it by opening the account again is something that some authorities refuse.
   */
  async #openAccount(): Promise<Client> {
    const { directoryUrl, email, store } = this.#options;
    const known = await store.account(directoryUrl);
    if (known !== undefined) {
      return new Client({ directoryUrl, accountKey: known.key, accountUrl: known.url, ...polling });
    }
    const key = String(await acmeCrypto.createPrivateEcdsaKey());
    const client = new Client({ directoryUrl, accountKey: key, ...polling });
    await client.createAccount({
      termsOfServiceAgreed: true,
      ...(email === '' ? {} : { contact: [`mailto:${email}`] }),
    });
    await store.saveAccount(directoryUrl, { key, url: client.getAccountUrl() }, this.#epoch);
    return client;
  }

  async #prove(client: Client, authorization: Authorization, tokens: string[]): Promise<void> {
    if (authorization.status === 'valid') {
      return;
    }
    const challenge = authorization.challenges.find(({ type }) => type === 'http-01');
    if (challenge === undefined) {
      throw new OrderFailed(
        `the authority offers no HTTP-01 challenge for ${authorization.identifier.value}`,
        undefined,
      );
    }
    tokens.push(challenge.token);
    const answer = await client.getChallengeKeyAuthorization(challenge);
    await this.#options.store.putChallenge(challenge.token, answer, this.#epoch);
    await client.completeChallenge(challenge);
    await client.waitForValidStatus(challenge);
  }

  async #collect(client: Client, order: Order, names: readonly string[]): Promise<KeyPair> {
    // A fresh key each time: one that leaked is worthless after the next renewal.
    const key = await acmeCrypto.createPrivateEcdsaKey();
    const [, request] = await acmeCrypto.createCsr({ altNames: [...names] }, key);
    const finalized = await client.finalizeOrder(order, request);
    const chain = await client.getCertificate(finalized);
    return { chain, key: String(key) };
  }
}

/** Let's Encrypt certifies addresses in this profile alone. */
const addressProfile = 'shortlived';

function orderFor(names: readonly string[], profile: string): Parameters<Client['createOrder']>[0] {
  const identifiers = names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }));
  const wanted = profile === '' && identifiers.some(({ type }) => type === 'ip') ? addressProfile : profile;
  // `profile` (draft-ietf-acme-profiles) is passed through, though the library has no type for it.
  return { identifiers, ...(wanted === '' ? {} : { profile: wanted }) };
}

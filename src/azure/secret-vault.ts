/** Secrets of a key vault by name and version. */
import { setTimeout as delay } from 'node:timers/promises';
import type { TokenCredential } from '@azure/identity';
import { SecretClient } from '@azure/keyvault-secrets';
import { isGone, isNotAllowed } from './azure-errors.ts';
import { vaultRefuses } from './errors.ts';

export type Secret = { value: string; version: string; madeAt: Date };

export type SecretVaultOptions = {
  url: string;
  credential: TokenCredential;
  isSimulated?: boolean;
  /** Right after a deployment rights may be on their way for so long. */
  patienceMs?: number;
  pauseMs?: number;
};

export class SecretVault {
  readonly #client: SecretClient;
  readonly #patienceMs: number;
  readonly #pauseMs: number;

  constructor(options: SecretVaultOptions) {
    const { url, credential, isSimulated = false, patienceMs = 10 * 60_000, pauseMs = 5_000 } = options;
    // A fake is not under the domain that tokens for vaults are for.
    this.#client = new SecretClient(url, credential, {
      disableChallengeResourceVerification: isSimulated,
      retryOptions: { maxRetries: 5 },
    });
    this.#patienceMs = patienceMs;
    this.#pauseMs = pauseMs;
  }

  /** Undefined when there is none. @param version the newest when left out */
  async get(name: string, signal: AbortSignal, version?: string): Promise<Secret | undefined> {
    return this.#patiently(name, signal, async () => {
      try {
        const options = { abortSignal: signal, ...(version === undefined ? {} : { version }) };
        return toSecret(await this.#client.getSecret(name, options));
      } catch (error) {
        if (isGone(error)) {
          return undefined;
        }
        throw error;
      }
    });
  }

  async set(name: string, value: string, signal: AbortSignal): Promise<Secret> {
    return this.#patiently(name, signal, async () =>
      toSecret(await this.#client.setSecret(name, value, { abortSignal: signal })),
    );
  }

  async #patiently<Result>(name: string, signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
    const deadlineMs = performance.now() + this.#patienceMs;
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!isNotAllowed(error)) {
          throw error;
        }
        if (performance.now() >= deadlineMs) {
          throw vaultRefuses(name, error);
        }
      }
      await delay(this.#pauseMs, undefined, { signal });
    }
  }
}

type Answer = { value?: string; properties: { version?: string; createdOn?: Date } };

function toSecret({ value = '', properties }: Answer): Secret {
  return { value, version: properties.version ?? '', madeAt: properties.createdOn ?? new Date(0) };
}

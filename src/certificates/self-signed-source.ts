import { readCertificate } from './certificate.ts';
import { renewalTimeMs } from './renewal.ts';
import { createSelfSigned } from './self-signed.ts';
import type { CertificateSource, SourceAnswer, SourceContext } from './source.ts';

/** One certificate for the whole cluster that outlives restarts, so that nobody has to trust it twice. */
export class SelfSignedSource implements CertificateSource {
  readonly #names: readonly string[];

  /** @param names DNS names and addresses, at least one */
  constructor(names: readonly string[]) {
    this.#names = names;
  }

  async next({ current, nowMs }: SourceContext): Promise<SourceAnswer> {
    const origin = `self-signed ${this.#names.toSorted().join(' ')}`;
    if (current !== undefined && current.origin === origin) {
      const untilMs = renewalTimeMs(readCertificate(current.chain));
      if (nowMs < untilMs) {
        return { kind: 'keep', untilMs };
      }
    }
    const pair = await createSelfSigned(this.#names, nowMs);
    return { kind: 'replace', certificate: { ...pair, kind: 'self-signed', origin } };
  }
}

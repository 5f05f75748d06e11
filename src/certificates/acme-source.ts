import { readCertificate } from './certificate.ts';
import type { OrderCertificate } from './acme-order.ts';
import { renewalTimeMs } from './renewal.ts';
import type { CertificateSource, SourceAnswer, SourceContext } from './source.ts';

export type AcmeSourceOptions = {
  directoryUrl: string;
  /** DNS names and addresses, at least one. */
  names: readonly string[];
  order: OrderCertificate;
};

/** Orders a certificate when there is none for these names of this authority, and renews it in time. */
export class AcmeSource implements CertificateSource {
  readonly #options: AcmeSourceOptions;

  constructor(options: AcmeSourceOptions) {
    this.#options = options;
  }

  async next({ current, epoch, nowMs }: SourceContext): Promise<SourceAnswer> {
    const { directoryUrl, names, order } = this.#options;
    const origin = `acme ${directoryUrl} ${names.toSorted().join(' ')}`;
    if (current !== undefined && current.origin === origin) {
      const untilMs = renewalTimeMs(readCertificate(current.chain));
      if (nowMs < untilMs) {
        return { kind: 'keep', untilMs };
      }
    }
    const pair = await order({ names, epoch });
    return { kind: 'replace', certificate: { ...pair, kind: 'acme', origin } };
  }
}

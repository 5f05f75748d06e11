import type { Epoch } from '../cluster/store.ts';
import type { StoredCertificate } from './certificate.ts';

export type SourceContext = {
  /** What is served now. */
  current: StoredCertificate | undefined;
  /** Of the leader that asks; what is written carries it. */
  epoch: Epoch;
  /** Unix milliseconds. */
  nowMs: number;
};

export type SourceAnswer =
  /** Nothing to do until then, Unix milliseconds. */
  | { kind: 'keep'; untilMs: number }
  /** Serve this from now on. */
  | { kind: 'replace'; certificate: StoredCertificate };

/** Where the certificate comes from. Asked by one leader at a time; rejects when it cannot be had now. */
export interface CertificateSource {
  next(context: SourceContext): Promise<SourceAnswer>;
}

/** A certificate with its key, and what it says. Times are Unix milliseconds. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { z } from 'zod';
import { badCertificate } from './errors.ts';

/** PEM texts; the chain stands leaf first. */
export type KeyPair = { chain: string; key: string };

export const certificateKinds = ['acme', 'own', 'self-signed'] as const;
export type CertificateKind = (typeof certificateKinds)[number];

export const storedCertificate = z.looseObject({
  kind: z.enum(certificateKinds),
  chain: z.string(),
  key: z.string(),
  /** What it was made from; a certificate from another origin (other names, say) is replaced. */
  origin: z.string(),
});

export type StoredCertificate = KeyPair & { kind: CertificateKind; origin: string };

export type CertificateFacts = {
  /** DNS names and addresses, as they stand in it. */
  names: string[];
  notBeforeMs: number;
  notAfterMs: number;
  /** SHA-256 in hexadecimal. */
  fingerprint: string;
};

/** @throws PlenumError `bad-certificate` when it is no certificate. */
export function readCertificate(chain: string): CertificateFacts {
  const leaf = parse(chain);
  return {
    names: (leaf.subjectAltName ?? '')
      .split(', ')
      .map((entry) => /^(?:DNS|IP Address):(.+)$/.exec(entry)?.[1] ?? '')
      .filter((name) => name !== ''),
    notBeforeMs: Date.parse(leaf.validFrom),
    notAfterMs: Date.parse(leaf.validTo),
    fingerprint: leaf.fingerprint256.replaceAll(':', '').toLowerCase(),
  };
}

/**
 * Whether a pair can be served.
 * @throws PlenumError `bad-certificate` that says why not: no PEM, key of another certificate, expired
 */
export function checkPair({ chain, key }: KeyPair, nowMs: number): CertificateFacts {
  const leaf = parse(chain);
  let matches: boolean;
  try {
    matches = leaf.checkPrivateKey(createPrivateKey(key));
  } catch (error) {
    throw badCertificate('its private key is not in PEM format, or is encrypted', error);
  }
  if (!matches) {
    throw badCertificate('the private key belongs to another certificate');
  }
  const facts = readCertificate(chain);
  if (facts.notAfterMs <= nowMs) {
    throw badCertificate(`it expired on ${new Date(facts.notAfterMs).toISOString()}`);
  }
  return facts;
}

function parse(chain: string): X509Certificate {
  try {
    return new X509Certificate(chain);
  } catch (error) {
    throw badCertificate('it is not in PEM format', error);
  }
}

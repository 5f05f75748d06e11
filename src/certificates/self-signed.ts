/** A certificate that nobody vouches for: browsers warn, programs that are given it trust it. */
import { KeyObject, randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { KeyPair } from './certificate.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** The longest that Apple's systems take; others take more. */
const lifeMs = 825 * 24 * 3_600_000;
/** Clocks of clients may be behind. */
const backdatedMs = 3_600_000;

/** @param names DNS names and addresses, at least one; @param nowMs Unix milliseconds */
export async function createSelfSigned(names: readonly string[], nowMs: number): Promise<KeyPair> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serialNumber(),
      // Constant: a name of more than 64 characters would not be allowed here, and clients look at the alternative names.
      name: 'CN=Plenum',
      notBefore: new Date(nowMs - backdatedMs),
      notAfter: new Date(nowMs + lifeMs),
      signingAlgorithm: algorithm,
      keys,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
        new SubjectAlternativeNameExtension(
          names.map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value })),
        ),
        await SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    },
    webcrypto,
  );
  const key = KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' });
  return { chain: `${certificate.toString('pem')}\n`, key: String(key) };
}

/** Positive and at most 20 bytes (RFC 5280, 4.1.2.2). */
function serialNumber(): string {
  return `00${randomBytes(15).toString('hex')}`;
}

/** A certificate authority of the test's own, for what an operator would bring along. */
import { createHash, KeyObject, randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
  type X509Certificate as Certificate,
} from '@peculiar/x509';
import type { KeyPair } from '../../src/certificates/certificate.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const dayMs = 24 * 3_600_000;

export class TestAuthority {
  readonly #certificate: Certificate;
  readonly #keys: webcrypto.CryptoKeyPair;

  static async create(): Promise<TestAuthority> {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const certificate = await X509CertificateGenerator.createSelfSigned(
      {
        serialNumber: `00${randomBytes(8).toString('hex')}`,
        name: 'CN=Test authority',
        notBefore: new Date(Date.now() - dayMs),
        notAfter: new Date(Date.now() + dayMs),
        signingAlgorithm: algorithm,
        keys,
        extensions: [
          new BasicConstraintsExtension(true, undefined, true),
          new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
        ],
      },
      webcrypto,
    );
    return new TestAuthority(certificate, keys);
  }

  private constructor(certificate: Certificate, keys: webcrypto.CryptoKeyPair) {
    this.#certificate = certificate;
    this.#keys = keys;
  }

  get pem(): string {
    return `${this.#certificate.toString('pem')}\n`;
  }

  /** The chain ends with the authority itself, so that a client may trust it by its key. */
  async issue(names: string[], lifeMs = dayMs): Promise<KeyPair> {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const certificate = await X509CertificateGenerator.create(
      {
        serialNumber: `00${randomBytes(8).toString('hex')}`,
        subject: 'CN=Test',
        issuer: this.#certificate.subject,
        notBefore: new Date(Date.now() - 3_600_000),
        notAfter: new Date(Date.now() + lifeMs),
        signingAlgorithm: algorithm,
        publicKey: keys.publicKey,
        signingKey: this.#keys.privateKey,
        extensions: [new SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns', value })))],
      },
      webcrypto,
    );
    return {
      chain: `${certificate.toString('pem')}\n${this.pem}`,
      key: String(KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' })),
    };
  }
}

/** Chromium's way of naming a certificate that it shall trust: the hash of its public key. */
export function trustFlag(...certificates: string[]): string {
  const pins = certificates.map((pem) => {
    const key = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
    return createHash('sha256').update(key).digest('base64');
  });
  return `--ignore-certificate-errors-spki-list=${pins.join(',')}`;
}

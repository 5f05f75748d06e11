/** Encryption at rest: what lies in Redis or on disk is useless without the cluster secret. */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { sealBroken } from './errors.ts';

/** AES-256-GCM; the name is authenticated with the content, so that one record cannot pass for another. */
const algorithm = 'aes-256-gcm';
const version = 1;
const nonceBytes = 12;
const tagBytes = 16;

export class Seal {
  readonly #key: Buffer;

  /** @param secret of the cluster, at least 16 characters; the key made of it is used for nothing else */
  constructor(cluster: string, secret: string) {
    this.#key = Buffer.from(hkdfSync('sha256', secret, 'plenum certificates', cluster, 32));
  }

  close(name: string, content: Uint8Array): Uint8Array {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv(algorithm, this.#key, nonce).setAAD(Buffer.from(name));
    const body = Buffer.concat([cipher.update(content), cipher.final()]);
    return Buffer.concat([Buffer.of(version), nonce, cipher.getAuthTag(), body]);
  }

  /** @throws PlenumError `seal-broken` */
  open(name: string, sealed: Uint8Array): Uint8Array {
    const bytes = Buffer.from(sealed);
    const bodyAt = 1 + nonceBytes + tagBytes;
    try {
      if (bytes[0] !== version || bytes.length < bodyAt) {
        throw new Error('unknown format');
      }
      const decipher = createDecipheriv(algorithm, this.#key, bytes.subarray(1, 1 + nonceBytes))
        .setAAD(Buffer.from(name))
        .setAuthTag(bytes.subarray(1 + nonceBytes, bodyAt));
      return Buffer.concat([decipher.update(bytes.subarray(bodyAt)), decipher.final()]);
    } catch (error) {
      throw sealBroken(name, error);
    }
  }
}

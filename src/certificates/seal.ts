/** Encryption at rest: what lies in Redis or on disk is useless without the cluster secret. */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { sealBroken } from './errors.ts';

/** AES-256-GCM; the name is authenticated with the content, so that one record cannot pass for another. */
const algorithm = 'aes-256-gcm';
const version = 1;
const nonceBytes = 12;
const tagBytes = 16;

export class Seal {
  /** The current one first. */
  readonly #keys: readonly Buffer[];

  /** @param secrets of the cluster, the current one first; the keys made of them are used for nothing else */
  constructor(cluster: string, secrets: readonly string[]) {
    this.#keys = secrets.map((secret) => Buffer.from(hkdfSync('sha256', secret, 'plenum certificates', cluster, 32)));
  }

  close(name: string, content: Uint8Array): Uint8Array {
    const nonce = randomBytes(nonceBytes);
    const [key = Buffer.alloc(0)] = this.#keys;
    const cipher = createCipheriv(algorithm, key, nonce).setAAD(Buffer.from(name));
    const body = Buffer.concat([cipher.update(content), cipher.final()]);
    return Buffer.concat([Buffer.of(version), nonce, cipher.getAuthTag(), body]);
  }

  /** @throws PlenumError `seal-broken` when it was sealed with none of the secrets, for another name, or was changed */
  open(name: string, sealed: Uint8Array): Uint8Array {
    let cause: unknown;
    for (const key of this.#keys) {
      try {
        return openWith(key, name, Buffer.from(sealed));
      } catch (error) {
        cause ??= error;
      }
    }
    throw sealBroken(name, cause);
  }
}

function openWith(key: Buffer, name: string, bytes: Buffer): Uint8Array {
  const bodyAt = 1 + nonceBytes + tagBytes;
  if (bytes[0] !== version || bytes.length < bodyAt) {
    throw new Error('unknown format');
  }
  const decipher = createDecipheriv(algorithm, key, bytes.subarray(1, 1 + nonceBytes))
    .setAAD(Buffer.from(name))
    .setAuthTag(bytes.subarray(1 + nonceBytes, bodyAt));
  return Buffer.concat([decipher.update(bytes.subarray(bodyAt)), decipher.final()]);
}

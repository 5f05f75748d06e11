/** The TLS that is made of the cluster secret: TLS 1.2 with a pre-shared key, and nothing else. */
import { hkdfSync } from 'node:crypto';
import type { ConnectionOptions, TlsOptions } from 'node:tls';

/**
 * With forward secrecy and without certificates: a server that does not hold the key has nothing to offer. TLS 1.3 also
 * takes pre-shared keys, but there a server may answer with a certificate instead, and a client would have to notice.
 */
const suite: TlsOptions & ConnectionOptions = {
  ciphers: 'ECDHE-PSK-CHACHA20-POLY1305',
  ecdhCurve: 'X25519',
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.2',
};

export type RelayKey = { cluster: string; key: Buffer };

/** The key of the relay alone: who learns it cannot work back to the secret. */
export function relayKey(cluster: string, secret: string): RelayKey {
  return { cluster, key: Buffer.from(hkdfSync('sha256', secret, 'plenum relay', cluster, 32)) };
}

export function serverTls(key: RelayKey, handshakeTimeoutMs: number): TlsOptions {
  return {
    ...suite,
    pskIdentityHint: key.cluster,
    pskCallback: (_socket, identity) => (identity === key.cluster ? key.key : null),
    handshakeTimeout: handshakeTimeoutMs,
  };
}

export function clientTls(key: RelayKey): ConnectionOptions {
  return {
    ...suite,
    pskCallback: () => ({ psk: key.key, identity: key.cluster }),
    // There is no certificate with a name in it.
    checkServerIdentity: () => undefined,
  };
}

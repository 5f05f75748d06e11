/** The TLS that is made of the cluster secret: TLS 1.2 with a pre-shared key, and nothing else. */
import { createHash, hkdfSync, randomBytes } from 'node:crypto';
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

type Key = { id: string; key: Buffer };

/**
 * One key per secret, the current one first. While a secret is being replaced, nodes that were started again know the
 * new and the old one, the others the old one only. A server lists what it takes in its hint, and the client chooses the
 * first of its own that is among them, so that the newest secret that both know is used.
 */
export type RelayKeys = { cluster: string; keys: readonly [Key, ...Key[]] };

/** The keys of the relay alone: who learns one cannot work back to the secret. */
export function relayKeys(cluster: string, secret: string, previousSecrets: readonly string[] = []): RelayKeys {
  const derive = (from: string): Key => ({
    id: Buffer.from(hkdfSync('sha256', from, 'plenum relay id', cluster, 4)).toString('hex'),
    key: Buffer.from(hkdfSync('sha256', from, 'plenum relay', cluster, 32)),
  });
  return { cluster, keys: [derive(secret), ...previousSecrets.map(derive)] };
}

export function serverTls(keys: RelayKeys, handshakeTimeoutMs: number): TlsOptions {
  return {
    ...suite,
    pskIdentityHint: formatIdentity(
      keys.cluster,
      keys.keys.map(({ id }) => id),
    ),
    pskCallback: (_socket, identity) => keyFor(keys, identity),
    handshakeTimeout: handshakeTimeoutMs,
  };
}

export function clientTls(keys: RelayKeys): ConnectionOptions {
  return {
    ...suite,
    pskCallback: (hint) => {
      const taken = new Set(parseIdentity(hint ?? '').ids);
      // With no secret in common the handshake fails at both ends, which is what both should log.
      const { id, key } = keys.keys.find((own) => taken.has(own.id)) ?? keys.keys[0];
      return { psk: key, identity: formatIdentity(keys.cluster, [id]) };
    },
    // There is no certificate with a name in it.
    checkServerIdentity: () => undefined,
  };
}

function keyFor({ cluster, keys }: RelayKeys, identity: string): Buffer | null {
  const asked = parseIdentity(identity);
  if (asked.cluster !== nameOf(cluster)) {
    return null;
  }
  // One that fits nothing: the peer is told of a wrong secret, and not of an unknown cluster.
  return keys.find(({ id }) => asked.ids.includes(id))?.key ?? randomBytes(32);
}

/** OpenSSL takes 128 bytes, and a cluster's name may be longer. */
function formatIdentity(cluster: string, ids: readonly string[]): string {
  return [nameOf(cluster), ...ids].join(' ');
}

function parseIdentity(text: string): { cluster: string; ids: string[] } {
  const [cluster = '', ...ids] = text.split(' ');
  return { cluster, ids };
}

function nameOf(cluster: string): string {
  return createHash('sha256').update(cluster).digest('hex').slice(0, 16);
}

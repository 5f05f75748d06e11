import { readFileSync } from 'node:fs';
import type { Config } from '../config/options.ts';
import { unreadableSecret, weakSecret } from './relay-errors.ts';
import type { TcpRelayOptions } from './relay-tcp.ts';

const minSecretLength = 16;

/** @throws PlenumError `bad-config` when the secret cannot be read or is too short to be one. */
export function relayOptions(cluster: Config['cluster']): Omit<TcpRelayOptions, 'self' | 'log'> {
  return {
    cluster: cluster.name,
    secret: clusterSecret(cluster),
    bindAddresses: cluster.relay_bind_addresses,
    port: cluster.relay_port,
    settings: { heartbeatIntervalMs: cluster.heartbeat_interval * 1_000, heartbeatMisses: cluster.heartbeat_misses },
  };
}

/** @throws PlenumError `bad-config` when it cannot be read or is too short to be one. */
export function clusterSecret(cluster: Config['cluster']): string {
  const secret = (
    cluster.secret === '' && cluster.secret_file !== '' ? readSecretFile(cluster.secret_file) : cluster.secret
  ).trim();
  if (secret.length < minSecretLength) {
    throw weakSecret(minSecretLength);
  }
  return secret;
}

function readSecretFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw unreadableSecret(path, error);
  }
}

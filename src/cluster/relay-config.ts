import { readFileSync } from 'node:fs';
import type { Config } from '../config/options.ts';
import { unreadableSecret, weakSecret } from './relay-errors.ts';
import type { TcpRelayOptions } from './relay-tcp.ts';

const minSecretLength = 16;

/** @throws PlenumError `bad-config` when a secret cannot be read or is too short to be one. */
export function relayOptions(cluster: Config['cluster']): Omit<TcpRelayOptions, 'self' | 'log'> {
  const [secret = '', ...previousSecrets] = clusterSecrets(cluster);
  return {
    cluster: cluster.name,
    secret,
    previousSecrets,
    bindAddresses: cluster.relay_bind_addresses,
    port: cluster.relay_port,
    settings: { heartbeatIntervalMs: cluster.heartbeat_interval * 1_000, heartbeatMisses: cluster.heartbeat_misses },
  };
}

/** The current one first. @throws PlenumError `bad-config` when one cannot be read or is too short to be one. */
export function clusterSecrets(cluster: Config['cluster']): string[] {
  const fromFile = cluster.secret === '' && cluster.secret_file !== '' ? readSecretFile(cluster.secret_file) : [];
  const current = fromFile.length > 0 ? fromFile : [cluster.secret];
  const secrets = [...current, ...cluster.previous_secrets].map((secret) => secret.trim());
  if (secrets.some(({ length }) => length < minSecretLength)) {
    throw weakSecret(minSecretLength);
  }
  return secrets;
}

function readSecretFile(path: string): string[] {
  try {
    return readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => line.trim() !== '');
  } catch (error) {
    throw unreadableSecret(path, error);
  }
}

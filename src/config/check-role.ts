import { certificateNames } from './certificate-names.ts';
import { badConfig } from './errors.ts';
import type { Config } from './options.ts';

export const roles = ['all', 'master', 'media'] as const;
export type Role = (typeof roles)[number];

/** Options that go together in a role. @throws PlenumError `bad-config` that names every problem at once. */
export function checkRole(config: Config, role: Role): void {
  const problems = [...clusterProblems(config, role), ...certificateProblems(config, role)];
  if (problems.length > 0) {
    throw badConfig(problems);
  }
}

function clusterProblems({ cluster, redis }: Config, role: Role): string[] {
  if (role === 'all') {
    return [];
  }
  const problems: string[] = [];
  if (cluster.secret === '' && cluster.secret_file === '') {
    problems.push(`role ${role} needs \`cluster.secret\`, \`cluster.secret_file\` or PLENUM_CLUSTER_SECRET`);
  }
  if (redis.address === '' && redis.sentinel_addresses.length === 0) {
    problems.push(
      `role ${role} needs \`redis.address\`, or \`redis.sentinel_master_name\` and \`redis.sentinel_addresses\``,
    );
  }
  return problems;
}

function certificateProblems(config: Config, role: Role): string[] {
  const { tls, turn } = config;
  const problems: string[] = [];
  // All masters serve one certificate, so it cannot be for the addresses of the machine that happens to make it.
  const needsNames = tls.mode === 'letsencrypt' || (tls.mode === 'selfsigned' && role === 'master');
  if (needsNames && certificateNames(config).length === 0) {
    problems.push(`\`tls.mode\` ${tls.mode} needs \`tls.domain\`, or addresses in \`tls.names\``);
  }
  if (tls.mode === 'letsencrypt' && role !== 'media' && tls.http_port === 0) {
    problems.push('`tls.mode` letsencrypt needs `tls.http_port`, which must be reached as port 80 from the internet');
  }
  if (tls.mode === 'owncert' && role !== 'media' && (tls.certificate === '' || tls.key === '')) {
    problems.push('`tls.mode` owncert needs `tls.certificate` and `tls.key`');
  }
  if (turn.enabled && turn.external_tls && turn.domain === '') {
    problems.push('`turn.external_tls` needs `turn.domain`, which leads to the load balancer');
  }
  if (turn.relay_range_start > turn.relay_range_end) {
    problems.push('`turn.relay_range_start` is above `turn.relay_range_end`');
  }
  return problems;
}

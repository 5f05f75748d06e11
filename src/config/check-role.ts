import { badConfig } from './errors.ts';
import type { Config } from './options.ts';

export const roles = ['all', 'master', 'media'] as const;
export type Role = (typeof roles)[number];

/** Options that only nodes of a cluster need. @throws PlenumError `bad-config` that names every problem at once. */
export function checkRole(config: Config, role: Role): void {
  if (role === 'all') {
    return;
  }
  const { cluster, redis } = config;
  const problems: string[] = [];
  if (cluster.secret === '' && cluster.secret_file === '') {
    problems.push(`role ${role} needs \`cluster.secret\`, \`cluster.secret_file\` or PLENUM_CLUSTER_SECRET`);
  }
  if (redis.address === '' && redis.sentinel_addresses.length === 0) {
    problems.push(
      `role ${role} needs \`redis.address\`, or \`redis.sentinel_master_name\` and \`redis.sentinel_addresses\``,
    );
  }
  if (problems.length > 0) {
    throw badConfig(problems);
  }
}

/** Turns YAML text, environment and flags into one checked `Config`; later sources win. Reads nothing by itself. */
import { parse } from 'yaml';
import type { z } from 'zod';
import { badConfig } from './errors.ts';
import { configSchema, type Config } from './options.ts';

export type ConfigSources = {
  /** What holds where no other source speaks, in the shape of the file. */
  defaults?: Record<string, unknown>;
  /** Text of the config file. */
  yaml?: string;
  env?: Record<string, string | undefined>;
  /** From flags, in the shape of the file. */
  overrides?: Record<string, unknown>;
};

type Tree = Record<string, unknown>;

/** @throws PlenumError `bad-config` that names every problem at once. */
export function loadConfig(sources: ConfigSources): Config {
  const merged = [
    sources.defaults ?? {},
    parseYaml(sources.yaml),
    fromEnvironment(sources.env ?? {}),
    sources.overrides ?? {},
  ].reduce<Tree>(merge, {});
  const result = configSchema.safeParse(merged);
  if (!result.success) {
    throw badConfig(result.error.issues.map(describeIssue));
  }
  const problems = crossChecks(result.data);
  if (problems.length > 0) {
    throw badConfig(problems);
  }
  return result.data;
}

function parseYaml(text: string | undefined): Tree {
  if (text === undefined || text.trim() === '') {
    return {};
  }
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw badConfig([`not valid YAML: ${error instanceof Error ? error.message : String(error)}`]);
  }
  if (value === null) {
    return {};
  }
  if (!isTree(value)) {
    throw badConfig(['the file must hold `name: value` lines']);
  }
  return value;
}

/** The variables that LiveKit installations set, and secrets that are ours. */
function fromEnvironment(env: Record<string, string | undefined>): Tree {
  const tree: Tree = {};
  if (env.LIVEKIT_KEYS) {
    tree.keys = parseYaml(env.LIVEKIT_KEYS);
  }
  if (env.LIVEKIT_REGION) {
    tree.region = env.LIVEKIT_REGION;
  }
  if (env.NODE_IP) {
    tree.rtc = { node_ip: env.NODE_IP.split(',').map((address) => address.trim()) };
  }
  const cluster = {
    secret: env.PLENUM_CLUSTER_SECRET,
    previous_secrets: env.PLENUM_CLUSTER_PREVIOUS_SECRETS?.split(',').map((secret) => secret.trim()),
  };
  const secrets = Object.entries(cluster).filter(([, value]) => value && value.length > 0);
  if (secrets.length > 0) {
    tree.cluster = Object.fromEntries(secrets);
  }
  const redis = { password: env.PLENUM_REDIS_PASSWORD, sentinel_password: env.PLENUM_REDIS_SENTINEL_PASSWORD };
  const given = Object.entries(redis).filter(([, value]) => value);
  if (given.length > 0) {
    tree.redis = Object.fromEntries(given);
  }
  return tree;
}

function merge(base: Tree, over: Tree): Tree {
  const result: Tree = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const existing = result[key];
    result[key] = isTree(value) && isTree(existing) ? merge(existing, value) : value;
  }
  return result;
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function describeIssue(issue: z.core.$ZodIssue): string {
  const path = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    const where = path === '' ? '' : `${path}.`;
    return `unknown option ${issue.keys.map((key) => `\`${where}${key}\``).join(', ')}; see docs/reference/config.md for all options`;
  }
  return `\`${path}\`: ${issue.message}`;
}

function crossChecks(config: Config): string[] {
  const problems: string[] = [];
  if (Object.keys(config.keys).length === 0) {
    problems.push('`keys` is empty: give at least one `api_key: secret` pair, or set LIVEKIT_KEYS');
  }
  if (config.rtc.port_range_start > config.rtc.port_range_end) {
    problems.push('`rtc.port_range_start` is above `rtc.port_range_end`');
  }
  if (!config.rtc.enable_udp && !config.rtc.enable_tcp) {
    problems.push('`rtc.enable_udp` and `rtc.enable_tcp` are both off: no media could flow');
  }
  if (config.webhook.urls.length > 0 && config.keys[config.webhook.api_key] === undefined) {
    problems.push('`webhook.api_key` must be one of `keys` when `webhook.urls` is set');
  }
  problems.push(...capacityProblems(config));
  for (const [index, server] of config.rtc.turn_servers.entries()) {
    if (server.secret === '' && (server.username === '' || server.credential === '')) {
      problems.push(`\`rtc.turn_servers.${index}\` needs \`secret\`, or \`username\` and \`credential\``);
    }
  }
  return problems;
}

function capacityProblems({ capacity, azure }: Config): string[] {
  const problems = capacity.min > capacity.max ? ['`capacity.min` is above `capacity.max`'] : [];
  const needed = ['subscription_id', 'resource_group', 'scale_set', 'client_id'] as const;
  const missing = capacity.provider === 'azure' ? needed.filter((name) => azure[name] === '') : [];
  return [...problems, ...missing.map((name) => `\`capacity.provider\` azure needs \`azure.${name}\``)];
}

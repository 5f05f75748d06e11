/** Turns YAML text, environment and flags into one checked `Config`; later sources win. Reads nothing by itself. */
import { parse } from 'yaml';
import type { z } from 'zod';
import { fromEnvironment } from './environment.ts';
import { badConfig } from './errors.ts';
import { isTree, translateOptions, type Tree } from './livekit-options.ts';
import { configSchema, type Config } from './options.ts';

export type ConfigSources = {
  /** What holds where no other source speaks, in the shape of the file. */
  defaults?: Record<string, unknown>;
  /** Text of the config file, of Plenum or of livekit-server. */
  yaml?: string;
  env?: Record<string, string | undefined>;
  /** From flags, in the shape of the file. */
  overrides?: Record<string, unknown>;
  /** Reads `key_file` and `secret_file`; without it these are refused. */
  readSecretFile?: (path: string) => string;
};

export type LoadedConfig = {
  config: Config;
  /** Options of livekit-server that were given and do not apply here. */
  notApplied: string[];
};

/** @throws PlenumError `bad-config` that names every problem at once. */
export function loadConfig(sources: ConfigSources): Config {
  return loadWithNotes(sources).config;
}

/** The same, with what a person should hear of. @throws PlenumError `bad-config` */
export function loadWithNotes(sources: ConfigSources): LoadedConfig {
  const given = [
    parseYaml(sources.yaml),
    fromEnvironment(sources.env ?? {}, parseYaml),
    sources.overrides ?? {},
  ].reduce(merge);
  const { tree, notApplied } = translateOptions(given);
  const merged = merge(sources.defaults ?? {}, withSecrets(tree, sources.readSecretFile));
  const result = configSchema.safeParse(merged);
  if (!result.success) {
    throw badConfig(result.error.issues.map(describeIssue));
  }
  const problems = crossChecks(result.data);
  if (problems.length > 0) {
    throw badConfig(problems);
  }
  return { config: result.data, notApplied };
}

function withSecrets(tree: Tree, readSecretFile: ConfigSources['readSecretFile']): Tree {
  return readSecretFile === undefined ? tree : withTurnSecrets(withKeyFile(tree, readSecretFile), readSecretFile);
}

/** As in LiveKit, the keys of a file stand in place of all others. */
function withKeyFile(tree: Tree, readSecretFile: (path: string) => string): Tree {
  const { key_file: path, ...rest } = tree;
  if (path === '') {
    return rest;
  }
  return typeof path === 'string' ? { ...rest, keys: parseYaml(readSecretFile(path)) } : tree;
}

function withTurnSecrets(tree: Tree, readSecretFile: (path: string) => string): Tree {
  const { rtc } = tree;
  const servers = isTree(rtc) ? rtc['turn_servers'] : undefined;
  if (!isTree(rtc) || !Array.isArray(servers)) {
    return tree;
  }
  return { ...tree, rtc: { ...rtc, turn_servers: servers.map((server) => withSecret(server, readSecretFile)) } };
}

function withSecret(server: unknown, readSecretFile: (path: string) => string): unknown {
  if (!isTree(server) || typeof server['secret_file'] !== 'string') {
    return server;
  }
  const { secret_file: path, ...rest } = server;
  return { ...rest, secret: readSecretFile(path as string).trim() };
}

/** A map from YAML text, empty for no text. @throws PlenumError `bad-config` */
export function parseYaml(text: string | undefined): Tree {
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

function merge(base: Tree, over: Tree): Tree {
  const result: Tree = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const existing = result[key];
    result[key] = isTree(value) && isTree(existing) ? merge(existing, value) : value;
  }
  return result;
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

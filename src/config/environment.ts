/** Options that come from environment variables: those of livekit-server, and secrets that are ours. */
import { livekitOptionNames, put, type Tree } from './livekit-options.ts';
import { optionRows } from './reference.ts';

type Env = Record<string, string | undefined>;

/** Variables that livekit-server reads besides those named after options. */
const named: Record<string, string> = {
  UDP_PORT: 'rtc.udp_port',
  REDIS_HOST: 'redis.address',
  REDIS_PASSWORD: 'redis.password',
  LIVEKIT_TURN_CERT: 'turn.cert_file',
  LIVEKIT_TURN_KEY: 'turn.key_file',
  PLENUM_CLUSTER_SECRET: 'cluster.secret',
  PLENUM_REDIS_PASSWORD: 'redis.password',
  PLENUM_REDIS_SENTINEL_PASSWORD: 'redis.sentinel_password',
};

/** @param parseYaml of text that should hold a map @throws PlenumError `bad-config` for text that does not */
export function fromEnvironment(env: Env, parseYaml: (text: string) => Tree): Tree {
  const tree: Tree = {};
  for (const { name, isText } of optionNames()) {
    const text = env[variableOf(name)];
    // Kubernetes sets LIVEKIT_PORT to an address where a service is called "livekit".
    if (text && !(name === 'port' && text.includes('://'))) {
      put(tree, name, isText ? text : toValue(text));
    }
  }
  for (const [variable, name] of Object.entries(named)) {
    if (env[variable]) {
      put(tree, name, env[variable]);
    }
  }
  if (env.LIVEKIT_KEYS) {
    tree['keys'] = parseYaml(env.LIVEKIT_KEYS);
  }
  if (env.NODE_IP) {
    put(tree, 'rtc.node_ip', env.NODE_IP);
  }
  const previous = env.PLENUM_CLUSTER_PREVIOUS_SECRETS?.split(',').map((secret) => secret.trim());
  if (previous !== undefined && previous.join('') !== '') {
    put(tree, 'cluster.previous_secrets', previous);
  }
  return tree;
}

/** What may also be given as `LIVEKIT_RTC_PORT_RANGE_START` and `--rtc.port_range_start`: any option that is one value. */
export function optionNames(): { name: string; isText: boolean; isFlag: boolean }[] {
  const ours = optionRows()
    .filter(({ name, type }) => !name.includes('[]') && type !== 'list' && type !== 'map')
    .map(({ name, type }) => ({ name, isText: type === 'string', isFlag: type === 'boolean' }));
  const known = new Set(ours.map(({ name }) => name));
  const theirs = livekitOptionNames()
    .filter((name) => !known.has(name))
    .map((name) => ({ name, isText: false, isFlag: false }));
  return [...ours, { name: 'key_file', isText: true, isFlag: false }, ...theirs];
}

function variableOf(name: string): string {
  return `LIVEKIT_${name.replaceAll('.', '_').toUpperCase()}`;
}

/** A number or a boolean where the text is one. */
export function toValue(text: string): unknown {
  const trimmed = text.trim();
  if (trimmed === 'true' || trimmed === 'false') {
    return trimmed === 'true';
  }
  return trimmed !== '' && Number.isFinite(Number(trimmed)) ? Number(trimmed) : text;
}

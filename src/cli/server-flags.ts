/** The flags of `plenum dev` and `plenum start`: livekit-server's, and one for each option of the config file. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { optionNames, toValue } from '../config/environment.ts';
import { put, type Tree } from '../config/livekit-options.ts';

/** By attribute name, as commander gives them; options of the config file under their own names. */
export type ServerFlags = { config?: string; configBody?: string; [flag: string]: unknown };

/** Where the value of a flag stands in the config file. */
const places: Record<string, string> = {
  port: 'port',
  bind: 'bind_addresses',
  nodeIp: 'rtc.node_ip',
  keyFile: 'key_file',
  region: 'region',
  udpPort: 'rtc.udp_port',
  redisHost: 'redis.address',
  redisPassword: 'redis.password',
  turnCert: 'turn.cert_file',
  turnKey: 'turn.key_file',
};

export function withServerFlags(command: Command): Command {
  command
    .option('--config <file>', 'YAML file with options, of Plenum or of livekit-server')
    .option('--config-body <yaml>', 'options as YAML text, in place of the file (or LIVEKIT_CONFIG)')
    .option('--port <number>', 'HTTP and WebSocket port (else `port` of the file, else 7880)', parsePort)
    .option('--bind <address...>', 'addresses to listen on, 0.0.0.0 for all')
    .option(
      '--node-ip <address...>',
      'addresses that clients send media to, when the server cannot know them (or NODE_IP)',
    )
    .option('--udp-port <port>', 'media port, or a range such as 50000-50100 (or UDP_PORT)')
    .option('--keys <keys>', 'API keys as `key: secret` lines (or LIVEKIT_KEYS)')
    .option('--key-file <file>', 'file with such lines, which others must not be able to read')
    .option('--region <name>', 'region of this node, told to clients (or LIVEKIT_REGION)')
    .option('--redis-host <address>', 'host and port of Redis (or REDIS_HOST)')
    .option('--redis-password <password>', 'its password (or REDIS_PASSWORD)')
    .addOption(new Option('--turn-cert <file>').hideHelp())
    .addOption(new Option('--turn-key <file>').hideHelp());
  for (const { name, isFlag } of generated()) {
    command.addOption(new Option(isFlag ? `--${name} [value]` : `--${name} <value>`).hideHelp());
  }
  return command;
}

/** What the flags say, in the shape of the config file. */
export function optionsOf(flags: ServerFlags, parseKeys: (text: string) => Tree): Tree {
  const tree: Tree = {};
  for (const { name, isText } of generated()) {
    const value = flags[name];
    if (value !== undefined) {
      put(tree, name, typeof value === 'string' && !isText ? toValue(value) : value);
    }
  }
  for (const [flag, name] of Object.entries(places)) {
    if (flags[flag] !== undefined) {
      put(tree, name, flags[flag]);
    }
  }
  if (typeof flags['keys'] === 'string') {
    tree['keys'] = parseKeys(flags['keys']);
  }
  return tree;
}

/** `port` and `region` have flags of their own. */
function generated(): ReturnType<typeof optionNames> {
  return optionNames().filter(({ name }) => name.includes('.') || name.includes('_'));
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new InvalidArgumentError('It must be a number from 0 to 65535 (0 = any free port).');
  }
  return port;
}

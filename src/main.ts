/** Reads arguments, environment and the config file, then runs one role or one command. The only reader of `process.env`. */
import { readFileSync, statSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { Command, CommanderError, Option } from 'commander';
import { azureCommand } from './cli/azure.ts';
import { capacityCommand } from './cli/capacity.ts';
import { outliveReader } from './cli/closed-pipe.ts';
import { nodeCommand } from './cli/node.ts';
import { nodeInitCommand } from './cli/node-init.ts';
import { roomCommand } from './cli/room.ts';
import { optionsOf, withServerFlags, type ServerFlags } from './cli/server-flags.ts';
import { tokenCommand } from './cli/token.ts';
import { upgradeCommand } from './cli/upgrade.ts';
import { checkRole, roles, type Role } from './config/check-role.ts';
import { badConfig } from './config/errors.ts';
import { loadWithNotes, parseYaml, type LoadedConfig } from './config/load.ts';
import type { Config } from './config/options.ts';
import { configHelp } from './config/reference.ts';
import { PlenumError } from './lib/errors.ts';
import { createLog, type Logger } from './observe/log.ts';
import { notifyService } from './observe/service-notify.ts';
import { developmentBanner, developmentDefaults } from './roles/development.ts';
import { withExternalAddress } from './roles/external-address.ts';
import type { RoleOptions, RunningRole } from './roles/node-parts.ts';

const exitFailed = 1;
const exitBadUse = 2;
const shutdownDeadlineMs = 10_000;

async function main(): Promise<void> {
  const program = new Command('plenum')
    .description('Real-time video for your own product. LiveKit apps point at it unchanged.')
    .addHelpText('after', firstSteps);
  for (const command of [
    devCommand(),
    startCommand(),
    tokenCommand(process.env, process.stdout),
    roomCommand(process.env, process.stdout),
    nodeCommand(process.env, process.stdout).addCommand(nodeInitCommand(process.stdout)),
    capacityCommand(process.env, process.stdout, readOwnConfig),
    azureCommand(readOwnConfig, process.stdout),
    upgradeCommand(readOwnConfig, process.stdout),
  ]) {
    program.addCommand(command);
  }
  addLauncherCommands(program);
  reportWrongUse(program);
  await program.parseAsync();
}

const firstSteps = `
First steps:
  ./plenum dev                                               a server on this machine, with a meeting page
  ./plenum token create --room demo --identity ana           a token for your own app
  ./plenum room list                                         who is where
  ./plenum node list                                         the nodes of a cluster, and what they do
  ./plenum help dev                                          more about one command

Exit status: 0 = done, 1 = it failed, 2 = wrong use or configuration.
`;

/** Settings of a command do not reach commands that are added to it later. */
function reportWrongUse(command: Command, path = './plenum'): void {
  command.exitOverride().showHelpAfterError(`(${path} --help shows what there is)`);
  for (const child of command.commands) {
    reportWrongUse(child, `${path} ${child.name()}`);
  }
}

function devCommand(): Command {
  return withServerFlags(new Command('dev'))
    .description('run everything on this machine with known keys, for development')
    .addHelpText('after', aboutDev)
    .action(async (flags: ServerFlags) => {
      const loaded = readConfig(flags, developmentDefaults);
      await serve(loaded, 'all', (server) => process.stdout.write(developmentBanner(loaded.config, server.port)));
    });
}

const aboutDev = `
It listens on 127.0.0.1:7880 with the API key "devkey" and the secret "secret", and anybody who can open its meeting
page can join any room. All options of the config file work here too: ./plenum start --help lists them.

Examples:
  Try it from other devices in your network:
    ./plenum dev --bind 0.0.0.0

  A second server beside the first:
    ./plenum dev --port 7900
`;

function startCommand(): Command {
  return withServerFlags(new Command('start'))
    .description('run one role of a server with a config file')
    .addOption(new Option('--role <role>', 'what this process does').choices(roles).default('all'))
    .addHelpText(
      'after',
      `\nExample:\n  ./plenum start --role all --config plenum.yaml\n\nOptions of the config file:\n${configHelp()}\n`,
    )
    .option('--dev', 'with known keys and readable logs, for development')
    .action(async (flags: ServerFlags & { role: Role; dev?: boolean }) => {
      await serve(readConfig(flags, flags.dev === true ? developmentDefaults : {}), flags.role);
    });
}

/** The launcher runs these before it comes here; they stand here so that `--help` shows them. */
function addLauncherCommands(program: Command): void {
  program.addCommand(new Command('bench').description('measure what a server costs and how fast it is'));
  program.addCommand(new Command('test').description('set up everything and run all checks and tests'));
  program.addCommand(new Command('check').description('format, lint, types and the other checks that run no server'));
}

/** Of commands that only need to know about the cluster. */
function readOwnConfig(config: string | undefined): Config {
  return readConfig(config === undefined ? {} : { config }, {}).config;
}

function readConfig(flags: ServerFlags, defaults: Record<string, unknown>): LoadedConfig {
  // Text wins over a file, as in livekit-server: containers get the one, their images bring the other.
  const body = flags.configBody || process.env.LIVEKIT_CONFIG || undefined;
  const yaml = body ?? (flags.config === undefined ? undefined : readConfigFile(flags.config));
  return loadWithNotes({
    defaults,
    ...(yaml === undefined ? {} : { yaml }),
    env: process.env,
    overrides: optionsOf(flags, parseYaml),
    readSecretFile,
  });
}

function readConfigFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw badConfig([`the file ${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`]);
  }
}

/** Secrets that everybody on the machine can read are a mistake that livekit-server does not start with either. */
function readSecretFile(file: string): string {
  const text = readConfigFile(file);
  if ((statSync(file).mode & 0o007) !== 0) {
    throw badConfig([`the file of secrets ${file} may be read by others: chmod 600 it`]);
  }
  return text;
}

/** Each role is loaded when it is started: the short commands need none of it, and masters no media engine. */
async function startRole(role: Role, options: RoleOptions): Promise<RunningRole> {
  switch (role) {
    case 'all':
      return (await import('./roles/all.ts')).startAll(options);
    case 'master':
      return (await import('./roles/master.ts')).startMaster(options);
    case 'media':
      return (await import('./roles/media.ts')).startMedia(options);
  }
}

/** One warning, whatever an existing configuration of livekit-server holds. */
function tellWhatDoesNotApply({ config, notApplied }: LoadedConfig, role: Role, log: Logger): void {
  const alone = role === 'all' && (config.redis.address !== '' || config.redis.sentinel_addresses.length > 0);
  const options = alone ? [...notApplied, 'redis'] : notApplied;
  if (options.length > 0) {
    log.warn({ options }, 'these options do not apply here and change nothing; docs/coming-from-livekit.md says why');
  }
}

/**
 * How far the heap of a server may grow between two collections, in percent of what was in use after the last. V8's own
 * choice with much memory in the machine is 300, and what the heap has had once it keeps.
 */
const heapGrowthPercent = 60;

/** Runs until a signal: SIGTERM ends when nothing runs any more, SIGINT in order, a second one or SIGQUIT at once. */
async function serve(loaded: LoadedConfig, role: Role, announce?: (server: RunningRole) => void): Promise<void> {
  checkRole(loaded.config, role);
  setFlagsFromString(`--heap-growing-percent=${heapGrowthPercent}`);
  const log = createLog(loaded.config.logging);
  tellWhatDoesNotApply(loaded, role, log);
  const config = await withExternalAddress(loaded.config, role, log);
  const server = await startRole(role, { config, log });
  announce?.(server);
  const endNotices = notifyService(process.env);
  const signals = firstSignal();
  const signal = await Promise.race([signals, ...(server.finished === undefined ? [] : [server.finished])]);
  for (const again of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) {
    process.on(again, () => process.exit(exitFailed));
  }
  if (signal === 'SIGQUIT') {
    process.exit(exitFailed);
  }
  if (signal === 'SIGTERM' && server.drain !== undefined) {
    log.info({ signal }, 'takes no new work, and ends when nothing runs here any more');
    await server.drain();
  }
  log.info({ signal }, 'stopping');
  const abort = setTimeout(() => process.exit(exitFailed), shutdownDeadlineMs).unref();
  await server.close();
  endNotices();
  clearTimeout(abort);
  log.info('stopped');
}

async function firstSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const signals = ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const;
  for (const signal of signals) {
    process.once(signal, resolve);
  }
  const signal = await promise;
  for (const other of signals) {
    process.off(other, resolve);
  }
  return signal;
}

outliveReader(process.stdout);
try {
  await main();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : exitBadUse;
  } else if (error instanceof PlenumError) {
    process.stderr.write(`plenum: ${error.message}\n`);
    process.exitCode = error.reason === 'bad-config' ? exitBadUse : exitFailed;
  } else {
    throw error;
  }
}

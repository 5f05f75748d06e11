/** `plenum token …`: access tokens for people who try things and for scripts. Needs no server. */
import { TrackSource } from '@livekit/protocol';
import { Command, Option } from 'commander';
import type { VideoGrant } from 'livekit-server-sdk';
import { parseAttribute, parseDurationS } from './arguments.ts';
import { addServerOptions, parseUrl, type ServerOptions } from './server-options.ts';
import { type CliEnv, type CliOutput, formatJson } from './terminal.ts';

const trackSources: Record<string, TrackSource> = {
  camera: TrackSource.CAMERA,
  microphone: TrackSource.MICROPHONE,
  screen_share: TrackSource.SCREEN_SHARE,
  screen_share_audio: TrackSource.SCREEN_SHARE_AUDIO,
};

type CreateOptions = ServerOptions & {
  identity?: string;
  room?: string;
  name?: string;
  metadata?: string;
  attribute?: Record<string, string>;
  ttl: number;
  publish: boolean;
  subscribe: boolean;
  publishData: boolean;
  publishSource?: string[];
  updateOwnMetadata?: boolean;
  hidden?: boolean;
  agent?: boolean;
  recorder?: boolean;
  admin?: boolean;
  create?: boolean;
  list?: boolean;
  record?: boolean;
  link?: boolean;
  json?: boolean;
};

const examples = `
Examples:
  Let Ana join the room "demo" for the next six hours:
    ./plenum token create --room demo --identity ana

  Invite her to the meeting page instead, with a link that carries the token:
    ./plenum token create --room demo --identity ana --name "Ana Pavlova" --link

  Let her watch and listen only:
    ./plenum token create --room demo --identity ana --no-publish

  Call the server API from a script:
    ./plenum token create --create --list --ttl 10m

The token is the only thing printed, so a script can take it as it is. A client needs it together with the server's
URL, e.g. ws://127.0.0.1:7880.
`;

/** `err` takes complaints about wrong use. */
export function tokenCommand(env: CliEnv, out: CliOutput, err: CliOutput = process.stderr): Command {
  const token = new Command('token')
    .description('make access tokens')
    .configureOutput({ writeOut: (text) => out.write(text), writeErr: (text) => err.write(text) })
    .exitOverride();
  const create = token
    .command('create')
    .description('make a token that lets its bearer join a room or call the server API')
    .option('--room <room>', 'room that the token is for')
    .option(
      '--identity <identity>',
      'who joins; unique in the room: a second one with the same identity replaces the first',
    )
    .option('--name <name>', 'name that others see')
    .option('--metadata <text>', 'metadata of the participant')
    .option('--attribute <key=value>', 'attribute of the participant; may be repeated', parseAttribute)
    .addOption(
      new Option('--ttl <duration>', 'how long the token is good: 90s, 30m, 6h, 10d')
        .default(6 * 3_600, '6h')
        .argParser(parseDurationS),
    )
    .option('--no-publish', 'may not publish tracks')
    .option('--no-subscribe', 'may not receive tracks')
    .option('--no-publish-data', 'may not send data')
    .addOption(new Option('--publish-source <source...>', 'may publish only these').choices(Object.keys(trackSources)))
    .option('--update-own-metadata', 'may change its own name, metadata and attributes')
    .option('--hidden', 'is not shown to others')
    .option('--agent', 'joins as an agent')
    .option('--recorder', 'joins as a recorder')
    .option('--admin', 'may moderate the room with the server API')
    .option('--create', 'may create and delete rooms with the server API')
    .option('--list', 'may list rooms with the server API')
    .option('--record', 'may start and stop recordings with the server API')
    .option('--link', 'print a link to the meeting page that carries the token')
    .option('--json', 'print the token together with what it says')
    .addHelpText('after', examples);
  addServerOptions(create, env).action(async (options: CreateOptions) => {
    checkPurpose(create, options);
    const text = await createToken(options);
    const link = options.link === true ? meetingLink(options.url, text) : undefined;
    const json = { token: text, claims: decodeClaims(text), ...(link === undefined ? {} : { link }) };
    out.write(options.json === true ? formatJson(json) : `${link ?? text}\n`);
  });
  return token;
}

/** The page is served by the server that it joins, below the path that the server's URL may have. */
function meetingLink(serverUrl: string, token: string): string {
  const base = new URL(parseUrl(serverUrl).replace(/^ws/, 'http').replace(/\/?$/, '/'));
  const link = new URL('meet/', base);
  link.searchParams.set('token', token);
  return link.href;
}

function checkPurpose(command: Command, options: CreateOptions): void {
  if (options.admin === true && options.room === undefined) {
    command.error('error: --admin is for one room: name it with --room');
  }
  const callsApi =
    options.admin === true || options.create === true || options.list === true || options.record === true;
  if (options.room !== undefined && options.identity === undefined && !callsApi) {
    command.error('error: say who joins the room with --identity');
  }
  if (options.link === true && !joins(options)) {
    command.error('error: a link is for joining: give --room and --identity');
  }
  if (options.room === undefined && !callsApi) {
    command.error(
      'error: say what the token is for: --room and --identity to join, or --create, --list, --record, --admin',
    );
  }
}

function joins(options: CreateOptions): boolean {
  return options.room !== undefined && options.identity !== undefined;
}

async function createToken(options: CreateOptions): Promise<string> {
  // Not at the start: servers read this file too, and do without the library.
  const { AccessToken } = await import('livekit-server-sdk');
  const { identity, name, metadata, attribute, ttl } = options;
  const token = new AccessToken(options.apiKey, options.apiSecret, {
    ttl,
    ...(identity === undefined ? {} : { identity }),
    ...(name === undefined ? {} : { name }),
    ...(metadata === undefined ? {} : { metadata }),
    ...(attribute === undefined ? {} : { attributes: attribute }),
  });
  token.addGrant(toGrant(options));
  return token.toJwt();
}

/** Rights that are not given are left out: the server knows their defaults. */
function toGrant(options: CreateOptions): VideoGrant {
  return {
    ...(options.room === undefined ? {} : { room: options.room }),
    ...(joins(options) ? { roomJoin: true } : {}),
    ...(options.publish ? {} : { canPublish: false }),
    ...(options.subscribe ? {} : { canSubscribe: false }),
    // Without canPublish, data is off by default as well; the option says that it is about tracks only.
    ...(options.publish && options.publishData ? {} : { canPublishData: options.publishData }),
    ...(options.publishSource === undefined
      ? {}
      : { canPublishSources: options.publishSource.map((source) => trackSources[source] ?? TrackSource.UNKNOWN) }),
    ...(options.updateOwnMetadata === true ? { canUpdateOwnMetadata: true } : {}),
    ...(options.hidden === true ? { hidden: true } : {}),
    ...(options.agent === true ? { agent: true } : {}),
    ...(options.recorder === true ? { recorder: true } : {}),
    ...(options.admin === true ? { roomAdmin: true } : {}),
    ...(options.create === true ? { roomCreate: true } : {}),
    ...(options.list === true ? { roomList: true } : {}),
    ...(options.record === true ? { roomRecord: true } : {}),
  };
}

function decodeClaims(token: string): unknown {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
}

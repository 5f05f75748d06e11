/** Which server a command talks to, and what it says when that fails. */
import { type Command, Option } from 'commander';
import type { RoomServiceClient } from 'livekit-server-sdk';
import { PlenumError } from '../lib/errors.ts';
import { keyRefused, notAServer, serverRefused, serverUnreachable } from './errors.ts';
import { type CliEnv, toPrintable } from './terminal.ts';

type KeyOptions = { apiKey: string; apiSecret: string };
export type ServerOptions = KeyOptions & { url: string };

/** What `./plenum dev` uses, so that commands need no options beside it. */
const development = { url: 'http://127.0.0.1:7880', apiKey: 'devkey', apiSecret: 'secret' };

function addKeyOptions(command: Command, env: CliEnv): Command {
  const apiKey = env['LIVEKIT_API_KEY'] || development.apiKey;
  const apiSecret = env['LIVEKIT_API_SECRET'] || development.apiSecret;
  return command
    .addOption(new Option('--api-key <key>', 'API key').default(apiKey, `LIVEKIT_API_KEY, else ${development.apiKey}`))
    .addOption(
      // Help never shows a secret, only where it comes from.
      new Option('--api-secret <secret>', 'its secret').default(
        apiSecret,
        `LIVEKIT_API_SECRET, else ${development.apiSecret}`,
      ),
    );
}

export function addServerOptions(command: Command, env: CliEnv): Command {
  const url = env['LIVEKIT_URL'] || development.url;
  command.addOption(
    new Option('--url <url>', 'URL of the server').default(url, `LIVEKIT_URL, else ${development.url}`),
  );
  return addKeyOptions(command, env);
}

/** Runs calls against the server; rejects with a PlenumError whose message tells what to do. */
export async function callServer<Result>(
  options: ServerOptions,
  work: (rooms: RoomServiceClient) => Promise<Result>,
): Promise<Result> {
  const url = parseUrl(options.url);
  try {
    // Not at the start: servers read this file too, and do without the library.
    const sdk = await import('livekit-server-sdk');
    return await work(new sdk.RoomServiceClient(url, options.apiKey, options.apiSecret));
  } catch (error) {
    throw toCliError(error, options.url);
  }
}

/** The same text, when it can be the URL of a server. */
export function parseUrl(text: string): string {
  const url = URL.parse(text);
  if (url === null || !/^(https?|wss?):$/.test(url.protocol)) {
    throw serverUnreachable(text, 'this is no http, https, ws or wss URL');
  }
  return text;
}

export function toCliError(error: unknown, url: string): unknown {
  if (error instanceof PlenumError || !(error instanceof Error)) {
    return error;
  }
  const { status, code } = error as Error & { status?: unknown; code?: unknown };
  if (typeof status === 'number') {
    const message = toPrintable(error.message);
    if (typeof code === 'string') {
      return serverRefused(code, message);
    }
    return status === 401 ? keyRefused(url, message) : notAServer(url, status);
  }
  if (error.name === 'TimeoutError') {
    return serverUnreachable(url, 'no answer in 10 seconds');
  }
  // fetch says "fetch failed"; the cause has what happened. Anything else is a fault of ours.
  return error.message === 'fetch failed' ? serverUnreachable(url, describeCause(error.cause)) : error;
}

function describeCause(cause: unknown): string {
  if (!(cause instanceof Error)) {
    return 'connection failed';
  }
  const { code } = cause as NodeJS.ErrnoException;
  return code === 'ECONNREFUSED' ? 'connection refused' : cause.message || code || 'connection failed';
}

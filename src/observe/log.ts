import type { Writable } from 'node:stream';
import { PinoPretty } from 'pino-pretty';
import { pino, stdSerializers, type Logger } from 'pino';

export type { Logger } from 'pino';

export type LogOptions = { level: string; json: boolean };

/** Tokens and keys never reach a log line, whatever object they ride in. */
const redactedPaths = [
  'token',
  '*.token',
  'accessToken',
  '*.accessToken',
  'access_token',
  '*.access_token',
  'authorization',
  '*.authorization',
  'secret',
  '*.secret',
  'password',
  '*.password',
  '*.credential',
  'keys',
  'key',
  '*.key',
  'credential',
];

/** What gives itself away by its form, wherever in a line it stands: in a URL, in the message of an error, in a list. */
const secretForms: readonly [form: RegExp, instead: string][] = [
  // A JWT: header, claims, signature.
  [/eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g, '[token]'],
  [/(access_token=)[^&\s"\\]+/g, '$1[redacted]'],
  [/(Bearer )[^\s"\\]+/g, '$1[redacted]'],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----/gs, '[key]'],
];

function withoutSecrets(line: string): string {
  return secretForms.reduce((text, [form, instead]) => text.replaceAll(form, instead), line);
}

/** The process's root logger; parts take a child bound to what they are about. @param destination stdout when left out */
export function createLog(options: LogOptions, destination?: Writable): Logger {
  const settings = {
    level: options.level,
    redact: { paths: redactedPaths, censor: '[redacted]' },
    serializers: { err: stdSerializers.err },
    hooks: { streamWrite: withoutSecrets },
  };
  // Readable lines are written at once, so that they stand in order with what else goes to the terminal.
  const readable = { sync: true, singleLine: true, translateTime: 'HH:MM:ss.l', ignore: 'pid,hostname' };
  const stream = options.json ? destination : PinoPretty({ ...readable, ...(destination && { destination }) });
  return stream === undefined ? pino(settings) : pino(settings, stream);
}

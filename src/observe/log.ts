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
  'credential',
  '*.credential',
  'keys',
];

/** The process's root logger; parts take a child bound to what they are about. */
export function createLog(options: LogOptions): Logger {
  const settings = {
    level: options.level,
    redact: { paths: redactedPaths, censor: '[redacted]' },
    serializers: { err: stdSerializers.err },
  };
  // Readable lines are written at once, so that they stand in order with what else goes to the terminal.
  return options.json
    ? pino(settings)
    : pino(settings, PinoPretty({ sync: true, singleLine: true, translateTime: 'HH:MM:ss.l', ignore: 'pid,hostname' }));
}

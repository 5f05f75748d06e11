import { Writable } from 'node:stream';
import { pino, type Logger } from 'pino';

export type LogLine = Record<string, unknown> & { level: number; msg: string };

const errorLevel = 50;

/** Gathers a server's log lines; a test fails on errors that it did not expect. */
export class LogRecord {
  readonly lines: LogLine[] = [];
  readonly #expected: RegExp[] = [];
  #rest = '';

  /** Error lines whose JSON matches are part of the test. */
  expectErrors(...patterns: RegExp[]): void {
    this.#expected.push(...patterns);
  }

  unexpectedErrors(): LogLine[] {
    return this.lines.filter(
      (line) => line.level >= errorLevel && !this.#expected.some((pattern) => pattern.test(JSON.stringify(line))),
    );
  }

  /** Feeds text of a child process; lines that are no JSON (the banner) are kept at level 0. */
  write(chunk: string): void {
    const parts = (this.#rest + chunk).split('\n');
    this.#rest = parts.pop() ?? '';
    for (const part of parts) if (part.trim() !== '') this.lines.push(parseLine(part));
  }

  /** A logger whose lines land here. */
  logger(level = 'debug'): Logger {
    const sink = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        this.write(chunk.toString());
        done();
      },
    });
    return pino({ level }, sink);
  }

  /** The end of the log, for messages of failing tests. */
  tail(count = 30): string {
    return this.lines
      .slice(-count)
      .map((line) => (line.level === 0 ? line.msg : JSON.stringify(line)))
      .join('\n');
  }
}

function parseLine(text: string): LogLine {
  try {
    const line: unknown = JSON.parse(text);
    if (typeof line === 'object' && line !== null && 'level' in line) return line as LogLine;
  } catch {
    // Not a log line.
  }
  return { level: 0, msg: text };
}

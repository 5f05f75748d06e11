import type { TwirpCode } from '../protocol/twirp.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export type PlenumErrorOptions = {
  code: TwirpCode;
  /** Stable kebab-case name, documented and safe to match on. */
  reason: string;
  message: string;
  logLevel?: LogLevel;
  details?: Record<string, string>;
  cause?: unknown;
};

/** The one error class; each domain has an `errors.ts` with factories. Wire mappings live with each protocol. */
export class PlenumError extends Error {
  override readonly name = 'PlenumError';
  readonly code: TwirpCode;
  readonly reason: string;
  readonly logLevel: LogLevel;
  readonly details: Record<string, string>;

  constructor(options: PlenumErrorOptions) {
    super(options.message, { cause: options.cause });
    this.code = options.code;
    this.reason = options.reason;
    this.logLevel = options.logLevel ?? 'info';
    this.details = options.details ?? {};
  }
}

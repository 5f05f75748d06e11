import { PlenumError } from '../lib/errors.ts';

export function badCertificate(why: string, cause?: unknown): PlenumError {
  return new PlenumError({
    code: 'failed_precondition',
    reason: 'bad-certificate',
    message: `the certificate cannot be used: ${why}`,
    logLevel: 'error',
    cause,
  });
}

export function certificateUnreadable(what: string, cause: unknown): PlenumError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new PlenumError({
    code: 'unavailable',
    reason: 'certificate-unreadable',
    message: `${what} cannot be read: ${why}`,
    logLevel: 'error',
    cause,
  });
}

/** Sealed with another secret, or changed by somebody. */
export function sealBroken(name: string, cause: unknown): PlenumError {
  return new PlenumError({
    code: 'data_loss',
    reason: 'seal-broken',
    message: `the stored ${name} cannot be opened: it was sealed with another cluster secret, or it is damaged`,
    logLevel: 'error',
    cause,
  });
}

/** The certificate authority said no, or did not answer. `isRateLimited`: asking again soon makes it worse. */
export class OrderFailed extends PlenumError {
  readonly isRateLimited: boolean;

  constructor(message: string, cause: unknown) {
    super({ code: 'unavailable', reason: 'order-failed', message, logLevel: 'warn', cause });
    this.isRateLimited = /ratelimited|rate limit|too many/i.test(message);
  }
}

export function notLeader(): PlenumError {
  return new PlenumError({
    code: 'aborted',
    reason: 'not-leader',
    message: 'another master looks after the certificate now',
    logLevel: 'debug',
  });
}

/** @param folder as configured */
export function stateUnusable(folder: string, cause: unknown): PlenumError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new PlenumError({
    code: 'invalid_argument',
    reason: 'bad-config',
    message: `\`tls.state_dir\` (${folder}) must be a folder that this program can write to: ${why}`,
    logLevel: 'error',
    cause,
  });
}

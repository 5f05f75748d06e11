import { PlenumError } from '../lib/errors.ts';

export function turnUnusable(why: string, cause?: unknown): PlenumError {
  return new PlenumError({
    code: 'failed_precondition',
    reason: 'turn-unusable',
    message: `the TURN server cannot run: ${why}`,
    logLevel: 'error',
    cause,
  });
}

import { PlenumError } from '../lib/errors.ts';

export function badDeployment(file: string, cause: unknown): PlenumError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new PlenumError({
    code: 'invalid_argument',
    reason: 'bad-deployment',
    message: `${file}, which the template wrote, cannot be used: ${why}`,
    cause,
  });
}

export function notAMaster(addresses: readonly string[], masters: readonly string[]): PlenumError {
  return new PlenumError({
    code: 'failed_precondition',
    reason: 'not-a-master',
    message: `none of this machine's addresses (${addresses.join(', ')}) is one of the masters' (${masters.join(', ')})`,
  });
}

export function lockLost(): PlenumError {
  return new PlenumError({
    code: 'aborted',
    reason: 'first-boot-lock-lost',
    message: 'another master has taken over the first boot of the deployment',
    logLevel: 'warn',
  });
}

export function vaultRefuses(name: string, cause: unknown): PlenumError {
  return new PlenumError({
    code: 'permission_denied',
    reason: 'vault-refuses',
    message: `the vault refuses access to ${name}; this machine's role assignment is missing or has not reached it yet`,
    logLevel: 'warn',
    cause,
  });
}

export function secretMissing(name: string): PlenumError {
  return new PlenumError({
    code: 'failed_precondition',
    reason: 'secret-missing',
    message: `the secret ${name} is not in the vault`,
  });
}

export function commandFailed(command: string, cause: unknown): PlenumError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new PlenumError({ code: 'internal', reason: 'command-failed', message: `${command} failed: ${why}`, cause });
}

export function unreadableModel(what: string): PlenumError {
  return new PlenumError({
    code: 'failed_precondition',
    reason: 'unreadable-model',
    message: `the scale set's model has no first boot of Plenum in it (${what})`,
  });
}

export function upgradeFailed(why: string, cause?: unknown): PlenumError {
  return new PlenumError({
    code: 'aborted',
    reason: 'upgrade-failed',
    message: `the new release does not run here (${why}); this master runs the old one again`,
    logLevel: 'error',
    cause,
  });
}

export function upgradeUnderWay(holder: string): PlenumError {
  return new PlenumError({
    code: 'failed_precondition',
    reason: 'upgrade-under-way',
    message: `another master (${holder}) is being upgraded; one at a time`,
  });
}

export function badRelease(problems: readonly string[]): PlenumError {
  return new PlenumError({
    code: 'invalid_argument',
    reason: 'bad-release',
    message: `The release cannot be used:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`,
  });
}

export function redisDoesNotStart(address: string, waitedMs: number): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'redis-does-not-start',
    message: `the Redis of this machine does not answer on ${address} after ${Math.round(waitedMs / 1_000)} s; journalctl -u plenum-redis says why`,
    logLevel: 'error',
  });
}

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

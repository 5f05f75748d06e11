import { PlenumError } from '../lib/errors.ts';

export function providerBusy(what: string, cause: unknown): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'provider-busy',
    message: `the provider of machines does not take it now: ${what}`,
    cause,
  });
}

export function providerFailed(what: string, cause: unknown): PlenumError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new PlenumError({
    code: 'unavailable',
    reason: 'provider-failed',
    message: `${what} failed: ${why}`,
    logLevel: 'warn',
    cause,
  });
}

export function notOurMachines(): PlenumError {
  return new PlenumError({
    code: 'failed_precondition',
    reason: 'static-capacity',
    message: 'machines are not made and deleted by this cluster (`capacity.provider` is `static`)',
  });
}

export function notLeading(): PlenumError {
  return new PlenumError({
    code: 'failed_precondition',
    reason: 'not-leading',
    message: 'another master leads the capacity of this cluster now',
  });
}

export function recordChanged(nodeId: string, why: string): PlenumError {
  return new PlenumError({
    code: 'aborted',
    reason: 'node-changed',
    message: `node ${nodeId} has changed meanwhile: ${why}`,
  });
}

export function nobodyLeads(): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'nobody-leads',
    message: 'no master answers for the capacity of this cluster; is `capacity.provider` set on the masters?',
  });
}

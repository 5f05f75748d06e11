import { PlenumError } from '../lib/errors.ts';

export function noAdminToken(): PlenumError {
  return new PlenumError({
    code: 'unauthenticated',
    reason: 'no-token',
    message: 'send a token with the grant plenum.nodeAdmin as "Authorization: Bearer …"',
  });
}

export function noAdminGrant(): PlenumError {
  return new PlenumError({
    code: 'permission_denied',
    reason: 'no-admin-grant',
    message: 'the token has no grant plenum.nodeAdmin; grants in rooms give no right on nodes',
  });
}

export function noSuchResource(path: string): PlenumError {
  return new PlenumError({
    code: 'not_found',
    reason: 'no-such-path',
    message: `there is nothing at ${path.slice(0, 200)}`,
  });
}

export function methodNotAllowed(method: string, allowed: string): PlenumError {
  return new PlenumError({
    code: 'unimplemented',
    reason: 'method-not-allowed',
    message: `${method.slice(0, 16)} is not served here, ${allowed} is`,
    details: { allow: allowed },
  });
}

export function badBody(what: string): PlenumError {
  return new PlenumError({ code: 'invalid_argument', reason: 'bad-body', message: `the body is not valid: ${what}` });
}

export function bodyTooLarge(): PlenumError {
  return new PlenumError({ code: 'resource_exhausted', reason: 'body-too-large', message: 'the body is too large' });
}

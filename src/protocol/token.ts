/** Access tokens: JWT with HS256, verified and signed without IO; the time is an argument. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { z } from 'zod';
import { type HttpRefusal, tokenRefusal } from './http-errors.ts';
import {
  type AccessClaims,
  claimsSchema,
  fromParticipantClaims,
  type ParticipantClaims,
  toAccessClaims,
} from './token-claims.ts';

export type { AccessClaims, ParticipantClaims } from './token-claims.ts';

export type TokenCheck = { ok: true; claims: AccessClaims } | { ok: false; refusal: HttpRefusal };

export type VerifyOptions = {
  /** The secret of an API key, or undefined when there is no such key. */
  secretOf: (apiKey: string) => string | undefined;
  /** Unix seconds. */
  nowS: number;
};

/** Clocks of customers' servers are off by up to this much; `exp` and `nbf` are widened by it. */
const leewayS = 60;

/** A refresh token outlives the shortest reconnect by far, even when the original is about to end. */
const minRefreshTtlS = 600;

/** Checks form, key, signature, time and the claims' types, in this order. Never throws, whatever the text is. */
export function verifyToken(token: string, options: VerifyOptions): TokenCheck {
  const parts = splitToken(token);
  if (parts === undefined) {
    return refused(tokenRefusal.malformed);
  }
  const secret = options.secretOf(parts.issuer);
  if (secret === undefined || secret === '') {
    return refused(tokenRefusal.unknownKey);
  }
  if (!timingSafeEqual(sign(parts.signed, secret), parts.signature)) {
    return refused(tokenRefusal.invalid('signature does not match'));
  }
  const claims = claimsSchema.safeParse(parts.payload);
  if (!claims.success) {
    return refused(tokenRefusal.invalid(describe(claims.error)));
  }
  const { exp, nbf } = claims.data;
  if (options.nowS > exp + leewayS) {
    return refused(tokenRefusal.invalid('token is expired'));
  }
  if (nbf !== undefined && nbf !== null && options.nowS < nbf - leewayS) {
    return refused(tokenRefusal.invalid('token is not valid yet'));
  }
  try {
    return { ok: true, claims: toAccessClaims(claims.data) };
  } catch {
    return refused(tokenRefusal.invalid('roomConfig is not a RoomConfiguration'));
  }
}

export type SigningOptions = {
  apiKey: string;
  secret: string;
  /** Unix seconds. */
  nowS: number;
  ttlS: number;
};

/** Signs any claims; `iss`, `nbf` and `exp` come from the options. */
export function signToken(claims: Record<string, unknown>, options: SigningOptions): string {
  const nowS = Math.floor(options.nowS);
  const payload = { ...claims, iss: options.apiKey, nbf: nowS, exp: nowS + Math.ceil(options.ttlS) };
  const signed = `${encodeJson({ alg: 'HS256', typ: 'JWT' })}.${encodeJson(payload)}`;
  return `${signed}.${sign(signed, options.secret).toString('base64url')}`;
}

export type RefreshOptions = {
  apiKey: string;
  secret: string;
  /** Unix seconds. */
  nowS: number;
  /** End of the token that the participant joined with, in Unix seconds. */
  tokenExpiresAtS: number;
};

/**
 * A token with the participant's facts as they are now. Clients use the newest one for a resume and a full reconnect,
 * so a call outlives the token it started with: validity is what is left of the original, but 10 minutes at least.
 */
export function refreshToken(participant: ParticipantClaims, options: RefreshOptions): string {
  const { apiKey, secret, nowS } = options;
  const ttlS = Math.max(minRefreshTtlS, options.tokenExpiresAtS - nowS);
  return signToken(fromParticipantClaims(participant), { apiKey, secret, nowS, ttlS });
}

type TokenParts = { signed: string; signature: Buffer; issuer: string; payload: object };

function splitToken(token: string): TokenParts | undefined {
  const [header, payload, signature, ...rest] = token.split('.', 4);
  if (header === undefined || payload === undefined || signature === undefined || rest.length > 0) {
    return undefined;
  }
  const headerJson = decodeJson(header);
  const payloadJson = decodeJson(payload);
  const signatureBytes = Buffer.from(signature, 'base64url');
  if (headerJson === undefined || payloadJson === undefined || signatureBytes.length !== 32) {
    return undefined;
  }
  // The algorithm is fixed: believing the token's own `alg` is the classic way to accept `none`.
  if (field(headerJson, 'alg') !== 'HS256') {
    return undefined;
  }
  const issuer = field(payloadJson, 'iss');
  return typeof issuer === 'string'
    ? { signed: `${header}.${payload}`, signature: signatureBytes, issuer, payload: payloadJson }
    : undefined;
}

function sign(signed: string, secret: string): Buffer {
  return createHmac('sha256', secret).update(signed).digest();
}

function encodeJson(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function decodeJson(part: string): object | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function field(object: object, name: string): unknown {
  return Object.hasOwn(object, name) ? (object as Record<string, unknown>)[name] : undefined;
}

/** The first fault only, without the value: a token's content must not be echoed. */
function describe(error: z.ZodError): string {
  const [issue] = error.issues;
  return issue === undefined ? 'wrong claims' : `claim ${issue.path.join('.')}: ${issue.message}`;
}

function refused(refusal: HttpRefusal): TokenCheck {
  return { ok: false, refusal };
}

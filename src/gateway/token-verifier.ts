import { type TokenCheck, verifyToken } from '../protocol/token.ts';

/** Checks an access token against the configured keys and the clock. */
export type TokenVerifier = (token: string) => TokenCheck;

/** @param nowS Unix seconds. */
export function createTokenVerifier(
  keys: Record<string, string>,
  nowS: () => number = () => Date.now() / 1000,
): TokenVerifier {
  const secrets = new Map(Object.entries(keys));
  return (token) => verifyToken(token, { secretOf: (apiKey) => secrets.get(apiKey), nowS: nowS() });
}

/** What every route wants to know about a request: path, query, verified token. */
import type { IncomingMessage } from 'node:http';
import { type HttpRefusal, httpRefusal, tokenRefusal } from '../protocol/http-errors.ts';
import type { AccessClaims } from '../protocol/token.ts';
import type { EdgeGuards } from '../edge/guards.ts';
import type { TokenVerifier } from './token-verifier.ts';

export type EdgeRequest = {
  method: string;
  path: string;
  query: URLSearchParams;
  userAgent: string;
  address: string;
  /** Undefined when the request carries no token. */
  claims: AccessClaims | undefined;
};

export type EdgeCheck = { ok: true; edge: EdgeRequest } | { ok: false; refusal: HttpRefusal };

const bearer = 'Bearer ';

export type RequestChecks = { verifier: TokenVerifier; guards: EdgeGuards };

export function readEdgeRequest(request: IncomingMessage, { verifier, guards }: RequestChecks): EdgeCheck {
  const address = guards.addresses.of(request);
  const url = parseUrl(request.url ?? '/');
  const token = url === undefined ? undefined : findToken(request, url.searchParams);
  if (url === undefined || token === undefined) {
    if (!guards.requests.allowsAnonymous(address)) {
      return { ok: false, refusal: httpRefusal.tooManyRequests };
    }
    return url === undefined
      ? { ok: false, refusal: httpRefusal.badUrl }
      : { ok: true, edge: toEdge(request, { url, address, claims: undefined }) };
  }
  const check = 'status' in token ? { ok: false as const, refusal: token } : verifier(token.text);
  if (check.ok) {
    return { ok: true, edge: toEdge(request, { url, address, claims: check.claims }) };
  }
  return guards.requests.allowsBadToken(address) ? check : { ok: false, refusal: httpRefusal.tooManyRequests };
}

/** SDKs build `host//twirp/…` when the configured URL ends in a slash; `URL` would read that as a host name. */
function parseUrl(target: string): URL | undefined {
  return URL.parse(target.replace(/^\/{2,}/, '/'), 'http://gateway') ?? undefined;
}

/** rtc-node sends its token only in the header, browsers only in the query, since a WebSocket there has no headers. */
function findToken(request: IncomingMessage, query: URLSearchParams): { text: string } | HttpRefusal | undefined {
  const { authorization } = request.headers;
  if (authorization !== undefined && authorization !== '') {
    return authorization.startsWith(bearer) ? { text: authorization.slice(bearer.length) } : tokenRefusal.notBearer;
  }
  const parameter = query.get('access_token');
  return parameter === null || parameter === '' ? undefined : { text: parameter };
}

type EdgeParts = { url: URL; address: string; claims: AccessClaims | undefined };

function toEdge(request: IncomingMessage, { url, address, claims }: EdgeParts): EdgeRequest {
  return {
    method: request.method ?? 'GET',
    path: url.pathname,
    query: url.searchParams,
    userAgent: request.headers['user-agent'] ?? '',
    address,
    claims,
  };
}

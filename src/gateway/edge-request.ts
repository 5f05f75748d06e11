/** What every route wants to know about a request: path, query, verified token. */
import type { IncomingMessage } from 'node:http';
import { type HttpRefusal, httpRefusal, tokenRefusal } from '../protocol/http-errors.ts';
import type { AccessClaims } from '../protocol/token.ts';
import { clientAddress } from './client-address.ts';
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

export function readEdgeRequest(request: IncomingMessage, verifier: TokenVerifier): EdgeCheck {
  const url = parseUrl(request.url ?? '/');
  if (url === undefined) {
    return { ok: false, refusal: httpRefusal.badUrl };
  }
  const token = findToken(request, url.searchParams);
  if (token === undefined) {
    return { ok: true, edge: toEdge(request, url, undefined) };
  }
  if ('status' in token) {
    return { ok: false, refusal: token };
  }
  const check = verifier(token.text);
  return check.ok ? { ok: true, edge: toEdge(request, url, check.claims) } : check;
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

function toEdge(request: IncomingMessage, url: URL, claims: AccessClaims | undefined): EdgeRequest {
  return {
    method: request.method ?? 'GET',
    path: url.pathname,
    query: url.searchParams,
    userAgent: request.headers['user-agent'] ?? '',
    address: clientAddress(request),
    claims,
  };
}

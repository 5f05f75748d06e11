import type { IncomingMessage, ServerResponse } from 'node:http';
import { httpRefusal } from '../protocol/http-errors.ts';
import type { EdgeRequest } from './edge-request.ts';
import { readBody } from './request-body.ts';
import { sendText, setHeaders } from './responses.ts';
import type { StaticFiles } from './static-files.ts';

/** Answers `POST /meet/token` with a JSON body; bad input is a 4xx with a message, never an exception. */
export type MeetTokenIssuer = (body: Uint8Array) => { status: number; body: object };

/** A room name and a display name; more is nonsense. */
const tokenBodyLimitBytes = 16 * 1024;

/**
 * What the page may do. Links to it carry tokens, so no other site gets to see its address; no other site may put it into a
 * frame and have people click on what they do not see, or run script in it. `blob:` is how livekit-client runs its workers;
 * media servers of other hosts may be joined from it.
 */
const pageHeaders = {
  'Content-Security-Policy': [
    "default-src 'self'",
    "connect-src 'self' https: wss: ws:",
    "img-src 'self' data: blob:",
    "media-src 'self' blob: mediastream:",
    "worker-src 'self' blob:",
    "style-src 'self' 'unsafe-inline'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "object-src 'none'",
  ].join('; '),
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(self), microphone=(self), display-capture=(self), geolocation=(), payment=(), usb=()',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
};

/** `/meet/`: the meeting page and, where the operator allows it, tokens for it. */
export class MeetRoute {
  readonly #issueToken: MeetTokenIssuer | undefined;
  #page: StaticFiles | undefined;

  constructor(issueToken: MeetTokenIssuer | undefined) {
    this.#issueToken = issueToken;
  }

  get hasPage(): boolean {
    return this.#page !== undefined;
  }

  servePage(page: StaticFiles): void {
    this.#page = page;
  }

  async answer(edge: EdgeRequest, request: IncomingMessage, response: ServerResponse): Promise<void> {
    setHeaders(response, pageHeaders);
    const isReading = edge.method === 'GET' || edge.method === 'HEAD';
    if (edge.path === '/meet/token') {
      await this.#answerToken(edge, request, response);
    } else if (!isReading) {
      sendText(response, httpRefusal.methodNotAllowed);
    } else if (edge.path === '/meet') {
      response.writeHead(302, { Location: '/meet/', 'Cache-Control': 'no-store' }).end();
    } else if (this.#page?.answer(edge.path.slice('/meet/'.length), request, response) !== true) {
      sendText(response, httpRefusal.notFound);
    }
  }

  async #answerToken(edge: EdgeRequest, request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#issueToken === undefined) {
      sendText(response, httpRefusal.notFound);
      return;
    }
    if (edge.method !== 'POST') {
      sendText(response, httpRefusal.methodNotAllowed);
      return;
    }
    const read = await readBody(request, tokenBodyLimitBytes);
    if (read.ok) {
      const reply = this.#issueToken(read.body);
      response.writeHead(reply.status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' });
      response.end(JSON.stringify(reply.body));
    } else if (read.why === 'too-large') {
      response.setHeader('Connection', 'close');
      sendText(response, httpRefusal.bodyTooLarge);
    }
  }
}

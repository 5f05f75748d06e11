import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '../observe/log.ts';
import { httpRefusal } from '../protocol/http-errors.ts';
import type { AccessClaims } from '../protocol/token.ts';
import { type TwirpCode, twirpStatus } from '../protocol/twirp.ts';
import type { EdgeRequest } from './edge-request.ts';
import { readBody } from './request-body.ts';
import { sendText } from './responses.ts';

/** One Twirp call as the gateway hands it on: body read and bounded, token verified. */
export type TwirpRequest = {
  /** e.g. `/twirp/livekit.RoomService/CreateRoom`. */
  path: string;
  /** The request's `Content-Type`, as sent; empty when there is none. */
  contentType: string;
  body: Uint8Array;
  /** Absent when the request carries no token; a bad token never gets here. */
  claims?: AccessClaims;
  /** Aborted when the client goes away or the call takes too long. */
  signal: AbortSignal;
};

export type TwirpResponse = { status: number; contentType: string; body: Uint8Array | string };

/** Carries out Twirp calls; answers errors as Twirp error bodies and never rejects for a caller's mistake. */
export type TwirpHandler = (request: TwirpRequest) => Promise<TwirpResponse>;

export type TwirpRouteOptions = {
  handler: TwirpHandler;
  /** Bytes of a request body. */
  bodyLimitBytes: number;
  timeoutMs: number;
  log: Logger;
};

export class TwirpRoute {
  readonly #options: TwirpRouteOptions;

  constructor(options: TwirpRouteOptions) {
    this.#options = options;
  }

  async answer(edge: EdgeRequest, request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (edge.method !== 'POST') {
      // Method names are few and short, but a hostile one is cut.
      send(
        response,
        twirpError('bad_route', `unsupported method "${edge.method.slice(0, 16)}" (only POST is allowed)`),
      );
      return;
    }
    const read = await readBody(request, this.#options.bodyLimitBytes);
    if (!read.ok) {
      if (read.why === 'too-large') {
        // What is left of the body is not waited for.
        response.setHeader('Connection', 'close');
        sendText(response, httpRefusal.bodyTooLarge);
      }
      return;
    }
    send(response, await this.#call(edge, read.body, { request, response }));
  }

  async #call(
    edge: EdgeRequest,
    body: Uint8Array,
    http: { request: IncomingMessage; response: ServerResponse },
  ): Promise<TwirpResponse> {
    const gone = new AbortController();
    const onClose = (): void => gone.abort();
    http.response.on('close', onClose);
    const { handler, timeoutMs, log } = this.#options;
    // Not `AbortSignal.timeout`: that one stays in memory until its time is over, long after the answer.
    const deadline = setTimeout(
      () => gone.abort(new DOMException('the request took too long', 'TimeoutError')),
      timeoutMs,
    );
    try {
      return await handler({
        path: edge.path,
        contentType: http.request.headers['content-type'] ?? '',
        body,
        ...(edge.claims === undefined ? {} : { claims: edge.claims }),
        signal: gone.signal,
      });
    } catch (error) {
      log.error({ err: error, path: edge.path }, 'Twirp handler failed');
      return twirpError('internal', 'internal error');
    } finally {
      clearTimeout(deadline);
      http.response.off('close', onClose);
    }
  }
}

function twirpError(code: TwirpCode, msg: string): TwirpResponse {
  return { status: twirpStatus[code], contentType: 'application/json', body: JSON.stringify({ code, msg }) };
}

function send(response: ServerResponse, answer: TwirpResponse): void {
  const body = typeof answer.body === 'string' ? Buffer.from(answer.body) : answer.body;
  // No charset: livekit-server-sdk compares the type of an error body with `application/json` and nothing else.
  response.writeHead(answer.status, { 'Content-Type': answer.contentType, 'Content-Length': body.length });
  response.end(body);
}

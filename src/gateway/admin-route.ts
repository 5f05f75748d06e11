import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AdminHandler } from '../admin/admin-api.ts';
import { httpRefusal } from '../protocol/http-errors.ts';
import type { EdgeRequest } from './edge-request.ts';
import { readBody } from './request-body.ts';
import { sendText } from './responses.ts';

const bodyLimitBytes = 16 * 1024;

/** `/admin/v1/…`: hands requests to the admin API, where there is one. */
export class AdminRoute {
  readonly #handler: AdminHandler | undefined;

  constructor(handler: AdminHandler | undefined) {
    this.#handler = handler;
  }

  async answer(edge: EdgeRequest, request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#handler === undefined) {
      sendText(response, httpRefusal.notFound);
      return;
    }
    const read = await readBody(request, bodyLimitBytes);
    if (!read.ok && read.why === 'gone') {
      return;
    }
    if (!read.ok) {
      response.setHeader('Connection', 'close');
    }
    // A token in the URL ends up in logs and histories, which is no place for this one.
    const claims = request.headers.authorization === undefined ? undefined : edge.claims;
    const answer = await this.#handler({
      method: edge.method,
      path: edge.path,
      claims,
      body: read.ok ? read.body : undefined,
    });
    const body = Buffer.from(`${JSON.stringify(answer.body)}\n`);
    response.writeHead(answer.status, {
      ...answer.headers,
      'Content-Type': 'application/json',
      'Content-Length': body.length,
      'Cache-Control': 'no-store',
    });
    response.end(edge.method === 'HEAD' ? undefined : body);
  }
}

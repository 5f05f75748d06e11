/** Writing answers: through node:http, and on the bare socket of a refused upgrade. */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { HttpRefusal } from '../protocol/http-errors.ts';

/**
 * On every answer, errors included: browsers read the body of a refused `/rtc/validate` to tell the user what is wrong,
 * and a missing header would make that look like an unreachable server.
 */
const corsHeaders = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Expose-Headers': '*',
} as const;

export function setCorsHeaders(response: ServerResponse): void {
  setHeaders(response, corsHeaders);
}

export function setHeaders(response: ServerResponse, headers: Record<string, string>): void {
  for (const [name, value] of Object.entries(headers)) {
    response.setHeader(name, value);
  }
}

/** The wildcard does not cover `Authorization` (Fetch standard), so the headers that were asked for are named. */
export function answerPreflight(request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(204, {
    'Access-Control-Allow-Methods': 'OPTIONS, HEAD, GET, POST, PATCH, DELETE',
    'Access-Control-Allow-Headers': request.headers['access-control-request-headers'] ?? '*',
    'Access-Control-Max-Age': '86400',
    Vary: 'Access-Control-Request-Headers',
  });
  response.end();
}

export function sendText(response: ServerResponse, answer: HttpRefusal): void {
  const body = Buffer.from(answer.body);
  response.writeHead(answer.status, { 'Content-Type': 'text/plain; charset=utf-8', 'Content-Length': body.length });
  response.end(body);
}

/** Answers an upgrade request with an error and ends the connection. */
export function refuseUpgrade(socket: Duplex & { destroySoon?: () => void }, answer: HttpRefusal): void {
  const body = Buffer.from(answer.body);
  const head = [
    `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? 'Error'}`,
    'Connection: close',
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${body.length}`,
    ...Object.entries(corsHeaders).map(([name, value]) => `${name}: ${value}`),
  ];
  socket.write(Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]));
  socket.destroySoon?.();
}

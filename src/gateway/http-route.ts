import type { IncomingMessage, ServerResponse } from 'node:http';
import type { EdgeGuards } from '../edge/guards.ts';
import type { Logger } from '../observe/log.ts';
import { type HttpRefusal, httpRefusal, joinRefusal } from '../protocol/http-errors.ts';
import { type EdgeRequest, readEdgeRequest } from './edge-request.ts';
import type { AdminRoute } from './admin-route.ts';
import type { MeetRoute } from './meet-route.ts';
import type { GatewayObserver, RouteName } from './observer.ts';
import { answerPreflight, sendText, setCorsHeaders, setHeaders } from './responses.ts';
import type { SignalRoute } from './signal-route.ts';
import type { TokenVerifier } from './token-verifier.ts';
import type { TwirpRoute } from './twirp-route.ts';

/** Why the node is not ready, as LiveKit's health check words it (`Not Ready\nNode Updated At …`). */
export type Health = { ready: true } | { ready: false; body: string };

export type HealthCheck = () => Health;

export type HttpRouteOptions = {
  verifier: TokenVerifier;
  guards: EdgeGuards;
  /** Headers for every answer to this request, e.g. that the site is served over TLS. */
  headersFor: (request: IncomingMessage) => Record<string, string>;
  signal: SignalRoute;
  twirp: TwirpRoute;
  meet: MeetRoute;
  admin: AdminRoute;
  health: HealthCheck;
  observer: GatewayObserver;
  log: Logger;
};

/** Ordinary HTTP requests: CORS, token, routes, in the order of the contract. */
export class HttpRoute {
  readonly #options: HttpRouteOptions;

  constructor(options: HttpRouteOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let route: RouteName = 'other';
    try {
      setCorsHeaders(response);
      setHeaders(response, this.#options.headersFor(request));
      if (request.method === 'OPTIONS') {
        answerPreflight(request, response);
        return;
      }
      const check = readEdgeRequest(request, this.#options);
      if (!check.ok) {
        refuse(response, check.refusal);
        return;
      }
      route = routeName(check.edge.path);
      await this.#answer(route, check.edge, { request, response });
    } catch (error) {
      this.#fail(error, request, response);
    } finally {
      this.#options.observer.requestAnswered(route, response.headersSent ? response.statusCode : 0);
    }
  }

  async #answer(route: RouteName, edge: EdgeRequest, http: Http): Promise<void> {
    switch (route) {
      case 'twirp':
        await this.#options.twirp.answer(edge, http.request, http.response);
        break;
      case 'validate':
        sendText(
          http.response,
          isReading(edge) ? await this.#options.signal.validate(edge) : httpRefusal.methodNotAllowed,
        );
        break;
      case 'health':
        this.#answerRoot(edge, http);
        break;
      case 'page':
        await this.#options.meet.answer(edge, http.request, http.response);
        break;
      case 'admin':
        await this.#options.admin.answer(edge, http.request, http.response);
        break;
      case 'rtc':
        // A request without upgrade; the empty body is part of the contract.
        sendText(http.response, { status: 404, body: '' });
        break;
      case 'other':
        sendText(http.response, httpRefusal.notFound);
        break;
      default:
        route satisfies never;
    }
  }

  /** SDKs and load balancers ask here for health; a person's browser is shown the way to the meeting page. */
  #answerRoot(edge: EdgeRequest, http: Http): void {
    if (!isReading(edge)) {
      sendText(http.response, httpRefusal.methodNotAllowed);
    } else if (
      this.#options.meet.hasPage &&
      edge.method === 'GET' &&
      /\btext\/html\b/.test(http.request.headers.accept ?? '')
    ) {
      http.response.writeHead(302, { Location: '/meet/', 'Cache-Control': 'no-store', Vary: 'Accept' }).end();
    } else {
      sendText(http.response, healthAnswer(this.#options.health()));
    }
  }

  #fail(error: unknown, request: IncomingMessage, response: ServerResponse): void {
    this.#options.log.error({ err: error, method: request.method }, 'request failed');
    if (response.headersSent) {
      response.destroy();
    } else {
      sendText(response, joinRefusal.internal);
    }
  }
}

/** Who asks too often also loses the connection, so that the next question costs a handshake. */
function refuse(response: ServerResponse, refusal: HttpRefusal): void {
  if (refusal.status === 429) {
    setHeaders(response, { Connection: 'close', 'Retry-After': '10' });
  }
  sendText(response, refusal);
}

type Http = { request: IncomingMessage; response: ServerResponse };

function routeName(path: string): RouteName {
  if (path.startsWith('/twirp/')) {
    return 'twirp';
  }
  if (path.startsWith('/admin/')) {
    return 'admin';
  }
  if (path === '/meet' || path.startsWith('/meet/')) {
    return 'page';
  }
  switch (path) {
    case '/':
      return 'health';
    case '/rtc':
    case '/rtc/v1':
      return 'rtc';
    case '/rtc/validate':
    case '/rtc/v1/validate':
      return 'validate';
    default:
      return 'other';
  }
}

function isReading(edge: EdgeRequest): boolean {
  return edge.method === 'GET' || edge.method === 'HEAD';
}

function healthAnswer(health: Health): HttpRefusal {
  return health.ready ? { status: 200, body: 'OK' } : { status: 406, body: health.body };
}

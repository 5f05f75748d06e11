/** Dispatches `/twirp/livekit.<Service>/<Method>` requests, whose token the gateway has verified. */
import type { Config } from '../config/options.ts';
import type { RoomDirectory } from '../cluster/directory.ts';
import type { TwirpHandler, TwirpRequest } from '../gateway/twirp-route.ts';
import { PlenumError } from '../lib/errors.ts';
import type { Logger } from '../observe/log.ts';
import type { CommandResult } from '../protocol/session-messages.ts';
import type { TwirpCode } from '../protocol/twirp.ts';
import { badRoute, permissionDenied, unimplemented } from './errors.ts';
import type { RoomClient } from './room-client.ts';
import { roomMethods, type RoomMethodEntry } from './room-methods.ts';
import { RoomService } from './room-service.ts';
import {
  formatError,
  formatPlenumError,
  formatResponse,
  parseFormat,
  parseRequest,
  type TwirpFormat,
  type TwirpReply,
} from './twirp-codec.ts';

export type TwirpOutcome = {
  /** `unknown` when there is no such service or method, so that callers cannot invent label values. */
  service: string;
  method: string;
  /** HTTP status. */
  status: number;
  code: TwirpCode | 'ok';
  latencyMs: number;
};

export interface TwirpObserver {
  requestFinished(outcome: TwirpOutcome): void;
}

export type TwirpHandlerOptions = {
  directory: RoomDirectory;
  client: RoomClient;
  limits: Config['limit'];
  observer: TwirpObserver;
  log: Logger;
};

type Route = { service: string; method: string; entry: RoomMethodEntry };

/** Services of LiveKit that exist in its SDKs and are not served here, with what people call them. */
const servicesNotOffered: ReadonlyMap<string, string> = new Map([
  ['Egress', 'recording and streaming out (Egress)'],
  ['Ingress', 'streaming in (Ingress)'],
  ['SIP', 'telephony (SIP)'],
  ['AgentDispatchService', 'agent dispatch'],
  ['Connector', 'connectors to other platforms'],
]);

export function createTwirpHandler(options: TwirpHandlerOptions): TwirpHandler {
  const service = new RoomService({ directory: options.directory, client: options.client });
  return async (request) => {
    const startedAtMs = performance.now();
    const label = { service: 'unknown', method: 'unknown' };
    let reply: TwirpReply;
    let code: TwirpCode | 'ok' = 'ok';
    try {
      const route = findRoute(request.path, label);
      const format = parseFormat(request.contentType, request.path);
      const result = await answer(service, { route, format, request, limits: options.limits });
      code = result.ok ? 'ok' : result.code;
      reply = result.ok
        ? formatResponse(route.entry.response, format, result.response)
        : formatError(result.code, result.message, result.meta);
    } catch (thrown) {
      const error = toPlenumError(thrown);
      options.log[error.logLevel]({ err: error, path: request.path.slice(0, 200) }, 'API request failed');
      code = error.code;
      reply = formatPlenumError(error);
    }
    options.observer.requestFinished({
      ...label,
      status: reply.status,
      code,
      latencyMs: performance.now() - startedAtMs,
    });
    return reply;
  };
}

function findRoute(path: string, label: { service: string; method: string }): Route {
  const [, service = '', method = ''] = /^\/twirp\/livekit\.(\w+)\/(\w+)$/.exec(path) ?? [];
  const notOffered = servicesNotOffered.get(service);
  if (notOffered !== undefined) {
    label.service = service;
    throw unimplemented(notOffered);
  }
  const entry = service === 'RoomService' ? roomMethods.get(method) : undefined;
  if (entry === undefined) {
    throw badRoute(`no handler for path ${JSON.stringify(path.slice(0, 200))}`, path.slice(0, 200));
  }
  label.service = service;
  label.method = method;
  return { service, method, entry };
}

type Call = { route: Route; format: TwirpFormat; request: TwirpRequest; limits: Config['limit'] };

async function answer(service: RoomService, { route, format, request, limits }: Call): Promise<CommandResult> {
  const grants = request.claims?.grants;
  if (grants === undefined) {
    // Nothing of a stranger's body is decoded.
    throw permissionDenied();
  }
  const message = parseRequest(route.entry.request, format, request.body);
  const plan = route.entry.plan(message, grants);
  if (!plan.allowed) {
    throw permissionDenied();
  }
  plan.check(limits);
  return service.carryOut(plan.carrier, message, request.signal);
}

function toPlenumError(error: unknown): PlenumError {
  if (error instanceof PlenumError) {
    return error;
  }
  // The cause is for the log; what broke inside is nobody's business outside.
  return new PlenumError({
    code: 'internal',
    reason: 'internal',
    message: 'internal error',
    logLevel: 'error',
    cause: error,
  });
}

/** The admin API, without HTTP: checks who asks and what, and turns every failure into a JSON refusal. */
import type { z } from 'zod';
import type { Config } from '../config/options.ts';
import type { NodeAdmin, NodeStep } from '../drain/node-admin.ts';
import { PlenumError } from '../lib/errors.ts';
import type { Logger } from '../observe/log.ts';
import type { AccessClaims } from '../protocol/token.ts';
import { adminCapacityPath } from '../protocol/capacity-report.ts';
import { adminNodesPath, drainRequestSchema, stepRequestSchema, type AdminError } from '../protocol/node-report.ts';
import { twirpStatus } from '../protocol/twirp.ts';
import { badBody, bodyTooLarge, methodNotAllowed, noAdminGrant, noAdminToken, noSuchResource } from './errors.ts';

export type AdminRequest = {
  method: string;
  path: string;
  /** Of the token in the `Authorization` header; undefined without one. */
  claims: AccessClaims | undefined;
  /** Undefined when it has more bytes than are taken. */
  body: Uint8Array | undefined;
};

export type AdminResponse = { status: number; headers?: Record<string, string>; body: object };

/** Never rejects. */
export type AdminHandler = (request: AdminRequest) => Promise<AdminResponse>;

export type AdminApiOptions = {
  nodes: NodeAdmin;
  /** How it stands about the certificate; left out where there is none. */
  certificate?: (() => Promise<object | undefined>) | undefined;
  /** What is decided about the number of media nodes; left out where nobody decides about it. */
  capacity?: (() => Promise<object>) | undefined;
  config: Pick<Config, 'drain'>;
  log: Logger;
};

/** GET answers how it stands about the certificate: `state`, `reason`, `names`, `notAfterMs`, `nextAttemptAtMs`. */
const certificatePath = '/admin/v1/certificate';

export function createAdminApi({ log, ...parts }: AdminApiOptions): AdminHandler {
  const api = new AdminApi(parts);
  return async (request) => {
    try {
      return { status: 200, body: await api.answer(request) };
    } catch (error) {
      if (error instanceof PlenumError) {
        return refusal(error);
      }
      log.error({ err: error, path: request.path }, 'admin request failed');
      return { status: 500, body: errorBody('internal', 'internal error', {}) };
    }
  };
}

const steps = ['cordon', 'drain', 'undrain'] as const;
type StepKind = (typeof steps)[number];

class AdminApi {
  readonly #parts: Omit<AdminApiOptions, 'log'>;

  constructor(parts: Omit<AdminApiOptions, 'log'>) {
    this.#parts = parts;
  }

  async answer(request: AdminRequest): Promise<object> {
    const { nodes, certificate, capacity } = this.#parts;
    const owner = ownerOf(request.claims);
    if (request.path === certificatePath || request.path === adminCapacityPath) {
      expectMethod(request, 'GET');
      const ask = request.path === adminCapacityPath ? capacity : certificate;
      const found = await ask?.();
      if (found === undefined) {
        throw noSuchResource(request.path);
      }
      return found;
    }
    const { id, step } = parsePath(request.path);
    if (step !== undefined) {
      expectMethod(request, 'POST');
      return nodes.step(id, this.#parseStep(step, owner, request.body));
    }
    expectMethod(request, 'GET');
    return id === '' ? { nodes: await nodes.list() } : nodes.get(id);
  }

  #parseStep(kind: StepKind, owner: string, body: Uint8Array | undefined): NodeStep {
    const json = parseJson(body);
    if (kind !== 'drain') {
      const { reason } = parse(stepRequestSchema, json);
      return { kind, owner, reason };
    }
    const { reason, policy, deadlineSeconds, deadlineIsHard } = parse(drainRequestSchema, json);
    return {
      kind,
      owner,
      reason,
      policy: policy ?? this.#parts.config.drain.policy,
      deadlineMs: deadlineSeconds === undefined ? null : deadlineSeconds * 1_000,
      deadlineIsHard,
    };
  }
}

/** Rights in rooms are none on nodes: tokens with them are in the hands of people. */
function ownerOf(claims: AccessClaims | undefined): string {
  if (claims === undefined) {
    throw noAdminToken();
  }
  if (claims.isNodeAdmin !== true) {
    throw noAdminGrant();
  }
  return claims.identity === '' ? claims.apiKey : claims.identity;
}

/** `ID` and `STEP` of `/admin/v1/nodes/ID/STEP`; both may be missing. */
function parsePath(path: string): { id: string; step: StepKind | undefined } {
  const [, rest] = path.split(adminNodesPath, 2);
  const parts = (rest ?? '').split('/').slice(1);
  const [id = '', stepText] = parts;
  const step = steps.find((known) => known === stepText);
  const isUnknown = stepText !== undefined && step === undefined;
  if (!path.startsWith(adminNodesPath) || !/^(\/|$)/.test(rest ?? '') || parts.length > 2 || isUnknown) {
    throw noSuchResource(path);
  }
  if (stepText !== undefined && id === '') {
    throw noSuchResource(path);
  }
  return { id, step };
}

function expectMethod(request: AdminRequest, method: 'GET' | 'POST'): void {
  if (request.method !== method) {
    throw methodNotAllowed(request.method, method);
  }
}

function parseJson(body: Uint8Array | undefined): unknown {
  if (body === undefined) {
    throw bodyTooLarge();
  }
  if (body.length === 0) {
    return {};
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    throw badBody('it is not JSON');
  }
}

function parse<Schema extends z.ZodType>(schema: Schema, json: unknown): z.output<Schema> {
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    throw badBody(parsed.error.issues.map(describeIssue).join('; '));
  }
  return parsed.data;
}

function describeIssue(issue: z.core.$ZodIssue): string {
  const path = issue.path.map(String).join('.');
  return path === '' ? issue.message : `${path}: ${issue.message}`;
}

function refusal(error: PlenumError): AdminResponse {
  const headers: Record<string, string> = {};
  if (error.code === 'unauthenticated') headers['WWW-Authenticate'] = 'Bearer';
  if (error.details['allow'] !== undefined) headers['Allow'] = error.details['allow'];
  return { status: statusOf(error), headers, body: errorBody(error.reason, error.message, error.details) };
}

function statusOf({ code }: PlenumError): number {
  switch (code) {
    case 'failed_precondition':
      return 409;
    case 'unimplemented':
      return 405;
    case 'resource_exhausted':
      return 413;
    default:
      return twirpStatus[code];
  }
}

function errorBody(reason: string, message: string, details: Record<string, string>): AdminError {
  return { error: { reason, message, ...(Object.keys(details).length === 0 ? {} : { details }) } };
}

/** Calls the admin API of a server with a token made from an API key. */
import type { z } from 'zod';
import type { PlenumError } from '../lib/errors.ts';
import {
  adminErrorSchema,
  adminNodesPath,
  nodeListSchema,
  nodeReportSchema,
  type DrainRequestBody,
  type NodeReport,
} from '../protocol/node-report.ts';
import { adminCapacityPath, capacityReportSchema, type ShownCapacity } from '../protocol/capacity-report.ts';
import { signToken } from '../protocol/token.ts';
import { adminRefused, keyRefused, notAServer } from './errors.ts';
import { parseUrl, toCliError, type ServerOptions } from './server-options.ts';
import { type CliEnv, toPrintable } from './terminal.ts';

const timeoutMs = 10_000;
const tokenTtlS = 60;

export class AdminClient {
  readonly #options: ServerOptions;
  readonly #identity: string;

  constructor(options: ServerOptions, env: CliEnv) {
    this.#options = options;
    this.#identity = env['USER'] || 'operator';
  }

  async list(): Promise<NodeReport[]> {
    return (await this.#call(nodeListSchema, 'GET', adminNodesPath)).nodes;
  }

  get(id: string): Promise<NodeReport> {
    return this.#call(nodeReportSchema, 'GET', `${adminNodesPath}/${encodeURIComponent(id)}`);
  }

  step(id: string, step: 'cordon' | 'drain' | 'undrain', body: DrainRequestBody): Promise<NodeReport> {
    return this.#call(nodeReportSchema, 'POST', `${adminNodesPath}/${encodeURIComponent(id)}/${step}`, body);
  }

  capacity(): Promise<ShownCapacity> {
    return this.#call(capacityReportSchema, 'GET', adminCapacityPath);
  }

  async #call<Schema extends z.ZodType>(
    schema: Schema,
    method: 'GET' | 'POST',
    path: string,
    body?: object,
  ): Promise<z.output<Schema>> {
    const url = new URL(path, parseUrl(this.#options.url).replace(/^ws/, 'http'));
    let response: Response;
    let text: string;
    try {
      response = await fetch(url, {
        method,
        headers: { Authorization: `Bearer ${this.#token()}`, 'Content-Type': 'application/json' },
        signal: AbortSignal.timeout(timeoutMs),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      text = await response.text();
    } catch (error) {
      throw toCliError(error, this.#options.url);
    }
    const json = parseJson(text);
    if (!response.ok) {
      throw this.#refusal(response.status, json, text);
    }
    const parsed = schema.safeParse(json);
    if (!parsed.success) {
      throw notAServer(this.#options.url, response.status);
    }
    return parsed.data;
  }

  #token(): string {
    const { apiKey, apiSecret: secret } = this.#options;
    const claims = { sub: this.#identity, plenum: { nodeAdmin: true } };
    return signToken(claims, { apiKey, secret, nowS: Date.now() / 1_000, ttlS: tokenTtlS });
  }

  #refusal(status: number, json: unknown, text: string): PlenumError {
    const { url } = this.#options;
    const refused = adminErrorSchema.safeParse(json);
    if (refused.success) {
      const { reason, message } = refused.data.error;
      return adminRefused(status, reason, toPrintable(message));
    }
    return status === 401 ? keyRefused(url, toPrintable(text)) : notAServer(url, status);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import type { EdgeGuards } from '../edge/guards.ts';
import { type HttpRefusal, httpRefusal, joinRefusal } from '../protocol/http-errors.ts';
import { connectionId, toSuffix } from '../protocol/ids.ts';
import { type JoinLimits, type JoinSource, parseJoin } from '../protocol/join-parameters.ts';
import { type EdgeRequest, readEdgeRequest } from './edge-request.ts';
import { toRefusal } from './errors.ts';
import { checkRoom } from './find-host.ts';
import { type SessionSurroundings, SignalSession } from './signal-session.ts';
import type { TokenVerifier } from './token-verifier.ts';
import { isWebSocketHandshake, UpgradeSocket } from './upgrade-socket.ts';

export type SignalRouteOptions = {
  verifier: TokenVerifier;
  guards: EdgeGuards;
  limits: JoinLimits & { max_pending_joins: number };
  /** `/rtc/v1` is served; its 404 makes clients fall back to `/rtc`. */
  servesSinglePeerConnection: boolean;
  surroundings: SessionSurroundings;
};

/** `/rtc`, `/rtc/v1` and their `validate`: from the request to a session. */
export class SignalRoute {
  readonly #options: SignalRouteOptions;
  readonly #sessions = new Set<SignalSession>();
  #pendingJoins = 0;
  #draining = false;
  readonly #drainWaiters = new Set<() => void>();

  constructor(options: SignalRouteOptions) {
    this.#options = options;
  }

  get pendingJoins(): number {
    return this.#pendingJoins;
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  /** Every upgrade request comes here, whatever its path. Never throws. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const client = new UpgradeSocket(request, socket);
    try {
      const check = this.#check(request, head);
      if ('status' in check) {
        client.refuse(check);
        this.#options.surroundings.observer.joinAnswered(check.status, 0);
      } else {
        this.#join(check, client);
      }
    } catch (error) {
      this.#options.surroundings.log.error({ err: error }, 'upgrade request failed');
      client.refuse(joinRefusal.internal);
    }
  }

  /** The answer to `/rtc/validate`: what `/rtc` would say. */
  async validate(edge: EdgeRequest): Promise<HttpRefusal> {
    if (!this.#isServed(edge)) {
      return httpRefusal.notFound;
    }
    const check = parseJoin(this.#joinSource(edge, 'validate'));
    if (!check.ok) {
      return check.refusal;
    }
    try {
      return (await checkRoom(check.join, this.#options.surroundings.hosts)) ?? { status: 200, body: 'success' };
    } catch (error) {
      this.#options.surroundings.log.warn({ err: error }, 'validation failed');
      return toRefusal(error);
    }
  }

  /** New joins are refused; resolves when the last session has ended or the signal is aborted. */
  drain(signal?: AbortSignal): Promise<void> {
    this.#draining = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#drainWaiters.add(resolve);
    if (this.#sessions.size === 0 || signal?.aborted === true) {
      resolve();
    }
    signal?.addEventListener('abort', () => resolve(), { once: true });
    return promise;
  }

  close(): void {
    this.#draining = true;
    for (const session of [...this.#sessions]) {
      session.gatewayClosed();
    }
  }

  #check(request: IncomingMessage, head: Buffer): EdgeRequest | HttpRefusal {
    const read = readEdgeRequest(request, this.#options);
    if (!read.ok) {
      return read.refusal;
    }
    const { path } = read.edge;
    if ((path !== '/rtc' && path !== '/rtc/v1') || !this.#isServed(read.edge)) {
      return httpRefusal.notFound;
    }
    if (this.#draining) {
      return joinRefusal.draining;
    }
    // RFC 6455, 4.1: a client sends nothing before it has the answer.
    if (!isWebSocketHandshake(request) || head.length > 0) {
      return joinRefusal.notWebSocket;
    }
    return read.edge;
  }

  #join(edge: EdgeRequest, client: UpgradeSocket): void {
    const { surroundings, limits } = this.#options;
    const check = parseJoin(this.#joinSource(edge, 'rtc'));
    const refusal = check.ok && this.#pendingJoins >= limits.max_pending_joins ? joinRefusal.tooManyJoins : undefined;
    if (!check.ok || refusal !== undefined) {
      const answer = refusal ?? (check.ok ? joinRefusal.internal : check.refusal);
      client.refuse(answer);
      surroundings.observer.joinAnswered(answer.status, 0);
      return;
    }
    this.#pendingJoins += 1;
    const session = new SignalSession({
      connectionId: connectionId(toSuffix(randomBytes(12))),
      join: check.join,
      client,
      surroundings,
      onAnswered: () => {
        this.#pendingJoins -= 1;
      },
      onEnd: () => this.#sessionEnded(session),
    });
    this.#sessions.add(session);
    void session.start();
  }

  #sessionEnded(session: SignalSession): void {
    this.#sessions.delete(session);
    if (this.#sessions.size === 0) {
      for (const resolve of this.#drainWaiters) {
        resolve();
      }
    }
  }

  #joinSource(edge: EdgeRequest, route: JoinSource['route']): JoinSource {
    const { claims, query, userAgent, address } = edge;
    const needsRequest = isSingle(edge);
    return { claims, query, userAgent, address, route, needsRequest, inflate, limits: this.#options.limits };
  }

  /** A `join_request` means a single peer connection on `/rtc` as well. */
  #isServed(edge: EdgeRequest): boolean {
    const isAsked = isSingle(edge) || edge.query.has('join_request');
    return !isAsked || this.#options.servesSinglePeerConnection;
  }
}

function inflate(packed: Uint8Array, maxBytes: number): Uint8Array {
  return gunzipSync(packed, { maxOutputLength: maxBytes });
}

function isSingle({ path }: EdgeRequest): boolean {
  return path.startsWith('/rtc/v1');
}

import { WebSocketServer } from 'ws';
import type { AdminHandler } from '../admin/admin-api.ts';
import type { HostConnector, RoomDirectory } from '../cluster/directory.ts';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Config } from '../config/options.ts';
import { createEdgeGuards, type EdgeGuards } from '../edge/guards.ts';
import type { Logger } from '../observe/log.ts';
import { AdminRoute } from './admin-route.ts';
import { HostLinks } from './host-links.ts';
import { HttpListener } from './http-listener.ts';
import { type HealthCheck, HttpRoute } from './http-route.ts';
import { KeepAlive } from './keep-alive.ts';
import { MeetRoute, type MeetTokenIssuer } from './meet-route.ts';
import type { GatewayObserver } from './observer.ts';
import { SignalRoute } from './signal-route.ts';
import { StaticFiles } from './static-files.ts';
import { defaultTimings, type GatewayTimings } from './timings.ts';
import type { TokenVerifier } from './token-verifier.ts';
import { type TwirpHandler, TwirpRoute } from './twirp-route.ts';

export type GatewayOptions = {
  config: Config;
  log: Logger;
  directory: RoomDirectory;
  connector: HostConnector;
  twirp: TwirpHandler;
  health: HealthCheck;
  observer: GatewayObserver;
  verifier: TokenVerifier;
  /** Folder of the built meeting page; without it `/meet/` answers 404. */
  staticDir?: string | undefined;
  /** Without it `/meet/token` answers 404, and people come to the page with a token in their link. */
  meetToken?: MeetTokenIssuer | undefined;
  /** Without it `/admin/` answers 404. */
  admin?: AdminHandler | undefined;
  timings?: Partial<GatewayTimings>;
  /** Shared with the other public ports of this node; of its own when left out. */
  guards?: EdgeGuards;
  /** Headers for every answer to this request. */
  headersFor?: (request: IncomingMessage) => Record<string, string>;
};

export type GatewayLoad = {
  connections: number;
  /** Joins under way and open signal sockets. */
  sessions: number;
  pendingJoins: number;
  hostLinks: number;
};

/**
 * The public face of a node: HTTP, signal sockets, meeting page. It holds no call: what a client says goes to the host of
 * its room, and any gateway can serve any client at any time.
 */
export class Gateway {
  readonly #options: GatewayOptions;
  readonly #timings: GatewayTimings;
  readonly #guards: EdgeGuards;
  readonly #links: HostLinks;
  readonly #keepAlive: KeepAlive;
  readonly #signal: SignalRoute;
  readonly #meet: MeetRoute;
  readonly #http: HttpRoute;
  readonly #listener: HttpListener;
  #closing: Promise<void> | undefined;

  constructor(options: GatewayOptions) {
    this.#options = options;
    const hostGraceMs = options.config.cluster.host_grace * 1_000;
    this.#timings = { ...defaultTimings, hostGraceMs, ...options.timings };
    this.#guards = options.guards ?? createEdgeGuards(options.config);
    this.#links = new HostLinks(options);
    this.#keepAlive = new KeepAlive(this.#timings);
    this.#signal = this.#createSignalRoute();
    this.#meet = new MeetRoute(options.meetToken);
    this.#http = this.#createHttpRoute();
    this.#listener = new HttpListener({
      bindAddresses: options.config.bind_addresses,
      port: options.config.port,
      maxConnections: options.config.limit.max_connections,
      timings: this.#timings,
      observer: options.observer,
      guards: this.#guards,
      onRequest: (request, response) => void this.#http.handle(request, response),
      onUpgrade: (request, socket, head) => this.#signal.upgrade(request, socket, head),
    });
  }

  /** The port it listens on, which matters when `config.port` is 0. */
  get port(): number {
    return this.#listener.port;
  }

  get load(): GatewayLoad {
    return {
      connections: this.#listener.connections,
      sessions: this.#signal.sessions,
      pendingJoins: this.#signal.pendingJoins,
      hostLinks: this.#links.size,
    };
  }

  /** Rejects with reason `listen-failed` when an address is taken or not ours. */
  async start(): Promise<void> {
    await this.#loadPage();
    await this.#listener.listen();
    this.#keepAlive.start();
  }

  /** Serves a connection that came in over TLS. */
  serve(socket: Socket): void {
    this.#listener.serve(socket);
  }

  /** Refuses new joins with 503 and lets running sessions go on; resolves when the last ended or the signal is aborted. */
  drain(signal?: AbortSignal): Promise<void> {
    return this.#signal.drain(signal);
  }

  /** Ends every session with code 1001 and every connection. Safe to call twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#keepAlive.close();
    this.#signal.close();
    // Links close after the sessions, whose farewells to their hosts travel on them.
    this.#links.close();
    await this.#listener.close(this.#timings.closeGraceMs);
  }

  async #loadPage(): Promise<void> {
    const { staticDir, log } = this.#options;
    if (staticDir === undefined) {
      return;
    }
    try {
      this.#meet.servePage(await StaticFiles.load(staticDir));
    } catch (error) {
      log.warn({ err: error, staticDir }, 'the meeting page is not served');
    }
  }

  #createSignalRoute(): SignalRoute {
    const { config, directory, observer, log, verifier } = this.#options;
    return new SignalRoute({
      verifier,
      guards: this.#guards,
      limits: config.limit,
      servesSinglePeerConnection: config.rtc.single_peer_connection,
      surroundings: {
        hosts: { directory, autoCreate: config.room.auto_create },
        links: this.#links,
        webSockets: createWebSocketServer(config.limit.signal_message_size_limit, this.#timings.closeGraceMs),
        keepAlive: this.#keepAlive,
        observer,
        log,
        holdMs: this.#timings.holdMs,
        hostGraceMs: this.#timings.hostGraceMs,
        firstAnswerTimeoutMs: this.#timings.firstAnswerTimeoutMs,
        queueLimitBytes: config.limit.signal_queue_bytes,
      },
    });
  }

  #createHttpRoute(): HttpRoute {
    const { config, twirp, admin, health, observer, log, verifier } = this.#options;
    const twirpRoute = new TwirpRoute({
      handler: twirp,
      bodyLimitBytes: config.limit.max_api_request_body_size,
      timeoutMs: this.#timings.twirpTimeoutMs,
      log,
    });
    return new HttpRoute({
      verifier,
      guards: this.#guards,
      headersFor: this.#options.headersFor ?? (() => ({})),
      signal: this.#signal,
      twirp: twirpRoute,
      meet: this.#meet,
      admin: new AdminRoute(admin),
      health,
      observer,
      log,
    });
  }
}

function createWebSocketServer(maxPayloadBytes: number, closeTimeoutMs: number): WebSocketServer {
  const options = {
    noServer: true,
    clientTracking: false,
    maxPayload: maxPayloadBytes,
    maxFragments: 1024,
    closeTimeout: closeTimeoutMs,
    // Compression pays for long messages only (offers, joins of large rooms). Without context takeover the threshold
    // works; the small window and level keep the zlib state of a socket at about 32 kB instead of 256 kB.
    perMessageDeflate: {
      threshold: 2048,
      serverNoContextTakeover: true,
      clientNoContextTakeover: true,
      serverMaxWindowBits: 12,
      concurrencyLimit: 4,
      zlibDeflateOptions: { level: 3, memLevel: 5 },
    },
  };
  return new WebSocketServer(options);
}

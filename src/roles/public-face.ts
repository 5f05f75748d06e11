/** What clients and API users see of a node: signal sockets, RoomService, meeting page, over HTTP and HTTPS. */
import type { IncomingMessage } from 'node:http';
import path from 'node:path';
import { TLSSocket } from 'node:tls';
import { createAdminApi } from '../admin/admin-api.ts';
import { createMeetTokenHandler } from '../api/meet-token.ts';
import type { RoomClient } from '../api/room-client.ts';
import { createTwirpHandler } from '../api/twirp-handler.ts';
import type { KeyPair } from '../certificates/certificate.ts';
import type { HostConnector, RoomDirectory } from '../cluster/directory.ts';
import { certificateNames } from '../config/certificate-names.ts';
import type { Config } from '../config/options.ts';
import type { NodeAdmin } from '../drain/node-admin.ts';
import { EdgeListener, type TurnSplit } from '../edge/edge-listener.ts';
import { createEdgeGuards, type EdgeGuards } from '../edge/guards.ts';
import { startRedirectServer, type RedirectServer } from '../edge/redirect-server.ts';
import type { TurnBackend } from '../edge/turn-splice.ts';
import { Gateway, type GatewayLoad } from '../gateway/gateway.ts';
import type { HealthCheck } from '../gateway/http-route.ts';
import { createTokenVerifier } from '../gateway/token-verifier.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Certificates } from './certificate-parts.ts';

export type PublicFaceOptions = {
  config: Config;
  log: Logger;
  directory: RoomDirectory & HostConnector;
  client: RoomClient;
  metrics: Metrics;
  health: HealthCheck;
  nodes: NodeAdmin;
  /** What is decided about the number of media nodes; undefined where nobody decides about it. */
  capacity?: (() => Promise<object>) | undefined;
  /** Without it there is no HTTPS. */
  certificates: Certificates | undefined;
  /** TURN servers to lead clients to, in order of preference; undefined where TURN over TLS does not come this way. */
  turnBackends: (() => readonly TurnBackend[]) | undefined;
};

export class PublicFace {
  readonly #options: PublicFaceOptions;
  readonly #guards: EdgeGuards;
  readonly #gateway: Gateway;
  #edge: EdgeListener | undefined;
  #redirect: RedirectServer | undefined;

  constructor(options: PublicFaceOptions) {
    this.#options = options;
    this.#guards = createEdgeGuards(options.config);
    this.#gateway = createGateway(options, this.#guards);
  }

  /** The HTTP port. */
  get port(): number {
    return this.#gateway.port;
  }

  get load(): GatewayLoad {
    return this.#gateway.load;
  }

  /** Rejects with reason `listen-failed` when an address is taken or not ours. */
  async start(): Promise<void> {
    await this.#gateway.start();
    const { certificates } = this.#options;
    if (certificates !== undefined) {
      await this.#startTls(certificates);
    }
  }

  /** Safe to call twice. */
  async close(): Promise<void> {
    await this.#redirect?.close();
    // The gateway first: what it has to say to its clients goes through the edge.
    await this.#gateway.close();
    await this.#edge?.close();
  }

  async #startTls(certificates: Certificates): Promise<void> {
    const { config, log, metrics } = this.#options;
    const { holder, store } = certificates;
    const edge = new EdgeListener({
      bindAddresses: config.bind_addresses,
      port: config.tls.port,
      certificate: holder.current?.certificate ?? (await interimCertificate(config)),
      addresses: this.#guards.addresses,
      limits: this.#guards.connections,
      maxConnections: config.limit.max_connections,
      proxyProtocol: config.tls.proxy_protocol,
      turn: this.#turnSplit(),
      onHttp: (socket) => this.#gateway.serve(socket),
      observer: metrics.edge,
    });
    this.#edge = edge;
    holder.follow(({ certificate }) => edge.use(certificate));
    await edge.listen();
    log.info({ port: edge.port, mode: config.tls.mode }, 'HTTPS is served');
    if (config.tls.http_port !== 0) {
      this.#redirect = await startRedirectServer({
        bindAddresses: config.bind_addresses,
        port: config.tls.http_port,
        httpsPort: () => edge.port,
        challenge: (token) => store.challenge(token),
        limits: this.#guards.connections,
        log,
      });
    }
  }

  #turnSplit(): TurnSplit | undefined {
    const { config, turnBackends } = this.#options;
    const { turn, tls } = config;
    return turnBackends === undefined
      ? undefined
      : { domain: turn.domain === tls.domain ? '' : turn.domain.toLowerCase(), backends: turnBackends };
  }
}

function createGateway(options: PublicFaceOptions, guards: EdgeGuards): Gateway {
  const { config, log, directory, client, metrics, health, nodes, capacity, certificates } = options;
  const meetToken = createMeetTokenHandler(config);
  return new Gateway({
    config,
    log,
    directory,
    connector: directory,
    twirp: createTwirpHandler({ directory, client, limits: config.limit, observer: metrics.twirp, log }),
    health,
    admin: createAdminApi({
      ...{ nodes, capacity, config, log },
      certificate: certificates && (() => certificates.store.status()),
    }),
    observer: metrics.gateway,
    verifier: createTokenVerifier(config.keys),
    guards,
    headersFor: (request) => transportHeaders(request, config, certificates),
    ...(config.meet.enabled ? { staticDir: path.join(import.meta.dirname, '../../web/meet/dist') } : {}),
    ...(meetToken === undefined ? {} : { meetToken }),
  });
}

/** Browsers that have once seen a certificate that they trust never again come without TLS (RFC 6797). */
function transportHeaders(
  request: IncomingMessage,
  { tls }: Config,
  certificates: Certificates | undefined,
): Record<string, string> {
  const kind = certificates?.holder.current?.certificate.kind;
  const isTrusted = request.socket instanceof TLSSocket && kind !== undefined && kind !== 'self-signed';
  return isTrusted && tls.hsts_max_age > 0 ? { 'Strict-Transport-Security': `max-age=${tls.hsts_max_age}` } : {};
}

/** Until the first certificate is there: whoever insists can get in, and health checks over TLS find somebody. */
async function interimCertificate(config: Config): Promise<KeyPair> {
  // Loaded with TLS alone: what makes certificates takes memory.
  const { createSelfSigned } = await import('../certificates/self-signed.ts');
  const names = certificateNames(config);
  return createSelfSigned(names.length > 0 ? names : ['localhost'], Date.now());
}

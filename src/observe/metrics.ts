/** The metrics of one node, in a registry of its own: each part gets the piece that it reports to. */
import { Counter, Registry } from 'prom-client';
import { CallGauges, LegMetrics, RoomMetrics, type CallsNow } from './call-metrics.ts';
import { GatewayMetrics, TwirpMetrics, WebhookMetrics } from './edge-metrics.ts';
import { CertificateMetrics, EdgeMetrics, TurnMetrics } from './tls-metrics.ts';
import { NodeGauges, type DrainNow } from './node-metrics.ts';
import { EventLoopMetrics, WorkerMetrics } from './process-metrics.ts';

export type MetricsOptions = {
  /** Constant labels on everything, as LiveKit has them. */
  nodeId: string;
  /** e.g. `SERVER`. */
  nodeType: string;
};

export class Metrics {
  readonly registry = new Registry();
  readonly rooms: RoomMetrics;
  readonly legs: LegMetrics;
  readonly gateway: GatewayMetrics;
  readonly twirp: TwirpMetrics;
  readonly webhook: WebhookMetrics;
  readonly workers: WorkerMetrics;
  readonly edge: EdgeMetrics;
  readonly certificates: CertificateMetrics;
  readonly turn: TurnMetrics;
  readonly #eventLoop: EventLoopMetrics;

  constructor(options: MetricsOptions) {
    this.registry.setDefaultLabels({ node_id: options.nodeId, node_type: options.nodeType });
    const slowClients = createSlowClientCounter(this.registry);
    const joins = createJoinCounter(this.registry);
    this.rooms = new RoomMetrics(this.registry, joins);
    this.legs = new LegMetrics(this.registry, slowClients);
    this.gateway = new GatewayMetrics(this.registry, { slowClients, joins });
    this.twirp = new TwirpMetrics(this.registry);
    this.webhook = new WebhookMetrics(this.registry);
    this.workers = new WorkerMetrics(this.registry);
    this.edge = new EdgeMetrics(this.registry);
    this.certificates = new CertificateMetrics(this.registry);
    this.turn = new TurnMetrics(this.registry);
    this.#eventLoop = new EventLoopMetrics(this.registry);
  }

  /** @param now asked at each scrape */
  watchCalls(now: () => CallsNow): void {
    new CallGauges(this.registry, now);
  }

  /** Both are asked at each scrape. */
  watchNodes(states: () => string[], drains: () => DrainNow[]): void {
    new NodeGauges(this.registry, states, drains);
  }

  /** Stops measuring; what was counted can still be read. Safe to call twice. */
  close(): void {
    this.#eventLoop.close();
  }
}

/** Clients that did not read fast enough, on whichever path; one counter, because an operator asks one question. */
function createSlowClientCounter(registry: Registry): Counter<'channel'> {
  return new Counter({
    name: 'plenum_slow_clients_closed_total',
    help: 'Clients closed because they let their queue run full, by channel: signal or data.',
    labelNames: ['channel'],
    registers: [registry],
  });
}

/** How far joins got: the gateway sees the first step, the room the second. */
function createJoinCounter(registry: Registry): Counter<'state'> {
  return new Counter({
    name: 'livekit_participant_join_total',
    help: 'Joins and resumes that got a socket (signal_connected) or not (signal_failed); joins that got media (rtc_connected) or not (rtc_failed).',
    labelNames: ['state'],
    registers: [registry],
  });
}

/** The metrics of one node, in a registry of its own: each part gets the piece that it reports to. */
import { Counter, Registry } from 'prom-client';
import { DataMetrics, MediaMetrics, RoomMetrics } from './call-metrics.ts';
import { GatewayMetrics, TwirpMetrics, WebhookMetrics } from './edge-metrics.ts';
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
  readonly media: MediaMetrics;
  readonly data: DataMetrics;
  readonly gateway: GatewayMetrics;
  readonly twirp: TwirpMetrics;
  readonly webhook: WebhookMetrics;
  readonly workers: WorkerMetrics;
  readonly #eventLoop: EventLoopMetrics;

  constructor(options: MetricsOptions) {
    this.registry.setDefaultLabels({ node_id: options.nodeId, node_type: options.nodeType });
    const slowClients = createSlowClientCounter(this.registry);
    this.rooms = new RoomMetrics(this.registry);
    this.media = new MediaMetrics(this.registry);
    this.data = new DataMetrics(this.registry, slowClients);
    this.gateway = new GatewayMetrics(this.registry, slowClients);
    this.twirp = new TwirpMetrics(this.registry);
    this.webhook = new WebhookMetrics(this.registry);
    this.workers = new WorkerMetrics(this.registry);
    this.#eventLoop = new EventLoopMetrics(this.registry);
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

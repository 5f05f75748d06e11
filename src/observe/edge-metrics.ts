/** What happens at the edge: signal sockets, API requests, webhooks. Names are LiveKit's where it has them. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { SocketEnd } from '../gateway/close-codes.ts';
import type { GatewayObserver, RouteName } from '../gateway/observer.ts';
import { webhookEventNames } from '../protocol/webhook-event.ts';

const millisecondsOfAnswers = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];

export class GatewayMetrics implements GatewayObserver {
  readonly #connections: Gauge;
  readonly #rejected: Counter;
  readonly #requests: Counter<'route' | 'status'>;
  readonly #joins: Histogram<'status'>;
  readonly #sockets: Gauge;
  readonly #ends: Counter<'end'>;
  readonly #messages: Counter<'direction'>;
  readonly #bytes: Counter<'direction'>;
  readonly #nodeMessages: Counter<'type' | 'status' | 'direction'>;
  readonly #slowClients: Counter<'channel'>;
  readonly #joinSteps: Counter<'state'>;

  /** @param shared counters that other parts add to as well */
  constructor(registry: Registry, shared: { slowClients: Counter<'channel'>; joins: Counter<'state'> }) {
    const registers = [registry];
    this.#slowClients = shared.slowClients;
    this.#joinSteps = shared.joins;
    this.#connections = new Gauge({
      name: 'plenum_http_connections',
      help: 'Open TCP connections, half-open ones included.',
      registers,
    });
    this.#rejected = new Counter({
      name: 'plenum_http_connections_rejected_total',
      help: 'TCP connections past limit.max_connections, turned away.',
      registers,
    });
    this.#requests = new Counter({
      name: 'plenum_http_requests_total',
      help: 'HTTP requests other than joins, by route and status; 0 is a client that left before the answer.',
      labelNames: ['route', 'status'],
      registers,
    });
    this.#joins = new Histogram({
      name: 'plenum_signal_join_answer_ms',
      help: 'Milliseconds until a join or resume was answered, by HTTP status; 101 is a socket.',
      labelNames: ['status'],
      buckets: millisecondsOfAnswers,
      registers,
    });
    this.#sockets = new Gauge({ name: 'plenum_signal_connections', help: 'Open signal sockets.', registers });
    this.#ends = new Counter({
      name: 'plenum_signal_connections_ended_total',
      help: 'Signal sockets that ended, by how.',
      labelNames: ['end'],
      registers,
    });
    const labelNames = ['direction'] as const;
    this.#messages = new Counter({
      name: 'plenum_signal_messages_total',
      help: 'Signal messages; one that is sent to many sockets counts for each.',
      labelNames,
      registers,
    });
    this.#bytes = new Counter({
      name: 'plenum_signal_bytes_total',
      help: 'Bytes of signal messages.',
      labelNames,
      registers,
    });
    this.#nodeMessages = new Counter({
      name: 'livekit_node_messages',
      help: 'Signal messages under the name that LiveKit has for them: requests that came from clients, responses that went to them.',
      labelNames: ['type', 'status', 'direction'],
      registers,
    });
  }

  connectionOpened(): void {
    this.#connections.inc();
  }

  connectionClosed(): void {
    this.#connections.dec();
  }

  connectionRejected(): void {
    this.#rejected.inc();
  }

  requestAnswered(route: RouteName, status: number): void {
    this.#requests.inc({ route, status: String(status) });
  }

  joinAnswered(status: number, latencyMs: number): void {
    this.#joins.observe({ status: String(status) }, latencyMs);
    this.#joinSteps.inc({ state: status === 101 ? 'signal_connected' : 'signal_failed' });
  }

  socketOpened(): void {
    this.#sockets.inc();
  }

  socketEnded(end: SocketEnd): void {
    this.#sockets.dec();
    this.#ends.inc({ end });
    if (end === 'slow-client') {
      this.#slowClients.inc({ channel: 'signal' });
    }
  }

  signalReceived(sizeBytes: number): void {
    this.#messages.inc({ direction: 'incoming' });
    this.#nodeMessages.inc({ type: 'signal', status: 'success', direction: 'request' });
    this.#bytes.inc({ direction: 'incoming' }, sizeBytes);
  }

  signalSent(sizeBytes: number, receivers: number): void {
    this.#messages.inc({ direction: 'outgoing' }, receivers);
    this.#nodeMessages.inc({ type: 'signal', status: 'success', direction: 'response' }, receivers);
    this.#bytes.inc({ direction: 'outgoing' }, sizeBytes * receivers);
  }
}

export type TwirpRequestMetric = {
  /** One of a fixed set: these become labels. */
  service: string;
  method: string;
  /** HTTP status. */
  status: number;
  /** Twirp code, or `ok`. */
  code: string;
  latencyMs: number;
};

/** Successes by status, errors by family, as LiveKit labels them. */
function statusFamily(status: number): string {
  return status < 400 ? String(status) : `${Math.floor(status / 100)}xx`;
}

export class TwirpMetrics {
  readonly #requests: Counter<'service' | 'method' | 'status' | 'code'>;
  readonly #latency: Histogram<'service' | 'method' | 'status'>;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#requests = new Counter({
      name: 'livekit_node_twirp_request_status',
      help: 'API requests and how they ended.',
      labelNames: ['service', 'method', 'status', 'code'],
      registers,
    });
    this.#latency = new Histogram({
      name: 'livekit_node_twirp_request_latency_ms',
      help: 'Milliseconds that API requests took.',
      labelNames: ['service', 'method', 'status'],
      buckets: [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000],
      registers,
    });
  }

  requestFinished(request: TwirpRequestMetric): void {
    const { service, method } = request;
    const status = statusFamily(request.status);
    this.#requests.inc({ service, method, status, code: request.code === 'ok' ? '' : request.code });
    this.#latency.observe({ service, method, status }, request.latencyMs);
  }
}

export class WebhookMetrics {
  readonly #dispatched: Counter<'event' | 'status'>;
  readonly #queued: Gauge;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#dispatched = new Counter({
      name: 'livekit_webhook_dispatch_total',
      help: 'Webhooks per URL and how they ended: delivered, failed (refused, or retries used up) or dropped unsent.',
      labelNames: ['event', 'status'],
      registers,
    });
    this.#queued = new Gauge({
      name: 'livekit_webhook_queue_length',
      help: 'Webhooks that wait or are being sent.',
      registers,
    });
  }

  dispatched(event: string, status: 'delivered' | 'failed' | 'dropped'): void {
    const known = webhookEventNames.some((name) => name === event);
    this.#dispatched.inc({ event: known ? event : 'other', status });
  }

  queueChanged(delta: number): void {
    this.#queued.inc(delta);
  }
}

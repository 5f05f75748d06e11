/** The TLS port, the certificate behind it, and the TURN server. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { CertificateObserver } from '../certificates/certificate-manager.ts';
import type { EdgeObserver, EdgeRefusal } from '../edge/observer.ts';
import type { TurnEvent } from '../turn/turn-log.ts';
import type { TurnObserver } from '../turn/turn-server.ts';

export class EdgeMetrics implements EdgeObserver {
  readonly #connections: Gauge;
  readonly #refused: Counter<'reason'>;
  readonly #turn: Gauge;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#connections = new Gauge({
      name: 'plenum_tls_connections',
      help: 'Open connections of the TLS port, handshakes and TURN included.',
      registers,
    });
    this.#refused = new Counter({
      name: 'plenum_tls_connections_refused_total',
      help: 'Connections of the TLS port that were turned away, by reason.',
      labelNames: ['reason'],
      registers,
    });
    this.#turn = new Gauge({
      name: 'plenum_tls_turn_connections',
      help: 'Open connections that are led to TURN servers.',
      registers,
    });
  }

  connectionOpened(): void {
    this.#connections.inc();
  }

  connectionClosed(): void {
    this.#connections.dec();
  }

  connectionRefused(reason: EdgeRefusal): void {
    this.#refused.inc({ reason });
  }

  turnOpened(): void {
    this.#turn.inc();
  }

  turnClosed(): void {
    this.#turn.dec();
  }
}

export class CertificateMetrics implements CertificateObserver {
  readonly #attempts: Counter<'outcome'>;
  readonly #expiry: Gauge;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#attempts = new Counter({
      name: 'plenum_certificate_attempts_total',
      help: 'Attempts to get a certificate: issued, or why it failed.',
      labelNames: ['outcome'],
      registers,
    });
    this.#expiry = new Gauge({
      name: 'plenum_certificate_expires_timestamp_seconds',
      help: 'When the certificate that is served expires, in Unix seconds; 0 while there is none.',
      registers,
    });
  }

  certificateIssued(): void {
    this.#attempts.inc({ outcome: 'issued' });
  }

  attemptFailed(reason: string): void {
    this.#attempts.inc({ outcome: reason });
  }

  /** @param notAfterMs Unix milliseconds */
  served(notAfterMs: number): void {
    this.#expiry.set(notAfterMs / 1000);
  }
}

export class TurnMetrics implements TurnObserver {
  readonly #up: Gauge;
  readonly #restarts: Counter;
  readonly #allocations: Gauge;
  readonly #allocated: Counter;
  readonly #refused: Counter<'request' | 'code'>;
  readonly #bytes: Counter<'direction'>;
  #open = 0;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#up = new Gauge({ name: 'plenum_turn_up', help: 'Whether the TURN server of this node answers.', registers });
    this.#restarts = new Counter({
      name: 'plenum_turn_restarts_total',
      help: 'Ends of the TURN server that nobody asked for.',
      registers,
    });
    this.#allocations = new Gauge({
      name: 'plenum_turn_allocations',
      help: 'Open relays of the TURN server.',
      registers,
    });
    this.#allocated = new Counter({
      name: 'plenum_turn_allocations_total',
      help: 'Relays that the TURN server has given.',
      registers,
    });
    this.#refused = new Counter({
      name: 'plenum_turn_refused_total',
      help: 'Requests that the TURN server refused, for a relay (allocate) or for one of its peers, by STUN error code.',
      labelNames: ['request', 'code'],
      registers,
    });
    this.#bytes = new Counter({
      name: 'plenum_turn_bytes_total',
      help: 'Bytes from (incoming) and to (outgoing) clients of the TURN server.',
      labelNames: ['direction'],
      registers,
    });
  }

  turnHealth(isHealthy: boolean): void {
    this.#up.set(isHealthy ? 1 : 0);
  }

  turnRestarted(): void {
    this.#restarts.inc();
    this.#setOpen(0);
  }

  turnEvent(event: TurnEvent): void {
    switch (event.kind) {
      case 'allocated':
        this.#allocated.inc();
        this.#setOpen(this.#open + 1);
        break;
      case 'ended':
        this.#setOpen(Math.max(0, this.#open - 1));
        break;
      case 'refused':
        this.#refused.inc({ request: event.request, code: String(event.code) });
        break;
      case 'usage':
        this.#bytes.inc({ direction: 'incoming' }, event.receivedBytes);
        this.#bytes.inc({ direction: 'outgoing' }, event.sentBytes);
        break;
      default:
        event satisfies never;
    }
  }

  #setOpen(open: number): void {
    this.#open = open;
    this.#allocations.set(open);
  }
}

/** Sends webhooks to every configured URL, in order per key; a slow or dead receiver delays nobody but itself. */
import { randomBytes } from 'node:crypto';
import type { WebhookEvent } from '@livekit/protocol';
import type { Config } from '../config/options.ts';
import type { Logger } from '../observe/log.ts';
import { toSuffix } from '../protocol/ids.ts';
import { webhookKeyUnknown } from './errors.ts';
import { WebhookQueues, type WebhookBounds, type WebhookClock, type WebhookObserver } from './webhook-queues.ts';

export type WebhookSenderOptions = {
  config: Config['webhook'];
  /** API keys and their secrets; the one named by `webhook.api_key` signs. */
  keys: Config['keys'];
  observer: WebhookObserver;
  log: Logger;
  bounds?: Partial<WebhookBounds>;
  clock?: WebhookClock;
};

const defaultBounds: WebhookBounds = {
  maxQueued: 200,
  maxAgeMs: 30_000,
  maxKeys: 10_000,
  maxConcurrentPosts: 64,
  timeoutMs: 10_000,
  retryDelaysMs: [1_000, 2_000, 4_000, 8_000],
};

const systemClock: WebhookClock = { nowMs: () => Date.now(), monotonicMs: () => performance.now() };

export class WebhookSender {
  readonly #receivers: WebhookQueues[];
  readonly #includeEvents: ReadonlySet<string>;
  readonly #excludeEvents: ReadonlySet<string>;
  readonly #clock: WebhookClock;

  /** Throws `webhook-key-unknown` when URLs are configured without a usable key. */
  constructor(options: WebhookSenderOptions) {
    const { config, observer, log } = options;
    this.#clock = options.clock ?? systemClock;
    this.#includeEvents = new Set(config.filter_params.include_events);
    this.#excludeEvents = new Set(config.filter_params.exclude_events);
    const bounds = { ...defaultBounds, ...options.bounds };
    this.#receivers = config.urls.map((url) => {
      const secret = Object.hasOwn(options.keys, config.api_key) ? options.keys[config.api_key] : undefined;
      if (secret === undefined) {
        throw webhookKeyUnknown(config.api_key);
      }
      const signingKey = { apiKey: config.api_key, secret };
      return new WebhookQueues({ url, signingKey, bounds, clock: this.#clock, observer, log });
    });
  }

  /**
   * Takes an event; receivers get id and time set, unless they are set already. Never blocks, never throws for a
   * receiver's sake. Events about one room (egress, ingress) arrive in the order given here.
   */
  publish(event: WebhookEvent): void {
    if (this.#receivers.length === 0 || !this.#isWanted(event.event)) {
      return;
    }
    const id = event.id || `EV_${toSuffix(randomBytes(12))}`;
    const createdAt = event.createdAt || BigInt(Math.floor(this.#clock.nowMs() / 1000));
    const key = queueKey(event);
    for (const receiver of this.#receivers) {
      // Each URL has lost other events, so each gets its own copy to count them in.
      const copy = event.clone();
      copy.id = id;
      copy.createdAt = createdAt;
      receiver.enqueue(key, copy);
    }
  }

  /** Waits for what is under way until the signal aborts, throws away the rest and takes no more events. */
  async close(signal: AbortSignal): Promise<void> {
    const aborted = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
      if (signal.aborted) {
        resolve();
      }
    });
    await Promise.race([aborted, Promise.all(this.#receivers.map((receiver) => receiver.whenIdle()))]);
    for (const receiver of this.#receivers) {
      receiver.close();
    }
  }

  #isWanted(event: string): boolean {
    return (this.#includeEvents.size === 0 || this.#includeEvents.has(event)) && !this.#excludeEvents.has(event);
  }
}

/** What the event is about: events with the same key keep their order. */
function queueKey(event: WebhookEvent): string {
  return event.egressInfo?.egressId ?? event.ingressInfo?.ingressId ?? event.room?.name ?? '';
}

/** All webhooks on their way to one URL: a FIFO per key, so that the events of a room arrive in order. */
import type { WebhookEvent } from '@livekit/protocol';
import type { Logger } from '../observe/log.ts';
import { formatWebhookBody, webhookHeaders } from '../protocol/webhook-event.ts';
import { postWebhook, type PostResult } from './webhook-post.ts';

export type WebhookDropReason = 'queue-full' | 'too-many-keys' | 'too-old' | 'closed';

export interface WebhookObserver {
  /** An event left its queue: delivered, given up after its retries or refused by the receiver, or thrown away unsent. */
  dispatched(event: string, outcome: 'delivered' | 'failed' | 'dropped'): void;
  /** Events that wait or are being sent, over all queues: the change. */
  queueChanged(delta: number): void;
}

export type WebhookClock = {
  /** Unix time. */
  nowMs: () => number;
  /** Never goes backwards. */
  monotonicMs: () => number;
};

export type WebhookBounds = {
  /** Events of one key, the one being sent included. */
  maxQueued: number;
  /** Events that waited longer are thrown away instead of sent. */
  maxAgeMs: number;
  maxKeys: number;
  maxConcurrentPosts: number;
  timeoutMs: number;
  retryDelaysMs: readonly number[];
};

export type WebhookQueuesOptions = {
  url: string;
  signingKey: { apiKey: string; secret: string };
  bounds: WebhookBounds;
  clock: WebhookClock;
  observer: WebhookObserver;
  log: Logger;
};

type Entry = { event: WebhookEvent; enqueuedAtMs: number };

/** `dropped` counts events lost since the last one that was delivered; the next one tells the receiver. */
type Queue = { key: string; entries: Entry[]; dropped: number; scheduled: boolean };

export class WebhookQueues {
  readonly #options: WebhookQueuesOptions;
  readonly #queues = new Map<string, Queue>();
  /** Keys with something to send, in the order in which they asked for a slot. */
  readonly #ready: Queue[] = [];
  readonly #abort = new AbortController();
  readonly #idle: (() => void)[] = [];
  #activePosts = 0;

  constructor(options: WebhookQueuesOptions) {
    this.#options = options;
  }

  /** Keys with events, or with a count of lost ones that no receiver was told yet. */
  get keyCount(): number {
    return this.#queues.size;
  }

  enqueue(key: string, event: WebhookEvent): void {
    if (this.#abort.signal.aborted) {
      this.#logDrop(event, 'closed');
      return;
    }
    const queue = this.#queueOf(key);
    if (queue === undefined) {
      this.#logDrop(event, 'too-many-keys');
      return;
    }
    if (queue.entries.length >= this.#options.bounds.maxQueued) {
      queue.dropped += 1;
      this.#logDrop(event, 'queue-full');
      return;
    }
    queue.entries.push({ event, enqueuedAtMs: this.#options.clock.monotonicMs() });
    this.#options.observer.queueChanged(1);
    this.#schedule(queue);
  }

  /** Resolves when nothing is left to send. */
  async whenIdle(): Promise<void> {
    if (this.#activePosts > 0 || this.#ready.length > 0) {
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
  }

  /** Throws away what is left. Safe to call twice. */
  close(): void {
    this.#abort.abort();
    for (const queue of this.#queues.values()) {
      for (const entry of queue.entries.splice(0)) {
        this.#leaveQueue(entry, 'closed');
      }
    }
    this.#queues.clear();
    this.#ready.length = 0;
  }

  #queueOf(key: string): Queue | undefined {
    const existing = this.#queues.get(key);
    if (existing !== undefined) {
      return existing;
    }
    if (this.#queues.size >= this.#options.bounds.maxKeys && !this.#forgetIdleQueue()) {
      return undefined;
    }
    const queue: Queue = { key, entries: [], dropped: 0, scheduled: false };
    this.#queues.set(key, queue);
    return queue;
  }

  /** An empty queue remains only for its count of lost events, which is worth less than a new room's events. */
  #forgetIdleQueue(): boolean {
    for (const queue of this.#queues.values()) {
      if (queue.entries.length === 0 && !queue.scheduled) {
        return this.#queues.delete(queue.key);
      }
    }
    return false;
  }

  #schedule(queue: Queue): void {
    if (!queue.scheduled) {
      queue.scheduled = true;
      this.#ready.push(queue);
      this.#startPosts();
    }
  }

  #startPosts(): void {
    while (this.#activePosts < this.#options.bounds.maxConcurrentPosts) {
      const queue = this.#ready.shift();
      if (queue === undefined) {
        break;
      }
      this.#activePosts += 1;
      void this.#sendNext(queue).finally(() => this.#posted(queue));
    }
    if (this.#activePosts === 0 && this.#ready.length === 0) {
      for (const resolve of this.#idle.splice(0)) {
        resolve();
      }
    }
  }

  #posted(queue: Queue): void {
    this.#activePosts -= 1;
    queue.scheduled = false;
    if (queue.entries.length > 0) {
      this.#schedule(queue);
    } else if (queue.dropped === 0) {
      this.#queues.delete(queue.key);
    }
    this.#startPosts();
  }

  /** Sends the oldest event that is not too old; it stays in its queue until its fate is known. */
  async #sendNext(queue: Queue): Promise<void> {
    this.#dropOld(queue);
    const entry = queue.entries[0];
    if (entry === undefined) {
      return;
    }
    const told = queue.dropped;
    entry.event.numDropped = told;
    const body = formatWebhookBody(entry.event);
    const { url, bounds, clock, signingKey } = this.#options;
    const result = await postWebhook({
      url,
      body,
      headers: webhookHeaders(body, { ...signingKey, nowS: clock.nowMs() / 1000 }),
      timeoutMs: bounds.timeoutMs,
      retryDelaysMs: bounds.retryDelaysMs,
      signal: this.#abort.signal,
    });
    if (result.kind !== 'aborted' && queue.entries[0] === entry) {
      queue.entries.shift();
      queue.dropped = result.kind === 'delivered' ? queue.dropped - told : queue.dropped + 1;
      this.#leaveQueue(entry, result);
    }
  }

  #dropOld(queue: Queue): void {
    const oldestMs = this.#options.clock.monotonicMs() - this.#options.bounds.maxAgeMs;
    for (let entry = queue.entries[0]; entry !== undefined && entry.enqueuedAtMs < oldestMs; entry = queue.entries[0]) {
      queue.entries.shift();
      queue.dropped += 1;
      this.#leaveQueue(entry, 'too-old');
    }
  }

  #leaveQueue(entry: Entry, fate: PostResult | WebhookDropReason): void {
    const { observer, log, url } = this.#options;
    const { id, event } = entry.event;
    observer.queueChanged(-1);
    if (typeof fate === 'string') {
      this.#logDrop(entry.event, fate);
    } else if (fate.kind === 'delivered') {
      observer.dispatched(event, 'delivered');
      log.debug({ url, id, event, attempts: fate.attempts }, 'webhook delivered');
    } else if (fate.kind === 'failed') {
      observer.dispatched(event, 'failed');
      log.warn({ url, id, event, attempts: fate.attempts, reason: fate.reason }, 'webhook not delivered');
    }
  }

  #logDrop(event: WebhookEvent, reason: WebhookDropReason): void {
    this.#options.observer.dispatched(event.event, 'dropped');
    this.#options.log.warn({ url: this.#options.url, id: event.id, event: event.event, reason }, 'webhook dropped');
  }
}

/** The consumers of one connection: from what is wanted to what flows, in sections that others negotiate. */
import { PlenumError } from '../lib/errors.ts';
import type { MediaConsumer } from '../media/media-consumer.ts';
import type { PeerTransport } from '../media/peer-transport.ts';
import type { Logger } from '../observe/log.ts';
import type { WantedSubscription } from '../protocol/leg-messages.ts';
import type { ClientNumbers } from '../sdp/client-numbers.ts';
import { chooseLayers, isAdaptable } from '../subscription/layers.ts';
import { planSubscriptions, type SubscriptionAction } from '../subscription/plan-subscriptions.ts';
import type { PeerHooks } from './peer-hooks.ts';
import type { ConsumableProducers } from './published-producer.ts';
import type { AppliedSettings, Held, SubscriberSections } from './subscriber-sections.ts';

export type TrackConsumersOptions = {
  sections: SubscriberSections;
  producers: ConsumableProducers;
  /** The client's connection had other transports before. */
  isContinued: boolean;
  isClosed: () => boolean;
  /** Consumers that the client would have to be told anew of are of no use. */
  mustBeAlike: () => boolean;
  /** Of a client that numbers codecs and extensions itself. */
  numbersOf?: (mid: string, bandwidthEstimation: boolean) => ClientNumbers | undefined;
  log: Logger;
  hooks: PeerHooks & {
    /** The client has to be told of a change. */
    offerDue: () => void;
    passDue: () => void;
  };
};

export class TrackConsumers {
  readonly #options: TrackConsumersOptions;
  readonly #sections: SubscriberSections;
  readonly #producers: ConsumableProducers;
  readonly #log: Logger;
  readonly #hooks: TrackConsumersOptions['hooks'];
  #missing: WantedSubscription[] = [];
  #placeless: WantedSubscription[] = [];

  constructor(options: TrackConsumersOptions) {
    this.#options = options;
    this.#sections = options.sections;
    this.#producers = options.producers;
    this.#log = options.log;
    this.#hooks = options.hooks;
  }

  /** Tracks whose producer is not there (yet). */
  get missing(): readonly WantedSubscription[] {
    return this.#missing;
  }

  /** Tracks for which the client has offered no section. */
  get placeless(): readonly WantedSubscription[] {
    return this.#placeless;
  }

  async reconcile(transport: PeerTransport, desired: readonly WantedSubscription[]): Promise<void> {
    const plan = planSubscriptions({
      desired,
      held: this.#sections.held,
      refused: this.#sections.refused,
      producer: (id) => {
        const found = this.#producers.producer(id);
        return found === undefined
          ? undefined
          : {
              kind: found.kind,
              adaptable: found.kind === 'video' && (transport.alwaysEstimatesBandwidth || isAdaptable(found.facts)),
            };
      },
    });
    const missing = new Set(plan.missing);
    const before = this.#missing.length;
    this.#missing = desired.filter((want) => missing.has(want.trackSid));
    if (before !== this.#missing.length) {
      this.#hooks.changed();
    }
    this.#placeless = [];
    await Promise.all(plan.actions.map((action) => this.#carryOut(transport, action)));
  }

  /** Runs synchronously up to its first await, so that closes and slots are settled in the order of the plan. */
  async #carryOut(transport: PeerTransport, action: SubscriptionAction): Promise<void> {
    switch (action.kind) {
      case 'close':
        return this.#closeTrack(action.trackSid);
      case 'open':
        return this.#open(transport, action);
      case 'reopen':
        return this.#reopen(transport, action);
      case 'tune':
        return this.#tune(transport, action.want);
      case 'readySuccessor':
        return this.#readySuccessor(transport, action);
      case 'dropSuccessor':
        return this.#dropSuccessor(action.trackSid);
      case 'swap':
        return this.#swap(transport, action);
    }
  }

  async #open(transport: PeerTransport, action: { want: WantedSubscription; transportCc: boolean }): Promise<void> {
    const held = this.#sections.open(action.want, action.transportCc);
    if (held === undefined) {
      this.#placeless.push(action.want);
    } else {
      await this.#consume(transport, held);
    }
  }

  #dropSuccessor(trackSid: string): void {
    const held = this.#sections.held.get(trackSid);
    if (held !== undefined) {
      this.#sections.setSuccessor(held, undefined);
      this.#hooks.changed();
    }
  }

  /** A paused consumer, and the way to it: whatever its producer gets from now on comes here. */
  async #readySuccessor(
    transport: PeerTransport,
    action: Extract<SubscriptionAction, { kind: 'readySuccessor' }>,
  ): Promise<void> {
    const { want, producerId, transportCc } = action;
    const held = this.#sections.held.get(want.trackSid);
    if (held === undefined) {
      return;
    }
    try {
      const { consumer, applied } = await this.#createConsumer(transport, {
        want,
        mid: held.mid,
        producerId,
        transportCc,
      });
      if (this.#options.isClosed() || this.#sections.held.get(want.trackSid) !== held) {
        consumer.close();
        return;
      }
      this.#sections.setSuccessor(held, { producerId, transportCc, consumer, applied });
      this.#producers.setTaken(consumer, !want.paused);
      this.#hooks.changed();
    } catch (error) {
      // The publisher's move is not over yet; when it is, the consumer is made after all.
      this.#log.debug({ err: error, trackSid: want.trackSid }, 'a consumer could not be made in advance');
    }
  }

  async #swap(transport: PeerTransport, action: { want: WantedSubscription; transportCc: boolean }): Promise<void> {
    const { want, transportCc } = action;
    const held = this.#sections.held.get(want.trackSid);
    if (held === undefined) {
      return;
    }
    if (!this.#sections.swap(held, want, transportCc)) {
      await this.#consume(transport, held);
      return;
    }
    const { consumer } = held;
    consumer?.once('close', (reason) => this.#onConsumerClosed(held, consumer, reason));
    this.#hooks.offerDue();
    this.#hooks.changed();
  }

  async #createConsumer(
    transport: PeerTransport,
    options: { want: WantedSubscription; mid: string; producerId: string; transportCc: boolean },
  ): Promise<{ consumer: MediaConsumer; applied: AppliedSettings }> {
    const { want, mid, producerId, transportCc } = options;
    const published = this.#producers.producer(producerId);
    const layers = published === undefined ? undefined : chooseLayers(published.facts, want);
    const numbers = this.#options.numbersOf?.(mid, transportCc);
    const consumer = await transport.consume({
      producerId,
      mid,
      // Forwarding starts with the answer: packets before it would reach a client that cannot place them.
      paused: true,
      bwe: transportCc,
      ...(numbers === undefined ? {} : { numbers }),
      ...(layers === undefined
        ? {}
        : { preferredLayers: { spatial: layers.spatialLayer, temporal: layers.temporalLayer } }),
    });
    return {
      consumer,
      applied: { spatial: layers?.spatialLayer ?? 0, temporal: layers?.temporalLayer ?? 0, priority: 0 },
    };
  }

  #closeTrack(trackSid: string): void {
    this.#sections.close(trackSid);
    this.#hooks.offerDue();
    this.#hooks.changed();
  }

  async #reopen(transport: PeerTransport, action: { want: WantedSubscription; transportCc: boolean }): Promise<void> {
    const held = this.#sections.held.get(action.want.trackSid);
    if (held !== undefined) {
      held.want = action.want;
      this.#sections.reopen(held, action.transportCc);
      await this.#consume(transport, held);
    }
  }

  async #consume(transport: PeerTransport, held: Held): Promise<void> {
    const { want, mid, producerId, transportCc } = held;
    try {
      const { consumer, applied } = await this.#createConsumer(transport, { want, mid, producerId, transportCc });
      if (this.#options.isClosed() || this.#sections.held.get(held.trackSid) !== held) {
        consumer.close();
        return;
      }
      if (this.#options.mustBeAlike() && !this.#sections.isLike(held, consumer)) {
        consumer.close();
        this.#hooks.failed('move-failed', 'this node numbers codecs or extensions in another way');
        return;
      }
      this.#sections.attach(held, consumer);
      held.applied = applied;
      this.#hooks.changed();
      this.#producers.setTaken(consumer, this.#options.isContinued && !want.paused);
      consumer.once('close', (reason) => this.#onConsumerClosed(held, consumer, reason));
      this.#hooks.offerDue();
    } catch (error) {
      this.#consumeFailed(held, error);
    }
  }

  #onConsumerClosed(held: Held, consumer: Held['consumer'], reason: string): void {
    if (reason === 'producer-closed' && held.consumer === consumer) {
      held.ended = true;
      this.#hooks.changed();
      this.#hooks.passDue();
    }
  }

  #consumeFailed(held: Held, error: unknown): void {
    if (this.#options.isClosed()) {
      return;
    }
    if (error instanceof PlenumError && error.reason === 'no-such-producer') {
      // Between the look-up and the engine's answer the producer closed; the next pass sees it missing.
      this.#sections.close(held.trackSid);
      this.#hooks.passDue();
      return;
    }
    this.#log.warn({ err: error, trackSid: held.trackSid }, 'a track cannot be consumed');
    this.#sections.refuse(held);
    this.#hooks.changed();
  }

  async #tune(transport: PeerTransport, want: WantedSubscription): Promise<void> {
    const held = this.#sections.held.get(want.trackSid);
    if (held === undefined) {
      return;
    }
    held.want = want;
    try {
      await this.#tuneConsumer(transport, held);
    } catch (error) {
      if (held.consumer?.closed !== true) {
        throw error;
      }
    }
  }

  async #tuneConsumer(transport: PeerTransport, held: Held): Promise<void> {
    const { consumer, applied, want } = held;
    const published = this.#producers.producer(held.producerId);
    if (consumer === undefined || applied === undefined || published === undefined || consumer.closed) {
      return;
    }
    const { spatialLayer: spatial, temporalLayer: temporal } = chooseLayers(published.facts, want);
    const requests: Promise<void>[] = [];
    if (spatial !== applied.spatial || temporal !== applied.temporal) {
      requests.push(consumer.setPreferredLayers({ spatial, temporal }));
    }
    if (want.priority !== applied.priority) {
      requests.push(consumer.setPriority(want.priority));
    }
    // An early request for a key frame would only use up the publisher's allowance of them.
    const isUp = !this.#options.isContinued || transport.state === 'connected';
    const paused = want.paused || !held.bound || !isUp;
    if (paused !== consumer.paused) {
      requests.push(paused ? consumer.pause() : consumer.resume());
    }
    // What is to flow as soon as the client has come over is brought here before.
    this.#producers.setTaken(consumer, this.#options.isContinued ? !want.paused : !paused);
    held.applied = { spatial, temporal, priority: want.priority };
    await Promise.all(requests);
  }
}

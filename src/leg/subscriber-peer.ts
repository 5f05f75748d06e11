/** The connection on which the server offers: slots, consumers, one offer at a time, and the server's data channels. */
import { PlenumError } from '../lib/errors.ts';
import type { DataSubscriber } from '../media/data-subscriber.ts';
import type { PeerTransport } from '../media/peer-transport.ts';
import type { RoomRouter } from '../media/room-router.ts';
import type { Logger } from '../observe/log.ts';
import type { ActualSubscription, TransportState, WantedSubscription } from '../protocol/leg-messages.ts';
import { formatSubscriberOffer } from '../sdp/offer.ts';
import { answerLimits, parseDescription } from '../sdp/parse.ts';
import { readSubscriberAnswer } from '../sdp/subscriber-answer.ts';
import { chooseLayers, isAdaptable } from '../subscription/layers.ts';
import { Negotiation } from '../subscription/negotiation.ts';
import { planSubscriptions, type SubscriptionAction } from '../subscription/plan-subscriptions.ts';
import { failureOf } from './failure-of.ts';
import type { PeerHooks } from './peer-hooks.ts';
import type { ConsumableProducers } from './published-producer.ts';
import { ReconcileLoop } from './reconcile-loop.ts';
import { SubscriberSections, type Held } from './subscriber-sections.ts';

export type SubscriberPeerOptions = {
  router: () => Promise<RoomRouter>;
  producers: ConsumableProducers;
  /** Monotonic milliseconds. */
  now: () => number;
  firstOfferId: number;
  sessionId: string;
  /** See `SubscriberSections`. */
  retiresSections: boolean;
  answerTimeoutMs: number;
  log: Logger;
  hooks: PeerHooks & {
    offer: (id: number, sdp: string, midToTrackId: Record<string, string>) => void;
    /** The server's channels exist; what was queued before goes there now. */
    dataReady: (data: DataSubscriber) => void;
  };
};

const collectMs = 10;
const spacingMs = 100;
const quickOffers = 4;
/** Sections before the slots; they can never change on a connection. */
const layout = { data: true, probator: true } as const;

export class SubscriberPeer {
  readonly #options: SubscriberPeerOptions;
  readonly #loop: ReconcileLoop;
  readonly #negotiation: Negotiation;
  readonly #sections: SubscriberSections;
  #transport: PeerTransport | undefined;
  #desired: readonly WantedSubscription[] = [];
  #desiredVersion = 0;
  #reachedVersion = 0;
  #missing: WantedSubscription[] = [];
  #lastOffer: { id: number; sdp: string; midToTrackId: Record<string, string> } | undefined;
  #answer: { id: number; sdp: string } | undefined;
  #restartWanted = false;
  #gaveUp = false;
  #bitrateCapBps: { wanted: number; applied: number } = { wanted: 0, applied: 0 };
  #sdpVersion = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: SubscriberPeerOptions) {
    this.#options = options;
    this.#sections = new SubscriberSections({ retires: options.retiresSections });
    this.#negotiation = new Negotiation(
      { collectMs, spacingMs, quickOffers, answerTimeoutMs: options.answerTimeoutMs },
      options.firstOfferId,
    );
    this.#loop = new ReconcileLoop({ pass: () => this.#pass(), onError: (error) => this.#report(error) });
    this.#negotiation.change(options.now(), { urgent: true });
  }

  get state(): TransportState {
    return this.#transport?.state ?? 'new';
  }

  get transport(): PeerTransport | undefined {
    return this.#transport;
  }

  get held(): ReadonlyMap<string, Held> {
    return this.#sections.held;
  }

  actual(): ActualSubscription[] {
    return this.#sections.actual(this.#missing);
  }

  /** Version of the wishes that `actual` was reached from. */
  get reachedVersion(): number {
    return this.#reachedVersion;
  }

  setDesired(desired: readonly WantedSubscription[], version: number): void {
    this.#desired = desired;
    this.#desiredVersion = version;
    this.#sections.keepRefusals(desired);
    this.#loop.request();
  }

  /** A producer of the room came or went. */
  producersChanged(): void {
    this.#loop.request();
  }

  clientAnswer(id: number, sdp: string): void {
    this.#answer = { id, sdp };
    this.#loop.request();
  }

  /** The client has a new socket: new ICE credentials in a new offer; an offer that it did not answer counts as lost. */
  restart(): void {
    this.#answer = undefined;
    this.#restartWanted = true;
    this.#loop.request();
  }

  /** Says an offer again that has no answer yet: whoever was to pass it on may not have. The client has its time anew. */
  repeatOffer(): void {
    const offer = this.#lastOffer;
    if (offer !== undefined && !this.#closed && this.#negotiation.repeat(offer.id, this.#options.now())) {
      this.#options.hooks.offer(offer.id, offer.sdp, offer.midToTrackId);
      this.#arm();
    }
  }

  /** @param bitrateBps 0 = no cap. */
  limitBandwidth(bitrateBps: number): void {
    this.#bitrateCapBps.wanted = bitrateBps;
    this.#loop.request();
  }

  /**
   * The transport waits for what is under way: an object that the engine makes while its transport closes is never told
   * so, and stays in the memory of this process.
   */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#loop.close();
    this.#transport?.close();
  }

  async #pass(): Promise<void> {
    const transport = this.#transport ?? (await this.#createTransport());
    if (transport === undefined || transport.closed || this.#closed) {
      return;
    }
    await this.#restartIce(transport);
    await this.#applyAnswer(transport);
    await this.#applyCap(transport);
    await this.#reconcile(transport);
    // A restart that came meanwhile is the next pass: an offer with the old credentials would only be in its way.
    if (!this.#closed && !transport.closed && !this.#restartWanted) {
      this.#negotiate(transport);
    }
  }

  async #createTransport(): Promise<PeerTransport | undefined> {
    const router = await this.#options.router();
    const transport = this.#closed ? undefined : await router.createPeerTransport();
    if (this.#closed || transport === undefined) {
      transport?.close();
      return undefined;
    }
    this.#transport = transport;
    transport.on('state', (state) => this.#onState(state));
    const data = await transport.openDataSubscriber();
    if (!this.#closed) {
      this.#options.hooks.dataReady(data);
    }
    return transport;
  }

  #onState(state: TransportState): void {
    this.#options.hooks.changed();
    if (state === 'failed') {
      this.#options.hooks.failed('dtls-failed', 'DTLS of the subscriber connection failed');
    } else if (state === 'disconnected') {
      this.#options.hooks.failed('ice-lost', 'ICE consent of the subscriber connection expired');
    }
  }

  async #restartIce(transport: PeerTransport): Promise<void> {
    if (!this.#restartWanted) {
      return;
    }
    this.#restartWanted = false;
    this.#gaveUp = false;
    this.#sections.dropOffer();
    this.#negotiation.restart(this.#options.now());
    await transport.restartIce();
  }

  async #applyAnswer(transport: PeerTransport): Promise<void> {
    const answer = this.#answer;
    this.#answer = undefined;
    if (answer === undefined) {
      return;
    }
    const slots = this.#sections.offeredSlots;
    const description = parseDescription(answer.sdp, answerLimits);
    if (this.#negotiation.answer(answer.id) === 'stale') {
      this.#options.log.debug({ offerId: answer.id }, 'answer to an older offer ignored');
      return;
    }
    const result = readSubscriberAnswer({ answer: description, offered: { ...layout, slots } });
    if (!transport.connectCalled) {
      await transport.connect({ role: result.transport.dtlsRole, fingerprints: result.transport.fingerprints });
    }
    const rejected = new Set(description.sections.filter((section) => section.rejected).map((section) => section.mid));
    const changed = this.#sections.answered({ accepted: result.accepted, rejected });
    if (changed) {
      this.#negotiation.change(this.#options.now());
    }
    this.#options.hooks.changed();
  }

  async #applyCap(transport: PeerTransport): Promise<void> {
    const { wanted, applied } = this.#bitrateCapBps;
    if (wanted !== applied) {
      this.#bitrateCapBps.applied = wanted;
      await transport.setMaxOutgoingBitrate(wanted);
    }
  }

  async #reconcile(transport: PeerTransport): Promise<void> {
    const version = this.#desiredVersion;
    const plan = planSubscriptions({
      desired: this.#desired,
      held: this.#sections.held,
      refused: this.#sections.refused,
      producer: (id) => {
        const found = this.#options.producers.producer(id);
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
    this.#missing = this.#desired.filter((want) => missing.has(want.trackSid));
    if (before !== this.#missing.length) {
      this.#options.hooks.changed();
    }
    await Promise.all(plan.actions.map((action) => this.#carryOut(transport, action)));
    if (version !== this.#reachedVersion) {
      this.#reachedVersion = version;
      this.#options.hooks.changed();
    }
  }

  /** Runs synchronously up to its first await, so that closes and slots are settled in the order of the plan. */
  async #carryOut(transport: PeerTransport, action: SubscriptionAction): Promise<void> {
    switch (action.kind) {
      case 'close':
        return this.#closeTrack(action.trackSid);
      case 'open':
        return this.#consume(transport, this.#sections.open(action.want, action.transportCc));
      case 'reopen':
        return this.#reopen(transport, action);
      case 'tune':
        return this.#tune(action.want);
    }
  }

  #closeTrack(trackSid: string): void {
    this.#sections.close(trackSid);
    this.#negotiation.change(this.#options.now());
    this.#options.hooks.changed();
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
    const published = this.#options.producers.producer(held.producerId);
    const layers = published === undefined ? undefined : chooseLayers(published.facts, held.want);
    try {
      const consumer = await transport.consume({
        producerId: held.producerId,
        mid: held.mid,
        // Forwarding starts with the answer: packets before it would reach a client that cannot place them.
        paused: true,
        bwe: held.transportCc,
        ...(layers === undefined
          ? {}
          : { preferredLayers: { spatial: layers.spatialLayer, temporal: layers.temporalLayer } }),
      });
      if (this.#closed || this.#sections.held.get(held.trackSid) !== held) {
        consumer.close();
        return;
      }
      this.#sections.attach(held, consumer);
      held.applied = { spatial: layers?.spatialLayer ?? 0, temporal: layers?.temporalLayer ?? 0, priority: 0 };
      consumer.once('close', (reason) => this.#onConsumerClosed(held, consumer, reason));
      this.#negotiation.change(this.#options.now());
    } catch (error) {
      this.#consumeFailed(held, error);
    }
  }

  #onConsumerClosed(held: Held, consumer: Held['consumer'], reason: string): void {
    if (reason === 'producer-closed' && held.consumer === consumer) {
      held.ended = true;
      this.#options.hooks.changed();
      this.#loop.request();
    }
  }

  #consumeFailed(held: Held, error: unknown): void {
    if (this.#closed || this.#transport?.closed === true) {
      return;
    }
    if (error instanceof PlenumError && error.reason === 'no-such-producer') {
      // Between the look-up and the engine's answer the producer closed; the next pass sees it missing.
      this.#sections.close(held.trackSid);
      this.#loop.request();
      return;
    }
    this.#options.log.warn({ err: error, trackSid: held.trackSid }, 'a track cannot be consumed');
    this.#sections.refuse(held);
    this.#options.hooks.changed();
  }

  async #tune(want: WantedSubscription): Promise<void> {
    const held = this.#sections.held.get(want.trackSid);
    if (held === undefined) {
      return;
    }
    held.want = want;
    try {
      await this.#tuneConsumer(held);
    } catch (error) {
      if (held.consumer?.closed !== true) {
        throw error;
      }
    }
  }

  async #tuneConsumer(held: Held): Promise<void> {
    const { consumer, applied, want } = held;
    const published = this.#options.producers.producer(held.producerId);
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
    const paused = want.paused || !held.bound;
    if (paused !== consumer.paused) {
      requests.push(paused ? consumer.pause() : consumer.resume());
    }
    this.#options.producers.setTaken(consumer, !paused);
    held.applied = { spatial, temporal, priority: want.priority };
    await Promise.all(requests);
  }

  #negotiate(transport: PeerTransport): void {
    const nowMs = this.#options.now();
    const dueMs = this.#negotiation.offerDueMs();
    if (dueMs !== undefined && dueMs <= nowMs && !this.#gaveUp) {
      this.#sendOffer(transport, nowMs);
    }
    const deadlineMs = this.#negotiation.answerDeadlineMs();
    if (deadlineMs !== undefined && deadlineMs <= nowMs && !this.#gaveUp) {
      this.#gaveUp = true;
      this.#options.hooks.failed('negotiation-timeout', 'the client did not answer an offer in time');
    }
    this.#arm();
  }

  #sendOffer(transport: PeerTransport, nowMs: number): void {
    const id = this.#negotiation.offer(nowMs);
    this.#sdpVersion += 1;
    const { slots, midToTrackId } = this.#sections.offer();
    const sdp = formatSubscriberOffer({
      transport: transport.local,
      sessionId: this.#options.sessionId,
      version: this.#sdpVersion,
      ...layout,
      slots,
    });
    this.#lastOffer = { id, sdp, midToTrackId };
    this.#options.hooks.offer(id, sdp, midToTrackId);
    this.#options.hooks.changed();
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const wakeMs = this.#gaveUp ? undefined : this.#negotiation.wakeMs();
    if (wakeMs !== undefined && !this.#closed) {
      // Timers may fire a little early against the monotonic clock; one more millisecond spares a second turn.
      this.#timer = setTimeout(() => this.#loop.request(), Math.max(wakeMs - this.#options.now(), 0) + 1);
    }
  }

  #report(error: unknown): void {
    if (this.#closed || this.#transport?.closed === true) {
      return;
    }
    const { failure, detail, logLevel } = failureOf(error);
    this.#options.log[logLevel]({ err: error }, 'a pass of the subscriber connection failed');
    this.#options.hooks.failed(failure, detail);
    this.#arm();
  }
}

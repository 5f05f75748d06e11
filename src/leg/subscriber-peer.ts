/** The connection on which the server offers: slots, consumers, one offer at a time, and the server's data channels. */
import { setTimeout as delay } from 'node:timers/promises';
import type { DataSubscriber } from '../media/data-subscriber.ts';
import { dataChannelLabels } from '../media/media-types.ts';
import type { PeerTransport } from '../media/peer-transport.ts';
import type { RoomRouter } from '../media/room-router.ts';
import type { Logger } from '../observe/log.ts';
import type { ActualSubscription, TransportState, WantedSubscription } from '../protocol/leg-messages.ts';
import type { SubscriberSnapshot } from '../protocol/leg-snapshot.ts';
import { formatSubscriberOffer } from '../sdp/offer.ts';
import { answerLimits, parseDescription } from '../sdp/parse.ts';
import { readSubscriberAnswer } from '../sdp/subscriber-answer.ts';
import { Negotiation } from '../subscription/negotiation.ts';
import { BitrateCap } from './bitrate-cap.ts';
import { failureOf } from './failure-of.ts';
import type { PeerHooks } from './peer-hooks.ts';
import type { ConsumableProducers } from './published-producer.ts';
import { ReconcileLoop } from './reconcile-loop.ts';
import { SubscriberSections, type Held } from './subscriber-sections.ts';
import { TrackConsumers } from './track-consumers.ts';

export type SubscriberPeerOptions = {
  router: () => Promise<RoomRouter>;
  producers: ConsumableProducers;
  /** Monotonic milliseconds. */
  now: () => number;
  firstOfferId: number;
  sessionId: string;
  /** See `SubscriberSections`. */
  retiresSections: boolean;
  /** See `SubscriberOffer`. */
  probatorStream?: string;
  answerTimeoutMs: number;
  /** See `LegIdentity`. */
  allowPause: boolean;
  /** Of the leg that this one is to take over from; it then waits for `activate`. */
  continues?: SubscriberSnapshot;
  log: Logger;
  hooks: PeerHooks & {
    offer: (id: number, sdp: string, midToTrackId: Record<string, string>) => void;
    /** The server's channels exist; what was queued before goes there now. */
    dataReady: (data: DataSubscriber) => void;
  };
};

/** `waiting`: makes itself ready to take over; `holding`: another one is about to take over, or has. */
type Phase = 'active' | 'waiting' | 'holding';

const holdLookMs = 10;
const collectMs = 10;
const spacingMs = 100;
const quickOffers = 4;
/** Sections before the slots; they can never change on a connection. */
const layout = { data: true, probator: true } as const;

export class SubscriberPeer {
  readonly #options: SubscriberPeerOptions;
  readonly #loop: ReconcileLoop;
  #negotiation: Negotiation;
  readonly #sections: SubscriberSections;
  readonly #consumers: TrackConsumers;
  /** The client's connection had other transports before. */
  readonly #isContinued: boolean;
  #phase: Phase;
  #sessionId: string;
  #transport: PeerTransport | undefined;
  #desired: readonly WantedSubscription[] = [];
  #desiredVersion = 0;
  #reachedVersion = 0;
  #lastOffer: { id: number; sdp: string; midToTrackId: Record<string, string> } | undefined;
  #answer: { id: number; sdp: string } | undefined;
  #restartWanted = false;
  #data: DataSubscriber | undefined;
  #gaveUp = false;
  readonly #cap = new BitrateCap();
  #sdpVersion = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: SubscriberPeerOptions) {
    this.#options = options;
    this.#sections = new SubscriberSections({ retires: options.retiresSections });
    const { continues, producers, log, hooks } = options;
    this.#isContinued = continues !== undefined;
    this.#consumers = new TrackConsumers({
      sections: this.#sections,
      producers,
      allowPause: options.allowPause,
      isContinued: this.#isContinued,
      isClosed: () => this.#closed || this.#transport?.closed === true,
      mustBeAlike: () => this.#phase === 'waiting',
      log,
      hooks: {
        ...hooks,
        offerDue: () => this.#negotiation.change(this.#options.now()),
        passDue: () => this.#loop.request(),
      },
    });
    this.#phase = this.#isContinued ? 'waiting' : 'active';
    this.#sessionId = options.sessionId;
    this.#negotiation = this.#createNegotiation(options.firstOfferId);
    this.#loop = new ReconcileLoop({ pass: () => this.#pass(), onError: (error) => this.#report(error) });
    this.#negotiation.change(options.now(), { urgent: true });
    if (continues !== undefined) {
      this.#restore(continues);
    }
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
    return this.#sections.actual(this.#consumers.missing);
  }

  /** Version of the wishes that `actual` was reached from. */
  get reachedVersion(): number {
    return this.#reachedVersion;
  }

  /** Whether it could take over: there is a transport, and a consumer for every section that has a track. */
  get isReady(): boolean {
    return this.#data !== undefined && this.#sections.hasConsumersFor(this.#desired);
  }

  snapshot(): SubscriberSnapshot {
    return {
      sessionId: this.#sessionId,
      sdpVersion: this.#sdpVersion,
      nextOfferId: this.#negotiation.nextId,
      bitrateCapBps: this.#cap.bitrateBps,
      channels: dataChannelLabels.filter((label) => this.#data?.isOpen(label)),
      ...this.#sections.snapshot(),
    };
  }

  /**
   * Nothing is offered or changed any more. Resolves when nothing is under way.
   * @param keepsOffer an offer that is not answered yet is waited for; else it counts as lost
   * @returns false when the client does not answer in time
   */
  async hold(keepsOffer: boolean, timeoutMs: number): Promise<boolean> {
    this.#phase = 'holding';
    clearTimeout(this.#timer);
    if (!keepsOffer) {
      this.#sections.dropOffer();
      this.#negotiation.restart(this.#options.now());
    }
    const deadlineMs = this.#options.now() + timeoutMs;
    while (this.#negotiation.answerDeadlineMs() !== undefined && this.#options.now() < deadlineMs && !this.#closed) {
      await delay(holdLookMs);
    }
    await this.#loop.idle();
    return this.#negotiation.answerDeadlineMs() === undefined;
  }

  /** It goes on after `hold`. */
  release(): void {
    if (this.#phase === 'holding') {
      this.#phase = 'active';
      this.#loop.request();
    }
  }

  /** It takes over: what the client has of the connection is in the snapshot, and its next offer is the one of this end. */
  async activate(snapshot: SubscriberSnapshot): Promise<void> {
    await this.#loop.idle();
    this.#restore(snapshot);
    this.#phase = 'active';
    this.#negotiation.change(this.#options.now(), { urgent: true });
    this.#loop.request();
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

  #createNegotiation(firstOfferId: number): Negotiation {
    const { answerTimeoutMs } = this.#options;
    return new Negotiation({ collectMs, spacingMs, quickOffers, answerTimeoutMs }, firstOfferId);
  }

  #restore(snapshot: SubscriberSnapshot): void {
    this.#sessionId = snapshot.sessionId;
    this.#sdpVersion = snapshot.sdpVersion;
    this.#cap.bitrateBps = snapshot.bitrateCapBps;
    this.#negotiation = this.#createNegotiation(snapshot.nextOfferId);
    this.#sections.restore(snapshot);
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
    this.#cap.bitrateBps = bitrateBps;
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
    if (this.#phase === 'holding') {
      return this.#applyAnswer(transport);
    }
    await this.#restartIce(transport);
    await this.#applyAnswer(transport);
    await this.#cap.apply(transport);
    await this.#reconcile(transport);
    // A restart that came meanwhile is the next pass: an offer with the old credentials would only be in its way.
    if (!this.#closed && !transport.closed && !this.#restartWanted && this.#phase === 'active') {
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
    const data = await transport.openDataSubscriber({ known: this.#options.continues?.channels ?? [] });
    if (!this.#closed) {
      this.#data = data;
      this.#options.hooks.dataReady(data);
    }
    return transport;
  }

  #onState(state: TransportState): void {
    this.#options.hooks.changed();
    // Forwarding waits for it where another transport served the client before.
    this.#loop.request();
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

  async #reconcile(transport: PeerTransport): Promise<void> {
    const version = this.#desiredVersion;
    await this.#consumers.reconcile(transport, this.#desired);
    if (version !== this.#reachedVersion) {
      this.#reachedVersion = version;
      this.#options.hooks.changed();
    }
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
    const { probatorStream } = this.#options;
    const sdp = formatSubscriberOffer({
      transport: transport.local,
      sessionId: this.#sessionId,
      version: this.#sdpVersion,
      ...layout,
      ...(probatorStream === undefined ? {} : { probatorStream }),
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

/**
 * What a client receives on the one connection on which it also sends: it offers the sections, and the server asks for an
 * offer when it has something to change.
 */
import type { DataSubscriber } from '../media/data-subscriber.ts';
import { dataChannelLabels } from '../media/media-types.ts';
import type { PeerTransport } from '../media/peer-transport.ts';
import type { RoomRouter } from '../media/room-router.ts';
import type { Logger } from '../observe/log.ts';
import type { ActualSubscription, MediaKind, TransportState, WantedSubscription } from '../protocol/leg-messages.ts';
import type { PublisherSnapshot, SubscriberSnapshot } from '../protocol/leg-snapshot.ts';
import { type ClientNumbers, readClientNumbers } from '../sdp/client-numbers.ts';
import type { Section, SessionDescription } from '../sdp/description.ts';
import type { SubscriberSlot } from '../sdp/offer.ts';
import { answerLimits, parseDescription } from '../sdp/parse.ts';
import type { RtpCapabilities, RtpCodecParameters } from '../sdp/rtp.ts';
import { Negotiation } from '../subscription/negotiation.ts';
import { BitrateCap } from './bitrate-cap.ts';
import { failureOf } from './failure-of.ts';
import type { PeerHooks } from './peer-hooks.ts';
import type { ConsumableProducers } from './published-producer.ts';
import type { OfferReceiver } from './publisher-peer.ts';
import { ReconcileLoop } from './reconcile-loop.ts';
import { SubscriberSections, type Held } from './subscriber-sections.ts';
import { TrackConsumers } from './track-consumers.ts';

export type SectionCounts = { audio: number; video: number };

export type SingleSubscriberOptions = {
  router: () => Promise<RoomRouter>;
  producers: ConsumableProducers;
  /** Monotonic milliseconds. */
  now: () => number;
  /** See `SubscriberSections`. */
  retiresSections: boolean;
  answerTimeoutMs: number;
  /** See `LegIdentity`. */
  allowPause: boolean;
  /** Of the leg that this one is to take over from; it then waits for `activate`. */
  continues?: { subscriber: SubscriberSnapshot; channels: PublisherSnapshot['channels'] };
  log: Logger;
  hooks: PeerHooks & {
    /** The client is to offer, with so many sections more to receive in. */
    sectionsNeeded: (counts: SectionCounts) => void;
    dataReady: (data: DataSubscriber) => void;
  };
};

type Offer = { description: SessionDescription; sdp: string; taken: () => void };

/** `waiting`: makes itself ready to take over; `holding`: another one is about to take over, or has. */
type Phase = 'active' | 'waiting' | 'holding';

const timing = { collectMs: 10, spacingMs: 100, quickOffers: 4 } as const;
const emptyOffer = { sections: [] };
/** The worker has eight bytes for it in a packet. */
const maxMidLength = 8;

export class SingleSubscriber implements OfferReceiver {
  readonly #options: SingleSubscriberOptions;
  readonly #loop: ReconcileLoop;
  readonly #negotiation: Negotiation;
  readonly #sections: SubscriberSections;
  readonly #consumers: TrackConsumers;
  #phase: Phase;
  #transport: PeerTransport | undefined;
  #data: DataSubscriber | undefined;
  #desired: readonly WantedSubscription[] = [];
  #desiredVersion = 0;
  #reachedVersion = 0;
  #offer: Offer | undefined;
  /** Of the client's last offer, by mid. */
  #offered = new Map<string, Section>();
  #lastOffer: string | undefined;
  #router: RtpCapabilities = {};
  /**
   * The section that stands for the transport of all (RFC 9143 section 7.2). libwebrtc refuses an answer that rejects it,
   * so it only rests once its track ended.
   */
  #tag: string | undefined;
  /** Sections that the client was asked for and has not offered yet. */
  #asked: SectionCounts = { audio: 0, video: 0 };
  readonly #cap = new BitrateCap();
  #gaveUp = false;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: SingleSubscriberOptions) {
    this.#options = options;
    const { producers, log, hooks, answerTimeoutMs, retiresSections, continues } = options;
    this.#phase = continues === undefined ? 'active' : 'waiting';
    this.#sections = new SubscriberSections({ retires: retiresSections, offeredByClient: true });
    this.#negotiation = new Negotiation({ ...timing, answerTimeoutMs }, 1);
    this.#loop = new ReconcileLoop({ pass: () => this.#pass(), onError: (error) => this.#report(error) });
    this.#consumers = new TrackConsumers({
      sections: this.#sections,
      producers,
      allowPause: options.allowPause,
      isContinued: continues !== undefined,
      isClosed: () => this.#closed || this.#transport?.closed === true,
      mustBeAlike: () => this.#phase === 'waiting',
      numbersOf: (mid, bandwidthEstimation) => this.#numbersOf(mid, bandwidthEstimation),
      log,
      hooks: {
        ...hooks,
        offerDue: () => this.#negotiation.change(this.#options.now()),
        passDue: () => this.#loop.request(),
      },
    });
    if (continues !== undefined) {
      this.#restore(continues.subscriber);
    }
  }

  get transport(): PeerTransport | undefined {
    return this.#transport;
  }

  get state(): TransportState {
    return this.#transport?.state ?? 'new';
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
      // Of descriptions that this end offers, of which there are none.
      sessionId: '',
      sdpVersion: 0,
      nextOfferId: 0,
      bitrateCapBps: this.#cap.bitrateBps,
      channels: dataChannelLabels.filter((label) => this.#data?.isOpen(label)),
      ...(this.#lastOffer === undefined ? {} : { offer: this.#lastOffer }),
      ...this.#sections.snapshot(),
    };
  }

  /** Nothing is asked for or changed any more. Resolves when nothing is under way; the client offers when it resumes. */
  async hold(): Promise<boolean> {
    this.#phase = 'holding';
    clearTimeout(this.#timer);
    await this.#loop.idle();
    return true;
  }

  /** It goes on after `hold`. */
  release(): void {
    if (this.#phase === 'holding') {
      this.#phase = 'active';
      this.#loop.request();
    }
  }

  /** It takes over: what the client has is in the snapshot, and it is about to offer. */
  async activate(snapshot: SubscriberSnapshot): Promise<void> {
    await this.#loop.idle();
    this.#restore(snapshot);
    this.#phase = 'active';
    this.restart();
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

  /** @param bitrateBps 0 = no cap. */
  limitBandwidth(bitrateBps: number): void {
    this.#cap.bitrateBps = bitrateBps;
    this.#loop.request();
  }

  async attach(transport: PeerTransport): Promise<void> {
    transport.on('state', () => this.#loop.request());
    const { channels = [] } = this.#options.continues ?? {};
    const data = await transport.openDataSubscriber({ answers: channels });
    this.#router = (await this.#options.router()).rtpCapabilities;
    this.#transport = transport;
    if (!this.#closed) {
      this.#data = data;
      this.#options.hooks.dataReady(data);
      this.#loop.request();
    }
  }

  offered(offer: { description: SessionDescription; sdp: string }): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#offer?.taken();
    this.#offer = { ...offer, taken: resolve };
    this.#loop.request();
    return this.#closed ? Promise.resolve() : promise;
  }

  answer(): { slots: SubscriberSlot[]; midToTrackId: Record<string, string> } {
    const { slots: all, midToTrackId } = this.#sections.offer();
    const slots = all.map((slot) => (slot.mid === this.#tag ? { ...slot, retired: false } : slot));
    const retired = slots.filter((slot) => slot.retired === true).map(({ mid }) => mid);
    this.#sections.answered({ accepted: new Set(this.#offered.keys()), rejected: new Set(retired) });
    this.#negotiation.settle({ isAwaited: this.#asked.audio + this.#asked.video > 0 });
    this.#options.hooks.changed();
    // What was bound flows from now on, and what found no place is asked for.
    this.#loop.request();
    return { slots, midToTrackId };
  }

  /** The client has a new socket. What it was asked on the old one may be lost, but it offers by itself. */
  restart(): void {
    this.#gaveUp = false;
    this.#asked = { audio: 0, video: 0 };
    const nowMs = this.#options.now();
    this.#negotiation.restart(nowMs);
    this.#negotiation.offer(nowMs);
    this.#arm();
  }

  /** The client may not have heard that it is to offer. */
  repeatOffer(): void {
    if (this.#negotiation.answerDeadlineMs() !== undefined && !this.#closed) {
      const nowMs = this.#options.now();
      this.#asked = { audio: 0, video: 0 };
      this.#negotiation.restart(nowMs);
      this.#loop.request();
    }
  }

  /** Its transport is closed by whoever made it, after this. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#offer?.taken();
    await this.#loop.close();
  }

  async #pass(): Promise<void> {
    const transport = this.#transport;
    const offer = this.#offer;
    this.#offer = undefined;
    try {
      if (transport === undefined || transport.closed || this.#closed) {
        return;
      }
      if (this.#phase === 'holding') {
        return;
      }
      if (offer !== undefined) {
        this.#lastOffer = offer.sdp;
        this.#follow(offer.description);
      }
      await this.#cap.apply(transport);
      const version = this.#desiredVersion;
      await this.#consumers.reconcile(transport, this.#desired);
      if (version !== this.#reachedVersion) {
        this.#reachedVersion = version;
        this.#options.hooks.changed();
      }
    } finally {
      offer?.taken();
    }
    if (offer === undefined && !this.#closed && this.#phase === 'active' && this.#lastOffer !== undefined) {
      this.#negotiate();
    }
  }

  #restore(snapshot: SubscriberSnapshot): void {
    this.#cap.bitrateBps = snapshot.bitrateCapBps;
    this.#lastOffer = snapshot.offer;
    const { sections } = snapshot.offer === undefined ? emptyOffer : parseDescription(snapshot.offer, answerLimits);
    this.#offered = new Map(sections.filter(isReceiving).map((section) => [section.mid, section]));
    this.#sections.restore(snapshot);
  }

  #follow(description: SessionDescription): void {
    const sections = description.sections.filter(isReceiving);
    [this.#tag] = description.bundle;
    const fresh = { audio: 0, video: 0 };
    for (const { mid, kind } of sections) {
      if (!this.#offered.has(mid)) {
        fresh[kind] += 1;
      }
    }
    this.#asked = {
      audio: Math.max(0, this.#asked.audio - fresh.audio),
      video: Math.max(0, this.#asked.video - fresh.video),
    };
    this.#offered = new Map(sections.map((section) => [section.mid, section]));
    this.#sections.follow(sections);
    for (const held of [...this.#sections.held.values()]) {
      const codec = held.consumer?.rtpParameters.codecs[0];
      if (codec !== undefined && !offersCodec(this.#offered.get(held.mid), codec)) {
        this.#sections.refuse(held);
        this.#options.hooks.changed();
      }
    }
  }

  #numbersOf(mid: string, bandwidthEstimation: boolean): ClientNumbers | undefined {
    const section = this.#offered.get(mid);
    return section === undefined ? undefined : readClientNumbers(section, this.#router, { bandwidthEstimation });
  }

  #negotiate(): void {
    const nowMs = this.#options.now();
    const lacking = this.#lacking();
    if (lacking.audio + lacking.video > 0) {
      this.#negotiation.change(nowMs);
    }
    const dueMs = this.#negotiation.offerDueMs();
    if (dueMs !== undefined && dueMs <= nowMs && !this.#gaveUp) {
      this.#negotiation.offer(nowMs);
      this.#asked = { audio: this.#asked.audio + lacking.audio, video: this.#asked.video + lacking.video };
      this.#options.hooks.sectionsNeeded(lacking);
    }
    const deadlineMs = this.#negotiation.answerDeadlineMs();
    if (deadlineMs !== undefined && deadlineMs <= nowMs && !this.#gaveUp) {
      this.#gaveUp = true;
      this.#options.hooks.failed('negotiation-timeout', 'the client did not offer in time');
    }
    this.#arm();
  }

  /** Sections that have yet to be asked for. */
  #lacking(): SectionCounts {
    const lacking = (kind: MediaKind): number => {
      const placeless = this.#consumers.placeless.filter((want) => want.kind === kind).length;
      return Math.max(0, placeless - this.#asked[kind] - this.#sections.emptying(kind));
    };
    return { audio: lacking('audio'), video: lacking('video') };
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
    this.#options.log[logLevel]({ err: error }, 'a pass of the receiving side failed');
    this.#options.hooks.failed(failure, detail);
    this.#arm();
  }
}

/** A client may come to lack a codec that it offered before. */
function offersCodec(section: Section | undefined, { payloadType, mimeType }: RtpCodecParameters): boolean {
  const matches = section?.codecs.filter((codec) => codec.payloadType === payloadType) ?? [];
  return matches.some(({ name }) => mimeType.toLowerCase().endsWith(`/${name.toLowerCase()}`));
}

function isReceiving(section: Section): section is Section & { kind: MediaKind } {
  const isMedia = section.kind === 'audio' || section.kind === 'video';
  return isMedia && !section.rejected && section.direction === 'recvonly' && section.mid.length <= maxMidLength;
}

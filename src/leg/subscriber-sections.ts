/** What the subscriber connection carries: subscriptions, their consumers, and the sections that hold them. */
import type { MediaConsumer } from '../media/media-consumer.ts';
import type { ActualSubscription, WantedSubscription } from '../protocol/leg-messages.ts';
import type { SubscriberSnapshot } from '../protocol/leg-snapshot.ts';
import type { SubscriberSlot } from '../sdp/offer.ts';
import type { MediaKind, RtpParameters } from '../sdp/rtp.ts';
import type { HeldSubscription } from '../subscription/plan-subscriptions.ts';
import { SlotTable } from '../subscription/slots.ts';

export type Held = HeldSubscription & {
  want: WantedSubscription;
  mid: string;
  consumer: MediaConsumer | undefined;
  /** The section was in an offer with this consumer. */
  offered: boolean;
  /** The client accepted that offer. */
  bound: boolean;
  /** What the consumer was told last. */
  applied: AppliedSettings | undefined;
  /** Of the producer that is going to carry the track. */
  successor: Successor | undefined;
  /** Goes on until the client has accepted the one that took its place. */
  former: MediaConsumer | undefined;
};

export type AppliedSettings = { spatial: number; temporal: number; priority: number };

/** A paused consumer beside the one that flows. */
export type Successor = { producerId: string; transportCc: boolean; consumer: MediaConsumer; applied: AppliedSettings };

/** What of a snapshot concerns the sections. */
export type SectionsSnapshot = Pick<
  SubscriberSnapshot,
  'nextMid' | 'slots' | 'order' | 'media' | 'subscriptions' | 'refused'
>;

type OfferedSection = { slot: SubscriberSlot; consumer: MediaConsumer | undefined };

export type OfferContent = { slots: SubscriberSlot[]; midToTrackId: Record<string, string> };

/** `m=application` is mid 0; the probation section has a name of its own. */
const firstMid = 1;

export class SubscriberSections {
  readonly #slots: SlotTable;
  readonly #retires: boolean;
  #held = new Map<string, Held>();
  /** Producer by track sid whose codec the client refused. */
  readonly #refused = new Map<string, string>();
  /** Media of each section as it was last offered: an inactive section still has to state codecs. */
  readonly #media = new Map<string, { kind: MediaKind; rtpParameters: RtpParameters }>();
  /** Mids in the order in which they first appeared in an offer, which is the order of the sections for ever. */
  #order: string[] = [];
  #offered: OfferedSection[] = [];

  /**
   * @param options.retires a section serves one track only, for clients that do not notice a track that comes back in it
   * @param options.offeredByClient sections are those that the client offers (see `follow`), and none are added
   */
  constructor({ retires, offeredByClient = false }: { retires: boolean; offeredByClient?: boolean }) {
    this.#retires = retires;
    this.#slots = new SlotTable({ firstMid, retires, offeredByClient });
  }

  /** The client offers these sections to receive in. Tracks whose section is not among them need another one. */
  follow(offered: readonly { mid: string; kind: MediaKind }[]): void {
    const lost = new Set(this.#slots.follow(offered));
    for (const { trackSid, mid } of [...this.#held.values()]) {
      if (lost.has(mid)) {
        this.close(trackSid);
      }
    }
    this.#order = offered.map(({ mid }) => mid);
  }

  /** Sections that the next answer makes free. */
  emptying(kind: MediaKind): number {
    return this.#retires
      ? 0
      : this.#slots.list().filter((slot) => slot.phase === 'draining' && slot.kind === kind).length;
  }

  get held(): ReadonlyMap<string, Held> {
    return this.#held;
  }

  get refused(): ReadonlyMap<string, string> {
    return this.#refused;
  }

  /**
   * Takes a slot before anything is awaited, so that no other subscription can get it meanwhile.
   * @returns undefined when there is none
   */
  open(want: WantedSubscription, transportCc: boolean): Held | undefined {
    const mid = this.#slots.take(want.kind, want.trackSid);
    if (mid === undefined) {
      return undefined;
    }
    const held = emptyHeld({ want, transportCc, mid });
    this.#held.set(want.trackSid, held);
    this.#refused.delete(want.trackSid);
    return held;
  }

  /** Closes the consumer and leaves the slot to others. */
  close(trackSid: string): void {
    const held = this.#held.get(trackSid);
    if (held !== undefined) {
      this.#held.delete(trackSid);
      closeConsumers(held);
      this.#slots.release(held.mid);
    }
  }

  setSuccessor(held: Held, successor: Successor | undefined): void {
    held.successor?.consumer.close();
    held.successor = successor;
    held.successorId = successor?.producerId;
  }

  /**
   * Another producer takes over the slot. @returns false when its consumer has yet to be made.
   * What flowed goes on until the client has answered.
   */
  swap(held: Held, want: WantedSubscription, transportCc: boolean): boolean {
    const { successor } = held;
    const isReady = successor?.producerId === want.producerId && successor.transportCc === transportCc;
    const fits = isReady && !successor.consumer.closed;
    const flowing = held.consumer;
    held.consumer = undefined;
    this.reopen(held, transportCc);
    held.former?.close();
    held.former = flowing;
    held.want = want;
    held.producerId = want.producerId;
    held.ended = false;
    if (successor !== undefined && fits) {
      held.successor = undefined;
      held.applied = successor.applied;
      this.attach(held, successor.consumer);
    }
    this.setSuccessor(held, undefined);
    return fits;
  }

  /** The same slot gets another consumer. */
  reopen(held: Held, transportCc: boolean): void {
    held.consumer?.close();
    held.consumer = undefined;
    held.transportCc = transportCc;
    held.offered = false;
    held.bound = false;
    held.applied = undefined;
  }

  /** Whether the section can go on with this consumer: the client knows its codecs and extensions by their numbers. */
  isLike(held: Held, consumer: MediaConsumer): boolean {
    const media = this.#media.get(held.mid);
    return media === undefined || numbersOf(media.rtpParameters) === numbersOf(consumer.rtpParameters);
  }

  attach(held: Held, consumer: MediaConsumer): void {
    held.consumer = consumer;
    held.awaitsConsumer = false;
    this.#media.set(held.mid, { kind: held.kind, rtpParameters: consumer.rtpParameters });
  }

  /** This producer cannot be had by this client; another one of the track can. */
  refuse(held: Held): void {
    this.close(held.trackSid);
    this.#refused.set(held.trackSid, held.producerId);
  }

  /** Forgets refusals of tracks that are not wanted any more, so that a new wish is a new try. */
  keepRefusals(desired: readonly WantedSubscription[]): void {
    const wanted = new Set<string>(desired.map((want) => want.trackSid));
    for (const trackSid of this.#refused.keys()) {
      if (!wanted.has(trackSid)) {
        this.#refused.delete(trackSid);
      }
    }
  }

  /** The content of the next offer, which is then under way. */
  offer(): OfferContent {
    const byMid = new Map(
      [...this.#held.values()].filter((held) => held.consumer !== undefined).map((held) => [held.mid, held]),
    );
    const taken = new Set(
      this.#slots
        .list()
        .filter(({ phase }) => phase === 'taken')
        .map(({ mid }) => mid),
    );
    this.#placeNew(byMid);
    this.#offered = [];
    const midToTrackId: Record<string, string> = {};
    for (const mid of this.#order) {
      const held = byMid.get(mid);
      const media = this.#media.get(mid);
      if (media === undefined) {
        continue;
      }
      if (held !== undefined) {
        midToTrackId[mid] = held.trackSid;
        held.offered = true;
      }
      const track = held === undefined ? {} : { track: { streamId: held.want.streamId, trackId: held.trackSid } };
      const retired = this.#retires && !taken.has(mid);
      this.#offered.push({ slot: { mid, ...media, ...track, retired }, consumer: held?.consumer });
    }
    this.#slots.offered();
    return { slots: this.#offered.map((section) => section.slot), midToTrackId };
  }

  /** Whether each section that has one of these tracks has a consumer for it. */
  hasConsumersFor(wanted: readonly WantedSubscription[]): boolean {
    return wanted.every(({ trackSid }) => this.#held.get(trackSid)?.awaitsConsumer !== true);
  }

  snapshot(): SectionsSnapshot {
    return {
      ...this.#slots.snapshot(),
      order: [...this.#order],
      media: [...this.#media].map(([mid, media]) => ({ mid, ...media })),
      subscriptions: [...this.#held.values()].map(({ mid, producerId, transportCc, want }) => ({
        mid,
        producerId,
        transportCc,
        want,
      })),
      refused: [...this.#refused].map(([trackSid, producerId]) => ({ trackSid, producerId })),
    };
  }

  /** Becomes like those of another leg; consumers that were made for an earlier state of them stay where they fit. */
  restore(snapshot: SectionsSnapshot): void {
    const before = this.#held;
    this.#slots.restore(snapshot);
    this.#order = [...snapshot.order];
    this.#offered = [];
    this.#media.clear();
    for (const { mid, kind, rtpParameters } of snapshot.media) {
      this.#media.set(mid, { kind, rtpParameters });
    }
    this.#refused.clear();
    for (const { trackSid, producerId } of snapshot.refused) {
      this.#refused.set(trackSid, producerId);
    }
    this.#held = new Map();
    for (const { mid, producerId, transportCc, want } of snapshot.subscriptions) {
      const known = before.get(want.trackSid);
      const consumer = known?.consumer;
      if (known?.mid === mid && known.producerId === producerId && consumer?.closed === false) {
        before.delete(want.trackSid);
        this.attach(known, consumer);
        this.#held.set(want.trackSid, known);
      } else {
        this.#held.set(want.trackSid, {
          ...emptyHeld({ want, transportCc, mid }),
          producerId,
          awaitsConsumer: true,
        });
      }
    }
    for (const gone of before.values()) {
      closeConsumers(gone);
    }
  }

  get offeredSlots(): SubscriberSlot[] {
    return this.#offered.map((section) => section.slot);
  }

  /**
   * The client answered. @returns whether anything has to be offered again.
   * @param sections mids that it accepted, refused, or rejected for good.
   */
  answered(sections: { accepted: ReadonlySet<string>; rejected: ReadonlySet<string> }): boolean {
    let changed = false;
    const byMid = new Map([...this.#held.values()].map((held) => [held.mid, held]));
    for (const { slot, consumer } of this.#offered) {
      const held = byMid.get(slot.mid);
      // The slot may have got another consumer since the offer; that one waits for its own.
      if (held !== undefined && consumer !== undefined && held.consumer === consumer) {
        if (sections.accepted.has(slot.mid)) {
          held.bound = true;
          held.former?.close();
          held.former = undefined;
        } else {
          this.refuse(held);
          changed = true;
        }
      }
      if (sections.rejected.has(slot.mid)) {
        this.#slots.kill(slot.mid);
      }
    }
    this.#slots.answered();
    this.#offered = [];
    return changed;
  }

  dropOffer(): void {
    this.#offered = [];
    this.#slots.dropped();
  }

  actual(missing: readonly WantedSubscription[]): ActualSubscription[] {
    const states: ActualSubscription[] = [];
    for (const { want, offered, bound, ended, producerId, successorId } of this.#held.values()) {
      if (offered && !ended) {
        const ready = successorId === undefined ? {} : { successorId };
        states.push({ trackSid: want.trackSid, producerId, state: bound ? 'bound' : 'offered', ...ready });
      }
    }
    for (const [trackSid, producerId] of this.#refused) {
      states.push({ trackSid: trackSid as ActualSubscription['trackSid'], producerId, state: 'codec-unsupported' });
    }
    for (const want of missing) {
      states.push({ trackSid: want.trackSid, producerId: want.producerId, state: 'no-producer' });
    }
    return states;
  }

  #placeNew(byMid: ReadonlyMap<string, Held>): void {
    const known = new Set(this.#order);
    for (const mid of byMid.keys()) {
      const former = this.#slots.replacedBy(mid);
      const place = former === undefined ? -1 : this.#order.indexOf(former);
      if (!known.has(mid) && former !== undefined && place !== -1) {
        this.#order[place] = mid;
        this.#media.delete(former);
      } else if (!known.has(mid)) {
        this.#order.push(mid);
      }
    }
  }
}

function emptyHeld(options: { want: WantedSubscription; transportCc: boolean; mid: string }): Held {
  const { want, transportCc, mid } = options;
  return {
    trackSid: want.trackSid,
    producerId: want.producerId,
    kind: want.kind,
    transportCc,
    ended: false,
    want,
    mid,
    consumer: undefined,
    offered: false,
    bound: false,
    applied: undefined,
    successor: undefined,
    successorId: undefined,
    former: undefined,
  };
}

function numbersOf({ codecs, headerExtensions = [] }: RtpParameters): string {
  const codecNumbers = codecs.map(({ mimeType, payloadType }) => `${mimeType.toLowerCase()} ${payloadType}`);
  return JSON.stringify([codecNumbers, headerExtensions.map(({ uri, id }) => `${uri} ${id}`).toSorted()]);
}

function closeConsumers({ consumer, former, successor }: Held): void {
  consumer?.close();
  former?.close();
  successor?.consumer.close();
}

/** What the subscriber connection carries: subscriptions, their consumers, and the sections that hold them. */
import type { MediaConsumer } from '../media/media-consumer.ts';
import type { ActualSubscription, WantedSubscription } from '../protocol/leg-messages.ts';
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
  applied: { spatial: number; temporal: number; priority: number } | undefined;
};

type OfferedSection = { slot: SubscriberSlot; consumer: MediaConsumer | undefined };

export type OfferContent = { slots: SubscriberSlot[]; midToTrackId: Record<string, string> };

/** `m=application` is mid 0; the probation section has a name of its own. */
const firstMid = 1;

export class SubscriberSections {
  readonly #slots: SlotTable;
  readonly #retires: boolean;
  readonly #held = new Map<string, Held>();
  /** Producer by track sid whose codec the client refused. */
  readonly #refused = new Map<string, string>();
  /** Media of each section as it was last offered: an inactive section still has to state codecs. */
  readonly #media = new Map<string, { kind: MediaKind; rtpParameters: RtpParameters }>();
  /** Mids in the order in which they first appeared in an offer, which is the order of the sections for ever. */
  readonly #order: string[] = [];
  #offered: OfferedSection[] = [];

  /** @param options.retires a section serves one track only, for clients that do not notice a track that comes back in it. */
  constructor(options: { retires: boolean }) {
    this.#retires = options.retires;
    this.#slots = new SlotTable({ firstMid, retires: options.retires });
  }

  get held(): ReadonlyMap<string, Held> {
    return this.#held;
  }

  get refused(): ReadonlyMap<string, string> {
    return this.#refused;
  }

  /** Takes a slot before anything is awaited, so that no other subscription can get it meanwhile. */
  open(want: WantedSubscription, transportCc: boolean): Held {
    const held: Held = {
      trackSid: want.trackSid,
      producerId: want.producerId,
      kind: want.kind,
      transportCc,
      ended: false,
      want,
      mid: this.#slots.take(want.kind, want.trackSid),
      consumer: undefined,
      offered: false,
      bound: false,
      applied: undefined,
    };
    this.#held.set(want.trackSid, held);
    this.#refused.delete(want.trackSid);
    return held;
  }

  /** Closes the consumer and leaves the slot to others. */
  close(trackSid: string): void {
    const held = this.#held.get(trackSid);
    if (held !== undefined) {
      this.#held.delete(trackSid);
      held.consumer?.close();
      this.#slots.release(held.mid);
    }
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

  attach(held: Held, consumer: MediaConsumer): void {
    held.consumer = consumer;
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
    for (const { want, offered, bound, ended, producerId } of this.#held.values()) {
      if (offered && !ended) {
        states.push({ trackSid: want.trackSid, producerId, state: bound ? 'bound' : 'offered' });
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

/** The connection on which the client offers: its producers, its data channels, and the answers. */
import type { DataPublisher } from '../media/data-publisher.ts';
import type { MediaProducer } from '../media/media-producer.ts';
import type { PeerTransport, ProduceOptions } from '../media/peer-transport.ts';
import type { RoomRouter } from '../media/room-router.ts';
import type { Logger } from '../observe/log.ts';
import type {
  ActualPublication,
  DeclaredCodec,
  MediaKind,
  ProducerHome,
  TransportState,
  WantedPublication,
} from '../protocol/leg-messages.ts';
import type { PublicationSnapshot, PublisherSnapshot } from '../protocol/leg-snapshot.ts';
import { formatPublisherAnswer } from '../sdp/answer.ts';
import { isSending, type SessionDescription } from '../sdp/description.ts';
import { matchSections, type SectionMatch } from '../sdp/match.ts';
import type { SubscriberSlot } from '../sdp/offer.ts';
import { answerLimits, offerLimits, parseDescription } from '../sdp/parse.ts';
import { planPublication, type AcceptedSection, type PublicationPlan } from '../sdp/publish.ts';
import { readRemoteTransport } from '../sdp/transport.ts';
import { failureOf } from './failure-of.ts';
import { withKnownStreams } from './known-streams.ts';
import type { PeerHooks } from './peer-hooks.ts';
import { producerFacts } from './producer-facts.ts';
import type { ProducerDirectory } from './published-producer.ts';
import { ReconcileLoop } from './reconcile-loop.ts';

export type PublisherPeerOptions = {
  router: () => Promise<RoomRouter>;
  home: () => ProducerHome;
  producers: ProducerDirectory;
  /** A number that no producer of this node has had yet: ids are unique per worker, also over republishing. */
  nextGeneration: () => number;
  sessionId: string;
  /** Of the leg that this one is to take over from; it then waits for `activate`. */
  continues?: PublisherSnapshot;
  /** The client receives on this connection as well (single peer connection). */
  receiver?: OfferReceiver;
  log: Logger;
  hooks: PeerHooks & {
    /** @param midToTrackId what the client receives in which section; absent where it receives on another connection */
    answer: (id: number, sdp: string, midToTrackId?: Record<string, string>) => void;
    dataReady: (data: DataPublisher) => void;
  };
};

/** What of the client's offers concerns the tracks that it receives. */
export interface OfferReceiver {
  /** The connection is there; its channels are made after this. */
  attach(transport: PeerTransport): Promise<void>;
  /** Takes the sections that the client receives in. Resolves when all that can be sent in them is ready. */
  offered(offer: { description: SessionDescription; sdp: string }): Promise<void>;
  /** What the answer says of them; from here on it counts as said. */
  answer(): { slots: SubscriberSlot[]; midToTrackId: Record<string, string> };
}

type Wish = { kind: WantedPublication['kind']; cid: string; publication: WantedPublication; codec: DeclaredCodec };

export type Published = {
  mid: string;
  cid: string;
  sdpCid: string;
  trackSid: string;
  plan: PublicationPlan;
  producer: MediaProducer;
  actual: ActualPublication;
};

/**
 * All subscribers that join or switch layers within this time share one key frame. While a crowd comes, it waits this long
 * for its first picture, and the publisher makes 2.5 key frames a second, each as large as four or five frames.
 */
const keyFrameRequestDelayMs = 400;

export class PublisherPeer {
  readonly #options: PublisherPeerOptions;
  readonly #loop: ReconcileLoop;
  readonly #published = new Map<string, Published>();
  /** How each section was last accepted: one that rests has to be answered alike. */
  readonly #remembered = new Map<string, AcceptedSection>();
  #transport: PeerTransport | undefined;
  #wanted: readonly WantedPublication[] = [];
  #wantedVersion = 0;
  #reachedVersion = 0;
  #offer: { id: number; sdp: string } | undefined;
  #remoteUfrag: string | undefined;
  #hasData = false;
  #data: DataPublisher | undefined;
  #sdpVersion = 0;
  #sessionId: string;
  /** What has yet to be made as it was on another leg. */
  #continues: PublisherSnapshot | undefined;
  #isHolding = false;
  #closed = false;

  constructor(options: PublisherPeerOptions) {
    this.#options = options;
    this.#sessionId = options.sessionId;
    this.#continues = options.continues;
    this.#loop = new ReconcileLoop({ pass: () => this.#pass(), onError: (error) => this.#report(error) });
  }

  get state(): TransportState {
    return this.#transport?.state ?? 'new';
  }

  get transport(): PeerTransport | undefined {
    return this.#transport;
  }

  actual(): ActualPublication[] {
    return [...this.#published.values()].map((published) => published.actual);
  }

  /** Version of the wishes that `actual` was reached from. */
  get reachedVersion(): number {
    return this.#reachedVersion;
  }

  /** Published tracks by mid of their sections. */
  get published(): ReadonlyMap<string, Published> {
    return this.#published;
  }

  /** What it was to continue is made. */
  get isReady(): boolean {
    return this.#continues === undefined;
  }

  /** Undefined when there is no connection. */
  async snapshot(): Promise<PublisherSnapshot | undefined> {
    await this.#loop.idle();
    const transport = this.#transport;
    if (transport === undefined) {
      return undefined;
    }
    const stats = await transport.stats();
    const streams = new Map(stats.producers.map(({ producerId, layers }) => [producerId, layers]));
    return {
      sessionId: this.#sessionId,
      sdpVersion: this.#sdpVersion,
      publications: [...this.#published.values()].map(({ mid, cid, sdpCid, trackSid, plan, producer }) => {
        const rtpParameters = withKnownStreams(plan.rtpParameters, streams.get(producer.id) ?? []);
        return { mid, cid, sdpCid, trackSid, plan: { ...plan, rtpParameters } };
      }),
      remembered: [...this.#remembered].map(([mid, accepted]) => ({ mid, accepted })),
      hasData: this.#hasData,
      channels: [...(this.#data?.labels ?? [])].map(([streamId, label]) => ({ streamId, label })),
    };
  }

  /** Offers are for another leg from now on. */
  hold(): void {
    this.#isHolding = true;
  }

  release(): void {
    this.#isHolding = false;
    this.#loop.request();
  }

  /** It takes over: what changed since it was made ready is made alike. Offers of the client may come before or after. */
  activate(snapshot: PublisherSnapshot | undefined): void {
    this.#continues = snapshot;
    this.#loop.request();
  }

  setWanted(publications: readonly WantedPublication[], version: number): void {
    this.#wanted = publications;
    this.#wantedVersion = version;
    this.#loop.request();
  }

  /** Only the newest offer counts: clients drop answers to older ones. */
  clientOffer(id: number, sdp: string): void {
    this.#offer = { id, sdp };
    this.#loop.request();
  }

  /** Its tracks end at once; the transport waits for what is under way, as that of a subscriber does. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const published of [...this.#published.values()]) {
      this.#unpublish(published);
    }
    await this.#loop.close();
    this.#transport?.close();
  }

  async #pass(): Promise<void> {
    if (this.#isHolding) {
      return;
    }
    const version = this.#wantedVersion;
    await this.#continueFormer();
    this.#dropUnwanted();
    const offer = this.#offer;
    this.#offer = undefined;
    if (offer !== undefined) {
      await this.#applyOffer(offer);
    }
    await this.#applyMutes();
    if (version !== this.#reachedVersion) {
      this.#reachedVersion = version;
      this.#options.hooks.changed();
    }
  }

  /** Producers, channels and numbers as the former leg had them, so that the client's next offer finds everything there. */
  async #continueFormer(): Promise<void> {
    const snapshot = this.#continues;
    if (snapshot === undefined) {
      return;
    }
    const transport = this.#transport ?? (await this.#createTransport());
    if (transport === undefined || this.#closed) {
      return;
    }
    this.#sessionId = snapshot.sessionId;
    this.#sdpVersion = snapshot.sdpVersion;
    for (const { mid, accepted } of snapshot.remembered) {
      this.#remembered.set(mid, accepted);
    }
    if (snapshot.hasData) {
      await this.#listenToData(transport, snapshot.channels);
    }
    const wanted = new Map(snapshot.publications.map((publication) => [publication.mid, publication]));
    for (const published of [...this.#published.values()]) {
      if (!isSamePublication(published, wanted.get(published.mid))) {
        this.#unpublish(published);
      }
    }
    const missing = snapshot.publications.filter(({ mid }) => !this.#published.has(mid));
    await Promise.all(missing.map((publication) => this.#produceAgain(transport, publication)));
    if (this.#continues === snapshot) {
      this.#continues = undefined;
    }
    this.#options.hooks.changed();
  }

  async #produceAgain(transport: PeerTransport, publication: PublicationSnapshot): Promise<void> {
    const wish = this.#wanted.find(({ trackSid }) => trackSid === publication.trackSid);
    if (wish === undefined) {
      return;
    }
    const { mid, cid, sdpCid, trackSid, plan } = publication;
    const { kind, muted } = wish;
    const id = this.#newProducerId(trackSid);
    const producer = await transport.produce(toProduceOptions({ id, kind, plan, paused: muted }));
    if (this.#closed) {
      producer.close();
      return;
    }
    const actual = describe({
      publication: { trackSid: wish.trackSid, mid, cid, sdpCid },
      plan,
      id,
      home: this.#options.home(),
    });
    this.#adopt({ mid, cid, sdpCid, trackSid, plan, producer, actual });
  }

  #dropUnwanted(): void {
    const wanted = new Map(this.#wanted.map((publication) => [publication.trackSid as string, publication]));
    for (const published of [...this.#published.values()]) {
      const codecs = wanted.get(published.trackSid)?.codecs ?? [];
      if (!codecs.some((codec) => codec.cid === published.cid)) {
        this.#unpublish(published);
      }
    }
  }

  #unpublish(published: Published): void {
    this.#published.delete(published.mid);
    this.#options.producers.removeProducer(published.producer.id);
    published.producer.close();
    this.#options.hooks.changed();
  }

  async #applyOffer(offer: { id: number; sdp: string }): Promise<void> {
    const description = parseDescription(offer.sdp, this.#options.receiver === undefined ? offerLimits : answerLimits);
    const remote = readRemoteTransport(description);
    const transport = this.#transport ?? (await this.#createTransport());
    if (transport === undefined || transport.closed || this.#closed) {
      return;
    }
    if (this.#remoteUfrag !== undefined && this.#remoteUfrag !== remote.ice.usernameFragment) {
      await transport.restartIce();
    }
    this.#remoteUfrag = remote.ice.usernameFragment;
    await this.#openData(transport, description);
    await this.#publish(transport, description);
    if (!transport.connectCalled) {
      await transport.connect({ role: remote.dtlsRole, fingerprints: remote.fingerprints });
    }
    await this.#options.receiver?.offered({ description, sdp: offer.sdp });
    if (!this.#closed && !transport.closed) {
      this.#sendAnswer(transport, offer.id, description);
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
    await this.#options.receiver?.attach(transport);
    return transport;
  }

  #onState(state: TransportState): void {
    this.#options.hooks.changed();
    if (state === 'failed') {
      this.#options.hooks.failed('dtls-failed', 'DTLS of the publisher connection failed');
    } else if (state === 'disconnected') {
      this.#options.hooks.failed('ice-lost', 'ICE consent of the publisher connection expired');
    }
  }

  /** Browsers add the data section with their first offer or only when they first send data. */
  async #openData(transport: PeerTransport, description: SessionDescription): Promise<void> {
    const offered = description.sections.some((section) => section.kind === 'application' && !section.rejected);
    if (offered) {
      await this.#listenToData(transport, []);
    }
  }

  async #listenToData(transport: PeerTransport, channels: PublisherSnapshot['channels']): Promise<void> {
    if (this.#hasData) {
      return;
    }
    this.#hasData = true;
    const data = await transport.openDataPublisher(channels);
    this.#data = data;
    if (!this.#closed) {
      this.#options.hooks.dataReady(data);
    }
  }

  #newProducerId(trackSid: string): string {
    return `${trackSid}:${this.#options.nextGeneration()}`;
  }

  /** Producers stand before the answer goes out, or the first packets would be lost as unknown. */
  async #publish(transport: PeerTransport, description: SessionDescription): Promise<void> {
    this.#dropEnded(description);
    const matches = matchSections({ sections: description.sections, wishes: this.#wishes(), bound: this.#published });
    const router = await this.#options.router();
    for (const match of matches) {
      const replaced = this.#published.get(match.section.mid);
      if (replaced !== undefined) {
        this.#unpublish(replaced);
      }
    }
    await Promise.all(matches.map((match) => this.#produce(transport, router, match)));
  }

  #dropEnded(description: SessionDescription): void {
    const sections = new Map(description.sections.map((section) => [section.mid, section]));
    for (const published of [...this.#published.values()]) {
      const section = sections.get(published.mid);
      if (section === undefined || !isSending(section)) {
        this.#unpublish(published);
      }
    }
  }

  #wishes(): Wish[] {
    const taken = new Set([...this.#published.values()].map((published) => `${published.trackSid} ${published.cid}`));
    return this.#wanted.flatMap((publication) =>
      publication.codecs
        .filter((codec) => !taken.has(`${publication.trackSid} ${codec.cid}`))
        .map((codec) => ({ kind: publication.kind, cid: codec.cid, publication, codec })),
    );
  }

  async #produce(transport: PeerTransport, router: RoomRouter, match: SectionMatch<Wish>): Promise<void> {
    const { section, wish, sdpCid } = match;
    const { publication, codec } = wish;
    const { kind, stereo, disableDtx } = publication;
    const plan = planPublication({
      section,
      wish: { kind, codec, stereo, disableDtx },
      router: router.rtpCapabilities,
    });
    if (plan.kind === 'refused') {
      this.#options.log.info({ trackSid: publication.trackSid, reason: plan.reason }, 'a section cannot be published');
      return;
    }
    const id = this.#newProducerId(publication.trackSid);
    try {
      const producer = await transport.produce(toProduceOptions({ id, kind, plan, paused: publication.muted }));
      if (this.#closed) {
        producer.close();
        return;
      }
      this.#adopt({
        mid: section.mid,
        cid: codec.cid,
        sdpCid,
        trackSid: publication.trackSid,
        plan,
        producer,
        actual: describe({
          publication: { trackSid: publication.trackSid, mid: section.mid, cid: codec.cid, sdpCid },
          plan,
          id,
          home: this.#options.home(),
        }),
      });
    } catch (error) {
      if (transport.closed) {
        throw error;
      }
      // The engine refused what the client wrote; the section is answered inactive and the others live.
      this.#options.log.warn({ err: error, trackSid: publication.trackSid }, 'a section could not be published');
    }
  }

  #adopt(published: Published): void {
    this.#published.set(published.mid, published);
    this.#remembered.set(published.mid, published.plan.accepted);
    this.#options.producers.addProducer({
      producerId: published.producer.id,
      trackSid: published.trackSid,
      kind: published.producer.kind,
      workerIndex: published.actual.home.workerIndex,
      facts: producerFacts(published.plan),
      producer: published.producer,
    });
    this.#options.hooks.changed();
  }

  #sendAnswer(transport: PeerTransport, id: number, offer: SessionDescription): void {
    this.#sdpVersion += 1;
    const received = this.#options.receiver?.answer();
    const accepted = new Map(
      [...this.#published.values()].map((published) => [published.mid, published.plan.accepted]),
    );
    const sdp = formatPublisherAnswer({
      offer,
      transport: transport.local,
      accepted,
      remembered: this.#remembered,
      sessionId: this.#sessionId,
      version: this.#sdpVersion,
      ...(received === undefined ? {} : { receiving: new Map(received.slots.map((slot) => [slot.mid, slot])) }),
    });
    this.#options.hooks.answer(id, sdp, received?.midToTrackId);
  }

  async #applyMutes(): Promise<void> {
    const muted = new Map(this.#wanted.map((publication) => [publication.trackSid as string, publication.muted]));
    const changes = [...this.#published.values()].filter(
      ({ trackSid, producer }) => !producer.closed && muted.has(trackSid) && muted.get(trackSid) !== producer.paused,
    );
    await Promise.all(changes.map(({ producer }) => (producer.paused ? producer.resume() : producer.pause())));
  }

  #report(error: unknown): void {
    if (this.#closed || this.#transport?.closed === true) {
      return;
    }
    const { failure, detail, logLevel } = failureOf(error);
    this.#options.log[logLevel]({ err: error }, 'a pass of the publisher connection failed');
    this.#options.hooks.failed(failure, detail);
  }
}

function toProduceOptions(options: {
  id: string;
  kind: MediaKind;
  plan: PublicationPlan;
  paused: boolean;
}): ProduceOptions {
  const { id, kind, plan, paused } = options;
  return {
    id,
    kind,
    rtpParameters: plan.rtpParameters,
    paused,
    ...(kind === 'video' ? { keyFrameRequestDelayMs } : {}),
  };
}

function describe(options: {
  publication: Pick<ActualPublication, 'trackSid' | 'mid' | 'cid' | 'sdpCid'>;
  plan: PublicationPlan;
  id: string;
  home: ProducerHome;
}): ActualPublication {
  const { publication, plan, id, home } = options;
  const { trackSid, cid, sdpCid, mid } = publication;
  return {
    trackSid,
    cid,
    sdpCid,
    producerId: id,
    home,
    mid,
    mimeType: plan.mimeType,
    svc: plan.svc,
    layers: plan.layers.map(({ quality, rid, ssrc }) => ({ quality, rid, ssrc })),
  };
}

/** A stream that showed up since the first snapshot needs a producer that knows it. */
function isSamePublication(published: Published, wanted: PublicationSnapshot | undefined): boolean {
  const { encodings } = published.plan.rtpParameters;
  return (
    wanted !== undefined &&
    wanted.trackSid === published.trackSid &&
    wanted.cid === published.cid &&
    JSON.stringify(encodings) === JSON.stringify(wanted.plan.rtpParameters.encodings)
  );
}

/** One participant on this node: two connections, data, and what the host gets to know of them. */
import { randomInt } from 'node:crypto';
import type { DataPublisher, PublishedMessage } from '../media/data-publisher.ts';
import type { DataSubscriber } from '../media/data-subscriber.ts';
import type { Logger } from '../observe/log.ts';
import type { ActualLeg, HostToLeg, LegFailure, LegIdentity, LegToHost, WantedLeg } from '../protocol/leg-messages.ts';
import { missesReturningTracks } from './client-quirks.ts';
import { decodeDataPacket, type DataKind } from './data-rules.ts';
import type { CarriedMedia, LegObserver } from './observer.ts';
import { PublisherPeer } from './publisher-peer.ts';
import { isLayered, QualityReporter, type PublishedTrackFacts, type SubscribedTrackFacts } from './quality-reporter.ts';
import type { DataMember } from './room-data.ts';
import type { RoomMedia } from './room-media.ts';
import { isStalled, StreamStates } from './stream-states.ts';
import { SubscriberPeer } from './subscriber-peer.ts';
import { TrafficMeter } from './traffic-meter.ts';

export type LegOptions = {
  identity: LegIdentity;
  wanted: WantedLeg;
  room: RoomMedia;
  workerIndex: number;
  nextGeneration: () => number;
  /** Monotonic milliseconds. */
  now: () => number;
  answerTimeoutMs: number;
  /** Reliable data that may wait while the subscriber's channels are being made. */
  reliableQueueBytes: number;
  observer: LegObserver | undefined;
  log: Logger;
  send: (message: LegToHost) => void;
};

/** The messages of a host that concern one leg after it was opened. */
export type LegCommand = Exclude<Extract<HostToLeg, { leg: string }>, { kind: 'open' | 'close' | 'keep' }>;

export class Leg implements DataMember {
  readonly identity: LegIdentity;
  readonly workerIndex: number;
  readonly #options: LegOptions;
  readonly #log: Logger;
  readonly #publisher: PublisherPeer;
  readonly #subscriber: SubscriberPeer;
  readonly #quality = new QualityReporter();
  readonly #streamStates = new StreamStates();
  readonly #incoming = new TrafficMeter();
  readonly #outgoing = new TrafficMeter();
  #wanted: WantedLeg;
  #data: DataSubscriber | undefined;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #droppedLossy = 0;
  #reportScheduled = false;
  #lastReport = '';
  #polling = false;
  #closed = false;
  #closing: Promise<void> | undefined;

  constructor(options: LegOptions) {
    this.#options = options;
    this.identity = options.identity;
    this.workerIndex = options.workerIndex;
    this.#wanted = options.wanted;
    this.#log = options.log.child({ room: options.identity.roomName, participantSid: options.identity.participantSid });
    this.#publisher = this.#createPublisher();
    this.#subscriber = this.#createSubscriber();
    this.#applyWanted();
  }

  get canPublishData(): boolean {
    return this.#wanted.canPublishData;
  }

  get subscriber(): SubscriberPeer {
    return this.#subscriber;
  }

  /** What was wanted of it last, and how far it is. */
  state(): { wanted: WantedLeg; actual: ActualLeg } {
    return { wanted: this.#wanted, actual: this.#actual() };
  }

  /** An offer that the client has not answered may not have reached it. */
  repeatOffer(): void {
    this.#subscriber.repeatOffer();
  }

  receive(command: LegCommand): void {
    switch (command.kind) {
      case 'wanted':
        return this.#setWanted(command.wanted);
      case 'clientOffer':
        return this.#publisher.clientOffer(command.id, command.sdp);
      case 'clientAnswer':
        return this.#subscriber.clientAnswer(command.id, command.sdp);
      case 'clientCandidate':
        // ICE-lite: the client's checks tell its addresses, its candidates are not needed.
        return;
      case 'resume':
        return this.#resume();
      case 'receivedUpTo':
        return this.#options.room.data.replayAfter(this.identity.participantSid, command.states);
      case 'limitBandwidth':
        return this.#subscriber.limitBandwidth(command.bitrateBps);
    }
  }

  deliver(kind: DataKind, bytes: Uint8Array): void {
    if (this.#data !== undefined) {
      this.#data.send(kind === 'reliable' ? '_reliable' : '_lossy', bytes);
    } else if (kind === 'reliable' && !this.#closed) {
      this.#queue(bytes);
    }
  }

  producersChanged(): void {
    this.#subscriber.producersChanged();
  }

  /** Adds what this leg carries to the sum over all legs. */
  countInto(sum: CarriedMedia): void {
    for (const { producer } of this.#publisher.published.values()) {
      sum.published[producer.kind] += 1;
    }
    for (const { kind, bound } of this.#subscriber.held.values()) {
      sum.subscribed[kind] += bound ? 1 : 0;
    }
    sum.queuedDataBytes += this.#data?.counters('_reliable').queuedBytes ?? this.#waitingBytes;
  }

  /** Once a second. */
  observe(): void {
    const producers = this.#options.room.producersOn(this.workerIndex);
    this.#countDroppedLossy();
    const tracks = [...this.#subscriber.held.values()].map((held) => ({
      trackSid: held.trackSid,
      stalled: isStalled(held, producers),
    }));
    const states = this.#streamStates.observe(tracks);
    if (states.length > 0) {
      this.#send({ kind: 'streamState', leg: this.identity.participantSid, states });
    }
  }

  /** What `reportQuality` asks of the engine. */
  get statsRequests(): number {
    const [sent, taken] = [this.#publisher.published.size, this.#subscriber.held.size];
    return sent + taken + (sent > 0 ? 1 : 0) + (taken > 0 ? 1 : 0);
  }

  /** Every few seconds: asks the engine for the counters of all tracks of this leg. */
  async reportQuality(): Promise<void> {
    const hasMedia = this.#publisher.published.size + this.#subscriber.held.size > 0;
    if (!hasMedia || this.#polling || this.#closed) {
      return;
    }
    this.#polling = true;
    try {
      const [publisher, subscriber] = await Promise.all([
        this.#publisher.published.size > 0 ? this.#publisher.transport?.stats() : undefined,
        this.#subscriber.held.size > 0 ? this.#subscriber.transport?.stats() : undefined,
      ]);
      const { observer } = this.#options;
      for (const traffic of [
        ...this.#incoming.measure(publisher?.traffic ?? []),
        ...this.#outgoing.measure(subscriber?.traffic ?? []),
      ]) {
        observer?.mediaMeasured(traffic);
      }
      const reports = this.#quality.report({
        publisher,
        subscriber,
        published: this.#publishedFacts(),
        subscribed: this.#subscribedFacts(),
      });
      if (reports.length > 0) {
        this.#send({ kind: 'quality', leg: this.identity.participantSid, reports });
      }
    } catch (error) {
      // The transport closed meanwhile, or the worker is gone: both are reported elsewhere.
      this.#log.debug({ err: error }, 'no statistics');
    } finally {
      this.#polling = false;
    }
  }

  /** These relays are gone; a client behind one of them would notice much later, and come back then. */
  relaysLost(isRelay: (address: string, port: number) => boolean): void {
    const remotes = [this.#publisher.transport?.remote, this.#subscriber.transport?.remote];
    if (!this.#closed && remotes.some((one) => one !== undefined && isRelay(one.address, one.port))) {
      this.#fail('ice-lost', 'the relay of the client is gone');
    }
  }

  /** The worker that carried this leg is gone; the host decides what the client is told. */
  workerDied(): void {
    this.#fail('worker-died', 'the media worker ended');
    void this.close();
  }

  /** @returns when the engine holds nothing of this leg any more. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#countDroppedLossy();
    this.#closed = true;
    this.#data = undefined;
    this.#waiting = [];
    this.#waitingBytes = 0;
    await Promise.all([this.#publisher.close(), this.#subscriber.close()]);
  }

  #createPublisher(): PublisherPeer {
    const { room, workerIndex, nextGeneration } = this.#options;
    const leg = this.identity.participantSid;
    return new PublisherPeer({
      router: () => room.router(workerIndex),
      home: () => ({ nodeId: room.nodeId, workerIndex }),
      producers: room,
      nextGeneration,
      sessionId: newSessionId(),
      log: this.#log,
      hooks: {
        changed: () => this.#scheduleReport(),
        failed: (failure, detail) => this.#fail(failure, detail),
        answer: (id, sdp) => this.#send({ kind: 'answer', leg, id, sdp }),
        dataReady: (data) => this.#listen(data),
      },
    });
  }

  #createSubscriber(): SubscriberPeer {
    const { room, workerIndex, now, answerTimeoutMs } = this.#options;
    const leg = this.identity.participantSid;
    return new SubscriberPeer({
      router: () => room.router(workerIndex),
      producers: room.producersOn(workerIndex),
      now,
      // Small and random: an answer that was meant for an earlier session must not fit by chance.
      firstOfferId: randomInt(1, 1000),
      sessionId: newSessionId(),
      retiresSections: missesReturningTracks(this.identity.client),
      answerTimeoutMs,
      log: this.#log,
      hooks: {
        changed: () => this.#scheduleReport(),
        failed: (failure, detail) => this.#fail(failure, detail),
        offer: (id, sdp, midToTrackId) => this.#send({ kind: 'offer', leg, id, sdp, midToTrackId }),
        dataReady: (data) => this.#attachData(data),
      },
    });
  }

  #setWanted(wanted: WantedLeg): void {
    if (wanted.version < this.#wanted.version) {
      return;
    }
    this.#wanted = wanted;
    this.#applyWanted();
  }

  #applyWanted(): void {
    const { version, canSubscribe, publications, subscriptions } = this.#wanted;
    this.#publisher.setWanted(publications, version);
    const desired = canSubscribe ? subscriptions : [];
    if (!this.#closed) {
      this.#options.room.setWishes(this, desired);
    }
    this.#subscriber.setDesired(desired, version);
  }

  #resume(): void {
    const leg = this.identity.participantSid;
    this.#send({ kind: 'resumed', leg, lastReliableSequence: this.#options.room.data.lastReliableSequence(leg) });
    this.#subscriber.restart();
  }

  #listen(data: DataPublisher): void {
    data.on('message', (message) => this.#receiveData(message));
  }

  #receiveData({ label, payload }: PublishedMessage): void {
    const { data } = this.#options.room;
    const sender = this.identity.participantSid;
    switch (label) {
      case '_reliable':
        return data.receive(sender, 'reliable', payload);
      case '_lossy':
        return data.receive(sender, 'lossy', payload);
      case '_data_track':
        return;
      case undefined:
        // An unordered message overtook the OPEN of its channel. Only reliable packets are numbered.
        return data.receive(sender, (decodeDataPacket(payload)?.sequence ?? 0) > 0 ? 'reliable' : 'lossy', payload);
      default:
        return data.receiveUnlabelled(sender, payload);
    }
  }

  #attachData(data: DataSubscriber): void {
    this.#data = data;
    // An association that the client aborted goes with its connection: that is no slow reader.
    data.on('stuck', (reason) =>
      this.#fail(reason === 'association-closed' ? 'dtls-failed' : 'data-channel-stuck', reason),
    );
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const bytes of waiting) {
      data.send('_reliable', bytes);
    }
  }

  #queue(bytes: Uint8Array): void {
    this.#waitingBytes += bytes.byteLength;
    if (this.#waitingBytes > this.#options.reliableQueueBytes) {
      this.#waiting = [];
      this.#waitingBytes = 0;
      this.#fail('data-channel-stuck', 'the data channels were not made in time');
      return;
    }
    this.#waiting.push(bytes);
  }

  #countDroppedLossy(): void {
    const dropped = this.#data?.counters('_lossy').dropped ?? 0;
    if (dropped > this.#droppedLossy) {
      this.#options.observer?.dataDropped('lossy-backlog', dropped - this.#droppedLossy);
      this.#droppedLossy = dropped;
    }
  }

  #publishedFacts(): Map<string, PublishedTrackFacts> {
    const facts = new Map<string, PublishedTrackFacts>();
    for (const { trackSid, producer, plan } of this.#publisher.published.values()) {
      facts.set(producer.id, {
        trackSid,
        svc: plan.svc,
        wantedLayer: this.#options.room.highestWantedLayer(producer.id),
      });
    }
    return facts;
  }

  #subscribedFacts(): Map<string, SubscribedTrackFacts> {
    const facts = new Map<string, SubscribedTrackFacts>();
    for (const { trackSid, consumer, applied, bound } of this.#subscriber.held.values()) {
      if (consumer !== undefined && bound) {
        facts.set(consumer.id, { trackSid, wantedLayer: applied?.spatial ?? 0, layered: isLayered(consumer) });
      }
    }
    return facts;
  }

  /** Changes of one turn are one report, and a state that equals the last one is none. */
  #scheduleReport(): void {
    if (!this.#reportScheduled && !this.#closed) {
      this.#reportScheduled = true;
      queueMicrotask(() => this.#report());
    }
  }

  #actual(): ActualLeg {
    return {
      version: Math.min(this.#publisher.reachedVersion, this.#subscriber.reachedVersion),
      publisher: this.#publisher.state,
      subscriber: this.#subscriber.state,
      publications: this.#publisher.actual(),
      subscriptions: this.#subscriber.actual(),
    };
  }

  #report(): void {
    this.#reportScheduled = false;
    const actual = this.#actual();
    const text = JSON.stringify(actual);
    if (text !== this.#lastReport) {
      this.#lastReport = text;
      this.#send({ kind: 'actual', leg: this.identity.participantSid, actual });
    }
  }

  #fail(failure: LegFailure, detail: string): void {
    this.#log.info({ failure, detail }, 'leg failed');
    if (failure === 'data-channel-stuck') {
      this.#options.observer?.slowSubscriberClosed();
    }
    this.#send({ kind: 'failed', leg: this.identity.participantSid, failure, detail });
  }

  #send(message: LegToHost): void {
    if (!this.#closed) {
      this.#options.send(message);
    }
  }
}

/** RFC 8866 section 5.2: a number that no other session of this origin has. */
function newSessionId(): string {
  return String(randomInt(2 ** 47));
}

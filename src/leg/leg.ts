/** One participant on this node: two connections, data, and what the host gets to know of them. */
import { setTimeout as delay } from 'node:timers/promises';
import type { DataPublisher, PublishedMessage } from '../media/data-publisher.ts';
import type { TransportStats } from '../media/transport-stats.ts';
import type { Logger } from '../observe/log.ts';
import type { LegId } from '../protocol/ids.ts';
import type {
  ActualLeg,
  HostToLeg,
  LegFailure,
  LegIdentity,
  LegToHost,
  MoveKind,
  WantedLeg,
} from '../protocol/leg-messages.ts';
import type { HeldData, LegSnapshot } from '../protocol/leg-snapshot.ts';
import { createPeers, type Peers } from './create-peers.ts';
import { handsOverRepeats } from './client-quirks.ts';
import { decodeDataPacket, type DataKind } from './data-rules.ts';
import { handlesIn, routesOut } from './data-track-frame.ts';
import { LegData } from './leg-data.ts';
import { moveTiming } from './move-timing.ts';
import type { CarriedMedia, LegObserver } from './observer.ts';
import type { PublisherPeer } from './publisher-peer.ts';
import { publishedFacts, subscribedFacts } from './quality-facts.ts';
import { QualityReporter } from './quality-reporter.ts';
import type { DataMember, DeliveredPacket } from './room-data.ts';
import type { RoomMedia } from './room-media.ts';
import { StreamWatch } from './stream-watch.ts';
import { SubscriberPeer } from './subscriber-peer.ts';
import { TrafficMeter } from './traffic-meter.ts';

export type LegOptions = {
  legId: LegId;
  identity: LegIdentity;
  wanted: WantedLeg;
  /** The participant's present leg, from which this one is to take over. */
  moved: LegSnapshot | undefined;
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
  readonly legId: LegId;
  readonly identity: LegIdentity;
  readonly workerIndex: number;
  dataTracksOut: DataMember['dataTracksOut'] = new Map();
  dataTracksIn: DataMember['dataTracksIn'] = new Set();
  readonly #options: LegOptions;
  readonly #log: Logger;
  readonly #publisher: PublisherPeer;
  readonly #subscriber: Peers['subscriber'];
  readonly #quality = new QualityReporter();
  readonly #streams: StreamWatch;
  readonly #incoming = new TrafficMeter();
  readonly #outgoing = new TrafficMeter();
  readonly #data: LegData;
  #wanted: WantedLeg;
  /** `waiting`: for `activate`; `holding`: another leg takes over, or has. */
  #phase: 'active' | 'waiting' | 'holding';
  #preparedTold = false;
  /** What the client sends from now on is for another leg. */
  #isDeaf = false;
  #lateBytes = 0;
  #lastReliableMs = Number.NEGATIVE_INFINITY;
  #expiry: NodeJS.Timeout | undefined;
  /** Data that has to wait for what the client says it has seen. */
  #pendingData: HeldData | undefined;
  #pendingDataTimer: NodeJS.Timeout | undefined;
  #droppedLossy = 0;
  #reportScheduled = false;
  #lastReport = '';
  #polling = false;
  #closed = false;
  #closing: Promise<void> | undefined;

  constructor(options: LegOptions) {
    this.#options = options;
    this.legId = options.legId;
    this.identity = options.identity;
    this.workerIndex = options.workerIndex;
    this.#wanted = options.wanted;
    this.#log = options.log.child({ room: options.identity.roomName, leg: options.legId });
    this.#phase = options.moved === undefined ? 'active' : 'waiting';
    this.#data = this.#createData();
    const { publisher, subscriber } = this.#createPeers();
    this.#publisher = publisher;
    this.#subscriber = subscriber;
    this.#streams = this.#createStreamWatch();
    this.#applyWanted();
    if (this.#phase === 'waiting') {
      this.#expiry = setTimeout(() => this.#expire(), moveTiming.waitingLifeMs).unref();
    }
  }

  get isPresent(): boolean {
    return this.#phase === 'active';
  }

  get canPublishData(): boolean {
    return this.#wanted.canPublishData;
  }

  /** The receiving connection, where there are two. */
  get #dual(): SubscriberPeer | undefined {
    return this.#subscriber instanceof SubscriberPeer ? this.#subscriber : undefined;
  }

  get subscriber(): Peers['subscriber'] {
    return this.#subscriber;
  }

  /** What was wanted of it last, and how far it is. */
  state(): { wanted: WantedLeg; actual: ActualLeg } {
    return { wanted: this.#wanted, actual: this.#actual() };
  }

  /** The room has another host, who knows of no move. @returns whether the leg is of use to it */
  hostChanged(): boolean {
    this.#release();
    return this.#phase === 'active';
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
        return this.#dual?.clientAnswer(command.id, command.sdp);
      case 'clientCandidate':
        // ICE-lite: the client's checks tell its addresses, its candidates are not needed.
        return;
      case 'away':
        return this.#options.room.data.away(this.legId);
      case 'resume':
        return this.#resume(command.mediaLost ?? false);
      case 'receivedUpTo':
        return this.#receivedUpTo(command.states);
      case 'limitBandwidth':
        return this.#subscriber.limitBandwidth(command.bitrateBps);
      case 'export':
        return this.#run('export', () => this.#export());
      case 'hold':
        return this.#run('hold', () => this.#hold(command.how));
      case 'cut':
        return this.#data.cut();
      case 'late':
        return this.#options.room.data.receive(this.legId, 'reliable', command.packet);
      case 'unhold':
        return this.#release();
      case 'activate':
        return this.#run('activate', () => this.#activate(command));
    }
  }

  deliverFrame(bytes: Uint8Array): void {
    this.#data.deliverFrame(bytes);
  }

  deliver(kind: DataKind, packet: DeliveredPacket): void {
    this.#data.deliver(kind, packet);
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
    sum.queuedDataBytes += this.#data.queuedBytes;
  }

  /** Once a second. */
  observe(): void {
    this.#countDroppedLossy();
    this.#options.room.data.passOverdue(this.legId);
    // The host hears of streams from the leg in charge alone.
    const states = this.isPresent ? this.#streams.observe() : [];
    if (states.length > 0) {
      this.#send({ kind: 'streamState', leg: this.legId, states });
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
      const [publisher, subscriber] = await this.#stats();
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
        published: publishedFacts(this.#publisher.published.values(), this.#options.room),
        subscribed: subscribedFacts(this.#subscriber.held.values()),
      });
      if (reports.length > 0) {
        this.#send({ kind: 'quality', leg: this.legId, reports });
      }
    } catch (error) {
      // The transport closed meanwhile, or the worker is gone: both are reported elsewhere.
      this.#log.debug({ err: error }, 'no statistics');
    } finally {
      this.#polling = false;
    }
  }

  async #stats(): Promise<[publisher: TransportStats | undefined, subscriber: TransportStats | undefined]> {
    const dual = this.#dual;
    if (dual === undefined) {
      const both = await this.#publisher.transport?.stats();
      return [both, both === undefined ? undefined : { ...both, traffic: [] }];
    }
    return Promise.all([
      this.#publisher.published.size > 0 ? this.#publisher.transport?.stats() : undefined,
      this.#subscriber.held.size > 0 ? dual.transport?.stats() : undefined,
    ]);
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
    clearTimeout(this.#expiry);
    clearTimeout(this.#pendingDataTimer);
    this.#data.close();
    await Promise.all([this.#subscriber.close(), this.#publisher.close()]);
  }

  #createData(): LegData {
    const { now, reliableQueueBytes } = this.#options;
    return new LegData({
      waits: this.#phase === 'waiting',
      maxQueueBytes: reliableQueueBytes,
      dropsRepeats: !handsOverRepeats(this.identity.client),
      now,
      onOverflow: (detail) => this.#fail('data-channel-stuck', detail),
      // An association that the client aborted goes with its connection: that is no slow reader.
      onStuck: (reason) => this.#fail(reason === 'association-closed' ? 'dtls-failed' : 'data-channel-stuck', reason),
    });
  }

  #createPeers(): Peers {
    return createPeers(this.#options, {
      log: this.#log,
      send: (message) => this.#send(message),
      hooks: {
        changed: () => this.#peerChanged(),
        failed: (failure, detail) => this.#fail(failure, detail),
        published: (data) => this.#listen(data),
        subscribed: (data) => this.#data.attach(data),
      },
    });
  }

  #createStreamWatch(): StreamWatch {
    const { room, workerIndex, now, moved } = this.#options;
    return new StreamWatch({
      subscriber: this.#subscriber,
      wanted: () => this.#wanted.subscriptions,
      producers: room.producersOn(workerIndex),
      allowPause: this.identity.allowPause === true,
      continues: moved !== undefined,
      now,
      onChanged: () => this.#applyWanted(),
      log: this.#log,
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
    const { version, canSubscribe, publications, subscriptions, dataTracks = [] } = this.#wanted;
    [this.dataTracksIn, this.dataTracksOut] = [handlesIn(dataTracks), routesOut(dataTracks)];
    this.#publisher.setWanted(publications, version);
    const desired = canSubscribe ? subscriptions : [];
    if (!this.#closed) {
      const successors = desired.flatMap(({ successor }) => (successor === undefined ? [] : [successor]));
      this.#options.room.setWishes(this, [...desired, ...successors]);
    }
    this.#subscriber.setDesired(this.#streams.apply(desired), version);
  }

  #resume(mediaLost: boolean): void {
    const leg = this.legId;
    if (mediaLost) {
      this.#publisher.transport?.renewPictures();
      this.#subscriber.transport?.renewPictures();
    }
    this.#send({ kind: 'resumed', leg, lastReliableSequence: this.#options.room.data.resume(leg) });
    this.#subscriber.restart();
  }

  async #export(): Promise<void> {
    const snapshot = await this.#snapshot();
    this.#send({ kind: 'exported', leg: this.legId, snapshot });
  }

  async #snapshot(): Promise<LegSnapshot> {
    const { room, workerIndex } = this.#options;
    const publisher = await this.#publisher.snapshot();
    return {
      home: { nodeId: room.nodeId, workerIndex },
      subscriber: this.#subscriber.snapshot(),
      ...(publisher === undefined ? {} : { publisher }),
    };
  }

  /** Media goes on as it is; everything else stands still until `unhold`, or until another leg has it. */
  async #hold(how: MoveKind): Promise<void> {
    const leg = this.legId;
    const { data } = this.#options.room;
    this.#phase = 'holding';
    this.#publisher.hold();
    const [isQuiet, isDelivered] = await Promise.all([
      this.#subscriber.hold(how === 'in-place', moveTiming.holdTimeoutMs),
      this.#data.hold(moveTiming.holdTimeoutMs),
      this.#lastPacketsOut(),
    ]);
    if (this.#phase !== 'holding' || this.#closed) {
      return;
    }
    if (!isQuiet || !isDelivered) {
      this.#release();
      const detail = isQuiet ? 'reliable data waits for the client' : 'the client does not answer an offer';
      this.#send({ kind: 'notHeld', leg, detail });
      return;
    }
    const snapshot = await this.#snapshot();
    this.#isDeaf = true;
    const progress = data.progressOf(leg);
    const delivered = this.#data.progress(progress.delivered);
    this.#send({ kind: 'held', leg, snapshot, data: { ...progress, delivered } });
  }

  /**
   * Clients forget what they have put on the wire, so that what is on its way has to be taken in; and what comes from the
   * new leg must not overtake it on its way to other nodes.
   */
  async #lastPacketsOut(): Promise<void> {
    await this.#clientIsSilent();
    await Promise.race([
      this.#options.room.dataArrived(),
      delay(moveTiming.arrivalTimeoutMs, undefined, { ref: false }),
    ]);
  }

  async #clientIsSilent(): Promise<void> {
    const { now } = this.#options;
    const deadlineMs = now() + moveTiming.holdTimeoutMs;
    for (;;) {
      const leftMs = Math.min(this.#lastReliableMs + moveTiming.silenceMs, deadlineMs) - now();
      if (leftMs <= 0 || this.#closed) {
        return;
      }
      await delay(leftMs, undefined, { ref: false });
    }
  }

  #release(): void {
    if (this.#phase === 'holding' && !this.#closed) {
      this.#phase = 'active';
      this.#isDeaf = false;
      this.#data.release();
      this.#publisher.release();
      this.#subscriber.release();
    }
  }

  async #activate({ how, snapshot, data }: Extract<LegCommand, { kind: 'activate' }>): Promise<void> {
    if (this.#phase !== 'waiting') {
      return;
    }
    this.#phase = 'active';
    clearTimeout(this.#expiry);
    this.#options.room.data.takeOver(this.legId, data);
    this.#publisher.activate(snapshot.publisher);
    if (how === 'resume') {
      this.#pendingData = data;
      this.#pendingDataTimer = setTimeout(() => this.#receivedUpTo([]), moveTiming.stateTimeoutMs).unref();
      this.#send({
        kind: 'resumed',
        leg: this.legId,
        lastReliableSequence: this.#options.room.data.resume(this.legId),
      });
    } else {
      this.#data.takeOver(data.delivered, new Map());
    }
    await this.#subscriber.activate(snapshot.subscriber);
    this.#lastReport = '';
    this.#scheduleReport();
  }

  #receivedUpTo(states: readonly { publisherSid: string; sequence: number }[]): void {
    const pending = this.#pendingData;
    this.#pendingData = undefined;
    clearTimeout(this.#pendingDataTimer);
    // Without a new association nothing that was sent can be lost, and some clients would hand over twice what came twice.
    if (pending !== undefined) {
      this.#data.takeOver(pending.delivered, new Map(states.map((state) => [state.publisherSid, state.sequence])));
    }
  }

  #expire(): void {
    this.#fail('move-failed', 'it was not needed in time');
    void this.close();
  }

  #run(what: string, action: () => Promise<void>): void {
    action().catch((error: unknown) => {
      if (!this.#closed) {
        this.#log.warn({ err: error, what }, 'a step of a move failed');
        this.#fail(this.#phase === 'active' ? 'internal' : 'move-failed', `${what} failed`);
      }
    });
  }

  #listen(data: DataPublisher): void {
    data.on('message', (message) => this.#receiveData(message));
  }

  #receiveData({ label, payload }: PublishedMessage): void {
    const { data } = this.#options.room;
    const sender = this.legId;
    if (label === '_reliable') {
      this.#lastReliableMs = this.#options.now();
    }
    if (this.#isDeaf && (decodeDataPacket(payload)?.sequence ?? 0) > 0) {
      return this.#passLate(payload);
    }
    switch (label) {
      case '_reliable':
        return data.receive(sender, 'reliable', payload);
      case '_lossy':
        return data.receive(sender, 'lossy', payload);
      case '_data_track':
        return data.receiveFrame(sender, payload);
      case undefined:
        // An unordered message overtook the OPEN of its channel. Only reliable packets are numbered.
        return data.receive(sender, (decodeDataPacket(payload)?.sequence ?? 0) > 0 ? 'reliable' : 'lossy', payload);
      default:
        return data.receiveUnlabelled(sender, payload);
    }
  }

  /** The client sends again what came after the number that the next leg tells it, if it has not forgotten it. */
  #passLate(packet: Uint8Array): void {
    this.#lateBytes += packet.byteLength;
    if (this.#lateBytes <= moveTiming.maxLateBytes) {
      this.#send({ kind: 'late', leg: this.legId, packet });
    }
  }

  #countDroppedLossy(): void {
    const dropped = this.#data.droppedLossy;
    if (dropped > this.#droppedLossy) {
      this.#options.observer?.dataDropped('lossy-backlog', dropped - this.#droppedLossy);
      this.#droppedLossy = dropped;
    }
  }

  #peerChanged(): void {
    if (this.#phase === 'waiting' && !this.#preparedTold && this.#publisher.isReady && this.#subscriber.isReady) {
      this.#preparedTold = true;
      this.#send({ kind: 'prepared', leg: this.legId, publications: this.#publisher.actual() });
    }
    this.#scheduleReport();
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
    if (this.#phase !== 'active') {
      return;
    }
    const actual = this.#actual();
    const text = JSON.stringify(actual);
    if (text !== this.#lastReport) {
      this.#lastReport = text;
      this.#send({ kind: 'actual', leg: this.legId, actual });
    }
  }

  #fail(failure: LegFailure, detail: string): void {
    this.#log.info({ failure, detail }, 'leg failed');
    if (failure === 'data-channel-stuck') {
      this.#options.observer?.slowSubscriberClosed();
    }
    this.#send({ kind: 'failed', leg: this.legId, failure, detail });
  }

  #send(message: LegToHost): void {
    if (!this.#closed) {
      this.#options.send(message);
    }
  }
}

import {
  AddTrackRequest,
  DataPacket,
  DataPacket_Kind,
  DisconnectReason,
  LeaveRequest,
  LeaveRequest_Action,
  MuteTrackRequest,
  ParticipantInfo_State,
  SessionDescription,
  TrackSource,
  TrackType,
  UpdateSubscription,
  UpdateTrackSettings,
  UserPacket,
  VideoLayer,
  VideoQuality,
  type JoinResponse,
  type ParticipantInfo,
  type ReconnectResponse,
  type SignalRequest,
  type TrackInfo,
} from '@livekit/protocol';
import type { LightEndpoint } from './light/light-endpoint.ts';
import type { LightPeer, PeerEvent, StreamStats, WatchOptions } from './light/light-peer.ts';
import {
  channelStreams,
  LightPublisher,
  type FakeAudio,
  type FakeVideo,
  type PublishedTrack,
} from './light/light-publisher.ts';
import { LightSignal, type SignalMessage } from './light/light-signal.ts';
import { LightSubscriber, type Reroute } from './light/light-subscriber.ts';
import { describeState } from './light/sync-state.ts';
import { withDeadline } from './until.ts';

export type LightClientOptions = {
  /** Base URL of the server, `http:` or `ws:`. */
  url: string;
  token: string;
  endpoint: LightEndpoint;
  autoSubscribe?: boolean;
  adaptiveStream?: boolean;
  /** Obey `subscribed_quality_update`. Default true. */
  dynacast?: boolean;
  /** Published right after the join, before `join` resolves. */
  publish?: { audio?: boolean | FakeAudio; video?: boolean | FakeVideo };
  /** Count data messages in the endpoint instead of handing packets over; for crowds. */
  countData?: boolean;
  /** Read only what a connection needs of the signalling and decrypt little of the media; for crowds. */
  crowd?: boolean;
  /** Ask the server again for lost packets. */
  nack?: boolean;
  /** How far to go: `signal` leaves the server's offer without an answer. Default `media`. */
  until?: 'signal' | 'media';
  /** Where media goes instead of the server's candidate, such as through the UDP relay. */
  reroute?: Reroute;
  /** More query parameters of `/rtc`; they win over the usual ones. */
  query?: Record<string, string>;
  /** Sees every message that is read, as it comes. */
  onMessage?: (message: SignalMessage) => void;
  /** Deadline of each step. */
  timeoutMs?: number;
};

export type DataOptions = { reliable?: boolean; topic?: string; destinationIdentities?: string[] };

const historyLimit = 2000;
const reliableHistoryLimit = 2000;
const crowdSample = 50;

/**
 * A LiveKit client without codecs: real signalling (dual peer connection), real ICE, DTLS, SRTP and SCTP by the light
 * endpoint, fake media. Everything that waits has a deadline and says what it missed.
 */
export class LightClient {
  readonly #options: LightClientOptions;
  readonly #timeoutMs: number;
  readonly #looks = new Set<() => void>();
  readonly #lastSequences = new Map<string, number>();
  readonly #sentReliable: { sequence: number; bytes: Uint8Array }[] = [];
  readonly #subscriber: LightSubscriber;
  #publisher: LightPublisher | undefined;
  #signal: LightSignal | undefined;
  #negotiation: Promise<void> = Promise.resolve();
  #offerId = 0;
  #sequence = 0;
  #isResuming = false;
  #token: string;
  #closing = false;

  /** Others in the room by identity, and oneself. */
  readonly participants = new Map<string, ParticipantInfo>();
  /** Signal messages, oldest first (bounded). */
  readonly messages: SignalMessage[] = [];
  /** Data packets without duplicates, oldest first (bounded). */
  readonly packets: DataPacket[] = [];
  /** Packets of data tracks as they came. */
  readonly dataTrackPackets: Buffer[] = [];
  joinResponse!: JoinResponse;
  leaveReceived: LeaveRequest | undefined;
  /** Close code of the last signal socket once it is closed. */
  socketCloseCode: number | undefined;

  /**
   * Joins and waits until the primary connection is up.
   * @throws JoinRefused with status and body when the server refuses the socket
   */
  static async join(options: LightClientOptions): Promise<LightClient> {
    const client = new LightClient(options);
    try {
      await client.#join();
    } catch (error) {
      await client.abandon();
      throw error;
    }
    return client;
  }

  private constructor(options: LightClientOptions) {
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? 20_000;
    this.#token = options.token;
    this.#subscriber = new LightSubscriber(this.#peerOptions());
  }

  get sid(): string {
    return this.joinResponse.participant?.sid ?? '';
  }

  get identity(): string {
    return this.joinResponse.participant?.identity ?? '';
  }

  /** From the opening of the last signal socket to its first message. */
  get firstMessageDelayMs(): number {
    return this.#signal?.firstMessageDelayMs ?? Number.NaN;
  }

  get subscriberPeer(): LightPeer {
    return this.#subscriber.peer;
  }

  /** Undefined until something is published or sent. */
  get publisherPeer(): LightPeer | undefined {
    return this.#publisher?.peer;
  }

  /** Sids of the tracks in the server's last offer. */
  get subscribedTrackSids(): string[] {
    return [...this.#subscriber.tracks.keys()];
  }

  get publishedTrackSids(): string[] {
    return this.#publisher?.tracks.map(({ trackSid }) => trackSid) ?? [];
  }

  get publishedTracks(): readonly PublishedTrack[] {
    return this.#publisher?.tracks ?? [];
  }

  /** Signal messages and their bytes on the last socket. */
  get signalReceived(): { messages: number; bytes: number } {
    return this.#signal?.received ?? { messages: 0, bytes: 0 };
  }

  /** Tracks that others have published, by what the signalling said. */
  remoteTracks(): TrackInfo[] {
    return [...this.participants.values()].filter(({ sid }) => sid !== this.sid).flatMap(({ tracks }) => tracks);
  }

  /** @returns the track sid, once the server accepted the section */
  async publishAudio(fake: FakeAudio = {}): Promise<string> {
    const publisher = this.#openPublisher();
    const track = publisher.addAudio(fake);
    const request = { type: TrackType.AUDIO, source: TrackSource.MICROPHONE, name: fake.name ?? 'microphone' };
    return this.#publish(track, new AddTrackRequest({ cid: track.cid, ...request }));
  }

  /** @returns the track sid, once the server accepted the section */
  async publishVideo(fake: FakeVideo = {}): Promise<string> {
    const publisher = this.#openPublisher();
    const track = publisher.addVideo(fake);
    const { width = 640, height = 360 } = fake;
    const qualities = fake.simulcast ? [VideoQuality.LOW, VideoQuality.MEDIUM, VideoQuality.HIGH] : [VideoQuality.HIGH];
    const layers = qualities.map((quality) => {
      const below = VideoQuality.HIGH - quality;
      return new VideoLayer({
        quality,
        width: width >> below,
        height: height >> below,
        bitrate: Math.round((fake.bitrateBps ?? 300_000) / 3 ** below),
      });
    });
    const request = {
      type: TrackType.VIDEO,
      source: TrackSource.CAMERA,
      name: fake.name ?? 'camera',
      width,
      height,
      layers,
    };
    return this.#publish(
      track,
      new AddTrackRequest({ cid: track.cid, ...request, simulcastCodecs: [{ codec: 'vp8', cid: track.cid, layers }] }),
    );
  }

  async unpublish(trackSid: string): Promise<void> {
    this.#openPublisher().remove(this.#published(trackSid));
    await this.#negotiate(false);
  }

  setMuted(trackSid: string, muted: boolean): void {
    this.#publisher?.setMuted(this.#published(trackSid), muted);
    this.send({ case: 'mute', value: new MuteTrackRequest({ sid: trackSid, muted }) });
  }

  setSubscribed(trackSids: string[], subscribe: boolean): void {
    this.send({ case: 'subscription', value: new UpdateSubscription({ trackSids, subscribe }) });
  }

  setTrackSettings(
    trackSid: string,
    settings: { disabled?: boolean; quality?: VideoQuality; width?: number; height?: number; fps?: number },
  ): void {
    this.send({ case: 'trackSetting', value: new UpdateTrackSettings({ trackSids: [trackSid], ...settings }) });
  }

  /** Sends any signal message. */
  send(message: SignalRequest['message']): void {
    this.#signal?.send(message);
  }

  /** Sends a frame as it is: what no client would send. */
  sendFrame(frame: Uint8Array | string): void {
    this.#signal?.sendFrame(frame);
  }

  /** Waits until the track is offered and `contiguousMs` of it (and a key frame, for video) have come without a gap. */
  async waitForTrack(trackSid: string, options: WatchOptions = {}): Promise<StreamStats> {
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs;
    const startMs = performance.now();
    await this.waitFor(
      () => this.#subscriber.tracks.has(trackSid),
      () => `offer of ${trackSid}, offered are ${this.subscribedTrackSids.join()}`,
      timeoutMs,
    );
    const leftMs = (): number => Math.max(1, timeoutMs - (performance.now() - startMs));
    try {
      for (;;) {
        const ssrc = this.#subscriber.tracks.get(trackSid)?.ssrc ?? 0;
        const stats = await this.#watchUntilReplaced(trackSid, ssrc, { ...options, timeoutMs: leftMs() });
        if (stats !== undefined) return stats;
      }
    } catch (error) {
      throw new Error(
        `${this.identity} waits for ${trackSid}: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }

  /** @returns undefined when another stream came to carry the track meanwhile */
  async #watchUntilReplaced(trackSid: string, ssrc: number, options: WatchOptions): Promise<StreamStats | undefined> {
    const replaced = Promise.withResolvers<undefined>();
    const abort = new AbortController();
    const look = (): void => {
      if (this.#subscriber.tracks.get(trackSid)?.ssrc !== ssrc) replaced.resolve(undefined);
    };
    this.#looks.add(look);
    try {
      const watching = this.#subscriber.peer.watch(ssrc, { ...options, signal: abort.signal });
      return await Promise.race([watching, replaced.promise]);
    } finally {
      abort.abort();
      this.#looks.delete(look);
    }
  }

  /** @param options.reset start gap and run measurements of all tracks anew */
  async stats(trackSid: string, options: { reset?: boolean } = {}): Promise<StreamStats> {
    const ssrc = this.#subscriber.tracks.get(trackSid)?.ssrc;
    const found = (await this.#subscriber.peer.stats(options)).streams.find((stream) => stream.ssrc === ssrc);
    if (!found) throw new Error(`${this.identity} does not receive ${trackSid}`);
    return found;
  }

  requestKeyFrame(trackSid: string): void {
    const track = this.#subscriber.tracks.get(trackSid);
    if (track) this.#subscriber.peer.requestKeyFrame(track.ssrc);
  }

  /** Looks at what has come already and then at what comes. */
  async waitForPacket(match: (packet: DataPacket) => boolean, timeoutMs = this.#timeoutMs): Promise<DataPacket> {
    await this.waitFor(
      () => this.packets.some(match),
      () => `data packet; ${this.packets.length} others came`,
      timeoutMs,
    );
    const found = this.packets.find(match);
    if (!found) throw new Error('unreachable');
    return found;
  }

  /** Looks at what has come already and then at what comes. */
  async waitForMessage(
    match: (message: SignalMessage) => boolean,
    timeoutMs = this.#timeoutMs,
  ): Promise<SignalMessage> {
    const seen = (): string => `signal message; came: ${this.messages.map((message) => message.case).join()}`;
    await this.waitFor(() => this.messages.some(match) || this.#isToldToGo, seen, timeoutMs);
    const found = this.messages.find(match);
    if (!found) throw new Error(`${this.identity} was told to leave: ${seen()}`);
    return found;
  }

  /** Nothing follows on this session. */
  get #isToldToGo(): boolean {
    return this.leaveReceived !== undefined && this.leaveReceived.action !== LeaveRequest_Action.RESUME;
  }

  async waitForParticipant(
    identity: string,
    match: (participant: ParticipantInfo) => boolean = () => true,
  ): Promise<ParticipantInfo> {
    const look = (): ParticipantInfo | undefined =>
      [...this.participants.values()].find((info) => info.identity === identity && match(info));
    await this.waitFor(
      () => look() !== undefined,
      () => `participant ${identity}: ${this.participants.get(identity)?.toJsonString()}`,
    );
    const found = look();
    if (!found) throw new Error('unreachable');
    return found;
  }

  async waitForLeave(timeoutMs = this.#timeoutMs): Promise<LeaveRequest> {
    await this.waitFor(() => this.leaveReceived !== undefined, 'leave', timeoutMs);
    return this.leaveReceived ?? new LeaveRequest();
  }

  /** Waits until the server's channels on the subscriber connection are open. */
  async waitForChannels(timeoutMs = this.#timeoutMs): Promise<void> {
    const { channels } = this.#subscriber.peer;
    await this.waitFor(
      () => channels.has('_reliable') && channels.has('_lossy'),
      () => `channels; open: ${[...channels.keys()].join()}`,
      timeoutMs,
    );
  }

  /** Resolves once `condition` holds; it is looked at after every message, packet and event of a connection. */
  async waitFor(condition: () => boolean, what: string | (() => string), timeoutMs = this.#timeoutMs): Promise<void> {
    if (condition()) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = (): void => {
      if (condition()) resolve();
    };
    this.#looks.add(look);
    try {
      await withDeadline(
        promise,
        () =>
          `${this.#options.url} ${this.joinResponse?.participant?.identity ?? ''}: ${typeof what === 'string' ? what : what()}`,
        timeoutMs,
      );
    } finally {
      this.#looks.delete(look);
    }
  }

  /** Sends user data. Resolves when the endpoint has it; it goes out as soon as the channel is up. */
  async sendData(payload: Uint8Array, options: DataOptions = {}): Promise<void> {
    const { reliable = true, topic, destinationIdentities = [] } = options;
    const user = new UserPacket({ payload, ...(topic === undefined ? {} : { topic }) });
    await this.sendPacket(new DataPacket({ destinationIdentities, value: { case: 'user', value: user } }), reliable);
  }

  async sendPacket(packet: DataPacket, reliable: boolean): Promise<void> {
    await this.#ensurePublisher();
    packet.kind = reliable ? DataPacket_Kind.RELIABLE : DataPacket_Kind.LOSSY;
    if (reliable) packet.sequence = this.#sequence += 1;
    const bytes = packet.toBinary();
    if (!reliable) {
      this.#publisher?.peer.send(channelStreams._lossy, bytes, { unordered: true, maxRetransmits: 0 });
      return;
    }
    this.#sentReliable.push({ sequence: packet.sequence, bytes });
    if (this.#sentReliable.length > reliableHistoryLimit) this.#sentReliable.shift();
    // As livekit-client: it goes out at the end of the resume, behind what the server missed.
    if (this.#isResuming) return;
    this.#publisher?.peer.send(channelStreams._reliable, bytes);
  }

  /** Opens the publisher connection, as a client does before it sends data. */
  async connectPublisher(): Promise<void> {
    await this.#ensurePublisher();
    await this.#publisher?.peer.waitConnected(this.#timeoutMs);
  }

  get isClosing(): boolean {
    return this.#closing;
  }

  /** Breaks the signal socket as a lost network would; media goes on. */
  cutSocket(): void {
    this.#signal?.cut();
  }

  /** Comes back with `reconnect=1`, restarts ICE of both connections, sends again what the server missed. */
  async resume(reason = 1): Promise<ReconnectResponse> {
    this.#isResuming = true;
    try {
      return await this.#resume(reason);
    } finally {
      this.#isResuming = false;
    }
  }

  async #resume(reason: number): Promise<ReconnectResponse> {
    this.#signal?.cut();
    const first = await this.#openSignal({ reconnect: '1', sid: this.sid, reconnect_reason: String(reason) });
    if (first.case !== 'reconnect')
      throw new Error(`the resume was answered with ${first.case} ${JSON.stringify(first.value)}`);
    this.#subscriber.peer.ice = 'checking';
    this.send({
      case: 'syncState',
      value: describeState({
        subscriber: this.#subscriber,
        publisher: this.#publisher,
        autoSubscribe: this.#options.autoSubscribe ?? true,
        lastSequences: this.#lastSequences,
        ownTracks: this.participants.get(this.identity)?.tracks ?? [],
      }),
    });
    const response = first.value;
    await this.#whileSocketLives(async () => {
      if (this.#publisher) await this.#negotiate(true);
      await this.#waitConnected();
    });
    for (const { sequence, bytes } of this.#sentReliable) {
      if (sequence > response.lastMessageSeq) this.#publisher?.peer.send(channelStreams._reliable, bytes);
    }
    return response;
  }

  /** A resume whose socket is lost will not come to its end; the next one can begin. */
  async #whileSocketLives(work: () => Promise<void>): Promise<void> {
    const lost = Promise.withResolvers<never>();
    const look = (): void => {
      if (this.socketCloseCode !== undefined) lost.reject(new Error('the signal socket was lost during the resume'));
    };
    this.#looks.add(look);
    try {
      await Promise.race([work(), lost.promise]);
    } finally {
      this.#looks.delete(look);
    }
  }

  async leave(reason: DisconnectReason = DisconnectReason.CLIENT_INITIATED): Promise<void> {
    this.send({ case: 'leave', value: new LeaveRequest({ reason, action: LeaveRequest_Action.DISCONNECT }) });
    await this.#close(false);
  }

  /** Vanishes as a client does that crashed: no leave, no goodbye on any connection. */
  async abandon(): Promise<void> {
    this.#signal?.cut();
    await this.#close(true);
  }

  async #close(silent: boolean): Promise<void> {
    this.#closing = true;
    await this.#signal?.close();
    await Promise.all([this.#subscriber.peer.close({ silent }), this.#publisher?.peer.close({ silent })]);
  }

  async #join(): Promise<void> {
    const first = await this.#openSignal({});
    if (first.case !== 'join')
      throw new Error(`the join was answered with ${first.case} ${JSON.stringify(first.value)}`);
    const { publish } = this.#options;
    if (this.#options.until === 'signal') return;
    if (publish?.audio) await this.publishAudio(publish.audio === true ? {} : publish.audio);
    if (publish?.video) await this.publishVideo(publish.video === true ? {} : publish.video);
    if (!this.joinResponse.subscriberPrimary) await this.#ensurePublisher();
    await this.#waitConnected();
  }

  async #openSignal(query: Record<string, string>): Promise<SignalMessage> {
    const { url, autoSubscribe = true, adaptiveStream = false } = this.#options;
    const { signal, first } = await LightSignal.open({
      url,
      token: this.#token,
      timeoutMs: this.#timeoutMs,
      query: {
        auto_subscribe: autoSubscribe ? '1' : '0',
        adaptive_stream: adaptiveStream ? '1' : '0',
        sdk: 'js',
        version: '2.23.0',
        protocol: '17',
        client_protocol: '2',
        ...query,
        ...this.#options.query,
      },
      crowd: this.#options.crowd ?? false,
      onMessage: (message) => this.#received(message),
      onClose: (code) => {
        // The socket that a resume replaced closes late.
        if (this.#signal === signal) this.socketCloseCode = code;
        this.#look();
      },
    });
    this.#signal = signal;
    this.socketCloseCode = undefined;
    this.#received(first);
    signal.start(this.joinResponse?.pingInterval ?? 5);
    return first;
  }

  async #waitConnected(): Promise<void> {
    if (this.joinResponse.subscriberPrimary) await this.#subscriber.peer.waitConnected(this.#timeoutMs);
    await this.#publisher?.peer.waitConnected(this.#timeoutMs);
  }

  #received(message: SignalMessage): void {
    this.#options.onMessage?.(message);
    this.messages.push(message);
    if (this.messages.length > historyLimit) this.messages.shift();
    switch (message.case) {
      case 'join':
        this.joinResponse = message.value;
        for (const info of message.value.otherParticipants) this.participants.set(info.identity, info);
        if (message.value.participant)
          this.participants.set(message.value.participant.identity, message.value.participant);
        break;
      case 'offer':
        this.#answerOffer(message.value);
        break;
      case 'update':
        for (const info of message.value.participants) this.#updated(info);
        break;
      case 'mute':
        this.#muted(message.value.sid, message.value.muted);
        break;
      case 'subscribedQualityUpdate':
        if (this.#options.dynacast !== false) this.#publisher?.followQuality(message.value);
        break;
      case 'refreshToken':
        this.#token = message.value;
        break;
      case 'leave':
        this.leaveReceived = message.value;
        break;
      default: // The rest is there to be waited for.
    }
    this.#look();
  }

  #look(): void {
    for (const look of this.#looks) look();
  }

  #answerOffer(offer: SessionDescription): void {
    if (this.#closing || this.#options.until === 'signal') return;
    const sdp = this.#subscriber.answer(offer.sdp, offer.midToTrackId);
    this.send({ case: 'answer', value: new SessionDescription({ type: 'answer', sdp, id: offer.id }) });
  }

  #updated(info: ParticipantInfo): void {
    const known = this.participants.get(info.identity);
    if (info.state !== ParticipantInfo_State.DISCONNECTED) {
      if (known?.sid !== info.sid || info.version >= known.version) this.participants.set(info.identity, info);
    } else if (known?.sid === info.sid) {
      this.participants.delete(info.identity);
    }
  }

  #muted(sid: string, muted: boolean): void {
    const track = this.#publisher?.tracks.find(({ trackSid }) => trackSid === sid);
    if (!track || !muted) return;
    this.#publisher?.setMuted(track, true);
    this.send({ case: 'mute', value: new MuteTrackRequest({ sid, muted }) });
  }

  #peerOptions(): {
    endpoint: LightEndpoint;
    countData: boolean;
    sample: number | undefined;
    nack: boolean;
    reroute: Reroute;
    onEvent: (event: PeerEvent) => void;
  } {
    return {
      endpoint: this.#options.endpoint,
      countData: this.#options.countData ?? false,
      sample: this.#options.crowd ? crowdSample : undefined,
      nack: this.#options.nack ?? false,
      reroute: this.#options.reroute ?? ((candidate) => candidate),
      onEvent: (event) => {
        if (event.kind === 'data') this.#dataReceived(event.stream, event.data);
        this.#look();
      },
    };
  }

  #dataReceived(stream: number, data: Buffer): void {
    const label = [...this.#subscriber.peer.channels.values()].find((channel) => channel.stream === stream)?.label;
    if (label === '_data_track') {
      this.dataTrackPackets.push(data);
      if (this.dataTrackPackets.length > historyLimit) this.dataTrackPackets.shift();
      return;
    }
    const packet = DataPacket.fromBinary(data);
    // Real clients drop what they have seen, by sender and sequence; a replay after a resume relies on it.
    if (packet.sequence > 0) {
      if (packet.sequence <= (this.#lastSequences.get(packet.participantSid) ?? 0)) return;
      this.#lastSequences.set(packet.participantSid, packet.sequence);
    }
    this.packets.push(packet);
    if (this.packets.length > historyLimit) this.packets.shift();
  }

  #openPublisher(): LightPublisher {
    this.#publisher ??= new LightPublisher(this.#peerOptions());
    return this.#publisher;
  }

  async #ensurePublisher(): Promise<void> {
    if (this.#publisher) await this.#negotiation;
    else {
      this.#openPublisher();
      await this.#negotiate(false);
    }
  }

  async #publish(track: PublishedTrack, request: AddTrackRequest): Promise<string> {
    this.send({ case: 'addTrack', value: request });
    const isAnswer = (message: SignalMessage): boolean =>
      (message.case === 'trackPublished' && message.value.cid === track.cid) ||
      (message.case === 'requestResponse' &&
        message.value.request.case === 'addTrack' &&
        message.value.request.value.cid === track.cid);
    const answer = await this.waitForMessage(isAnswer);
    if (answer.case !== 'trackPublished') {
      this.#publisher?.remove(track);
      throw new Error(`the server refused the track: ${JSON.stringify(answer.value)}`);
    }
    track.trackSid = answer.value.track?.sid ?? '';
    await this.#negotiate(false);
    return track.trackSid;
  }

  #published(trackSid: string): PublishedTrack {
    const track = this.#publisher?.tracks.find((candidate) => candidate.trackSid === trackSid);
    if (!track) throw new Error(`${trackSid} is not published by ${this.identity}`);
    return track;
  }

  /** One offer at a time; each sees the state at its turn. */
  async #negotiate(restartIce: boolean): Promise<void> {
    const previous = this.#negotiation.catch(() => {});
    this.#negotiation = previous.then(async () => {
      const publisher = this.#openPublisher();
      const id = (this.#offerId += 1);
      const sdp = publisher.offer(restartIce);
      const signal = this.#signal;
      const answer = (): SignalMessage | undefined =>
        this.messages.findLast((message) => message.case === 'answer' && message.value.id === id);
      this.send({ case: 'offer', value: new SessionDescription({ type: 'offer', sdp, id }) });
      await this.waitFor(
        () => answer() !== undefined || this.#signal !== signal || this.#isToldToGo,
        `answer to offer ${id}`,
      );
      const message = answer();
      if (message === undefined && this.#isToldToGo) {
        throw new Error(`${this.identity} was told to leave instead of being answered`);
      }
      // Without an answer the socket was replaced meanwhile, and the resume makes a new offer anyway.
      if (message?.case === 'answer') publisher.takeAnswer(message.value.sdp);
    });
    await this.#negotiation;
  }
}

import { DataPacketKind, RoomEvent, RpcError } from '@livekit/rtc-node';
import { RoomServiceClient } from 'livekit-server-sdk';
import type { ReceivedStream } from './browser.ts';
import {
  sha256,
  stillness,
  type DataTarget,
  type Peer,
  type PeerJoinOptions,
  type PeerPacket,
  type PeerView,
  type RpcCall,
  type RpcOutcome,
} from './peer.ts';
import { RtcClient, type HeardAudio, type SeenVideo, type SubscribedTrack } from './rtc-node.ts';
import { devKey } from './tokens.ts';
import { until, withDeadline } from './until.ts';

/** The real rtc-node. */
export class RtcPeer implements Peer {
  readonly client = 'rtc-node';
  readonly rtc: RtcClient;
  readonly #packets: PeerPacket[] = [];
  readonly #streams: ReceivedStream[] = [];
  readonly #speakers = new Set<string>();
  readonly #rated = new Set<string>();
  /** Readers by track object. */
  readonly #watched = new WeakMap<object, SeenVideo>();
  readonly #listened = new WeakMap<object, HeardAudio>();
  #disconnectReason: number | undefined;

  readonly #moderator: RoomServiceClient;
  readonly #roomName: string;

  static async join(options: PeerJoinOptions): Promise<RtcPeer> {
    const moderator = new RoomServiceClient(options.url, devKey.apiKey, devKey.apiSecret);
    return new RtcPeer(await RtcClient.join(options), moderator, options.room);
  }

  private constructor(rtc: RtcClient, moderator: RoomServiceClient, roomName: string) {
    this.rtc = rtc;
    this.#moderator = moderator;
    this.#roomName = roomName;
    const { room } = rtc;
    room.on(RoomEvent.DataReceived, (payload, from, kind, topic) => {
      this.#packets.push({
        text: new TextDecoder().decode(payload),
        topic: topic ?? '',
        from: from?.identity ?? '',
        reliable: kind === DataPacketKind.KIND_RELIABLE,
      });
    });
    room.on(RoomEvent.ActiveSpeakersChanged, (now) => now.forEach((one) => this.#speakers.add(one.identity)));
    room.on(RoomEvent.ConnectionQualityChanged, (_quality, who) => void this.#rated.add(who.identity));
    room.on(RoomEvent.Disconnected, (reason) => {
      this.#disconnectReason = reason;
    });
  }

  get identity(): string {
    return this.rtc.identity;
  }

  async publish(kind: 'audio' | 'video'): Promise<string> {
    const publication =
      kind === 'audio' ? await this.rtc.publishAudio() : await this.rtc.publishVideo({ width: 320, height: 180 });
    return publication.sid ?? '';
  }

  async unpublish(trackSid: string): Promise<void> {
    await this.rtc.local.unpublishTrack(trackSid);
  }

  async published(): Promise<string[]> {
    return [...this.rtc.local.trackPublications.keys()];
  }

  /** rtc-node cannot mute by itself, but it obeys a moderator (`room.enable_remote_unmute`). */
  async setMuted(trackSid: string, muted: boolean): Promise<void> {
    await this.#moderator.mutePublishedTrack(this.#roomName, this.identity, trackSid, muted);
  }

  async setSubscribed(publisher: string, trackSid: string, subscribed: boolean): Promise<void> {
    this.rtc.room.remoteParticipants.get(publisher)?.trackPublications.get(trackSid)?.setSubscribed(subscribed);
  }

  async waitForPicture(trackSid: string): Promise<void> {
    let seen: SeenVideo | undefined;
    let before = 0;
    await until(
      () => {
        const now = this.#watch(trackSid);
        if (now !== seen) {
          seen = now;
          before = now?.frames ?? 0;
        }
        return seen && seen.frames > before + 5 && seen.luma > 30
          ? ''
          : `${this.identity} sees of ${trackSid}: ${JSON.stringify(seen)}, ${before} frames before`;
      },
      { timeoutMs: 15_000 },
    );
  }

  async waitForStill(trackSid: string): Promise<void> {
    const watch = stillness();
    await until(() => {
      const frames = this.#watch(trackSid)?.frames ?? 0;
      return watch(frames) ? '' : `${this.identity} still sees ${trackSid}: ${frames} frames`;
    });
  }

  async waitForSound(trackSid: string): Promise<void> {
    const heard = await this.#listen(trackSid);
    await until(() => (heard.peak > 300 ? '' : `${this.identity} hears of ${trackSid}: ${JSON.stringify(heard)}`), {
      timeoutMs: 15_000,
      intervalMs: 10,
    });
  }

  async waitForSilence(trackSid: string): Promise<void> {
    const heard = await this.#listen(trackSid);
    let quietSinceMs = performance.now();
    await until(
      () => {
        if (heard.peak > 150) quietSinceMs = performance.now();
        return performance.now() - quietSinceMs > 400 ? '' : `${this.identity} still hears ${trackSid}: ${heard.peak}`;
      },
      { intervalMs: 10 },
    );
  }

  async waitForSubscriber(trackSid: string): Promise<void> {
    const publication = this.rtc.local.trackPublications.get(trackSid);
    if (!publication) throw new Error(`${this.identity} does not publish ${trackSid}`);
    await withDeadline(publication.waitForSubscription(), `a subscriber of ${trackSid} of ${this.identity}`, 20_000);
  }

  async see(identity: string): Promise<PeerView | undefined> {
    const found = this.rtc.room.remoteParticipants.get(identity);
    if (!found) return undefined;
    const { sid = '', name = '', metadata, attributes } = found;
    const tracks = [...found.trackPublications.values()].map((publication) => ({
      sid: publication.sid ?? '',
      muted: publication.muted ?? false,
      subscribed: this.rtc.subscribed.has(publication.sid ?? ''),
    }));
    return { sid, name, metadata, attributes: { ...attributes }, tracks };
  }

  async others(): Promise<string[]> {
    return [...this.rtc.room.remoteParticipants.keys()];
  }

  async speakers(): Promise<string[]> {
    return [...this.#speakers];
  }

  async rated(): Promise<string[]> {
    return [...this.#rated];
  }

  async sendData(text: string, { reliable, topic, to }: DataTarget): Promise<void> {
    await this.rtc.local.publishData(new TextEncoder().encode(text), {
      reliable,
      topic,
      ...(to === undefined ? {} : { destination_identities: to }),
    });
  }

  async packets(): Promise<PeerPacket[]> {
    return this.#packets;
  }

  async sendText(text: string, options: { topic: string; attributes?: Record<string, string> }): Promise<void> {
    await this.rtc.local.sendText(text, options);
  }

  async sendBytes(bytes: Uint8Array, options: { topic: string; name: string }): Promise<void> {
    const writer = await this.rtc.local.streamBytes({ ...options, totalSize: bytes.length });
    await writer.write(bytes);
    await writer.close();
  }

  async receiveStreams(topic: string): Promise<void> {
    const { room } = this.rtc;
    room.registerTextStreamHandler(topic, (reader, { identity }) => {
      void reader.readAll().then((text) => {
        const { attributes = {} } = reader.info;
        const sizeBytes = Buffer.byteLength(text);
        this.#streams.push({
          kind: 'text',
          topic,
          from: identity,
          name: '',
          attributes: { ...attributes },
          text,
          sizeBytes,
        });
      });
    });
    room.registerByteStreamHandler(topic, (reader, { identity }) => {
      void reader.readAll().then((chunks) => {
        const { name, attributes = {} } = reader.info;
        const bytes = Buffer.concat(chunks);
        const what = { text: sha256(bytes), sizeBytes: bytes.length };
        this.#streams.push({ kind: 'bytes', topic, from: identity, name, attributes: { ...attributes }, ...what });
      });
    });
  }

  async streams(): Promise<ReceivedStream[]> {
    return this.#streams;
  }

  async answerRpc(method: string): Promise<void> {
    this.rtc.local.registerRpcMethod(method, async ({ payload }) => {
      if (payload === 'fail') throw new RpcError(1234, 'as asked');
      return payload.toUpperCase();
    });
  }

  async callRpc({ to, method, payload }: RpcCall): Promise<RpcOutcome> {
    try {
      return { answer: await this.rtc.local.performRpc({ destinationIdentity: to, method, payload }) };
    } catch (error) {
      if (error instanceof RpcError) return { errorCode: Number(error.code), message: error.message };
      throw error;
    }
  }

  async setMetadata(metadata: string): Promise<void> {
    await this.rtc.local.updateMetadata(metadata);
  }

  async setAttributes(attributes: Record<string, string>): Promise<void> {
    await this.rtc.local.setAttributes(attributes);
  }

  async disconnectReason(): Promise<number | undefined> {
    return this.#disconnectReason;
  }

  async close(): Promise<void> {
    await this.rtc.close();
  }

  /** What is seen of a track now: one that is subscribed again is another one. */
  #watch(trackSid: string): SeenVideo | undefined {
    const subscribed = this.rtc.subscribed.get(trackSid);
    if (subscribed === undefined) return undefined;
    const seen = this.#watched.get(subscribed.track) ?? this.rtc.watchVideo(subscribed);
    this.#watched.set(subscribed.track, seen);
    return seen;
  }

  async #receives(trackSid: string): Promise<SubscribedTrack> {
    await until(() => (this.rtc.subscribed.has(trackSid) ? '' : `${this.identity} does not receive ${trackSid}`), {
      timeoutMs: 15_000,
    });
    const subscribed = this.rtc.subscribed.get(trackSid);
    if (!subscribed) throw new Error('unreachable');
    return subscribed;
  }

  async #listen(trackSid: string): Promise<HeardAudio> {
    const subscribed = await this.#receives(trackSid);
    const heard = this.#listened.get(subscribed.track) ?? this.rtc.listen(subscribed);
    this.#listened.set(subscribed.track, heard);
    return heard;
  }
}

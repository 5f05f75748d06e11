/** Helpers around the real @livekit/rtc-node (libwebrtc): join, publish synthetic media, look at what arrives. */
import {
  AudioFrame,
  AudioSource,
  AudioStream,
  dispose,
  LocalAudioTrack,
  LocalVideoTrack,
  Room,
  RoomEvent,
  TrackKind,
  TrackPublishOptions,
  TrackSource,
  VideoBufferType,
  VideoCodec,
  VideoFrame,
  VideoSource,
  VideoStream,
  type LocalTrackPublication,
  type RemoteParticipant,
  type RemoteTrack,
  type RemoteTrackPublication,
} from '@livekit/rtc-node';
import { setTimeout as delay } from 'node:timers/promises';
import { joinToken, type TokenOptions } from './tokens.ts';
import { until } from './until.ts';

export type RtcJoinOptions = TokenOptions & { url: string; autoSubscribe?: boolean; dynacast?: boolean };

export type SubscribedTrack = {
  track: RemoteTrack;
  publication: RemoteTrackPublication;
  participant: RemoteParticipant;
};

/** What a video stream showed so far. */
export type SeenVideo = {
  frames: number;
  width: number;
  height: number;
  /** Mean luma of the last frame, 16 = black. */ luma: number;
  lastFrameMs: number;
  /** Longest time between two frames; may be set to 0. */
  maxGapMs: number;
};

/** What an audio stream carried so far. */
export type HeardAudio = {
  frames: number;
  /** Highest sample of the last 100 ms, 0–32767. */ peak: number;
  lastFrameMs: number;
  /** Longest silence; may be set to 0. Sound that the decoder makes up for what is missing does not count. */
  maxSilenceMs: number;
};

const sampleRate = 48_000;
const frameMs = 10;
const quietBelow = 300;

/** A participant of rtc-node with everything that it sends and reads; `close` ends all of it. */
export class RtcClient {
  readonly room = new Room();
  readonly subscribed = new Map<string, SubscribedTrack>();
  readonly #abort = new AbortController();
  readonly #loops: Promise<void>[] = [];
  readonly #videos: VideoSource[] = [];
  readonly #audios: AudioSource[] = [];
  readonly #readers: ReadableStreamDefaultReader<unknown>[] = [];

  static async join(options: RtcJoinOptions): Promise<RtcClient> {
    const client = new RtcClient();
    const token = await joinToken(options);
    await client.room.connect(options.url.replace(/^http/, 'ws'), token, {
      autoSubscribe: options.autoSubscribe ?? true,
      dynacast: options.dynacast ?? false,
    });
    return client;
  }

  private constructor() {
    this.room.on(RoomEvent.TrackSubscribed, (track, publication, participant) => {
      this.subscribed.set(publication.sid ?? '', { track, publication, participant });
    });
    this.room.on(
      RoomEvent.TrackUnsubscribed,
      (_track, publication) => void this.subscribed.delete(publication.sid ?? ''),
    );
  }

  get identity(): string {
    return this.local.identity;
  }

  get sid(): string {
    return this.local.sid ?? '';
  }

  get local(): NonNullable<Room['localParticipant']> {
    const { localParticipant } = this.room;
    if (!localParticipant) throw new Error('not joined');
    return localParticipant;
  }

  /** Publishes a moving pattern. */
  async publishVideo(
    options: {
      width?: number;
      height?: number;
      fps?: number;
      codec?: VideoCodec;
      simulcast?: boolean;
      name?: string;
    } = {},
  ): Promise<LocalTrackPublication> {
    const { width = 640, height = 360, fps = 15, name = 'camera' } = options;
    const source = new VideoSource(width, height);
    this.#videos.push(source);
    const track = LocalVideoTrack.createVideoTrack(name, source);
    const publication = await this.local.publishTrack(
      track,
      new TrackPublishOptions({
        source: TrackSource.SOURCE_CAMERA,
        simulcast: options.simulcast ?? false,
        videoCodec: options.codec ?? VideoCodec.VP8,
      }),
    );
    this.#loops.push(this.#drawFrames(source, 1000 / fps));
    return publication;
  }

  /** Publishes a 440 Hz sine. @param options.amplitude of 32767 */
  async publishAudio(options: { amplitude?: number; name?: string } = {}): Promise<LocalTrackPublication> {
    const source = new AudioSource(sampleRate, 1);
    this.#audios.push(source);
    const track = LocalAudioTrack.createAudioTrack(options.name ?? 'microphone', source);
    const publication = await this.local.publishTrack(
      track,
      new TrackPublishOptions({ source: TrackSource.SOURCE_MICROPHONE }),
    );
    this.#loops.push(this.#playSine(source, options.amplitude ?? 8000));
    return publication;
  }

  /** Waits until a track of this publisher is subscribed. */
  async waitForTrack(identity: string, kind: 'audio' | 'video', timeoutMs = 20_000): Promise<SubscribedTrack> {
    const wanted = kind === 'audio' ? TrackKind.KIND_AUDIO : TrackKind.KIND_VIDEO;
    let found: SubscribedTrack | undefined;
    await until(
      () => {
        found = [...this.subscribed.values()].find(
          ({ participant, track }) => participant.identity === identity && track.kind === wanted,
        );
        return found ? '' : `${this.identity} has no ${kind} of ${identity}`;
      },
      { timeoutMs },
    );
    if (!found) throw new Error('unreachable');
    return found;
  }

  /** Reads the frames of a track until `close`; the record changes while they come. */
  watchVideo(subscribed: SubscribedTrack): SeenVideo {
    const seen: SeenVideo = { frames: 0, width: 0, height: 0, luma: 0, lastFrameMs: 0, maxGapMs: 0 };
    this.#read(new VideoStream(subscribed.track), ({ frame }) => {
      seen.frames += 1;
      seen.width = frame.width;
      seen.height = frame.height;
      seen.luma = meanLuma(frame);
      const nowMs = performance.now();
      seen.maxGapMs = Math.max(seen.maxGapMs, seen.frames === 1 ? 0 : nowMs - seen.lastFrameMs);
      seen.lastFrameMs = nowMs;
    });
    return seen;
  }

  listen(subscribed: SubscribedTrack): HeardAudio {
    const heard: HeardAudio = { frames: 0, peak: 0, lastFrameMs: 0, maxSilenceMs: 0 };
    let silenceMs = 0;
    const recent: number[] = [];
    this.#read(new AudioStream(subscribed.track, { sampleRate, numChannels: 1 }), (frame) => {
      const loudness = frame.data.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0);
      // The clock of the sound: frames that come late all at once are no silence.
      silenceMs = loudness < quietBelow ? silenceMs + (1000 * frame.data.length) / sampleRate : 0;
      heard.maxSilenceMs = Math.max(heard.maxSilenceMs, silenceMs);
      recent.push(loudness);
      if (recent.length > 10) recent.shift();
      heard.frames += 1;
      heard.peak = Math.max(...recent);
      heard.lastFrameMs = performance.now();
    });
    return heard;
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await Promise.all(this.#loops);
    await Promise.all(this.#readers.map((reader) => reader.cancel().catch(() => {})));
    await this.room.disconnect();
    await Promise.all([...this.#videos, ...this.#audios].map((source) => source.close()));
  }

  #read<T>(stream: ReadableStream<T>, look: (value: T) => void): void {
    const reader = stream.getReader();
    this.#readers.push(reader as ReadableStreamDefaultReader<unknown>);
    const loop = async (): Promise<void> => {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        look(value);
      }
    };
    this.#loops.push(loop().catch(() => {}));
    this.#abort.signal.addEventListener('abort', () => void reader.cancel().catch(() => {}));
  }

  async #drawFrames(source: VideoSource, intervalMs: number): Promise<void> {
    const { width, height } = source;
    const lumaBytes = width * height;
    const frame = new Uint8Array((lumaBytes * 3) / 2).fill(128);
    let due = performance.now();
    for (let count = 0; !this.#abort.signal.aborted; count += 1) {
      for (let row = 0; row < height; row += 1)
        frame.fill(60 + ((row + count * 4) % 160), row * width, (row + 1) * width);
      source.captureFrame(
        new VideoFrame(frame, width, height, VideoBufferType.I420),
        BigInt(Math.round(performance.now() * 1000)),
      );
      due = Math.max(due + intervalMs, performance.now() - intervalMs);
      await delay(Math.max(0, due - performance.now()));
    }
  }

  async #playSine(source: AudioSource, amplitude: number): Promise<void> {
    const samples = (sampleRate * frameMs) / 1000;
    let phase = 0;
    while (!this.#abort.signal.aborted) {
      const data = new Int16Array(samples);
      for (let index = 0; index < samples; index += 1) {
        data[index] = Math.round(amplitude * Math.sin(phase));
        phase += (2 * Math.PI * 440) / sampleRate;
      }
      // It resolves at the pace of the source's queue.
      await source.captureFrame(new AudioFrame(data, sampleRate, 1, samples));
    }
  }
}

/** Ends libwebrtc's threads; call once, after the last client of the test process. */
export async function disposeRtcNode(): Promise<void> {
  await dispose();
}

function meanLuma(frame: VideoFrame): number {
  const picture = frame.type === VideoBufferType.I420 ? frame : frame.convert(VideoBufferType.I420);
  const pixels = picture.width * picture.height;
  let sum = 0;
  let count = 0;
  for (let index = 0; index < pixels; index += 97) {
    sum += picture.data[index] ?? 0;
    count += 1;
  }
  return count === 0 ? 0 : sum / count;
}

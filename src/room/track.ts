/** A track from its announcement (AddTrack) to its end. */
import {
  BackupCodecPolicy,
  SimulcastCodecInfo,
  TimedVersion,
  TrackInfo,
  TrackSource,
  TrackType,
  VideoLayer,
  VideoLayer_Mode,
  type AddTrackRequest,
} from '@livekit/protocol';
import type { TrackSid } from '../protocol/ids.ts';
import type {
  ActualPublication,
  DeclaredCodec,
  DeclaredLayer,
  MediaKind,
  ProducerRef,
  Quality,
  WantedPublication,
} from '../protocol/leg-messages.ts';
import { Dynacast } from '../quality/dynacast.ts';
import type { Participant } from './participant.ts';
import { bound } from './settings.ts';

export type EnabledCodec = { mime: string };

export type TrackOptions = {
  sid: TrackSid;
  publisher: Participant;
  request: AddTrackRequest;
  enabledCodecs: EnabledCodec[];
  dynacastPauseDelayMs: number;
  nowMs: number;
};

/** A track as the room's former host left it. */
export type KeptTrack = {
  info: TrackInfo;
  codecs: DeclaredCodec[];
  source: ActualPublication | undefined;
  subscribedTold: boolean;
  ticks: number;
  dynacast: ReturnType<Dynacast['reported']> | undefined;
  /** Absent: it is not. */
  regressed?: boolean;
};

export type KeptTrackOptions = { publisher: Participant; kept: KeptTrack; dynacastPauseDelayMs: number };

const svcCodecs = ['vp9', 'av1'];

export class Track {
  readonly sid: TrackSid;
  readonly publisher: Participant;
  readonly kind: MediaKind;
  readonly info: TrackInfo;
  /** Of a public video track. */
  dynacast: Dynacast | undefined;
  /** First the one that is published, then backups. */
  readonly codecs: DeclaredCodec[];
  /** Announced, or carried by a section that the leg accepted: only then do others know of it. */
  isPublic = false;
  /** What carries it: the first codec that has a producer, or the backup once the track has fallen back to it. */
  source: ActualPublication | undefined;
  /** The same picture in other codecs, for subscribers that lack that one. */
  backups: ActualPublication[] = [];
  /** What is going to carry it once its publisher has moved. */
  successor: ProducerRef | undefined;
  /** What carried it before its publisher moved. */
  predecessorId: string | undefined;
  /** The publisher was told that somebody receives it. */
  subscribedTold = false;
  readonly #dynacastPauseDelayMs: number;
  #ticks = 0;
  /** Somebody lacks the first codec, and everybody is given the backup. */
  #regressed = false;
  #wanted: WantedPublication | undefined;

  constructor(options: TrackOptions | KeptTrackOptions) {
    this.publisher = options.publisher;
    this.#dynacastPauseDelayMs = options.dynacastPauseDelayMs;
    const { type } = 'kept' in options ? options.kept.info : options.request;
    this.kind = type === TrackType.AUDIO ? 'audio' : 'video';
    if ('kept' in options) {
      const { kept } = options;
      this.sid = kept.info.sid as TrackSid;
      this.info = kept.info;
      this.codecs = kept.codecs;
      this.source = kept.source;
      this.isPublic = kept.source !== undefined;
      this.subscribedTold = kept.subscribedTold;
      this.#ticks = kept.ticks;
      this.#regressed = kept.regressed ?? false;
      if (kept.dynacast !== undefined) {
        this.dynacast = new Dynacast(this.#codecNames(), options.dynacastPauseDelayMs, kept.dynacast);
      }
      return;
    }
    this.sid = options.sid;
    this.codecs = declareCodecs(options.request, this.kind, options.enabledCodecs);
    this.info = toTrackInfo(options.sid, options.request, this.codecs);
    this.touch(options.nowMs);
  }

  get muted(): boolean {
    return this.info.muted;
  }

  /** Bare name of the codec that is published, empty while it is not known. */
  get primaryCodec(): string {
    return this.codecs[0]?.codec ?? '';
  }

  get layers(): DeclaredLayer[] {
    return this.codecs[0]?.layers ?? [];
  }

  /** For the room's next host. */
  keep(): KeptTrack {
    const { info, codecs, source, subscribedTold } = this;
    return {
      info,
      codecs,
      source,
      subscribedTold,
      ticks: this.#ticks,
      dynacast: this.dynacast?.reported(),
      ...(this.#regressed ? { regressed: true } : {}),
    };
  }

  /** What carries it to a subscriber that lacks these codecs; undefined when none does (yet). */
  sourceFor(lacks: ReadonlySet<string>): ActualPublication | undefined {
    return [this.source, ...this.backups].find((actual) => actual !== undefined && !lacks.has(this.codecOf(actual)));
  }

  /** The codec that this subscriber is to be given, published or only announced; undefined when it lacks all of them. */
  codecFor(lacks: ReadonlySet<string>): string | undefined {
    const source = this.sourceFor(lacks);
    return source === undefined ? this.#codecNames().find((codec) => !lacks.has(codec)) : this.codecOf(source);
  }

  codecOf(actual: ActualPublication): string {
    return this.codecs.find(({ cid }) => cid === actual.cid)?.codec || bareName(actual.mimeType);
  }

  /** By id; undefined when it does not carry the track (any more). */
  publication(producerId: string): ActualPublication | undefined {
    return [this.source, ...this.backups].find((actual) => actual?.producerId === producerId);
  }

  /**
   * Somebody needs a backup. Unless the publisher said that both are to be sent, everybody gets it from now on, so that
   * the publisher encodes once. @returns whether what carries the track changed
   */
  regress(lacks: ReadonlySet<string>, nowMs: number): boolean {
    const backup = this.sourceFor(lacks);
    if (this.info.backupCodecPolicy === BackupCodecPolicy.SIMULCAST || backup === undefined || backup === this.source) {
      return false;
    }
    this.#regressed = true;
    return this.applyActual([backup, ...(this.source === undefined ? [] : [this.source]), ...this.backups], nowMs);
  }

  /** Nothing carries it any more, here or to come from elsewhere. */
  lose(): void {
    this.isPublic = false;
    this.source = undefined;
    this.successor = undefined;
    this.predecessorId = undefined;
    this.subscribedTold = false;
    this.dynacast = undefined;
    this.#wanted = undefined;
  }

  hasCid(cid: string): boolean {
    return cid !== '' && this.codecs.some((codec) => codec.cid === cid);
  }

  /** Every change that a client can see has a version of its own. */
  touch(nowMs: number): void {
    this.#ticks += 1;
    this.#wanted = undefined;
    this.info.version = new TimedVersion({ unixMicro: BigInt(Math.trunc(nowMs)) * 1000n, ticks: this.#ticks });
  }

  /** A backup codec got its section: replaces the announced entry or adds one. */
  addCodec(request: AddTrackRequest, nowMs: number): boolean {
    const declared = request.simulcastCodecs.map((codec) => bareName(codec.codec)).find((codec) => codec !== '') ?? '';
    const known = this.codecs.find((codec) => codec.codec === declared);
    if (known === undefined && this.codecs.length >= bound.declaredCodecs) {
      return false;
    }
    if (known === undefined) {
      this.codecs.push({ codec: declared, cid: request.cid, layers: declareLayers(request.layers, request) });
      this.dynacast?.declare(declared);
    } else {
      known.cid = request.cid;
    }
    this.info.codecs = this.codecs
      .filter((codec) => codec.codec !== '')
      .map((codec) => toCodecInfo(codec, this.kind, request));
    this.touch(nowMs);
    return true;
  }

  /** Takes over what the leg says about the sections that carry this track. True when anything visible changed. */
  applyActual(actuals: ActualPublication[], nowMs: number): boolean {
    const declared = this.codecs.flatMap((codec) => actuals.find((actual) => actual.cid === codec.cid) ?? []);
    const [first, second] = declared.length > 0 ? declared : actuals;
    const source = this.#regressed ? (second ?? first) : first;
    const before = JSON.stringify([this.isPublic, this.source, this.backups]);
    this.source = source;
    this.backups = declared.filter((actual) => actual !== source);
    this.isPublic = source !== undefined;
    if (before === JSON.stringify([this.isPublic, source, this.backups])) {
      return false;
    }
    for (const actual of actuals) {
      this.#describe(actual, actual === source);
    }
    if (source !== undefined && this.kind === 'video') {
      this.dynacast ??= new Dynacast(this.#codecNames(), this.#dynacastPauseDelayMs);
    }
    this.touch(nowMs);
    return true;
  }

  /** Its publisher has moved: the same section of the same client, on another leg. Nothing that clients see changes. */
  relocate(next: ActualPublication): void {
    this.predecessorId = this.source?.producerId;
    this.source = next;
  }

  toWanted(): WantedPublication {
    this.#wanted ??= {
      trackSid: this.sid,
      kind: this.kind,
      codecs: this.codecs.map((codec) => ({ ...codec, layers: codec.layers.map((layer) => ({ ...layer })) })),
      muted: this.info.muted,
      stereo: this.info.stereo,
      disableDtx: this.info.disableDtx,
      encrypted: this.info.encryption !== 0,
    };
    return this.#wanted;
  }

  #codecNames(): string[] {
    return this.codecs.map(({ codec }) => codec);
  }

  #describe(actual: ActualPublication, isSource: boolean): void {
    const name = bareName(actual.mimeType);
    const declared = this.codecs.find((codec) => codec.cid === actual.cid);
    if (declared !== undefined && declared.codec === '') {
      declared.codec = name;
      this.info.codecs = [toCodecInfo(declared, this.kind, undefined)];
    }
    const mode = actual.svc
      ? VideoLayer_Mode.MULTIPLE_SPATIAL_LAYERS_PER_STREAM
      : VideoLayer_Mode.ONE_SPATIAL_LAYER_PER_STREAM;
    const codecInfo = this.info.codecs.find((codec) => codec.cid === actual.cid);
    if (codecInfo !== undefined) {
      codecInfo.mimeType = actual.mimeType;
      codecInfo.mid = actual.mid;
      codecInfo.sdpCid = actual.sdpCid === actual.cid ? '' : actual.sdpCid;
      codecInfo.videoLayerMode = this.kind === 'video' ? mode : VideoLayer_Mode.MODE_UNUSED;
      describeLayers(codecInfo.layers, actual);
    }
    if (isSource) {
      this.info.mimeType = actual.mimeType;
      this.info.mid = actual.mid;
      this.info.simulcast = this.kind === 'video' && !actual.svc && actual.layers.length > 1;
      describeLayers(this.info.layers, actual);
    }
  }
}

/** `video/VP8`, `VP8` and `vp8` are one codec. */
export function bareName(codec: string): string {
  return codec.slice(codec.lastIndexOf('/') + 1).toLowerCase();
}

/** LiveKit's two letters between `TR_` and the random part. */
export function sidLetters(request: { type: TrackType; source: TrackSource }): string {
  const kind = request.type === TrackType.AUDIO ? 'A' : 'V';
  const letters: Record<number, string> = {
    [TrackSource.CAMERA]: 'C',
    [TrackSource.MICROPHONE]: 'M',
    [TrackSource.SCREEN_SHARE]: 'S',
    [TrackSource.SCREEN_SHARE_AUDIO]: 's',
  };
  return kind + (letters[request.source] ?? (kind === 'A' ? 'M' : 'C'));
}

function declareCodecs(request: AddTrackRequest, kind: MediaKind, enabledCodecs: EnabledCodec[]): DeclaredCodec[] {
  const enabled = enabledCodecs.filter((codec) => codec.mime.startsWith(kind)).map((codec) => bareName(codec.mime));
  const requested = request.simulcastCodecs.slice(0, bound.declaredCodecs);
  const layersOf = (own: VideoLayer[]): DeclaredLayer[] =>
    kind === 'audio' ? [] : declareLayers(own.length > 0 ? own : request.layers, request);
  const first = requested[0];
  // Some SDKs (Go) do not say which video codec they will send: their section decides.
  const unstated = kind === 'audio' ? (enabled[0] ?? 'opus') : '';
  const wanted = first === undefined ? unstated : bareName(first.codec);
  // RED wraps opus; it is an option of the section, not a codec of the track.
  const named = kind === 'audio' && wanted === 'red' ? 'opus' : wanted;
  const primary = named === '' || enabled.includes(named) ? named : (enabled[0] ?? named);
  const codecs: DeclaredCodec[] = [
    { codec: primary, cid: first?.cid || request.cid, layers: layersOf(first?.layers ?? []) },
  ];
  for (const backup of requested.slice(1)) {
    const codec = bareName(backup.codec);
    if (enabled.includes(codec) && codecs.every((known) => known.codec !== codec)) {
      codecs.push({ codec, cid: backup.cid, layers: layersOf(backup.layers) });
    }
  }
  return codecs;
}

/** Low to high, each quality once; without a list the whole picture is one HIGH layer. */
function declareLayers(layers: VideoLayer[], request: { width: number; height: number }): DeclaredLayer[] {
  const byQuality = new Map<Quality, DeclaredLayer>();
  for (const layer of layers) {
    const quality = toQuality(layer.quality);
    if (quality !== undefined) {
      byQuality.set(quality, { quality, width: layer.width, height: layer.height, bitrateBps: layer.bitrate });
    }
  }
  if (byQuality.size === 0) {
    return [{ quality: 2, width: request.width, height: request.height, bitrateBps: 0 }];
  }
  return [...byQuality.values()].toSorted((a, b) => a.quality - b.quality);
}

/** Undefined for OFF and for numbers that no LiveKit version knows. */
export function toQuality(value: number): Quality | undefined {
  return value === 0 || value === 1 || value === 2 ? value : undefined;
}

function toTrackInfo(sid: TrackSid, request: AddTrackRequest, codecs: DeclaredCodec[]): TrackInfo {
  const isVideo = request.type === TrackType.VIDEO;
  const layers = toVideoLayers(codecs[0]);
  return new TrackInfo({
    sid,
    type: request.type,
    name: request.name,
    muted: request.muted,
    width: request.width,
    height: request.height,
    simulcast: isVideo && layers.length > 1 && !svcCodecs.includes(codecs[0]?.codec ?? ''),
    disableDtx: request.disableDtx,
    source: request.source,
    layers,
    // A codec without a name yet is left out: livekit-client takes the first entry for the server's choice.
    codecs: codecs
      .filter((codec) => codec.codec !== '')
      .map((codec) => toCodecInfo(codec, isVideo ? 'video' : 'audio', request)),
    stereo: request.stereo,
    disableRed: request.disableRed,
    encryption: request.encryption,
    stream: request.stream || defaultStream(request.source),
    audioFeatures: request.audioFeatures,
    backupCodecPolicy: request.backupCodecPolicy,
    packetTrailerFeatures: request.packetTrailerFeatures,
  });
}

/** Camera and microphone of a participant play in step, and so do picture and sound of a shared screen. */
function defaultStream(source: TrackSource): string {
  if (source === TrackSource.CAMERA || source === TrackSource.MICROPHONE) {
    return 'camera';
  }
  return source === TrackSource.SCREEN_SHARE || source === TrackSource.SCREEN_SHARE_AUDIO ? 'screen_share' : '';
}

const mimeNames: Record<string, string> = { vp8: 'VP8', vp9: 'VP9', h264: 'H264', h265: 'H265', av1: 'AV1' };

function toCodecInfo(codec: DeclaredCodec, kind: MediaKind, request: AddTrackRequest | undefined): SimulcastCodecInfo {
  const requested = request?.simulcastCodecs.find((entry) => bareName(entry.codec) === codec.codec);
  return new SimulcastCodecInfo({
    mimeType: `${kind}/${mimeNames[codec.codec] ?? codec.codec}`,
    cid: codec.cid,
    layers: toVideoLayers(codec),
    videoLayerMode: kind === 'audio' ? VideoLayer_Mode.MODE_UNUSED : layerMode(codec.codec, requested?.videoLayerMode),
  });
}

function layerMode(codec: string, stated: VideoLayer_Mode | undefined): VideoLayer_Mode {
  if (stated !== undefined && stated !== VideoLayer_Mode.MODE_UNUSED) {
    return stated;
  }
  return svcCodecs.includes(codec)
    ? VideoLayer_Mode.MULTIPLE_SPATIAL_LAYERS_PER_STREAM
    : VideoLayer_Mode.ONE_SPATIAL_LAYER_PER_STREAM;
}

function toVideoLayers(codec: DeclaredCodec | undefined): VideoLayer[] {
  const layers = codec?.layers ?? [];
  const isSvc = svcCodecs.includes(codec?.codec ?? '');
  // LiveKit clients name their encodings q, h and f from low to high.
  const rids = layers.length > 1 && !isSvc ? ['q', 'h', 'f'] : [];
  return layers.map(
    (layer, index) =>
      new VideoLayer({
        quality: layer.quality,
        width: layer.width,
        height: layer.height,
        bitrate: layer.bitrateBps,
        spatialLayer: index,
        rid: rids[index] ?? '',
      }),
  );
}

function describeLayers(layers: VideoLayer[], actual: ActualPublication): void {
  for (const layer of layers) {
    const found = actual.layers.find((candidate) => candidate.quality === toQuality(layer.quality));
    const only = actual.svc || actual.layers.length === 1 ? actual.layers[0] : undefined;
    const flowing = found ?? only;
    if (flowing !== undefined) {
      layer.rid = flowing.rid;
      layer.ssrc = flowing.ssrc;
    }
  }
}

import { randomInt, randomUUID } from 'node:crypto';
import { VideoQuality, type SubscribedQualityUpdate } from '@livekit/protocol';
import { extensionUris, parseDescription, writeDescription, type Section, type SectionText } from './description.ts';
import type { LightEndpoint } from './light-endpoint.ts';
import type { Reroute } from './light-subscriber.ts';
import {
  newIceCredentials,
  type IceCredentials,
  type LightPeer,
  type OutgoingStream,
  type PeerEvent,
} from './light-peer.ts';

export type FakeAudio = { name?: string; levelDbov?: number; payloadBytes?: number };

/** Sizes of encoded frames that the endpoint was given, by their number there. */
export type Trace = { number: number; fps: number };

export type FakeVideo = {
  name?: string;
  /** Three layers q, h, f instead of one. */
  simulcast?: boolean;
  fps?: number;
  /** Of the top layer; each lower one has a third. */
  bitrateBps?: number;
  width?: number;
  height?: number;
  /** Where frame sizes come from in place of the bit rate: one for each layer, low to high. */
  traces?: readonly Trace[];
  traceFrom?: number;
};

export type PublisherOptions = {
  endpoint: LightEndpoint;
  onEvent: (event: PeerEvent) => void;
  countData: boolean;
  reroute: Reroute;
};

/** Stream ids in the order in which livekit-client opens its channels. */
export const channelStreams = { _lossy: 0, _reliable: 2, _data_track: 4 } as const;

const rids = ['q', 'h', 'f'];
const qualityOfRid: Record<string, VideoQuality> = {
  q: VideoQuality.LOW,
  h: VideoQuality.MEDIUM,
  f: VideoQuality.HIGH,
};
const payloadTypes = { audio: 111, video: 96, rtx: 97 };
const extensionIds = { level: 1, transportCc: 3, mid: 4, rid: 10, repairedRid: 11 };

export type PublishedTrack = {
  cid: string;
  trackSid: string;
  kind: 'audio' | 'video';
  audio: FakeAudio;
  video: FakeVideo;
  muted: boolean;
  streams: { ssrc: number; rid: string }[];
};

type Slot = { mid: string; kind: 'audio' | 'video' | 'application'; track: PublishedTrack | undefined };

/** The sending peer connection: data channels and fake tracks; makes offers and takes their answers. */
export class LightPublisher {
  readonly peer: LightPeer;
  readonly #options: PublisherOptions;
  readonly #slots: Slot[] = [{ mid: '0', kind: 'application', track: undefined }];
  readonly #sending = new Set<PublishedTrack>();
  #remoteUfrag = '';
  #credentials: IceCredentials;
  #offers = 0;
  lastOffer = '';

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.peer = options.endpoint.open({ onEvent: options.onEvent, countData: options.countData, sctp: true });
    this.#credentials = this.peer.credentials;
    this.peer.openChannel(channelStreams._lossy, '_lossy', { unordered: true, maxRetransmits: 0 });
    this.peer.openChannel(channelStreams._reliable, '_reliable');
    this.peer.openChannel(channelStreams._data_track, '_data_track', { unordered: true, maxRetransmits: 0 });
  }

  get tracks(): PublishedTrack[] {
    return this.#slots.flatMap(({ track }) => (track ? [track] : []));
  }

  addAudio(audio: FakeAudio): PublishedTrack {
    return this.#add({
      cid: randomUUID(),
      trackSid: '',
      kind: 'audio',
      audio,
      video: {},
      muted: false,
      streams: [{ ssrc: newSsrc(), rid: '' }],
    });
  }

  addVideo(video: FakeVideo): PublishedTrack {
    const streams = (video.simulcast ? rids : ['']).map((rid) => ({ ssrc: newSsrc(), rid }));
    return this.#add({ cid: randomUUID(), trackSid: '', kind: 'video', audio: {}, video, muted: false, streams });
  }

  remove(track: PublishedTrack): void {
    const slot = this.#slots.find((candidate) => candidate.track === track);
    if (slot) slot.track = undefined;
    if (this.#sending.delete(track)) for (const { ssrc } of track.streams) this.peer.stopPublishing(ssrc);
  }

  setMuted(track: PublishedTrack, muted: boolean): void {
    track.muted = muted;
    for (const { ssrc } of track.streams) this.peer.setPublished(ssrc, { paused: muted });
  }

  /** Dynacast: sends only the layers that somebody wants. */
  followQuality(update: SubscribedQualityUpdate): void {
    const track = this.tracks.find(({ trackSid }) => trackSid === update.trackSid);
    const [codec] = update.subscribedCodecs;
    if (!track || !codec || track.muted || !this.#sending.has(track)) return;
    const wanted = new Set(codec.qualities.filter(({ enabled }) => enabled).map(({ quality }) => quality));
    for (const { ssrc, rid } of track.streams) {
      const active = rid === '' ? wanted.size > 0 : wanted.has(qualityOfRid[rid] ?? VideoQuality.HIGH);
      this.peer.setPublished(ssrc, { paused: !active });
    }
  }

  /** @param restartIce take new credentials, as after a resume. */
  offer(restartIce: boolean): string {
    if (restartIce) this.#credentials = newIceCredentials();
    this.#offers += 1;
    const local = { ...this.#credentials, fingerprint: this.#options.endpoint.fingerprint, setup: 'actpass' as const };
    this.lastOffer = writeDescription(local, this.#offers, this.#slots.map(writeSlot));
    return this.lastOffer;
  }

  /** Applies the server's answer: connects, and starts what it accepted. */
  takeAnswer(sdp: string): void {
    const answer = parseDescription(sdp);
    const changed = answer.ufrag !== this.#remoteUfrag || this.#credentials.ufrag !== this.peer.credentials.ufrag;
    if (changed) {
      this.#remoteUfrag = answer.ufrag;
      const { ufrag, password, fingerprint, candidates } = answer;
      const dtlsRole = answer.setup === 'active' ? 'server' : 'client';
      this.peer.setRemote(
        { ufrag, password, fingerprint, dtlsRole, candidates: candidates.map(this.#options.reroute) },
        this.#credentials,
      );
    }
    for (const [index, slot] of this.#slots.entries()) {
      const section = answer.sections[index];
      if (!slot.track || !section || this.#sending.has(slot.track)) continue;
      if (section.port === 0 || section.direction === 'inactive') {
        throw new Error(`the server refused section ${slot.mid} of ${slot.track.trackSid}`);
      }
      this.#start(slot.track, section);
    }
  }

  #add(track: PublishedTrack): PublishedTrack {
    const free = this.#slots.find((slot) => slot.kind === track.kind && slot.track === undefined);
    if (free) free.track = track;
    else this.#slots.push({ mid: String(this.#slots.length), kind: track.kind, track });
    return track;
  }

  #start(track: PublishedTrack, section: Section): void {
    this.#sending.add(track);
    for (const [index, { ssrc, rid }] of track.streams.entries()) {
      this.peer.publish({
        ...outgoing(track, index),
        ssrc,
        rid,
        ...extensionsOf(section),
        mid: section.mid,
        paused: track.muted,
      });
    }
  }
}

function newSsrc(): number {
  return randomInt(10_000, 0xffff_ffff);
}

function outgoing(track: PublishedTrack, layer: number): Omit<OutgoingStream, 'ssrc'> {
  if (track.kind === 'audio') {
    const { levelDbov = 30, payloadBytes = 60 } = track.audio;
    return { kind: 'audio', payloadType: payloadTypes.audio, levelDbov, payloadBytes };
  }
  const below = track.streams.length - 1 - layer;
  const trace = track.video.traces?.at(-1 - below);
  const { fps = 15, bitrateBps = 300_000, width = 640, height = 360 } = track.video;
  return {
    kind: 'video',
    payloadType: payloadTypes.video,
    temporalLayers: track.video.simulcast ? 3 : 1,
    fps,
    bitrateBps: Math.round(bitrateBps / 3 ** below),
    width: width >> below,
    height: height >> below,
    ...(trace === undefined ? {} : { fps: trace.fps, trace: trace.number, traceFrom: track.video.traceFrom ?? 0 }),
  };
}

function extensionsOf(section: Section): { midId?: number; ridId?: number; levelId?: number; transportCcId?: number } {
  const id = (uri: string): number => section.extensions.get(uri) ?? 0;
  return {
    midId: id(extensionUris.mid),
    ridId: id(extensionUris.rid),
    levelId: id(extensionUris.level),
    transportCcId: id(extensionUris.transportCc),
  };
}

function writeSlot(slot: Slot): SectionText {
  const { mid, kind, track } = slot;
  if (kind === 'application') {
    const lines = ['sctp-port:5000', 'max-message-size:262144'];
    return { kind, protocol: 'UDP/DTLS/SCTP', port: 9, formats: ['webrtc-datachannel'], mid, lines };
  }
  const formats = kind === 'audio' ? [payloadTypes.audio] : [payloadTypes.video, payloadTypes.rtx];
  return {
    kind,
    protocol: 'UDP/TLS/RTP/SAVPF',
    port: 9,
    formats: formats.map(String),
    mid,
    lines: ['rtcp-mux', 'rtcp-rsize', ...(kind === 'audio' ? audioLines : videoLines), ...trackLines(track)],
  };
}

const audioLines = [
  `extmap:${extensionIds.level} ${extensionUris.level}`,
  `extmap:${extensionIds.transportCc} ${extensionUris.transportCc}`,
  `extmap:${extensionIds.mid} ${extensionUris.mid}`,
  `rtpmap:${payloadTypes.audio} opus/48000/2`,
  `rtcp-fb:${payloadTypes.audio} transport-cc`,
  `fmtp:${payloadTypes.audio} minptime=10;useinbandfec=1`,
];

const videoLines = [
  `extmap:${extensionIds.transportCc} ${extensionUris.transportCc}`,
  `extmap:${extensionIds.mid} ${extensionUris.mid}`,
  `extmap:${extensionIds.rid} ${extensionUris.rid}`,
  `extmap:${extensionIds.repairedRid} ${extensionUris.repairedRid}`,
  `rtpmap:${payloadTypes.video} VP8/90000`,
  ...['goog-remb', 'transport-cc', 'ccm fir', 'nack', 'nack pli'].map(
    (feedback) => `rtcp-fb:${payloadTypes.video} ${feedback}`,
  ),
  `rtpmap:${payloadTypes.rtx} rtx/90000`,
  `fmtp:${payloadTypes.rtx} apt=${payloadTypes.video}`,
];

function trackLines(track: PublishedTrack | undefined): string[] {
  if (!track) return ['inactive'];
  const lines = ['sendonly', `msid:- ${track.cid}`];
  const named = track.streams.filter(({ rid }) => rid !== '');
  if (named.length === 0) return [...lines, ...track.streams.map(({ ssrc }) => `ssrc:${ssrc} cname:light`)];
  return [
    ...lines,
    ...named.map(({ rid }) => `rid:${rid} send`),
    `simulcast:send ${named.map(({ rid }) => rid).join(';')}`,
  ];
}

import { randomBytes } from 'node:crypto';
import { withDeadline } from '../until.ts';
import type { EndpointEvent, Fields } from './wire.ts';

export type IceState = 'new' | 'checking' | 'connected' | 'disconnected' | 'failed';
export type DtlsState = 'new' | 'connected' | 'closed' | 'failed';
export type SctpState = 'new' | 'connected' | 'closed';

export type IceCredentials = { ufrag: string; password: string };

/** Counted on the clear RTP header; `runMs` is the length of the unbroken run up to now (no lost packet, no second of silence). */
export type StreamStats = {
  ssrc: number;
  packets: number;
  bytes: number;
  lost: number;
  duplicates: number;
  late: number;
  restarts: number;
  runMs: number;
  /** Longest time between two packets since the stream began or was last reset. */
  maxGapMs: number;
  silentMs: number;
  keyFrames: number;
  /** Size in the last VP8 key frame; 0 = none seen. */
  width: number;
  height: number;
  undecryptable: number;
  /** Delay from a publisher of this kit on the same machine; NaN without samples. */
  delayMeanMs: number;
  delayMaxMs: number;
};

export type SentStats = { ssrc: number; packets: number; bytes: number; keyFrames: number; keyRequests: number };

export type PeerStats = {
  streams: StreamStats[];
  sent: SentStats[];
  /** Packets of streams that nobody announced. */
  unknownPackets: number;
  dataMessages: number;
  dataBytes: number;
  queuedBytes: number;
};

export type ChannelEvent = { kind: 'channel'; stream: number; label: string; unordered: boolean; reliable: boolean };

export type PeerEvent =
  | { kind: 'ice'; state: IceState }
  | { kind: 'dtls'; state: DtlsState; profile: string }
  | { kind: 'sctp'; state: SctpState }
  | ChannelEvent
  | { kind: 'channelAcked'; stream: number }
  | { kind: 'data'; stream: number; ppid: number; data: Buffer }
  | { kind: 'keyFrame'; ssrc: number; width: number; height: number }
  | { kind: 'problem'; what: string; detail: string }
  | { kind: 'endpointDied' };

export type PeerOptions = {
  dtlsRole?: 'client' | 'server';
  sctp?: boolean;
  sctpPort?: number;
  /** Count data messages instead of handing them over. */
  countData?: boolean;
  bindAddress?: string;
  /** Decrypt one packet of so many, for crowds. Default: whatever shows key frames. */
  sample?: number;
  /** Default: any that is free. */
  bindPort?: number;
  onEvent?: (event: PeerEvent) => void;
};

export type RemoteDescription = IceCredentials & {
  /** IPv4 only. */
  candidates: { address: string; port: number }[];
  /** SHA-256, checked after the handshake. */
  fingerprint?: string;
  dtlsRole?: 'client' | 'server';
  sctp?: boolean;
};

export type IncomingStream = {
  ssrc: number;
  kind: 'audio' | 'video' | 'padding';
  codec?: string;
  transportCcId?: number;
  /** The stream that it replaces: the time between their packets counts as a gap. */
  continues?: number;
  /** Ask again for what is lost. */
  nack?: boolean;
  /** This stream repeats packets of the stream with this SSRC. */
  repairs?: number;
};

export type OutgoingStream = {
  ssrc: number;
  kind: 'audio' | 'video';
  payloadType: number;
  mid?: string;
  midId?: number;
  rid?: string;
  ridId?: number;
  levelId?: number;
  transportCcId?: number;
  fps?: number;
  bitrateBps?: number;
  width?: number;
  height?: number;
  levelDbov?: number;
  payloadBytes?: number;
  /** Of VP8; libwebrtc uses 3 with simulcast. Default 1. */
  temporalLayers?: 1 | 3;
  /** Number of the trace that frame sizes come from, in place of the bit rate. */
  trace?: number;
  /** Frame of the trace to begin with. */
  traceFrom?: number;
  paused?: boolean;
};

/** Messages that the endpoint sends by itself; see `data.c`. */
export type Flood = {
  stream: number;
  message: Uint8Array;
  perSecond: number;
  /** Where 12 bytes of the message become the time of sending. */
  stampAt?: number;
  /** Where 5 bytes of the message become a running number, as a varint. */
  sequenceAt?: number;
  unordered?: boolean;
  maxRetransmits?: number;
};

export type WatchOptions = {
  contiguousMs?: number;
  keyFrame?: boolean;
  timeoutMs?: number /** Gives up. */;
  signal?: AbortSignal;
};

type Asked = { answer: Promise<EndpointEvent>; cancel: () => void };

type PeerWiring = {
  id: number;
  options: PeerOptions;
  command: (verb: string, fields: Fields) => void;
  ask: (verb: string, fields: Fields) => Asked;
  forget: () => void;
};

export function newIceCredentials(): IceCredentials {
  return { ufrag: randomBytes(6).toString('hex'), password: randomBytes(16).toString('hex') };
}

/** One peer connection of a light endpoint. */
export class LightPeer {
  readonly #wiring: PeerWiring;
  readonly #waiters = new Set<() => void>();
  readonly #closed = Promise.withResolvers<void>();
  /** Lines of statistics under way, by the token of their question. */
  readonly #collected = new Map<number, Pick<PeerStats, 'streams' | 'sent'>>();
  #closing = false;
  #fingerprint = '';

  readonly channels = new Map<string, ChannelEvent>();
  readonly problems: string[] = [];
  credentials: IceCredentials = newIceCredentials();
  ice: IceState = 'new';
  dtls: DtlsState = 'new';
  sctp: SctpState = 'new';
  srtpProfile = '';

  constructor(wiring: PeerWiring) {
    this.#wiring = wiring;
    const { dtlsRole, sctp, sctpPort, countData, bindAddress, bindPort, sample } = wiring.options;
    wiring.command('open', {
      ...this.credentials,
      dtls: dtlsRole ?? 'client',
      sctp,
      sctp_port: sctpPort,
      count_data: countData,
      bind: bindAddress,
      sample,
      bind_port: bindPort,
    });
  }

  get connected(): boolean {
    return this.ice === 'connected' && this.dtls === 'connected';
  }

  /**
   * Starts ICE towards the server. A second call with new credentials on both sides is an ICE restart; one with another
   * fingerprint also begins DTLS anew.
   */
  setRemote(remote: RemoteDescription, credentials: IceCredentials = this.credentials): void {
    this.credentials = credentials;
    this.ice = 'checking';
    if (remote.fingerprint !== undefined && this.#fingerprint !== '' && remote.fingerprint !== this.#fingerprint) {
      this.dtls = 'new';
      this.sctp = 'new';
    }
    this.#fingerprint = remote.fingerprint ?? this.#fingerprint;
    this.#wiring.command('remote', {
      ...credentials,
      remote_ufrag: remote.ufrag,
      remote_password: remote.password,
      candidates: remote.candidates.map(({ address, port }) => `${address}:${port}`).join(','),
      fingerprint: remote.fingerprint,
      dtls: remote.dtlsRole,
      sctp: remote.sctp,
    });
  }

  async waitConnected(timeoutMs = 20_000): Promise<void> {
    await this.waitFor(
      () => this.connected,
      () => `connection: ice ${this.ice}, dtls ${this.dtls}`,
      timeoutMs,
    );
  }

  /** Resolves once the condition holds; it is looked at after every event of this peer. */
  async waitFor(condition: () => boolean, what: string | (() => string), timeoutMs = 20_000): Promise<void> {
    if (condition()) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = (): void => {
      if (condition()) resolve();
    };
    this.#waiters.add(look);
    try {
      await withDeadline(promise, what, timeoutMs);
    } finally {
      this.#waiters.delete(look);
    }
  }

  receive(stream: IncomingStream): void {
    const { ssrc, kind, codec, transportCcId, nack, repairs, continues } = stream;
    this.#wiring.command('receive', { ssrc, kind, codec, tcc_ext: transportCcId, nack, repairs, continues });
  }

  stopReceiving(ssrc: number): void {
    this.#wiring.command('receive-stop', { ssrc });
  }

  publish(stream: OutgoingStream): void {
    this.#wiring.command('publish', {
      ssrc: stream.ssrc,
      kind: stream.kind,
      pt: stream.payloadType,
      mid: stream.mid,
      mid_ext: stream.midId,
      rid: stream.rid,
      rid_ext: stream.ridId,
      level_ext: stream.levelId,
      tcc_ext: stream.transportCcId,
      fps: stream.fps,
      bps: stream.bitrateBps,
      width: stream.width,
      height: stream.height,
      level: stream.levelDbov,
      payload_bytes: stream.payloadBytes,
      temporal_layers: stream.temporalLayers,
      trace: stream.trace,
      trace_from: stream.traceFrom,
      paused: stream.paused,
    });
  }

  setPublished(
    ssrc: number,
    change: { paused?: boolean; levelDbov?: number; fps?: number; bitrateBps?: number },
  ): void {
    const { paused, levelDbov, fps, bitrateBps } = change;
    this.#wiring.command('publish-set', { ssrc, paused, level: levelDbov, fps, bps: bitrateBps });
  }

  stopPublishing(ssrc: number): void {
    this.#wiring.command('publish-stop', { ssrc });
  }

  /** Waits for an unbroken run of packets (and a VP8 key frame since the stream began), told by the endpoint at once. */
  async watch(ssrc: number, options: WatchOptions = {}): Promise<StreamStats> {
    const timeoutMs = options.timeoutMs ?? 20_000;
    const asked = this.#wiring.ask('watch', { ssrc, ms: options.contiguousMs ?? 0, key: options.keyFrame ?? false });
    const given = Promise.withResolvers<never>();
    options.signal?.addEventListener('abort', () => given.reject(new Error('given up')));
    try {
      const answer = await withDeadline(Promise.race([asked.answer, given.promise]), `media of ${ssrc}`, timeoutMs);
      if (answer.verb !== 'watched') throw new Error(`${answer.text('what')} ${ssrc}`);
      return toStreamStats(answer);
    } catch (error) {
      asked.cancel();
      if (options.signal?.aborted === true) throw error;
      const stats = (await this.stats()).streams.find((stream) => stream.ssrc === ssrc);
      throw new Error(`${error instanceof Error ? error.message : String(error)}: ${JSON.stringify(stats)}`);
    }
  }

  /** @param options.reset start run, gap and delay measurements anew after this answer. */
  async stats(options: { reset?: boolean } = {}): Promise<PeerStats> {
    const asked = this.#wiring.ask('stats', { reset: options.reset });
    const answer = await withDeadline(asked.answer, 'statistics of a peer', 5000);
    const token = answer.number('token');
    const lines = this.#collected.get(token);
    this.#collected.delete(token);
    return {
      streams: lines?.streams ?? [],
      sent: lines?.sent ?? [],
      unknownPackets: answer.number('unknown_packets'),
      dataMessages: answer.number('data_messages'),
      dataBytes: answer.number('data_bytes'),
      queuedBytes: answer.number('queued_bytes'),
    };
  }

  requestKeyFrame(ssrc: number): void {
    this.#wiring.command('pli', { ssrc });
  }

  /** Opens a channel in-band; messages may be sent at once, they wait for the association. */
  openChannel(stream: number, label: string, options: { unordered?: boolean; maxRetransmits?: number } = {}): void {
    this.#wiring.command('channel', {
      stream,
      label,
      unordered: options.unordered,
      max_retransmits: options.maxRetransmits,
    });
  }

  send(
    stream: number,
    data: Uint8Array,
    options: { unordered?: boolean; maxRetransmits?: number; ppid?: number } = {},
  ): void {
    this.#wiring.command('send', {
      stream,
      ppid: options.ppid ?? 53,
      unordered: options.unordered,
      max_retransmits: options.maxRetransmits,
      data: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64'),
    });
  }

  flood(flood: Flood): void {
    this.#wiring.command('flood', {
      stream: flood.stream,
      per_s: flood.perSecond,
      stamp_at: flood.stampAt,
      sequence_at: flood.sequenceAt,
      unordered: flood.unordered,
      max_retransmits: flood.maxRetransmits,
      data: Buffer.from(flood.message).toString('base64'),
    });
  }

  endFlood(stream: number): void {
    this.#wiring.command('flood', { stream, per_s: 0 });
  }

  /** Stops (or goes on) reading data, so that the server's sending window runs full. */
  setReadingData(on: boolean): void {
    this.#wiring.command('read', { on });
  }

  /** @param options.silent die without the DTLS goodbye. */
  async close(options: { silent?: boolean } = {}): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      this.#wiring.command('close', { silent: options.silent });
    }
    await withDeadline(this.#closed.promise, 'close of a peer', 5000);
  }

  collect(event: EndpointEvent): void {
    const token = event.number('token');
    const lines = this.#collected.get(token) ?? { streams: [], sent: [] };
    this.#collected.set(token, lines);
    if (event.verb === 'stream') lines.streams.push(toStreamStats(event));
    else lines.sent.push(toSentStats(event));
  }

  handle(event: EndpointEvent): void {
    switch (event.verb) {
      case 'closed':
        this.#wiring.forget();
        this.#closed.resolve();
        return;
      case 'ice':
        this.ice = event.text('state') as IceState;
        return this.#tell({ kind: 'ice', state: this.ice });
      case 'dtls':
        this.dtls = event.text('state') as DtlsState;
        this.srtpProfile = event.text('profile') || this.srtpProfile;
        return this.#tell({ kind: 'dtls', state: this.dtls, profile: this.srtpProfile });
      case 'sctp':
        this.sctp = event.text('state') as SctpState;
        return this.#tell({ kind: 'sctp', state: this.sctp });
      case 'channel':
        return this.#channelOpened(event);
      case 'channel-acked':
        return this.#tell({ kind: 'channelAcked', stream: event.number('stream') });
      case 'data':
        return this.#tell({
          kind: 'data',
          stream: event.number('stream'),
          ppid: event.number('ppid'),
          data: Buffer.from(event.text('data'), 'base64'),
        });
      case 'keyframe':
        return this.#tell({
          kind: 'keyFrame',
          ssrc: event.number('ssrc'),
          width: event.number('width'),
          height: event.number('height'),
        });
      case 'problem':
        return this.#problem(event.text('what'), event.text('code') || event.text('errno'));
    }
  }

  endpointDied(): void {
    this.ice = 'failed';
    this.#tell({ kind: 'endpointDied' });
    this.#closed.resolve();
  }

  #channelOpened(event: EndpointEvent): void {
    const type = event.number('type');
    const channel: ChannelEvent = {
      kind: 'channel',
      stream: event.number('stream'),
      label: event.text('label'),
      unordered: (type & 0x80) !== 0,
      reliable: (type & 0x7f) === 0,
    };
    this.channels.set(channel.label, channel);
    this.#tell(channel);
  }

  #problem(what: string, detail: string): void {
    this.problems.push(`${what} ${detail}`.trimEnd());
    this.#tell({ kind: 'problem', what, detail });
  }

  #tell(event: PeerEvent): void {
    this.#wiring.options.onEvent?.(event);
    for (const look of this.#waiters) look();
  }
}

function toStreamStats(event: EndpointEvent): StreamStats {
  return {
    ssrc: event.number('ssrc'),
    packets: event.number('packets'),
    bytes: event.number('bytes'),
    lost: event.number('lost'),
    duplicates: event.number('duplicates'),
    late: event.number('late'),
    restarts: event.number('restarts'),
    runMs: event.number('run_us') / 1000,
    maxGapMs: event.number('max_gap_us') / 1000,
    silentMs: event.number('silent_us') / 1000,
    keyFrames: event.number('key_frames'),
    width: event.number('width'),
    height: event.number('height'),
    undecryptable: event.number('undecryptable'),
    delayMeanMs: event.number('delay_sum_us') / event.number('delay_samples') / 1000,
    delayMaxMs: event.number('delay_max_us') / 1000,
  };
}

function toSentStats(event: EndpointEvent): SentStats {
  return {
    ssrc: event.number('ssrc'),
    packets: event.number('packets'),
    bytes: event.number('bytes'),
    keyFrames: event.number('key_frames'),
    keyRequests: event.number('key_requests'),
  };
}

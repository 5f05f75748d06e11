import { answerSection, extensionUris, parseDescription, writeDescription, type Section } from './description.ts';
import type { LightEndpoint } from './light-endpoint.ts';
import { newIceCredentials, type IncomingStream, type LightPeer, type PeerEvent } from './light-peer.ts';

export type ReceivedTrack = {
  trackSid: string;
  publisherSid: string;
  kind: 'audio' | 'video';
  mid: string;
  ssrc: number;
  codec: string;
};

export type Reroute = (candidate: { address: string; port: number }) => { address: string; port: number };

export type SubscriberOptions = {
  endpoint: LightEndpoint;
  onEvent: (event: PeerEvent) => void;
  countData: boolean;
  sample?: number | undefined;
  nack?: boolean;
  reroute: Reroute;
};

/** The receiving peer connection: answers the server's offers and keeps the endpoint's streams in step with them. */
export class LightSubscriber {
  readonly peer: LightPeer;
  readonly tracks = new Map<string, ReceivedTrack>();
  readonly #options: SubscriberOptions;
  #remoteUfrag = '';
  #answers = 0;
  #streams = new Map<number, string>();
  /** The last answer, which `sync_state` repeats. */
  lastAnswer = '';

  constructor(options: SubscriberOptions) {
    this.#options = options;
    const { onEvent, countData, sample } = options;
    this.peer = options.endpoint.open({ onEvent, countData, sctp: true, ...(sample === undefined ? {} : { sample }) });
  }

  answer(sdp: string, midToTrackId: Record<string, string>): string {
    const offer = parseDescription(sdp);
    const restart = offer.ufrag !== this.#remoteUfrag;
    const credentials = restart && this.#remoteUfrag !== '' ? newIceCredentials() : this.peer.credentials;
    if (restart) {
      this.#remoteUfrag = offer.ufrag;
      const { ufrag, password, fingerprint, candidates } = offer;
      this.peer.setRemote(
        { ufrag, password, fingerprint, candidates: candidates.map(this.#options.reroute) },
        credentials,
      );
    }
    this.#follow(offer.sections, midToTrackId);
    this.#answers += 1;
    const local = { ...credentials, fingerprint: this.#options.endpoint.fingerprint, setup: 'active' as const };
    this.lastAnswer = writeDescription(local, this.#answers, offer.sections.map(answerSection));
    return this.lastAnswer;
  }

  #follow(sections: Section[], midToTrackId: Record<string, string>): void {
    const streams = new Map<number, string>();
    const former = new Map([...this.tracks.values()].map(({ mid, ssrc }) => [mid, ssrc]));
    this.tracks.clear();
    for (const section of sections) {
      const [ssrc] = section.ssrcs;
      const { kind, mid } = section;
      if (section.direction !== 'sendonly' || ssrc === undefined || (kind !== 'audio' && kind !== 'video')) continue;
      const codec = section.codecs[0]?.name ?? '';
      const probator = mid === 'probator';
      const continues = former.get(mid);
      this.#receive(streams, mid, {
        ssrc,
        kind: probator ? 'padding' : kind,
        codec,
        ...this.#repairOf(section),
        ...(continues === undefined ? {} : { continues }),
      });
      const rtx = section.rtx.get(ssrc);
      if (rtx !== undefined) this.#receive(streams, mid, { ssrc: rtx, kind: 'padding', repairs: ssrc });
      if (probator) continue;
      const [publisherSid = '', inStream = ''] = section.streamId.split('|');
      const trackSid = midToTrackId[mid] ?? (inStream.startsWith('TR') ? inStream : section.trackId);
      this.tracks.set(trackSid, { trackSid, publisherSid, kind, mid, ssrc, codec });
    }
    for (const gone of this.#streams.keys()) if (!streams.has(gone)) this.peer.stopReceiving(gone);
    this.#streams = streams;
  }

  #receive(streams: Map<number, string>, mid: string, stream: IncomingStream): void {
    streams.set(stream.ssrc, mid);
    if (!this.#streams.has(stream.ssrc)) this.peer.receive(stream);
  }

  #repairOf(section: Section): { nack: boolean; transportCcId?: number } {
    const transportCcId = section.extensions.get(extensionUris.transportCc);
    const nack = this.#options.nack === true && section.attributes.some((line) => /^rtcp-fb:\S+ nack$/.test(line));
    return { nack, ...(transportCcId === undefined ? {} : { transportCcId }) };
  }
}

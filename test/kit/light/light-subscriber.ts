import { answerSection, extensionUris, parseDescription, writeDescription } from './description.ts';
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
    this.peer = options.endpoint.open({ onEvent: options.onEvent, countData: options.countData, sctp: true });
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

  #follow(sections: ReturnType<typeof parseDescription>['sections'], midToTrackId: Record<string, string>): void {
    const streams = new Map<number, string>();
    const former = new Map([...this.tracks.values()].map(({ mid, ssrc }) => [mid, ssrc]));
    this.tracks.clear();
    for (const section of sections) {
      const [ssrc] = section.ssrcs;
      if (
        section.direction !== 'sendonly' ||
        ssrc === undefined ||
        (section.kind !== 'audio' && section.kind !== 'video')
      )
        continue;
      const transportCcId = section.extensions.get(extensionUris.transportCc);
      const codec = section.codecs[0]?.name ?? '';
      const probator = section.mid === 'probator';
      const kind = probator ? 'padding' : section.kind;
      streams.set(ssrc, section.mid);
      if (!this.#streams.has(ssrc))
        this.peer.receive(toStream({ ssrc, kind, codec, transportCcId, continues: former.get(section.mid) }));
      const rtx = section.rtx.get(ssrc);
      if (rtx !== undefined) {
        streams.set(rtx, section.mid);
        if (!this.#streams.has(rtx)) this.peer.receive({ ssrc: rtx, kind: 'padding' });
      }
      if (probator) continue;
      const [publisherSid = '', inStream = ''] = section.streamId.split('|');
      const trackSid = midToTrackId[section.mid] ?? (inStream.startsWith('TR') ? inStream : section.trackId);
      this.tracks.set(trackSid, { trackSid, publisherSid, kind: section.kind, mid: section.mid, ssrc, codec });
    }
    for (const gone of this.#streams.keys()) if (!streams.has(gone)) this.peer.stopReceiving(gone);
    this.#streams = streams;
  }
}

function toStream(stream: {
  ssrc: number;
  kind: IncomingStream['kind'];
  codec: string;
  transportCcId: number | undefined;
  continues: number | undefined;
}): IncomingStream {
  const { ssrc, kind, codec, transportCcId, continues } = stream;
  return {
    ssrc,
    kind,
    codec,
    ...(transportCcId === undefined ? {} : { transportCcId }),
    ...(continues === undefined ? {} : { continues }),
  };
}

import { DataPacket, UserPacket } from '@livekit/protocol';
import type { LegId, TrackSid } from '../../src/protocol/ids.ts';
import type {
  ActualLeg,
  ActualPublication,
  WantedPublication,
  WantedSubscription,
} from '../../src/protocol/leg-messages.ts';
import type { FakeHost } from './fake-host.ts';
import type { LightEndpoint } from './light/light-endpoint.ts';
import type { PeerEvent } from './light/light-peer.ts';
import { channelStreams, LightPublisher, type PublishedTrack } from './light/light-publisher.ts';
import { LightSubscriber } from './light/light-subscriber.ts';
import { until, type UntilOptions } from './until.ts';

/** A participant with real connections: what its gateway would carry goes straight between it and the fake host. */
export class LegParticipant {
  leg: LegId;
  readonly publisher: LightPublisher;
  readonly subscriber: LightSubscriber;
  readonly packets: { stream: number; packet: DataPacket }[] = [];
  #host: FakeHost;
  #publications: WantedPublication[] = [];
  #subscriptions: WantedSubscription[] = [];
  #answersTaken = 0;
  #offersTaken = 0;

  constructor(host: FakeHost, endpoint: LightEndpoint, name: string) {
    this.#host = host;
    const reroute = (candidate: { address: string; port: number }) => candidate;
    this.publisher = new LightPublisher({ endpoint, countData: false, reroute, onEvent: () => undefined });
    this.subscriber = new LightSubscriber({
      endpoint,
      countData: false,
      reroute,
      onEvent: (event) => this.#onEvent(event),
    });
    this.leg = host.open(name);
  }

  /** From now on what it says goes to this leg, and only what that one says comes to it. */
  follow(host: FakeHost, leg: LegId): void {
    this.#host = host;
    this.leg = leg;
    this.#answersTaken = 0;
    this.#offersTaken = 0;
  }

  /** Takes what the leg has sent since the last call. */
  async pump(): Promise<void> {
    for (const answer of this.#host.of('answer', this.leg).slice(this.#answersTaken)) {
      this.#answersTaken += 1;
      this.publisher.takeAnswer(answer.sdp);
    }
    for (const offer of this.#host.of('offer', this.leg).slice(this.#offersTaken)) {
      this.#offersTaken += 1;
      this.#host.send({
        kind: 'clientAnswer',
        leg: this.leg,
        id: offer.id,
        sdp: this.subscriber.answer(offer.sdp, offer.midToTrackId),
      });
    }
  }

  async connected(): Promise<void> {
    await this.wait(() =>
      this.subscriber.peer.connected && this.subscriber.peer.channels.size === 3 ? '' : 'subscriber not connected',
    );
  }

  async wait(complaint: () => string | Promise<string>, options: UntilOptions = {}): Promise<void> {
    await until(async () => {
      await this.pump();
      return complaint();
    }, options);
  }

  async publish(tracks: readonly PublishedTrack[]): Promise<ActualPublication[]> {
    this.#publications.push(
      ...tracks.map((track, index) => wantedOf(track, `TR_${this.leg}_${this.#publications.length + index}`)),
    );
    this.#want();
    this.offer(false);
    await this.wait(() =>
      this.#host.actual(this.leg)?.publications.length === this.#publications.length ? '' : 'not published',
    );
    await this.wait(() => (this.publisher.peer.connected ? '' : 'publisher not connected'));
    return (this.#host.actual(this.leg)?.publications ?? []).toSorted((left, right) =>
      left.trackSid.localeCompare(right.trackSid),
    );
  }

  offer(restartIce: boolean): void {
    this.#host.send({ kind: 'clientOffer', leg: this.leg, id: 0, sdp: this.publisher.offer(restartIce) });
  }

  subscribe(subscriptions: WantedSubscription[]): void {
    this.#subscriptions = subscriptions;
    this.#want();
  }

  setMuted(muted: boolean): void {
    this.#publications = this.#publications.map((publication) => ({ ...publication, muted }));
    this.#want();
  }

  async bound(options: UntilOptions = {}): Promise<void> {
    await this.wait(
      () =>
        this.#host.actual(this.leg)?.subscriptions.filter((entry) => entry.state === 'bound').length ===
        this.#subscriptions.length
          ? ''
          : 'not bound',
      options,
    );
  }

  actual(): ActualLeg | undefined {
    return this.#host.actual(this.leg);
  }

  ssrcOf(trackSid: string): number {
    return this.subscriber.tracks.get(trackSid)?.ssrc ?? 0;
  }

  send(label: '_reliable' | '_lossy', text: string, sequence = 0, destinationIdentities: string[] = []): void {
    const packet = new DataPacket({
      sequence,
      destinationIdentities,
      value: { case: 'user', value: new UserPacket({ payload: Buffer.from(text) }) },
    });
    this.publisher.peer.send(
      channelStreams[label],
      packet.toBinary(),
      label === '_lossy' ? { unordered: true, maxRetransmits: 0 } : {},
    );
  }

  texts(): string[] {
    return this.packets.map(({ packet }) =>
      packet.value.case === 'user' ? Buffer.from(packet.value.value.payload).toString() : '',
    );
  }

  #want(): void {
    this.#host.want(this.leg, { publications: this.#publications, subscriptions: this.#subscriptions });
  }

  #onEvent(event: PeerEvent): void {
    if (event.kind === 'data') {
      this.packets.push({ stream: event.stream, packet: DataPacket.fromBinary(event.data) });
    }
  }
}

function wantedOf(track: PublishedTrack, trackSid: string): WantedPublication {
  const count = track.streams.length;
  const layers = ([0, 1, 2] as const)
    .slice(0, count)
    .map((quality) => ({ quality, width: 320, height: 180, bitrateBps: 100_000 }));
  const codec = {
    codec: track.kind === 'audio' ? 'opus' : 'vp8',
    cid: track.cid,
    layers: track.kind === 'audio' ? [] : layers,
  };
  return {
    trackSid: trackSid as TrackSid,
    kind: track.kind,
    codecs: [codec],
    muted: false,
    stereo: false,
    disableDtx: false,
    encrypted: false,
  };
}

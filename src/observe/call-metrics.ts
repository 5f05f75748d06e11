/** What happens in calls: rooms, participants, tracks, media packets and data. Names are LiveKit's where it has them. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

export type MetricTrackKind = 'audio' | 'video' | 'data';

/** How far a join got: its first answer was sent or refused, its transports were made, its media connection stands. */
export type JoinState = 'signal_connected' | 'signal_failed' | 'rtc_init' | 'rtc_connected';

const secondsOfRooms = [1, 10, 60, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400];
const millisecondsOfJoins = [25, 50, 100, 150, 250, 500, 1_000, 2_000, 5_000, 10_000];
const millisecondsOfSessions = secondsOfRooms.map((seconds) => seconds * 1_000);

/** Each method is one fact; calling it in pairs (opened and closed, …) keeps the gauges true. */
export class RoomMetrics {
  readonly #rooms: Gauge;
  readonly #roomDuration: Histogram;
  readonly #participants: Gauge;
  readonly #joins: Counter<'state'>;
  readonly #joinLatency: Histogram<'protocol_version'>;
  readonly #sessionDuration: Histogram<'protocol_version'>;
  readonly #published: Gauge<'kind'>;
  readonly #publishes: Counter<'kind' | 'state'>;
  readonly #subscribed: Gauge<'kind'>;
  readonly #subscribes: Counter<'state' | 'error'>;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#rooms = new Gauge({ name: 'livekit_room_total', help: 'Rooms open on this node.', registers });
    this.#roomDuration = new Histogram({
      name: 'livekit_room_duration_seconds',
      help: 'How long rooms were open, observed when they close.',
      buckets: secondsOfRooms,
      registers,
    });
    this.#participants = new Gauge({
      name: 'livekit_participant_total',
      help: 'Participants in rooms of this node.',
      registers,
    });
    this.#joins = new Counter({
      name: 'livekit_participant_join_total',
      help: 'Joins that got this far: signal_connected, signal_failed, rtc_init, rtc_connected.',
      labelNames: ['state'],
      registers,
    });
    this.#joinLatency = new Histogram({
      name: 'livekit_session_join_latency_ms',
      help: 'Milliseconds from the join request until the media connection stands.',
      labelNames: ['protocol_version'],
      buckets: millisecondsOfJoins,
      registers,
    });
    this.#sessionDuration = new Histogram({
      name: 'livekit_session_duration_ms',
      help: 'Milliseconds that participants stayed, observed when they leave.',
      labelNames: ['protocol_version'],
      buckets: millisecondsOfSessions,
      registers,
    });
    this.#published = new Gauge({
      name: 'livekit_track_published_total',
      help: 'Tracks being published.',
      labelNames: ['kind'],
      registers,
    });
    this.#publishes = new Counter({
      name: 'livekit_track_publish_counter',
      help: 'Attempts to publish a track and how they ended: success or failed.',
      labelNames: ['kind', 'state'],
      registers,
    });
    this.#subscribed = new Gauge({
      name: 'livekit_track_subscribed_total',
      help: 'Subscriptions to tracks.',
      labelNames: ['kind'],
      registers,
    });
    this.#subscribes = new Counter({
      name: 'livekit_track_subscribe_counter',
      help: 'Attempts to subscribe to a track and how they ended: success or failed, with the error.',
      labelNames: ['state', 'error'],
      registers,
    });
  }

  roomOpened(): void {
    this.#rooms.inc();
  }

  roomClosed(durationS: number): void {
    this.#rooms.dec();
    this.#roomDuration.observe(durationS);
  }

  joinReached(state: JoinState): void {
    this.#joins.inc({ state });
  }

  participantJoined(): void {
    this.#participants.inc();
  }

  /** The participant's media connection stands. */
  participantActive(protocolVersion: number, joinLatencyMs: number): void {
    this.#joinLatency.observe({ protocol_version: String(protocolVersion) }, joinLatencyMs);
  }

  participantLeft(protocolVersion: number, durationMs: number): void {
    this.#participants.dec();
    this.#sessionDuration.observe({ protocol_version: String(protocolVersion) }, durationMs);
  }

  trackPublished(kind: MetricTrackKind): void {
    this.#published.inc({ kind });
    this.#publishes.inc({ kind, state: 'success' });
  }

  trackUnpublished(kind: MetricTrackKind): void {
    this.#published.dec({ kind });
  }

  trackPublishFailed(kind: MetricTrackKind): void {
    this.#publishes.inc({ kind, state: 'failed' });
  }

  trackSubscribed(kind: MetricTrackKind): void {
    this.#subscribed.inc({ kind });
    this.#subscribes.inc({ state: 'success', error: '' });
  }

  trackUnsubscribed(kind: MetricTrackKind): void {
    this.#subscribed.dec({ kind });
  }

  /** @param error one of a small fixed set of names, never text from outside. */
  trackSubscribeFailed(error: string): void {
    this.#subscribes.inc({ state: 'failed', error });
  }
}

export type MediaDirection = 'incoming' | 'outgoing';

/** What was forwarded since the last report. */
export type MediaTraffic = {
  direction: MediaDirection;
  transmission: 'initial' | 'retransmit';
  packets: number;
  sizeBytes: number;
};

/** Counts of RTCP feedback since the last report. */
export type MediaFeedback = { direction: MediaDirection; nack: number; pli: number; fir: number };

export class MediaMetrics {
  readonly #packets: Counter<'direction' | 'transmission'>;
  readonly #bytes: Counter<'direction' | 'transmission'>;
  readonly #nacks: Counter<'direction'>;
  readonly #plis: Counter<'direction'>;
  readonly #firs: Counter<'direction'>;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#packets = new Counter({
      name: 'livekit_packet_total',
      help: 'RTP packets.',
      labelNames: ['direction', 'transmission'],
      registers,
    });
    this.#bytes = new Counter({
      name: 'livekit_packet_bytes',
      help: 'Bytes of RTP packets.',
      labelNames: ['direction', 'transmission'],
      registers,
    });
    const labelNames = ['direction'] as const;
    this.#nacks = new Counter({
      name: 'livekit_nack_total',
      help: 'Packets asked for again (NACK).',
      labelNames,
      registers,
    });
    this.#plis = new Counter({ name: 'livekit_pli_total', help: 'Key frames asked for (PLI).', labelNames, registers });
    this.#firs = new Counter({ name: 'livekit_fir_total', help: 'Key frames asked for (FIR).', labelNames, registers });
  }

  trafficMeasured(traffic: MediaTraffic): void {
    const labels = { direction: traffic.direction, transmission: traffic.transmission };
    this.#packets.inc(labels, traffic.packets);
    this.#bytes.inc(labels, traffic.sizeBytes);
  }

  feedbackMeasured({ direction, nack, pli, fir }: MediaFeedback): void {
    this.#nacks.inc({ direction }, nack);
    this.#plis.inc({ direction }, pli);
    this.#firs.inc({ direction }, fir);
  }
}

export type DataDropReason = 'not-allowed' | 'malformed' | 'duplicate' | 'too-large' | 'lossy-backlog';

export class DataMetrics {
  readonly #queuedBytes: Gauge;
  readonly #dropped: Counter<'reason'>;
  readonly #slowClients: Counter<'channel'>;

  constructor(registry: Registry, slowClients: Counter<'channel'>) {
    const registers = [registry];
    this.#queuedBytes = new Gauge({
      name: 'plenum_data_queue_bytes',
      help: 'Reliable data that waits for subscribers, over all of them.',
      registers,
    });
    this.#dropped = new Counter({
      name: 'plenum_data_packets_dropped_total',
      help: 'Data packets that were not passed on, by reason.',
      labelNames: ['reason'],
      registers,
    });
    this.#slowClients = slowClients;
  }

  /** @param deltaBytes positive when data is queued, negative when it is sent or given up. */
  queueChanged(deltaBytes: number): void {
    this.#queuedBytes.inc(deltaBytes);
  }

  packetDropped(reason: DataDropReason): void {
    this.#dropped.inc({ reason });
  }

  slowSubscriberClosed(): void {
    this.#slowClients.inc({ channel: 'data' });
  }
}

/** What happens in calls: rooms, participants, tracks, media packets and data. Names are LiveKit's where it has them. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { CarriedMedia, DataDropReason, LegObserver, MediaTraffic } from '../leg/observer.ts';

export type MetricTrackKind = 'audio' | 'video' | 'data';

/** What there is right now. Read at each scrape: a gauge that was counted up and down would be wrong for ever after one slip. */
export type CallsNow = { rooms: number; participants: number; carried: CarriedMedia };

const secondsOfRooms = [1, 10, 60, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400];
const millisecondsOfJoins = [25, 50, 100, 150, 250, 500, 1_000, 2_000, 5_000, 10_000];
const millisecondsOfSessions = secondsOfRooms.map((seconds) => seconds * 1_000);

export class CallGauges {
  constructor(registry: Registry, now: () => CallsNow) {
    const registers = [registry];
    const rooms: Gauge = new Gauge({
      name: 'livekit_room_total',
      help: 'Rooms open on this node.',
      registers,
      collect: () => rooms.set(now().rooms),
    });
    const participants: Gauge = new Gauge({
      name: 'livekit_participant_total',
      help: 'Participants in rooms of this node.',
      registers,
      collect: () => participants.set(now().participants),
    });
    const published: Gauge<'kind'> = new Gauge({
      name: 'livekit_track_published_total',
      help: 'Tracks being published to this node.',
      labelNames: ['kind'],
      registers,
      collect: () => setByKind(published, now().carried.published),
    });
    const subscribed: Gauge<'kind'> = new Gauge({
      name: 'livekit_track_subscribed_total',
      help: 'Tracks being delivered, counted once for each subscriber.',
      labelNames: ['kind'],
      registers,
      collect: () => setByKind(subscribed, now().carried.subscribed),
    });
    const copies: Gauge = new Gauge({
      name: 'plenum_track_copies',
      help: 'Tracks that came here from other workers and nodes, once for each worker.',
      registers,
      collect: () => copies.set(now().carried.copies),
    });
    const queued: Gauge = new Gauge({
      name: 'plenum_data_queue_bytes',
      help: 'Reliable data that waits for subscribers, over all of them.',
      registers,
      collect: () => queued.set(now().carried.queuedDataBytes),
    });
  }
}

function setByKind(gauge: Gauge<'kind'>, counts: CarriedMedia['published']): void {
  gauge.set({ kind: 'audio' }, counts.audio);
  gauge.set({ kind: 'video' }, counts.video);
}

/** Each method is one fact. */
export class RoomMetrics {
  readonly #roomDuration: Histogram;
  readonly #joins: Counter<'state'>;
  readonly #joinLatency: Histogram;
  readonly #startTime: Histogram;
  readonly #sessionDuration: Histogram;
  readonly #publishes: Counter<'kind' | 'state'>;

  constructor(registry: Registry, joins: Counter<'state'>) {
    const registers = [registry];
    this.#joins = joins;
    this.#roomDuration = new Histogram({
      name: 'livekit_room_duration_seconds',
      help: 'How long rooms were open, observed when they close.',
      buckets: secondsOfRooms,
      registers,
    });
    this.#joinLatency = new Histogram({
      name: 'livekit_session_join_latency_ms',
      help: 'Milliseconds from the join until the media connection stands.',
      buckets: millisecondsOfJoins,
      registers,
    });
    this.#startTime = new Histogram({
      name: 'livekit_session_start_time_ms',
      help: 'The same under the name that LiveKit had for it first.',
      buckets: millisecondsOfJoins,
      registers,
    });
    this.#sessionDuration = new Histogram({
      name: 'livekit_session_duration_ms',
      help: 'Milliseconds that participants stayed, observed when they leave.',
      buckets: millisecondsOfSessions,
      registers,
    });
    this.#publishes = new Counter({
      name: 'livekit_track_publish_counter',
      help: 'Tracks that were published; their state is success, as LiveKit calls it.',
      labelNames: ['kind', 'state'],
      registers,
    });
  }

  roomClosed(durationS: number): void {
    this.#roomDuration.observe(durationS);
  }

  /** The participant's media connection stands. */
  participantActive(joinLatencyMs: number): void {
    this.#joins.inc({ state: 'rtc_connected' });
    this.#joinLatency.observe(joinLatencyMs);
    this.#startTime.observe(joinLatencyMs);
  }

  /** The participant left before its media connection stood. */
  participantAborted(): void {
    this.#joins.inc({ state: 'rtc_failed' });
  }

  participantLeft(durationMs: number): void {
    this.#sessionDuration.observe(durationMs);
  }

  trackPublished(kind: MetricTrackKind): void {
    this.#publishes.inc({ kind, state: 'success' });
  }
}

export class LegMetrics implements LegObserver {
  readonly #packets: Counter<'direction' | 'transmission'>;
  readonly #bytes: Counter<'direction'>;
  readonly #nacks: Counter<'direction'>;
  readonly #plis: Counter<'direction'>;
  readonly #firs: Counter<'direction'>;
  readonly #dropped: Counter<'reason'>;
  readonly #slowClients: Counter<'channel'>;

  constructor(registry: Registry, slowClients: Counter<'channel'>) {
    const registers = [registry];
    const labelNames = ['direction'] as const;
    this.#slowClients = slowClients;
    this.#packets = new Counter({
      name: 'livekit_packet_total',
      help: 'RTP packets, added up every five seconds.',
      labelNames: ['direction', 'transmission'],
      registers,
    });
    this.#bytes = new Counter({
      name: 'livekit_packet_bytes',
      help: 'Bytes of RTP packets, without outgoing retransmissions.',
      labelNames,
      registers,
    });
    this.#nacks = new Counter({
      name: 'livekit_nack_total',
      help: 'Packets asked for again (NACK): by us of publishers (incoming), by subscribers of us (outgoing).',
      labelNames,
      registers,
    });
    this.#plis = new Counter({
      name: 'livekit_pli_total',
      help: 'Key frames asked for (PLI): by us of publishers (incoming), by subscribers of us (outgoing).',
      labelNames,
      registers,
    });
    this.#firs = new Counter({
      name: 'livekit_fir_total',
      help: 'Key frames asked for (FIR): by us of publishers (incoming), by subscribers of us (outgoing).',
      labelNames,
      registers,
    });
    this.#dropped = new Counter({
      name: 'plenum_data_packets_dropped_total',
      help: 'Data packets that were not passed on, by reason.',
      labelNames: ['reason'],
      registers,
    });
  }

  mediaMeasured(traffic: MediaTraffic): void {
    const { direction } = traffic;
    this.#packets.inc({ direction, transmission: 'initial' }, traffic.packets);
    this.#packets.inc({ direction, transmission: 'retransmit' }, traffic.retransmittedPackets);
    this.#bytes.inc({ direction }, traffic.sizeBytes);
    this.#nacks.inc({ direction }, traffic.nackedPackets);
    this.#plis.inc({ direction }, traffic.plis);
    this.#firs.inc({ direction }, traffic.firs);
  }

  dataDropped(reason: DataDropReason, packets: number): void {
    this.#dropped.inc({ reason }, packets);
  }

  slowSubscriberClosed(): void {
    this.#slowClients.inc({ channel: 'data' });
  }
}

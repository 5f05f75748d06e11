import type { types } from 'mediasoup';
import type { MediaKind } from '../sdp/rtp.ts';
import type { MediaConsumer } from './media-consumer.ts';
import type { MediaProducer } from './media-producer.ts';
import type { Layers } from './media-types.ts';

/** Counters run since the object was made; the reader takes differences. */
export type StreamStats = {
  packets: number;
  packetsLost: number;
  bitrateBps: number;
  /** 0 = not known yet. */
  rttMs: number;
  jitterMs: number;
  /** 0–10. */
  score: number;
};

export type ProducerLayerStats = StreamStats & { ssrc: number; rid: string; rtxSsrc: number | undefined };

/** Sums over all encodings, the worst of them for times; `layers` are low to high. */
export type ProducerStats = StreamStats & {
  producerId: string;
  kind: MediaKind;
  paused: boolean;
  layers: ProducerLayerStats[];
};

export type ConsumerStats = StreamStats & {
  consumerId: string;
  producerId: string;
  mid: string;
  kind: MediaKind;
  /** Nothing was to be forwarded: paused by us or at the source. */
  paused: boolean;
  currentLayers: Layers | undefined;
  preferredLayers: Layers | undefined;
};

/** Running counters of one RTP stream, from the server's point of view. */
export type StreamTraffic = {
  /** Object and SSRC: unique within its transport. */
  id: string;
  direction: 'incoming' | 'outgoing';
  /** Without retransmissions. */
  packets: number;
  retransmittedPackets: number;
  /** The engine counts incoming retransmissions in, outgoing ones not. */
  sizeBytes: number;
  nackedPackets: number;
  plis: number;
  firs: number;
};

export type TransportStats = {
  bytesReceived: number;
  bytesSent: number;
  /** undefined without bandwidth estimation. */
  availableOutgoingBps: number | undefined;
  producers: ProducerStats[];
  consumers: ConsumerStats[];
  traffic: StreamTraffic[];
};

export type CollectOptions = {
  transport: types.WebRtcTransport;
  producers: readonly MediaProducer[];
  consumers: readonly MediaConsumer[];
};

/** One request per object: meant for every few seconds, not more. Objects that close meanwhile are left out. */
export async function collectTransportStats(options: CollectOptions): Promise<TransportStats> {
  const traffic: StreamTraffic[] = [];
  const [transport, producers, consumers] = await Promise.all([
    options.transport.getStats(),
    Promise.all(options.producers.map(async (producer) => ifStillThere(producerStats(producer, traffic)))),
    Promise.all(options.consumers.map(async (consumer) => ifStillThere(consumerStats(consumer, traffic)))),
  ]);
  return {
    bytesReceived: transport[0]?.bytesReceived ?? 0,
    bytesSent: transport[0]?.bytesSent ?? 0,
    availableOutgoingBps: transport[0]?.availableOutgoingBitrate,
    producers: producers.filter((entry) => entry !== undefined),
    consumers: consumers.filter((entry) => entry !== undefined),
    traffic,
  };
}

async function ifStillThere<T>(stats: Promise<T>): Promise<T | undefined> {
  return stats.catch(() => undefined);
}

async function producerStats(producer: MediaProducer, traffic: StreamTraffic[]): Promise<ProducerStats> {
  const encodings = producer.rtpParameters.encodings ?? [];
  const streams = await producer.getStats();
  traffic.push(...streams.map((stats) => streamTraffic(producer.id, 'incoming', stats)));
  const layers = streams
    .map((stats) => ({
      ...streamStats(stats, clockRateOf(producer)),
      ssrc: stats.ssrc,
      rid: stats.rid ?? '',
      rtxSsrc: stats.rtxSsrc,
    }))
    .toSorted((a, b) => position(encodings, a) - position(encodings, b));
  return {
    producerId: producer.id,
    kind: producer.kind,
    paused: producer.paused,
    layers,
    packets: sum(layers.map((layer) => layer.packets)),
    packetsLost: sum(layers.map((layer) => layer.packetsLost)),
    bitrateBps: sum(layers.map((layer) => layer.bitrateBps)),
    rttMs: Math.max(0, ...layers.map((layer) => layer.rttMs)),
    jitterMs: Math.max(0, ...layers.map((layer) => layer.jitterMs)),
    score: Math.max(0, ...layers.map((layer) => layer.score)),
  };
}

async function consumerStats(consumer: MediaConsumer, traffic: StreamTraffic[]): Promise<ConsumerStats> {
  const sent = (await consumer.getStats()).find((stats) => stats.type === 'outbound-rtp');
  if (sent !== undefined) {
    traffic.push(streamTraffic(consumer.id, 'outgoing', sent));
  }
  const empty: StreamStats = { packets: 0, packetsLost: 0, bitrateBps: 0, rttMs: 0, jitterMs: 0, score: 0 };
  return {
    ...(sent === undefined ? empty : streamStats(sent, clockRateOf(consumer))),
    consumerId: consumer.id,
    producerId: consumer.producerId,
    mid: consumer.mid,
    kind: consumer.kind,
    paused: consumer.paused || consumer.producerPaused,
    currentLayers: consumer.currentLayers,
    preferredLayers: consumer.preferredLayers,
  };
}

function streamStats(stats: types.ProducerStat | types.ConsumerStat, clockRate: number): StreamStats {
  return {
    packets: stats.packetCount,
    packetsLost: Math.max(0, stats.packetsLost),
    bitrateBps: stats.bitrate,
    rttMs: stats.roundTripTime ?? 0,
    jitterMs: (stats.jitter * 1000) / clockRate,
    score: stats.score,
  };
}

function streamTraffic(
  objectId: string,
  direction: StreamTraffic['direction'],
  stats: types.ProducerStat | types.ConsumerStat,
): StreamTraffic {
  const retransmittedPackets = stats.packetsRetransmitted;
  return {
    id: `${objectId}:${stats.ssrc}`,
    direction,
    packets: direction === 'incoming' ? Math.max(0, stats.packetCount - retransmittedPackets) : stats.packetCount,
    retransmittedPackets,
    sizeBytes: stats.byteCount,
    nackedPackets: stats.nackPacketCount,
    plis: stats.pliCount,
    firs: stats.firCount,
  };
}

function clockRateOf(object: MediaProducer | MediaConsumer): number {
  return object.rtpParameters.codecs[0]?.clockRate ?? 90_000;
}

function position(encodings: readonly { ssrc?: number; rid?: string }[], layer: { ssrc: number; rid: string }): number {
  return encodings.findIndex((encoding) =>
    encoding.rid === undefined ? encoding.ssrc === layer.ssrc : encoding.rid === layer.rid,
  );
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ConsumerStats, ProducerStats, TransportStats } from '../media/transport-stats.ts';
import { QualityReporter } from './quality-reporter.ts';

const stream = { packets: 0, packetsLost: 0, bitrateBps: 0, rttMs: 0, jitterMs: 0, score: 10 };

function transport(changes: Partial<TransportStats>): TransportStats {
  return {
    bytesReceived: 0,
    bytesSent: 0,
    availableOutgoingBps: undefined,
    producers: [],
    consumers: [],
    traffic: [],
    ...changes,
  };
}

function producer(changes: Partial<ProducerStats>): ProducerStats {
  return { ...stream, producerId: 'P', kind: 'video', paused: false, layers: [], ...changes };
}

function consumer(changes: Partial<ConsumerStats>): ConsumerStats {
  return {
    ...stream,
    consumerId: 'C',
    producerId: 'P',
    mid: '1',
    kind: 'video',
    paused: false,
    currentLayers: undefined,
    preferredLayers: undefined,
    ...changes,
  };
}

function layer(rid: string, bitrateBps: number) {
  return { ...stream, ssrc: 0, rid, rtxSsrc: undefined, bitrateBps };
}

describe('quality reporter', () => {
  it('reports differences since the last report, never negative ones', () => {
    const reporter = new QualityReporter();
    const subscribed = new Map([['C', { trackSid: 'TR', wantedLayer: 0, layered: false }]]);
    const counts = [
      [100, 10],
      [150, 8],
      [150, 12],
    ].map(([packets = 0, packetsLost = 0]) => {
      const subscriber = transport({ consumers: [consumer({ packets, packetsLost })] });
      const [report] = reporter.report({ publisher: undefined, subscriber, published: new Map(), subscribed });
      return [report?.packets, report?.packetsLost];
    });
    assert.deepEqual(counts, [
      [100, 10],
      [50, 0],
      [0, 4],
    ]);
  });

  it('starts anew for another consumer of the same track', () => {
    const reporter = new QualityReporter();
    const report = (consumerId: string, packets: number) =>
      reporter.report({
        publisher: undefined,
        subscriber: transport({ consumers: [consumer({ consumerId, packets })] }),
        published: new Map(),
        subscribed: new Map([[consumerId, { trackSid: 'TR', wantedLayer: 0, layered: false }]]),
      })[0]?.packets;
    assert.deepEqual([report('C1', 100), report('C2', 30), report('C1', 100)], [100, 30, 100]);
  });

  it('compares the layer that flows with the one that is wanted', () => {
    const reporter = new QualityReporter();
    const subscribed = new Map([['C', { trackSid: 'TR', wantedLayer: 2, layered: true }]]);
    const published = new Map([['P', { trackSid: 'TR', svc: false, wantedLayer: 2 }]]);
    const reports = reporter.report({
      publisher: transport({ producers: [producer({ layers: [layer('q', 1), layer('h', 1), layer('f', 0)] })] }),
      subscriber: transport({ consumers: [consumer({ currentLayers: { spatial: 0 } })] }),
      published,
      subscribed,
    });
    assert.deepEqual(
      reports.map(({ direction, currentLayer, wantedLayer }) => [direction, currentLayer, wantedLayer]),
      [
        ['publish', 1, 2],
        ['subscribe', 0, 2],
      ],
    );
  });

  it('calls muted tracks and videos that nobody takes idle, but not audio without listeners', () => {
    const reporter = new QualityReporter();
    const published = new Map(['P1', 'P2', 'P3'].map((id) => [id, { trackSid: id, svc: false, wantedLayer: -1 }]));
    const publisher = transport({
      producers: [
        producer({ producerId: 'P1' }),
        producer({ producerId: 'P2', kind: 'audio' }),
        producer({ producerId: 'P3', kind: 'audio', paused: true }),
      ],
    });
    const reports = reporter.report({ publisher, subscriber: undefined, published, subscribed: new Map() });
    assert.deepEqual(
      reports.map(({ idle, currentLayer, wantedLayer }) => [idle, currentLayer === wantedLayer]),
      [
        [true, true],
        [false, true],
        [true, true],
      ],
    );
  });

  it('leaves out objects that the leg does not know', () => {
    const reports = new QualityReporter().report({
      publisher: transport({ producers: [producer({})] }),
      subscriber: transport({ consumers: [consumer({})] }),
      published: new Map(),
      subscribed: new Map(),
    });
    assert.deepEqual(reports, []);
  });
});

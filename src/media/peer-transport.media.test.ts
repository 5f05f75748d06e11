import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startTestPool } from '../../test/kit/media-pool.ts';
import { until } from '../../test/kit/until.ts';
import { routerCodecs, sendTimeUri, transportCcUri } from '../sdp/capabilities.ts';
import type { DtlsFingerprint, RtpParameters } from '../sdp/rtp.ts';
import { MediaConsumer } from './media-consumer.ts';
import { MediaProducer } from './media-producer.ts';
import type { ProducerLevel } from './media-types.ts';
import type { RoomRouter } from './room-router.ts';
import { opusPacket, opusParameters, vp8Parameters } from './rtp-fixtures.ts';
import type { WorkerPool } from './worker-pool.ts';

const mediaCodecs = routerCodecs(['audio/opus', 'video/VP8']);
const fingerprints: DtlsFingerprint[] = [
  { algorithm: 'sha-256', value: Array.from({ length: 32 }, () => 'AB').join(':') },
];

function uris(parameters: RtpParameters): string[] {
  return (parameters.headerExtensions ?? []).map((extension) => extension.uri);
}

function feedback(parameters: RtpParameters): string[] {
  return (parameters.codecs[0]?.rtcpFeedback ?? []).map((entry) => `${entry.type} ${entry.parameter ?? ''}`.trim());
}

describe('peer transport', () => {
  let pool: WorkerPool;
  let router: RoomRouter;

  before(async () => {
    pool = await startTestPool({ workers: 2, announcedAddresses: ['127.0.0.1', '192.0.2.7'] });
  });

  after(() => pool.close());

  beforeEach(async () => {
    router = await pool.workers[0]!.createRouter({ mediaCodecs });
  });

  afterEach(() => router.close());

  it('describes its local end with every announced address', async () => {
    const { local } = await router.createPeerTransport();
    assert.deepEqual(
      local.candidates.map((entry) => `${entry.protocol} ${entry.address}`),
      ['udp 127.0.0.1', 'udp 192.0.2.7', 'tcp 127.0.0.1', 'tcp 192.0.2.7'],
    );
    assert.equal(local.fingerprint.algorithm, 'sha-256');
    assert.match(local.fingerprint.value, /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
    assert.equal(local.ice.iceLite, true);
    assert.equal(local.sctpPort, 5000);
    assert.equal(local.maxMessageSize, 262_144);
  });

  it('takes the remote end once', async () => {
    const transport = await router.createPeerTransport();
    assert.equal(transport.state, 'new');
    await transport.connect({ role: 'client', fingerprints });
    await assert.rejects(transport.connect({ role: 'client', fingerprints }), {
      reason: 'transport-already-connected',
    });
  });

  it('has new credentials after an ICE restart and the same candidates', async () => {
    const transport = await router.createPeerTransport();
    const before = transport.local;
    await transport.restartIce();
    assert.notEqual(transport.local.ice.usernameFragment, before.ice.usernameFragment);
    assert.notEqual(transport.local.ice.password, before.ice.password);
    assert.deepEqual(transport.local.candidates, before.candidates);
  });

  it('makes video consumers with and without bandwidth estimation', async () => {
    const [publisher, subscriber] = await Promise.all([router.createPeerTransport(), router.createPeerTransport()]);
    const producer = await publisher.produce({
      id: 'TR_V',
      kind: 'video',
      rtpParameters: vp8Parameters({ ssrcs: [100, 200, 300] }),
    });
    assert.equal(producer.type, 'simulcast');
    const measured = await subscriber.consume({
      producerId: 'TR_V',
      mid: '3',
      paused: true,
      bwe: true,
      preferredLayers: { spatial: 1, temporal: 0 },
    });
    const plain = await subscriber.consume({ producerId: 'TR_V', mid: '4', paused: true, bwe: false });

    assert.equal(measured.mid, '3');
    assert.equal(measured.paused, true);
    assert.deepEqual(measured.preferredLayers, { spatial: 1, temporal: 0 });
    assert.ok(feedback(measured.rtpParameters).includes('transport-cc'));
    assert.ok(uris(measured.rtpParameters).includes(transportCcUri));
    assert.ok(!feedback(plain.rtpParameters).some((type) => type === 'transport-cc' || type === 'goog-remb'));
    assert.ok(!uris(plain.rtpParameters).some((uri) => uri === transportCcUri || uri === sendTimeUri));
    assert.ok(feedback(plain.rtpParameters).includes('nack'));
    assert.ok(feedback(plain.rtpParameters).includes('nack pli'));
    assert.deepEqual([measured.bwe, plain.bwe], [true, false]);
  });

  it('changes layers, priority and pause of a consumer', async () => {
    const [publisher, subscriber] = await Promise.all([router.createPeerTransport(), router.createPeerTransport()]);
    await publisher.produce({ id: 'TR_V', kind: 'video', rtpParameters: vp8Parameters({ ssrcs: [100, 200, 300] }) });
    const consumer = await subscriber.consume({ producerId: 'TR_V', mid: '3', paused: true, bwe: true });
    await consumer.setPreferredLayers({ spatial: 0 });
    assert.deepEqual(consumer.preferredLayers, { spatial: 0, temporal: 2 });
    await consumer.setPreferredLayers({ spatial: 9 });
    assert.deepEqual(consumer.preferredLayers, { spatial: 2, temporal: 2 });
    for (const priority of [0, 3.7, 10_000, -4]) {
      await consumer.setPriority(priority);
    }
    await consumer.resume();
    assert.equal(consumer.paused, false);
    await consumer.requestKeyFrame();
    await consumer.pause();
    assert.equal(consumer.paused, true);
  });

  it('lets lost audio be asked for again', async () => {
    const [publisher, subscriber] = await Promise.all([router.createPeerTransport(), router.createPeerTransport()]);
    await publisher.produce({ id: 'TR_A', kind: 'audio', rtpParameters: opusParameters({ ssrc: 1111 }) });
    const consumer = await subscriber.consume({ producerId: 'TR_A', mid: '1', bwe: true });
    assert.deepEqual(
      feedback(consumer.rtpParameters).filter((type) => type === 'nack'),
      ['nack'],
    );
    assert.equal(consumer.bwe, false);
    await consumer.setPreferredLayers({ spatial: 1 });
  });

  it('tells consumers that their producer paused, resumed and went away', async () => {
    const [publisher, subscriber] = await Promise.all([router.createPeerTransport(), router.createPeerTransport()]);
    const producer = await publisher.produce({
      id: 'TR_A',
      kind: 'audio',
      rtpParameters: opusParameters({ ssrc: 1111 }),
    });
    const consumer = await subscriber.consume({ producerId: 'TR_A', mid: '1', bwe: false });
    const events: string[] = [];
    consumer.on('producerPaused', (paused) => events.push(paused ? 'paused' : 'resumed'));
    consumer.on('close', (reason) => events.push(reason));
    await producer.pause();
    await producer.resume();
    producer.close();
    await until(() => (events.length === 3 ? '' : events.join()));
    assert.deepEqual(events, ['paused', 'resumed', 'producer-closed']);
    assert.equal(subscriber.consumers.size, 0);
    assert.equal(publisher.producers.size, 0);
    await assert.rejects(consumer.resume(), { reason: 'media-closed' });
    await assert.rejects(producer.pause(), { reason: 'media-closed' });
    await assert.rejects(subscriber.consume({ producerId: 'TR_A', mid: '2', bwe: false }), {
      reason: 'no-such-producer',
    });
  });

  it('closes what it carries, once, whoever closes', async () => {
    const [publisher, subscriber] = await Promise.all([router.createPeerTransport(), router.createPeerTransport()]);
    const producer = await publisher.produce({
      id: 'TR_A',
      kind: 'audio',
      rtpParameters: opusParameters({ ssrc: 1111 }),
    });
    const consumer = await subscriber.consume({ producerId: 'TR_A', mid: '1', bwe: false });
    const data = await publisher.openDataPublisher();
    const events: string[] = [];
    producer.on('close', (reason) => events.push(`producer ${reason}`));
    consumer.on('close', (reason) => events.push(`consumer ${reason}`));
    publisher.on('close', (reason) => events.push(`publisher ${reason}`));
    data.on('close', (reason) => events.push(`data ${reason}`));
    publisher.close();
    publisher.close();
    producer.close();
    assert.deepEqual(events, ['data transport-closed', 'producer transport-closed', 'publisher closed']);
    await until(() => (consumer.closed ? '' : 'the consumer is open'));
    router.close();
    assert.deepEqual(events.slice(3), ['consumer producer-closed']);
    assert.equal(subscriber.closeReason, 'router-closed');
    await assert.rejects(subscriber.restartIce(), { reason: 'media-closed' });
    await assert.rejects(router.createPeerTransport(), { reason: 'media-closed' });
  });

  it('refuses what a client made up without harm to others', async () => {
    const transport = await router.createPeerTransport();
    const broken = { ...opusParameters({ ssrc: 5 }), codecs: [] };
    await assert.rejects(transport.produce({ id: 'TR_X', kind: 'audio', rtpParameters: broken }), {
      reason: 'media-engine-refused',
    });
    await transport.produce({ id: 'TR_A', kind: 'audio', rtpParameters: opusParameters({ ssrc: 1111 }) });
    const other = await router.createPeerTransport();
    await assert.rejects(other.produce({ id: 'TR_A', kind: 'audio', rtpParameters: opusParameters({ ssrc: 2222 }) }), {
      reason: 'media-engine-refused',
    });
    await assert.rejects(transport.connect({ role: 'client', fingerprints: [] }), { reason: 'media-engine-refused' });
    await other.produce({ id: 'TR_B', kind: 'audio', rtpParameters: opusParameters({ ssrc: 2222 }) });
  });

  it('rejects what was under way when it closed', async () => {
    const transport = await router.createPeerTransport();
    const pending = [
      transport.produce({ id: 'TR_A', kind: 'audio', rtpParameters: opusParameters({ ssrc: 1111 }) }),
      transport.restartIce(),
      transport.openDataSubscriber(),
      transport.openDataPublisher(),
    ];
    transport.close();
    for (const outcome of await Promise.allSettled(pending)) {
      assert.equal(outcome.status, 'rejected');
      assert.equal((outcome.reason as { reason?: string }).reason, 'media-closed');
    }
    assert.equal(router.transports.size, 0);
  });

  it('rejects data channels whose transport or router closes while they are made', async () => {
    for (const closeWhat of ['transport', 'router'] as const) {
      const own = await pool.workers[0]!.createRouter({ mediaCodecs });
      const transport = await own.createPeerTransport();
      if (closeWhat === 'transport') {
        await own.dataBus();
      }
      const pending = [transport.openDataPublisher(), transport.openDataSubscriber()];
      await Promise.resolve();
      await Promise.resolve();
      (closeWhat === 'transport' ? transport : own).close();
      for (const outcome of await Promise.allSettled(pending)) {
        assert.equal(
          outcome.status === 'rejected' && (outcome.reason as { reason?: string }).reason,
          'media-closed',
          closeWhat,
        );
      }
      own.close();
    }
  });

  it('takes the same producer id on another worker', async () => {
    const elsewhere = await pool.workers[1]!.createRouter({ mediaCodecs });
    const [here, there] = await Promise.all([router.createPeerTransport(), elsewhere.createPeerTransport()]);
    for (const transport of [here, there]) {
      await transport.produce({ id: 'TR_A', kind: 'audio', rtpParameters: opusParameters({ ssrc: 1111 }) });
    }
    elsewhere.close();
  });

  it('reports how loud producers are, and once that all fell silent', async () => {
    const { direct } = await router.dataBus();
    const loud = await direct.produce({ id: 'TR_LOUD', kind: 'audio', rtpParameters: opusParameters({ ssrc: 1 }) });
    const quiet = await direct.produce({ id: 'TR_QUIET', kind: 'audio', rtpParameters: opusParameters({ ssrc: 2 }) });
    await Promise.all([router.observe(loud), router.observe(quiet)]);
    const reports: ProducerLevel[][] = [];
    router.on('levels', (levels) => reports.push(levels));
    for (let sequence = 0; sequence < 50; sequence += 1) {
      loud.send(opusPacket({ ssrc: 1, sequence, levelDbov: 12 }));
      quiet.send(opusPacket({ ssrc: 2, sequence, levelDbov: 60 }));
      await delay(10);
    }
    await until(() => (reports.at(-1)?.length === 0 ? '' : 'silence was not reported'), { timeoutMs: 2000 });
    const [first] = reports;
    assert.deepEqual(first, [
      { producerId: 'TR_LOUD', levelDbov: 12 },
      { producerId: 'TR_QUIET', levelDbov: 60 },
    ]);
    assert.equal(reports.filter((levels) => levels.length === 0).length, 1);
  });

  it('counts what a producer received and what of it was lost', async () => {
    const { direct } = await router.dataBus();
    const raw = await direct.produce({ id: 'TR_A', kind: 'audio', rtpParameters: opusParameters({ ssrc: 1 }) });
    const producer = new MediaProducer(raw);
    const { collectTransportStats } = await import('./transport-stats.ts');
    for (let sequence = 0; sequence < 100; sequence += 1) {
      if (sequence % 10 !== 5) {
        raw.send(opusPacket({ ssrc: 1, sequence, levelDbov: 12 }));
      }
    }
    const consumer = new MediaConsumer({
      consumer: await direct.consume({ producerId: 'TR_A', rtpCapabilities: router.capabilities(false) as never }),
      bwe: false,
    });
    const stats = await collectTransportStats({
      transport: { getStats: () => Promise.resolve([]) } as never,
      producers: [producer],
      consumers: [consumer],
    });
    assert.equal(stats.producers[0]?.packets, 90);
    assert.equal(stats.producers[0]?.layers[0]?.ssrc, 1);
    assert.equal(stats.consumers[0]?.producerId, 'TR_A');
  });
});

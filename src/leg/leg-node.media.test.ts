import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { DataPacket, UserPacket } from '@livekit/protocol';
import { FakeHost, publicationsOf, sectionOf, subscriptionTo } from '../../test/kit/fake-host.ts';
import { LogRecord } from '../../test/kit/log-record.ts';
import { startTestPool } from '../../test/kit/media-pool.ts';
import { until } from '../../test/kit/until.ts';
import { readGolden } from '../../test/sdp/golden.ts';
import { configSchema } from '../config/options.ts';
import { engineCounts } from '../media/engine-counts.ts';
import type { WorkerPool } from '../media/worker-pool.ts';
import { nodeId, type ParticipantSid } from '../protocol/ids.ts';
import type { WantedPublication } from '../protocol/leg-messages.ts';
import { answerLimits, parseDescription } from '../sdp/parse.ts';
import { LegNode, type LegNodeOptions } from './leg-node.ts';

function restarted(sdp: string): string {
  return sdp.replaceAll(/a=ice-ufrag:.*/g, `a=ice-ufrag:${randomBytes(3).toString('hex')}`);
}

describe('leg node', () => {
  let pool: WorkerPool;
  let node: LegNode;
  let host: FakeHost;
  let log: LogRecord;

  before(async () => {
    pool = await startTestPool();
  });

  after(async () => {
    await pool.close();
  });

  beforeEach(() => {
    log = new LogRecord();
    node = createNode();
    host = new FakeHost(node);
  });

  afterEach(async () => {
    await node.close();
    assert.deepEqual(node.counts, { legs: 0, rooms: 0, producers: 0, hosts: 0 });
    await until(async () => {
      const { routers, transports, producers, consumers, dataConsumers } = await engineCounts(pool);
      const left = routers + transports + producers + consumers + dataConsumers;
      return left === 0 ? '' : `${left} engine objects left`;
    });
    assert.deepEqual(log.unexpectedErrors(), []);
  });

  function createNode(rtc: Record<string, unknown> = {}, changes: Partial<LegNodeOptions> = {}): LegNode {
    const config = configSchema.parse({ rtc });
    return new LegNode({ nodeId: nodeId('test'), pool, config, log: log.logger(), ...changes });
  }

  async function publish(name: string, golden: string, changes: Partial<WantedPublication> = {}) {
    const publications = publicationsOf(golden, changes);
    const leg = host.open(name, { publications });
    host.send({ kind: 'clientOffer', leg, id: 1, sdp: readGolden(`${golden}.offer.sdp`) });
    const actual = await host.reached(
      leg,
      'published',
      ({ publications: made }) => made.length === publications.length,
    );
    const [publication] = actual.publications;
    assert.ok(publication !== undefined);
    return { leg, publications, publication };
  }

  it('offers at once, and the first offer has the data section and the room for probes', async () => {
    const leg = host.open('a');
    const offer = await host.nth('offer', leg, 1);
    assert.deepEqual(
      parseDescription(offer.sdp, answerLimits).sections.map((section) => section.mid),
      ['0', 'probator'],
    );
    assert.deepEqual(offer.midToTrackId, {});
    assert.ok(offer.id > 0 && offer.id <= 1000);
  });

  it('answers an offer with its id after the producer stands, and reports the publication', async () => {
    const { leg, publication } = await publish('a', 'chromium-camera-vp8.1');
    const answer = await host.nth('answer', leg, 1);
    assert.equal(answer.id, 1);
    const section = sectionOf(answer.sdp, publication.mid);
    assert.equal(section.direction, 'recvonly');
    assert.deepEqual(
      section.simulcast?.recv.map((stream) => stream.rid),
      ['q', 'h', 'f'],
    );
    assert.equal(publication.mimeType, 'video/VP8');
    assert.deepEqual(
      publication.layers.map((layer) => [layer.rid, layer.quality]),
      [
        ['q', 0],
        ['h', 1],
        ['f', 2],
      ],
    );
    assert.match(publication.producerId, /^TR_chromium-camera-vp8.10:\d+$/);
    assert.equal(node.counts.producers, 1);
  });

  it('outlives its host: the next one gets its keepsake, its state, and what the client may have missed', async () => {
    await node.close();
    const looked: string[] = [];
    const ended: string[] = [];
    node = createNode(
      {},
      {
        hostGraceMs: 60_000,
        seeker: { seek: (room) => looked.push(`seek ${room}`), found: (room) => looked.push(`found ${room}`) },
        onLegEnded: (leg) => ended.push(leg),
      },
    );
    host = new FakeHost(node);
    const { leg, publication } = await publish('a', 'chromium-camera-vp8.1');
    const offer = await host.nth('offer', leg, 1);
    const keepsake = Uint8Array.of(1, 2, 3);
    host.send({ kind: 'keep', leg, keepsake });
    host.send({ kind: 'release', roomName: 'room', answers: [{ leg, id: 9, sdp: 'an answer' }] });
    await until(() => (looked.includes('seek room') ? '' : 'no host is looked for'));
    host.close();
    const next = new FakeHost(node);
    next.send({ kind: 'restate', roomName: 'room' });
    await until(() => (next.of('restatedAll').length === 1 ? '' : 'not restated'));
    const [restated] = next.of('restated', leg);
    assert.deepEqual(restated?.keepsake, keepsake);
    assert.deepEqual(restated.actual.publications, [publication]);
    assert.equal(restated.wanted.publications.length, 1);
    assert.deepEqual(looked, ['seek room', 'found room']);
    assert.equal((await next.nth('answer', leg, 1)).id, 9);
    const repeated = await next.nth('offer', leg, 1);
    assert.deepEqual([repeated.id, repeated.sdp], [offer.id, offer.sdp]);
    assert.equal(node.counts.producers, 1);
    // From now on it is the next host's.
    next.send({ kind: 'close', leg, reason: 'left' });
    await next.nth('closed', leg, 1);
    assert.deepEqual(ended, [leg]);
    assert.deepEqual(host.of('closed'), []);
  });

  it('ends when no host came for it in time', async () => {
    await node.close();
    node = createNode({}, { hostGraceMs: 50 });
    host = new FakeHost(node);
    const leg = host.open('a');
    await host.nth('offer', leg, 1);
    host.close();
    await until(() => (node.counts.legs === 0 ? '' : 'it is still there'));
    assert.ok(log.lines.some(({ msg }) => /no host came/.test(msg)));
  });

  it('answers sections inactive that nobody announced', async () => {
    const leg = host.open('a');
    host.send({ kind: 'clientOffer', leg, id: 3, sdp: readGolden('chromium-camera-vp8.1.offer.sdp') });
    const answer = await host.nth('answer', leg, 1);
    assert.equal(answer.id, 3);
    assert.equal(sectionOf(answer.sdp, '0').direction, 'inactive');
  });

  it('pauses the producer of a muted publication and closes that of a withdrawn one', async () => {
    const { leg, publications } = await publish('a', 'chromium-microphone.1', { muted: true });
    assert.equal(await pausedProducers(), 1);
    host.want(leg, { publications: publications.map((publication) => ({ ...publication, muted: false })) });
    await until(async () => ((await pausedProducers()) === 0 ? '' : 'still paused'));
    const version = host.want(leg, { publications: [] });
    await host.reached(leg, 'withdrawn', (actual) => actual.publications.length === 0 && actual.version === version);
    assert.equal((await engineCounts(pool)).producers, 0);
  });

  it('gives a republished track in the same section a new producer', async () => {
    const golden = 'chromium-microphone.1';
    const sdp = readGolden(`${golden}.offer.sdp`);
    const { leg, publications, publication } = await publish('a', golden);
    host.send({
      kind: 'clientOffer',
      leg,
      id: 2,
      sdp: sdp.replace('a=sendonly', 'a=inactive').replace('a=sendrecv', 'a=inactive'),
    });
    await host.reached(leg, 'unpublished', (actual) => actual.publications.length === 0);
    const resting = await host.nth('answer', leg, 2);
    assert.equal(sectionOf(resting.sdp, publication.mid).direction, 'inactive');
    assert.ok(sectionOf(resting.sdp, publication.mid).extensions.length > 0, 'extensions are kept');
    host.want(leg, { publications });
    host.send({ kind: 'clientOffer', leg, id: 3, sdp });
    const actual = await host.reached(leg, 'published again', ({ publications: made }) => made.length === 1);
    assert.equal(actual.publications[0]?.mid, publication.mid);
    assert.notEqual(actual.publications[0]?.producerId, publication.producerId);
    assert.equal((await host.nth('answer', leg, 3)).id, 3);
  });

  it('restarts ICE of the publisher when the client comes with new credentials, and only then', async () => {
    const golden = 'chromium-microphone.1';
    const sdp = readGolden(`${golden}.offer.sdp`);
    const { leg, publication } = await publish('a', golden);
    const ufrag = (answer: { sdp: string }) => sectionOf(answer.sdp, publication.mid).ice?.usernameFragment;
    const first = await host.nth('answer', leg, 1);
    host.send({ kind: 'clientOffer', leg, id: 2, sdp });
    const second = await host.nth('answer', leg, 2);
    host.send({ kind: 'clientOffer', leg, id: 3, sdp: restarted(sdp) });
    const third = await host.nth('answer', leg, 3);
    assert.equal(ufrag(first), ufrag(second));
    assert.notEqual(ufrag(second), ufrag(third));
    assert.equal(host.actual(leg)?.publications[0]?.producerId, publication.producerId, 'media goes on');
  });

  it('reports descriptions that are none as bad and stays usable', async () => {
    const leg = host.open('a', { publications: publicationsOf('chromium-microphone.1') });
    host.send({ kind: 'clientOffer', leg, id: 1, sdp: 'hello' });
    assert.equal((await host.nth('failed', leg, 1)).failure, 'bad-description');
    const offer = await host.nth('offer', leg, 1);
    host.send({ kind: 'clientAnswer', leg, id: offer.id, sdp: 'v=0\r\n' });
    assert.equal((await host.nth('failed', leg, 2)).failure, 'bad-description');
    host.send({ kind: 'clientOffer', leg, id: 2, sdp: readGolden('chromium-microphone.1.offer.sdp') });
    assert.equal((await host.nth('answer', leg, 1)).id, 2);
  });

  it('puts subscriptions that are wanted from the start into the first offer', async () => {
    const { leg: publisher, publication } = await publish('a', 'chromium-camera-vp8.1');
    const leg = host.open('b', { subscriptions: [subscriptionTo(publication, publisher)] });
    const offer = await host.nth('offer', leg, 1);
    assert.deepEqual(offer.midToTrackId, { 1: publication.trackSid });
    const section = sectionOf(offer.sdp, '1');
    assert.deepEqual(section.msids, [
      { streamId: `${publisher}|${publication.trackSid}`, trackId: publication.trackSid },
    ]);
    await host.reached(leg, 'offered', (actual) => actual.subscriptions[0]?.state === 'offered');
    host.answer(leg, offer);
    await host.reached(leg, 'bound', (actual) => actual.subscriptions[0]?.state === 'bound');
    await until(async () => ((await runningConsumers()) === 1 ? '' : 'the consumer does not run'));
  });

  it('waits for the answer before it offers what changed meanwhile, and then offers all of it', async () => {
    const camera = await publish('a', 'chromium-camera-vp8.1');
    const microphone = await publish('b', 'chromium-microphone.1');
    const leg = host.open('c');
    const first = await host.nth('offer', leg, 1);
    host.want(leg, { subscriptions: [subscriptionTo(camera.publication, camera.leg)] });
    const version = host.want(leg, {
      subscriptions: [
        subscriptionTo(camera.publication, camera.leg),
        subscriptionTo(microphone.publication, microphone.leg),
      ],
    });
    await host.reached(leg, 'version', (actual) => actual.version === version);
    assert.equal(host.of('offer', leg).length, 1);
    host.answer(leg, { id: first.id - 1, sdp: first.sdp });
    host.answer(leg, { id: 0, sdp: first.sdp });
    const second = await host.nth('offer', leg, 2);
    assert.equal(second.id, first.id + 1);
    assert.deepEqual(second.midToTrackId, { 1: camera.publication.trackSid, 2: microphone.publication.trackSid });
  });

  it('offers an ended track inactive and gives its section to the next of its kind only after the answer', async () => {
    const camera = await publish('a', 'chromium-camera-vp8.1');
    const other = await publish('b', 'chromium-camera-h264.1');
    const third = await publish('c', 'chromium-camera-vp9.1');
    const leg = host.open('d', { subscriptions: [subscriptionTo(camera.publication, camera.leg)] });
    host.answer(leg, await host.nth('offer', leg, 1));
    host.want(leg, { subscriptions: [subscriptionTo(other.publication, other.leg)] });
    const second = await host.nth('offer', leg, 2);
    assert.deepEqual(second.midToTrackId, { 2: other.publication.trackSid });
    assert.equal(sectionOf(second.sdp, '1').direction, 'inactive');
    host.answer(leg, second);
    host.want(leg, { subscriptions: [subscriptionTo(third.publication, third.leg)] });
    const next = await host.nth('offer', leg, 3);
    assert.deepEqual(next.midToTrackId, { 1: third.publication.trackSid });
  });

  it('ends a subscription when its producer closes', async () => {
    const camera = await publish('a', 'chromium-camera-vp8.1');
    const leg = host.open('b', { subscriptions: [subscriptionTo(camera.publication, camera.leg)] });
    host.answer(leg, await host.nth('offer', leg, 1));
    await host.reached(leg, 'bound', (actual) => actual.subscriptions[0]?.state === 'bound');
    host.send({ kind: 'close', leg: camera.leg, reason: 'left' });
    await host.reached(leg, 'ended', (actual) => actual.subscriptions[0]?.state === 'no-producer');
    assert.equal(sectionOf((await host.nth('offer', leg, 2)).sdp, '1').direction, 'inactive');
  });

  it('closes consumers of refused sections and names them, whether inactive or rejected', async () => {
    const camera = await publish('a', 'chromium-camera-vp8.1');
    const microphone = await publish('b', 'chromium-microphone.1');
    const subscriptions = [
      subscriptionTo(camera.publication, camera.leg),
      subscriptionTo(microphone.publication, microphone.leg),
    ];
    const leg = host.open('c', { subscriptions });
    host.answer(leg, await host.nth('offer', leg, 1), { 1: 'inactive', 2: 'rejected' });
    const actual = await host.reached(
      leg,
      'refused',
      (state) =>
        state.subscriptions.length === 2 && state.subscriptions.every((entry) => entry.state === 'codec-unsupported'),
    );
    assert.deepEqual(
      actual.subscriptions.map((entry) => entry.producerId),
      [camera.publication.producerId, microphone.publication.producerId],
    );
    assert.equal((await engineCounts(pool)).consumers, 0);
    const second = await host.nth('offer', leg, 2);
    assert.deepEqual(second.midToTrackId, {});
  });

  it('uses bandwidth estimation once an adaptable video is there, for the other videos too, in their sections', async () => {
    const [announced] = publicationsOf('chromium-camera-vp9.1');
    const codecs = (announced?.codecs ?? []).map((codec) => ({ ...codec, layers: codec.layers.slice(-1) }));
    const single = await publish('a', 'chromium-camera-vp9.1', { codecs });
    assert.equal(single.publication.layers.length, 1);
    const camera = await publish('b', 'chromium-camera-vp8.1');
    const leg = host.open('c', { subscriptions: [subscriptionTo(single.publication, single.leg)] });
    const first = await host.nth('offer', leg, 1);
    assert.equal(usesTransportCc(first.sdp, '1'), false);
    host.answer(leg, first);
    host.want(leg, {
      subscriptions: [subscriptionTo(single.publication, single.leg), subscriptionTo(camera.publication, camera.leg)],
    });
    const second = await host.nth('offer', leg, 2);
    assert.deepEqual([usesTransportCc(second.sdp, '1'), usesTransportCc(second.sdp, '2')], [true, true]);
    assert.deepEqual(second.midToTrackId, { 1: single.publication.trackSid, 2: camera.publication.trackSid });
    host.answer(leg, second);
    await until(async () => ((await runningConsumers()) === 2 ? '' : 'not both run'));
  });

  it('pauses a disabled subscription without a new offer', async () => {
    const camera = await publish('a', 'chromium-camera-vp8.1');
    const leg = host.open('b', { subscriptions: [subscriptionTo(camera.publication, camera.leg)] });
    host.answer(leg, await host.nth('offer', leg, 1));
    await until(async () => ((await runningConsumers()) === 1 ? '' : 'the consumer does not run'));
    const version = host.want(leg, {
      subscriptions: [
        subscriptionTo(camera.publication, camera.leg, { paused: true, quality: 0, maxFps: 10, priority: 3 }),
      ],
    });
    await host.reached(leg, 'version', (actual) => actual.version === version);
    await until(async () => ((await runningConsumers()) === 0 ? '' : 'the consumer still runs'));
    assert.equal(host.of('offer', leg).length, 1);
  });

  it('waits for a producer that does not exist yet', async () => {
    const camera = await publish('a', 'chromium-camera-vp8.1');
    const wish = subscriptionTo({ ...camera.publication, producerId: 'TR_x:1' }, camera.leg);
    const leg = host.open('b', { subscriptions: [wish] });
    await host.reached(leg, 'missing', (actual) => actual.subscriptions[0]?.state === 'no-producer');
    host.want(leg, { subscriptions: [subscriptionTo(camera.publication, camera.leg)] });
    host.answer(leg, await host.nth('offer', leg, 1));
    assert.deepEqual((await host.nth('offer', leg, 2)).midToTrackId, { 1: camera.publication.trackSid });
  });

  it('answers a resume with the last sequence and an offer with new credentials, though one was outstanding', async () => {
    const camera = await publish('a', 'chromium-camera-vp8.1');
    const leg = host.open('b', { subscriptions: [subscriptionTo(camera.publication, camera.leg)] });
    const first = await host.nth('offer', leg, 1);
    host.send({ kind: 'resume', leg });
    assert.equal((await host.nth('resumed', leg, 1)).lastReliableSequence, 0);
    const second = await host.nth('offer', leg, 2);
    assert.notEqual(sectionOf(second.sdp, '0').ice?.usernameFragment, sectionOf(first.sdp, '0').ice?.usernameFragment);
    host.answer(leg, first);
    host.answer(leg, second);
    await host.reached(leg, 'bound', (actual) => actual.subscriptions[0]?.state === 'bound');
  });

  it('fails when the client does not answer in time', async () => {
    await node.close();
    node = createNode({ negotiation_timeout: 0.05 });
    host = new FakeHost(node);
    const leg = host.open('a');
    assert.equal((await host.nth('failed', leg, 1)).failure, 'negotiation-timeout');
    assert.equal(host.of('offer', leg).length, 1);
  });

  it('closes a leg with all of its engine objects, and the room after its last leg', async () => {
    const camera = await publish('a', 'chromium-camera-vp8.1');
    const leg = host.open('b', { subscriptions: [subscriptionTo(camera.publication, camera.leg)] });
    await host.nth('offer', leg, 1);
    host.send({ kind: 'close', leg, reason: 'left' });
    await host.nth('closed', leg, 1);
    assert.deepEqual(node.counts, { legs: 1, rooms: 1, producers: 1, hosts: 1 });
    host.send({ kind: 'close', leg: camera.leg, reason: 'left' });
    await host.nth('closed', camera.leg, 1);
    assert.deepEqual(node.counts, { legs: 0, rooms: 0, producers: 0, hosts: 1 });
  });

  it('leaves nothing behind when a leg is closed while its objects are being made', async () => {
    for (const name of ['a', 'b', 'c', 'd']) {
      const leg = host.open(name, { publications: publicationsOf('chromium-camera-vp8.1') });
      host.send({ kind: 'clientOffer', leg, id: 1, sdp: readGolden('chromium-camera-vp8.1.offer.sdp') });
      await until(() => (node.counts.legs === 1 ? '' : 'not open'), { intervalMs: 1 });
      host.send({ kind: 'close', leg, reason: 'left' });
      await host.nth('closed', leg, 1);
    }
    assert.deepEqual(host.of('failed'), []);
  });

  it('confirms the close of a leg that it does not know', async () => {
    host.send({ kind: 'close', leg: 'PA_x' as ParticipantSid, reason: 'left' });
    await host.nth('closed', 'PA_x', 1);
  });

  it('closes the legs of a host whose link closed, and no others', async () => {
    const other = new FakeHost(node);
    other.open('z', {}, { roomName: 'other' });
    host.open('a');
    await until(() => (node.counts.legs === 2 ? '' : 'not open'));
    host.close();
    await until(() => (node.counts.rooms === 1 ? '' : 'still there'));
    assert.deepEqual(node.counts, { legs: 1, rooms: 1, producers: 0, hosts: 1 });
  });

  it('forwards packets of the server only while it has the room', async () => {
    const leg = host.open('a');
    await host.nth('offer', leg, 1);
    const packet = new DataPacket({
      value: { case: 'user', value: new UserPacket({ payload: Buffer.from('x') }) },
    }).toBinary();
    host.send({ kind: 'serverPacket', roomName: 'room', packet, reliable: true, recipients: [] });
    host.send({ kind: 'serverPacket', roomName: 'unknown', packet, reliable: true, recipients: [] });
    host.send({ kind: 'interceptRpc', roomName: 'unknown', requestId: 'r', active: true });
    host.send({ kind: 'resume', leg });
    await host.nth('resumed', leg, 1);
    assert.deepEqual(host.of('failed'), []);
  });

  async function pausedProducers(): Promise<number> {
    return [...pool.workers]
      .flatMap((worker) => [...worker.routers])
      .flatMap((router) => [...router.transports])
      .flatMap((transport) => [...transport.producers.values()])
      .filter((producer) => producer.paused).length;
  }

  async function runningConsumers(): Promise<number> {
    return [...pool.workers]
      .flatMap((worker) => [...worker.routers])
      .flatMap((router) => [...router.transports])
      .flatMap((transport) => [...transport.consumers.values()])
      .filter((consumer) => !consumer.paused).length;
  }
});

describe('leg node with a dying worker', () => {
  it('tells the host of each leg there, closes what is left, and serves new legs on the next worker', async () => {
    const pool = await startTestPool({ portRangeStart: 51_200 });
    const log = new LogRecord();
    log.expectErrors(/media worker died/);
    const node = new LegNode({ nodeId: nodeId('test'), pool, config: configSchema.parse({}), log: log.logger() });
    try {
      const host = new FakeHost(node);
      const leg = host.open('a');
      await host.nth('offer', leg, 1);
      process.kill(pool.leastLoaded().pid, 'SIGKILL');
      assert.equal((await host.nth('failed', leg, 1)).failure, 'worker-died');
      // The only worker is gone and not back yet: a client that rejoins at once waits for it.
      assert.equal(pool.workers.length, 0);
      const next = host.open('b');
      await host.nth('offer', next, 1);
      host.send({ kind: 'close', leg, reason: 'connection-lost' });
      await host.nth('closed', leg, 1);
      assert.deepEqual(host.of('failed', next), []);
      assert.deepEqual(log.unexpectedErrors(), []);
    } finally {
      await node.close();
      await pool.close();
    }
  });
});

function usesTransportCc(sdp: string, mid: string): boolean {
  return sectionOf(sdp, mid).codecs.some((codec) =>
    codec.feedback.some((feedback) => feedback.type === 'transport-cc'),
  );
}

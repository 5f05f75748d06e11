import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { subscriptionTo } from '../../test/kit/fake-host.ts';
import { LegParticipant } from '../../test/kit/leg-participant.ts';
import { LegPlaces, peerTimings, type Place } from '../../test/kit/leg-places.ts';
import { LightEndpoint } from '../../test/kit/light/light-endpoint.ts';
import type { PeerLinks } from '../../test/kit/peer-links.ts';
import { until } from '../../test/kit/until.ts';
import type { ActualPublication } from '../protocol/leg-messages.ts';

describe('leg nodes that share a room', () => {
  let endpoint: LightEndpoint;
  let places: LegPlaces;
  let links: PeerLinks;
  let one: Place;
  let two: Place;

  before(async () => {
    endpoint = await LightEndpoint.start();
    places = await LegPlaces.start(52_500);
  });
  after(async () => {
    await places.close();
    await endpoint.close();
  });
  beforeEach(() => {
    ({ one, two, links } = places.open());
  });
  afterEach(() => places.end());

  async function join(place: Place, name: string): Promise<LegParticipant> {
    const participant = new LegParticipant(place.host, endpoint, name);
    await participant.connected();
    return participant;
  }

  /** One who sends data, too. */
  async function joinSender(place: Place, name: string): Promise<LegParticipant> {
    const participant = await join(place, name);
    participant.offer(false);
    await participant.wait(() => (participant.publisher.peer.connected ? '' : 'publisher not connected'));
    return participant;
  }

  function tellNodes(...places: Place[]): void {
    for (const { host } of places) {
      host.send({ kind: 'roomNodes', roomName: 'room', nodes: places.map(({ id }) => id), epoch: 1 });
    }
  }

  async function publishAudio(participant: LegParticipant): Promise<ActualPublication> {
    const [audio] = await participant.publish([participant.publisher.addAudio({ levelDbov: 20 })]);
    assert.ok(audio !== undefined);
    return audio;
  }

  /** `a` on one publishes, `b` on two receives. */
  async function call(): Promise<{ a: LegParticipant; b: LegParticipant; audio: ActualPublication; ssrc: number }> {
    const [a, b] = await Promise.all([join(one, 'a'), join(two, 'b')]);
    const audio = await publishAudio(a);
    b.subscribe([subscriptionTo(audio, a.leg)]);
    await b.bound();
    const ssrc = b.ssrcOf(audio.trackSid);
    await b.subscriber.peer.watch(ssrc, { contiguousMs: 300 });
    return { a, b, audio, ssrc };
  }

  const numbers = (from: number, to: number): string[] =>
    Array.from({ length: to - from }, (_, index) => String(from + index));

  function sendNumbers(sender: LegParticipant, from: number, to: number): void {
    for (const text of numbers(from, to)) {
      sender.send('_reliable', text, Number(text) + 1);
    }
  }

  async function untilTexts(receiver: LegParticipant, expected: string[]): Promise<void> {
    await until(() =>
      receiver.texts().length >= expected.length ? '' : `${receiver.texts().length} of ${expected.length}`,
    );
    assert.deepEqual(receiver.texts(), expected);
  }

  it('carry data in both directions, in order, to those who are meant', async () => {
    const [a, b, c] = await Promise.all([joinSender(one, 'a'), joinSender(two, 'b'), join(two, 'c')]);
    tellNodes(one, two);
    sendNumbers(a, 0, 300);
    sendNumbers(b, 0, 300);
    a.send('_lossy', 'lossy');
    await until(() => (b.texts().includes('lossy') ? '' : 'no lossy packet'));
    const lossyStream = b.subscriber.peer.channels.get('_lossy')?.stream;
    const reliableOf = (receiver: LegParticipant): string[] =>
      receiver.texts().filter((_, index) => receiver.packets[index]?.stream !== lossyStream);
    await until(() =>
      reliableOf(a).length >= 300 && reliableOf(c).length >= 600 && reliableOf(b).length >= 300 ? '' : 'not all',
    );
    assert.deepEqual(reliableOf(a), numbers(0, 300));
    assert.deepEqual(reliableOf(b), numbers(0, 300));
    for (const sender of [a, b]) {
      const texts = c.packets.filter(
        ({ packet, stream }) => packet.participantSid === sender.leg && stream !== lossyStream,
      );
      assert.deepEqual(
        texts.map(({ packet }) => packet.sequence),
        numbers(1, 301).map(Number),
      );
    }
    const toTwo = links.messages.filter(({ from, message }) => from === one.id && message.kind === 'data');
    assert.equal(toTwo.length, 301);
  });

  it('keep data for one participant of the node that it is sent from on that node', async () => {
    const [a, b, c] = await Promise.all([joinSender(one, 'a'), join(one, 'b'), join(two, 'c')]);
    tellNodes(one, two);
    a.send('_reliable', 'to b', 1, ['b']);
    a.send('_reliable', 'to c', 2, ['c']);
    await Promise.all([untilTexts(b, ['to b']), untilTexts(c, ['to c'])]);
    const sent = links.messages.filter(({ message }) => message.kind === 'data');
    assert.equal(sent.length, 1);
  });

  it('hand the data of the last moments to a node that gets its first participant', async () => {
    const a = await joinSender(one, 'a');
    sendNumbers(a, 0, 3);
    const witness = await join(one, 'witness');
    await untilTexts(witness, numbers(0, 3));
    const b = await join(two, 'b');
    tellNodes(one, two);
    sendNumbers(a, 3, 5);
    await untilTexts(b, numbers(0, 5));
  });

  it('lose no reliable data, nor a packet of media, when the link between them breaks', async () => {
    const { a, b, ssrc } = await call();
    a.offer(false);
    await a.wait(() => (one.host.of('answer', a.leg).length === 2 ? '' : 'no answer'));
    tellNodes(one, two);
    await b.subscriber.peer.stats({ reset: true });
    const offers = two.host.of('offer', b.leg).length;
    for (let round = 0; round < 5; round += 1) {
      sendNumbers(a, round * 40, round * 40 + 20);
      links.cut(one.id);
      sendNumbers(a, round * 40 + 20, round * 40 + 40);
      await until(() => (b.texts().length >= round * 40 + 40 ? '' : `${b.texts().length} texts`));
    }
    assert.deepEqual(b.texts(), numbers(0, 200));
    const stream = (await b.subscriber.peer.stats()).streams.find((entry) => entry.ssrc === ssrc);
    assert.ok(stream !== undefined && stream.lost === 0 && stream.maxGapMs < 200, JSON.stringify(stream));
    assert.equal(two.host.of('offer', b.leg).length, offers, 'nothing had to be negotiated');
  });

  it('tell after a break what changed during it', async () => {
    const { a, b, audio, ssrc } = await call();
    a.setMuted(true);
    await until(() => (links.messages.some(({ message }) => message.kind === 'producerPaused') ? '' : 'not told'));
    links.isolate(two.id);
    a.setMuted(false);
    await until(() => (producersOf(one).every(({ paused }) => !paused) ? '' : 'still muted'));
    links.restore(two.id);
    await b.subscriber.peer.watch(ssrc, { contiguousMs: 300 });
    links.isolate(two.id);
    one.host.send({ kind: 'close', leg: a.leg, reason: 'left' });
    await one.host.nth('closed', a.leg, 1);
    links.restore(two.id);
    const ended = await two.host.reached(b.leg, 'ended', (actual) => actual.subscriptions[0]?.state === 'no-producer');
    assert.equal(ended.subscriptions[0]?.producerId, audio.producerId);
  });

  it('end what came from a node that is gone, and take it again if it comes back', async () => {
    const { b, audio } = await call();
    links.isolate(one.id);
    await two.host.reached(b.leg, 'ended', (actual) => actual.subscriptions[0]?.state === 'no-producer');
    await b.wait(() => (b.subscriber.tracks.size === 0 ? '' : 'still offered'));
    await until(() => (one.node.pipeCounts.outgoingPipes === 0 ? '' : 'the lost node still pipes'));
    links.restore(one.id);
    await b.bound();
    await b.subscriber.peer.watch(b.ssrcOf(audio.trackSid), { contiguousMs: 300 });
  });

  it('end at once what came from a node that ends in good order, and go on among themselves', async () => {
    const { b } = await call();
    const c = await join(two, 'c');
    const local = await publishAudio(c);
    const startMs = performance.now();
    await one.node.close();
    await two.host.reached(b.leg, 'ended', (actual) => actual.subscriptions[0]?.state === 'no-producer');
    assert.ok(performance.now() - startMs < peerTimings.graceMs);
    b.subscribe([subscriptionTo(local, c.leg)]);
    await b.bound();
    await b.subscriber.peer.watch(b.ssrcOf(local.trackSid), { contiguousMs: 300 });
  });

  it('count those of the other among the takers of a track', async () => {
    const [a, b] = await Promise.all([join(one, 'a'), join(two, 'b')]);
    const [video] = await a.publish([a.publisher.addVideo({ simulcast: true })]);
    assert.ok(video !== undefined);
    b.subscribe([subscriptionTo(video, a.leg, { quality: 1 })]);
    await b.bound();
    await until(() => {
      const last = one.host.of('quality', a.leg).at(-1)?.reports[0];
      return last?.wantedLayer === 1 && !last.idle ? '' : `last report: ${JSON.stringify(last)}`;
    });
  });

  it('pipe nothing for a host that was superseded', async () => {
    const [a, b] = await Promise.all([join(one, 'a'), join(two, 'b')]);
    const audio = await publishAudio(a);
    one.host.send({ kind: 'roomNodes', roomName: 'room', nodes: [one.id, two.id], epoch: 5 });
    two.host.send({ kind: 'roomNodes', roomName: 'room', nodes: [one.id, two.id], epoch: 4 });
    b.subscribe([subscriptionTo(audio, a.leg)]);
    await until(() =>
      links.messages.some(({ message }) => message.kind === 'refused' && message.reason === 'stale-epoch')
        ? ''
        : 'no refusal',
    );
    two.host.send({ kind: 'roomNodes', roomName: 'room', nodes: [one.id, two.id], epoch: 5 });
    await b.bound();
  });

  function producersOf({ pool }: Place) {
    const routers = pool.workers.flatMap((worker) => [...worker.routers]);
    return routers
      .flatMap((router) => [...router.transports])
      .flatMap((transport) => [...transport.producers.values()]);
  }
});

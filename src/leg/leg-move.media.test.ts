import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { FakeHost, subscriptionTo } from '../../test/kit/fake-host.ts';
import { LegParticipant } from '../../test/kit/leg-participant.ts';
import { LegPlaces, type Place } from '../../test/kit/leg-places.ts';
import { LightEndpoint } from '../../test/kit/light/light-endpoint.ts';
import type { LogRecord } from '../../test/kit/log-record.ts';
import { startTestPool } from '../../test/kit/media-pool.ts';
import { configSchema } from '../config/options.ts';
import { legId, nodeId, participantOfLeg, type LegId } from '../protocol/ids.ts';
import type { ActualPublication, MoveKind, WantedLeg, WantedSubscription } from '../protocol/leg-messages.ts';
import { LegNode } from './leg-node.ts';

describe('a leg that takes over from another one', () => {
  let endpoint: LightEndpoint;
  let places: LegPlaces;
  let log: LogRecord;
  let one: Place;
  let two: Place;

  before(async () => {
    endpoint = await LightEndpoint.start();
    places = await LegPlaces.start(52_700);
  });
  after(async () => {
    await places.close();
    await endpoint.close();
  });
  beforeEach(() => {
    ({ one, two, log } = places.open());
  });
  afterEach(() => places.end());

  async function join(place: Place, name: string): Promise<LegParticipant> {
    const participant = new LegParticipant(place.host, endpoint, name);
    await participant.connected();
    return participant;
  }

  function tellNodes(): void {
    for (const { host } of [one, two]) {
      host.send({ kind: 'roomNodes', roomName: 'room', nodes: [one.id, two.id], epoch: 1 });
    }
  }

  type Prepared = { leg: LegId; publications: ActualPublication[] };

  /** What the host does before a client hears of anything. */
  async function prepare(participant: LegParticipant, from: Place, to: Place, wanted: WantedLeg): Promise<Prepared> {
    from.host.send({ kind: 'export', leg: participant.leg });
    const { snapshot } = await from.host.nth('exported', participant.leg, 1);
    const leg = legId(participantOfLeg(participant.leg), 2);
    const identity = from.host.identityOf(participant.leg);
    to.host.send({ kind: 'open', leg, identity, wanted, moved: snapshot });
    tellNodes();
    const { publications } = await to.host.nth('prepared', leg, 1);
    return { leg, publications };
  }

  async function hand(
    participant: LegParticipant,
    { from, to, leg, how }: { from: Place; to: Place; leg: LegId; how: MoveKind },
  ): Promise<void> {
    from.host.send({ kind: 'hold', leg: participant.leg, how });
    to.host.send({ kind: 'cut', leg });
    await participant.wait(() => (from.host.of('held', participant.leg).length === 1 ? '' : 'not held'));
    const { snapshot, data } = await from.host.nth('held', participant.leg, 1);
    to.host.send({ kind: 'activate', leg, how, snapshot, data });
    participant.follow(to.host, leg);
  }

  async function close(place: Place, leg: LegId): Promise<void> {
    place.host.send({ kind: 'close', leg, reason: 'moved' });
    await place.host.nth('closed', leg, 1);
  }

  it('moves a subscriber in place: the same sections, new transports, no packet counted as lost', async (t) => {
    const [a, b] = await Promise.all([join(one, 'a'), join(one, 'b')]);
    const tracks = await a.publish([
      a.publisher.addAudio({ levelDbov: 20 }),
      a.publisher.addVideo({ simulcast: true }),
    ]);
    const wishes = tracks.map((track) => subscriptionTo(track, a.leg));
    b.subscribe(wishes);
    await b.bound();
    const midsBefore = tracks.map(({ trackSid }) => b.subscriber.tracks.get(trackSid)?.mid);
    for (const { trackSid } of tracks) await b.subscriber.peer.watch(b.ssrcOf(trackSid), { contiguousMs: 300 });
    const old = b.leg;
    const { leg } = await prepare(b, one, two, one.host.wantedOf(old));
    await b.subscriber.peer.stats({ reset: true });
    await hand(b, { from: one, to: two, leg, how: 'in-place' });
    await b.wait(() => (b.subscriber.peer.connected ? '' : 'not connected'));
    await b.bound();
    assert.deepEqual(
      tracks.map(({ trackSid }) => b.subscriber.tracks.get(trackSid)?.mid),
      midsBefore,
    );
    for (const { trackSid } of tracks) await b.subscriber.peer.watch(b.ssrcOf(trackSid), { contiguousMs: 300 });
    const { streams } = await b.subscriber.peer.stats();
    for (const { trackSid, mimeType } of tracks) {
      const stream = streams.find(({ ssrc }) => ssrc === b.ssrcOf(trackSid));
      t.diagnostic(`${mimeType}: gap ${stream?.maxGapMs} ms`);
      assert.ok(stream !== undefined && stream.maxGapMs < 1500, JSON.stringify(stream));
    }
    await close(one, old);
    for (const { trackSid } of tracks) await b.subscriber.peer.watch(b.ssrcOf(trackSid), { contiguousMs: 300 });
  });

  it('moves a publisher by a resume: others get its new producers in the same sections', async (t) => {
    const [a, b, c] = await Promise.all([join(one, 'a'), join(one, 'b'), join(two, 'c')]);
    const tracks = await a.publish([
      a.publisher.addAudio({ levelDbov: 20 }),
      a.publisher.addVideo({ simulcast: true }),
    ]);
    tellNodes();
    for (const other of [b, c]) {
      other.subscribe(tracks.map((track) => subscriptionTo(track, a.leg)));
      await other.bound();
      for (const { trackSid } of tracks)
        await other.subscriber.peer.watch(other.ssrcOf(trackSid), { contiguousMs: 300 });
    }
    const old = a.leg;
    const { leg, publications } = await prepare(a, one, two, one.host.wantedOf(old));
    const successorOf = (track: ActualPublication): ActualPublication => {
      const found = publications.find(({ trackSid }) => trackSid === track.trackSid);
      assert.ok(found !== undefined);
      return found;
    };
    const next = (changes: (track: ActualPublication) => Partial<WantedSubscription>): WantedSubscription[] =>
      tracks.map((track) => subscriptionTo(track, a.leg, changes(track)));
    for (const other of [b, c]) {
      other.subscribe(next((track) => ({ successor: successorOf(track) })));
      await other.wait(() =>
        other.actual()?.subscriptions.every(({ successorId }) => successorId !== undefined) === true
          ? ''
          : 'no successor',
      );
    }
    const midsBefore = tracks.map(({ trackSid }) => b.subscriber.tracks.get(trackSid)?.mid);
    for (const other of [b, c]) await other.subscriber.peer.stats({ reset: true });
    await hand(a, { from: one, to: two, leg, how: 'resume' });
    const resumed = await two.host.nth('resumed', leg, 1);
    assert.equal(resumed.lastReliableSequence, 0);
    a.offer(true);
    await a.wait(() => (a.publisher.peer.connected && a.subscriber.peer.connected ? '' : 'not connected'));
    await two.host.reached(leg, 'connected', (actual) => actual.publisher === 'connected');
    for (const other of [b, c]) {
      other.subscribe(
        next((track) => {
          const { producerId, home } = successorOf(track);
          return { producerId, home, predecessor: track.producerId };
        }),
      );
    }
    for (const other of [b, c]) {
      await other.wait(() => {
        const states = other.actual()?.subscriptions ?? [];
        const isSwapped = publications.every(({ producerId }) =>
          states.some((state) => state.producerId === producerId && state.state === 'bound'),
        );
        return isSwapped ? '' : 'not swapped';
      });
      for (const { trackSid, mimeType } of tracks) {
        await other.subscriber.peer.watch(other.ssrcOf(trackSid), {
          contiguousMs: 300,
          keyFrame: mimeType.startsWith('video'),
        });
        const { streams } = await other.subscriber.peer.stats();
        const stream = streams.find(({ ssrc }) => ssrc === other.ssrcOf(trackSid));
        t.diagnostic(`${mimeType} at ${other.leg}: gap ${stream?.maxGapMs} ms`);
        assert.ok(stream !== undefined && stream.maxGapMs < 2500, JSON.stringify(stream));
      }
    }
    assert.deepEqual(
      tracks.map(({ trackSid }) => b.subscriber.tracks.get(trackSid)?.mid),
      midsBefore,
    );
    await close(one, old);
    for (const { trackSid } of tracks) await b.subscriber.peer.watch(b.ssrcOf(trackSid), { contiguousMs: 300 });
  });

  it('moves between the workers of one node', async () => {
    const pool = await startTestPool({ workers: 2, portRangeStart: 52_720, portRangeEnd: 52_800 });
    const id = nodeId('both');
    const node = new LegNode({ nodeId: id, pool, config: configSchema.parse({}), log: log.logger() });
    const place: Place = { id, host: new FakeHost(node), node, pool };
    const [a, b] = await Promise.all([join(place, 'a'), join(place, 'b')]);
    const [audio] = await a.publish([a.publisher.addAudio({ levelDbov: 20 })]);
    assert.ok(audio !== undefined);
    b.subscribe([subscriptionTo(audio, a.leg)]);
    await b.bound();
    const old = b.leg;
    const { leg } = await prepare(b, place, place, place.host.wantedOf(old));
    a.send('_reliable', 'before', 1);
    await b.wait(() => (b.texts().includes('before') ? '' : 'no data'));
    await hand(b, { from: place, to: place, leg, how: 'in-place' });
    a.send('_reliable', 'between', 2);
    await b.wait(() => (b.subscriber.peer.connected ? '' : 'not connected'));
    await b.bound();
    await b.subscriber.peer.watch(b.ssrcOf(audio.trackSid), { contiguousMs: 300 });
    await close(place, old);
    a.send('_reliable', 'after', 3);
    await b.wait(() => (b.texts().includes('after') ? '' : 'no data'));
    // What the old leg may not have brought is sent again under its number, which tells clients to drop it.
    assert.deepEqual([...new Set(b.packets.map(({ packet }) => packet.sequence))], [1, 2, 3]);
    assert.ok(b.texts().filter((text) => text === 'between').length === 1);
    await node.close();
    await pool.close();
  });

  it('gives up what it made ready when nobody uses it, and refuses to move within its worker', async () => {
    const a = await join(one, 'a');
    one.host.send({ kind: 'export', leg: a.leg });
    const { snapshot } = await one.host.nth('exported', a.leg, 1);
    const leg = legId(participantOfLeg(a.leg), 2);
    one.host.send({
      kind: 'open',
      leg,
      identity: one.host.identityOf(a.leg),
      wanted: one.host.wantedOf(a.leg),
      moved: snapshot,
    });
    const { failure } = await one.host.nth('failed', leg, 1);
    assert.equal(failure, 'worker-died', 'there is only one worker');
    const lost = legId(participantOfLeg(a.leg), 3);
    two.host.send({ kind: 'hold', leg: lost, how: 'in-place' });
    assert.equal((await two.host.nth('failed', lost, 1)).failure, 'worker-died');
  });

  it('lets the old leg go on after a hold: nothing of what came meanwhile is lost', async () => {
    const [a, b] = await Promise.all([join(one, 'a'), join(one, 'b')]);
    a.offer(false);
    await a.wait(() => (a.publisher.peer.connected ? '' : 'publisher not connected'));
    a.send('_reliable', 'one', 1);
    await b.wait(() => (b.texts().includes('one') ? '' : 'no data'));
    one.host.send({ kind: 'hold', leg: b.leg, how: 'in-place' });
    await one.host.nth('held', b.leg, 1);
    a.send('_reliable', 'two', 2);
    const [audio] = await a.publish([a.publisher.addAudio({ levelDbov: 20 })]);
    assert.ok(audio !== undefined);
    b.subscribe([subscriptionTo(audio, a.leg)]);
    assert.deepEqual(b.texts(), ['one']);
    one.host.send({ kind: 'unhold', leg: b.leg });
    await b.wait(() => (b.texts().includes('two') ? '' : 'no data'));
    await b.bound();
    await b.subscriber.peer.watch(b.ssrcOf(audio.trackSid), { contiguousMs: 300 });
  });
});

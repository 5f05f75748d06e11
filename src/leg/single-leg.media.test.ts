import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ClientInfo_SDK } from '@livekit/protocol';
import { FakeHost, publicationsOf, sectionOf, subscriptionTo } from '../../test/kit/fake-host.ts';
import { LogRecord } from '../../test/kit/log-record.ts';
import { startTestPool } from '../../test/kit/media-pool.ts';
import { until } from '../../test/kit/until.ts';
import { readGolden } from '../../test/sdp/golden.ts';
import { configSchema } from '../config/options.ts';
import type { WorkerPool } from '../media/worker-pool.ts';
import { type LegId, legId, nodeId, type ParticipantSid } from '../protocol/ids.ts';
import type { ActualPublication, WantedSubscription } from '../protocol/leg-messages.ts';
import { midUri } from '../sdp/capabilities.ts';
import { isReceiving, type Section, type SessionDescription } from '../sdp/description.ts';
import { formatDescription } from '../sdp/format.ts';
import { parseDescription } from '../sdp/parse.ts';
import { LegNode } from './leg-node.ts';

/** rtc-node's first offer after it fell back has the sections to receive in that a single peer connection has. */
const recorded = parseDescription(readGolden('rtcnode-camera-vp8.1.offer.sdp'));

/** An offer with so many sections to receive in, and the sections of `others`. */
function offerWith(counts: { audio: number; video: number }, others: Section[] = []): string {
  const sections: SessionDescription['sections'] = [];
  for (const kind of ['audio', 'video'] as const) {
    const section = recorded.sections.find((each) => each.kind === kind && isReceiving(each));
    assert.ok(section, `no recorded ${kind} section to receive in`);
    for (let index = 0; index < counts[kind]; index += 1) {
      sections.push({ ...section, mid: `${kind[0]}${index}` });
    }
  }
  sections.push(...others);
  const bundle = sections.map(({ mid }) => mid);
  return formatDescription({ ...recorded, bundle, sections });
}

describe('a leg on a single peer connection', () => {
  let pool: WorkerPool;
  let node: LegNode;
  let host: FakeHost;
  let log: LogRecord;
  const offers = new Map<LegId, number>();

  before(async () => {
    pool = await startTestPool({ workers: 2 });
    log = new LogRecord();
    node = new LegNode({ nodeId: nodeId('test'), pool, config: configSchema.parse({}), log: log.logger() });
    host = new FakeHost(node);
  });
  after(async () => {
    await node.close();
    await pool.close();
    assert.deepEqual(log.unexpectedErrors(), []);
  });

  async function publish(name: string, golden: string): Promise<{ leg: LegId; publication: ActualPublication }> {
    const publications = publicationsOf(golden).map((each) => ({ ...each, trackSid: `TR_${name}` as never }));
    const leg = host.open(name, { publications });
    host.send({ kind: 'clientOffer', leg, id: 1, sdp: readGolden(`${golden}.offer.sdp`) });
    const { publications: made } = await host.reached(leg, 'published', (actual) => actual.publications.length > 0);
    const [publication] = made;
    assert.ok(publication);
    return { leg, publication };
  }

  function openSingle(name: string, subscriptions: WantedSubscription[], sdk = 1): LegId {
    const client = { ...host.identityOf(host.open('template', {})).client, sdk };
    return host.open(name, { subscriptions }, { singlePeerConnection: true, client });
  }

  async function offer(leg: LegId, sdp: string): Promise<{ sdp: string; midToTrackId: Record<string, string> }> {
    const count = (offers.get(leg) ?? 0) + 1;
    offers.set(leg, count);
    host.send({ kind: 'clientOffer', leg, id: count, sdp });
    const { sdp: answer, midToTrackId = {}, id } = await host.nth('answer', leg, count);
    assert.equal(id, count);
    return { sdp: answer, midToTrackId };
  }

  async function bound(leg: LegId, count: number): Promise<void> {
    await host.reached(
      leg,
      `${count} bound`,
      ({ subscriptions }) => subscriptions.filter(({ state }) => state === 'bound').length === count,
    );
  }

  it('answers with what there is to receive, in the numbers of the client', async () => {
    const alice = await publish('alice', 'chromium-camera-vp8.1');
    const bob = openSingle('bob', [subscriptionTo(alice.publication, alice.leg)]);
    const sdp = offerWith({ audio: 1, video: 2 });
    const answer = await offer(bob, sdp);
    assert.deepEqual(answer.midToTrackId, { v0: 'TR_alice' });
    const [section, offered] = [sectionOf(answer.sdp, 'v0'), sectionOf(sdp, 'v0')];
    assert.equal(section.direction, 'sendonly');
    assert.deepEqual(section.msids, [{ streamId: `PA_alice|TR_alice`, trackId: 'TR_alice' }]);
    const vp8 = offered.codecs.find(({ name }) => name === 'VP8');
    assert.equal(section.codecs[0]?.payloadType, vp8?.payloadType);
    const midOf = ({ extensions }: Section) => extensions.find(({ uri }) => uri === midUri)?.id;
    assert.equal(midOf(section), midOf(offered));
    assert.deepEqual(
      ['a0', 'v1'].map((mid) => sectionOf(answer.sdp, mid).direction),
      ['inactive', 'inactive'],
    );
    await bound(bob, 1);
    assert.deepEqual(host.of('offer', bob), [], 'the client alone offers');
    assert.deepEqual(host.of('sectionsNeeded', bob), []);
  });

  it('asks for an offer when a track comes, and for sections when there are too few', async () => {
    const names = ['one', 'two', 'three'];
    const tracks = await Promise.all(names.map((name) => publish(name, 'chromium-camera-vp8.1')));
    const wants = tracks.map(({ leg, publication }) => subscriptionTo(publication, leg));
    const bob = openSingle('bob2', []);
    await offer(bob, offerWith({ audio: 0, video: 1 }));
    host.want(bob, { subscriptions: wants });
    const needed = await host.nth('sectionsNeeded', bob, 1);
    assert.deepEqual([needed.audio, needed.video], [0, 2]);
    const first = await offer(bob, offerWith({ audio: 0, video: 3 }));
    assert.deepEqual(Object.values(first.midToTrackId).toSorted(), ['TR_one', 'TR_three', 'TR_two']);
    await bound(bob, 3);
    assert.equal(host.of('sectionsNeeded', bob).length, 1);
  });

  it('rests the section of a track that ended, and uses it for the next one of its kind', async () => {
    const [alice, carol] = [
      await publish('alice3', 'chromium-camera-vp8.1'),
      await publish('carol3', 'chromium-camera-vp9.1'),
    ];
    const bob = openSingle('bob3', [subscriptionTo(alice.publication, alice.leg)]);
    const sdp = offerWith({ audio: 0, video: 1 });
    await offer(bob, sdp);
    await bound(bob, 1);
    host.want(bob, { subscriptions: [subscriptionTo(carol.publication, carol.leg)] });
    const asked = await host.nth('sectionsNeeded', bob, 1);
    assert.deepEqual([asked.audio, asked.video], [0, 0], 'the section that rests will do');
    const resting = await offer(bob, sdp);
    assert.deepEqual(resting.midToTrackId, {});
    assert.equal(sectionOf(resting.sdp, 'v0').direction, 'inactive');
    const again = await host.nth('sectionsNeeded', bob, 2);
    assert.deepEqual([again.audio, again.video], [0, 0]);
    assert.deepEqual((await offer(bob, sdp)).midToTrackId, { v0: 'TR_carol3' });
    await bound(bob, 1);
  });

  it('gives sections up for a client that does not notice a track that returns, but never the one of the transport', async () => {
    const [alice, carol] = [
      await publish('alice7', 'chromium-camera-vp8.1'),
      await publish('carol7', 'chromium-camera-vp8.1'),
    ];
    const [first, second] = [alice, carol].map(({ leg, publication }) => subscriptionTo(publication, leg));
    assert.ok(first && second);
    const bob = openSingle('bob7', [first, second], ClientInfo_SDK.NODE);
    const sdp = offerWith({ audio: 0, video: 3 });
    await offer(bob, sdp);
    await bound(bob, 2);
    host.want(bob, { subscriptions: [] });
    await host.nth('sectionsNeeded', bob, 1);
    const { sdp: ended } = await offer(bob, sdp);
    const sections = ['v0', 'v1', 'v2'].map((mid) => sectionOf(ended, mid));
    assert.deepEqual(
      sections.map(({ rejected, direction }) => (rejected ? 'rejected' : direction)),
      ['inactive', 'rejected', 'inactive'],
    );
    host.want(bob, { subscriptions: [first, second] });
    const needed = await host.nth('sectionsNeeded', bob, 2);
    assert.deepEqual([needed.audio, needed.video], [0, 1], 'one is left, and the resting one is not used again');
  });

  it('asks again when its request got lost with the socket', async () => {
    const alice = await publish('alice4', 'chromium-camera-vp8.1');
    const bob = openSingle('bob4', []);
    await offer(
      bob,
      offerWith(
        { audio: 0, video: 0 },
        recorded.sections.filter(({ kind }) => kind === 'application'),
      ),
    );
    host.want(bob, { subscriptions: [subscriptionTo(alice.publication, alice.leg)] });
    await host.nth('sectionsNeeded', bob, 1);
    host.send({ kind: 'resume', leg: bob });
    await host.nth('resumed', bob, 1);
    await offer(
      bob,
      offerWith(
        { audio: 0, video: 0 },
        recorded.sections.filter(({ kind }) => kind === 'application'),
      ),
    );
    const again = await host.nth('sectionsNeeded', bob, 2);
    assert.deepEqual([again.audio, again.video], [0, 1]);
    assert.deepEqual((await offer(bob, offerWith({ audio: 0, video: 1 }))).midToTrackId, { v0: 'TR_alice4' });
  });

  it('publishes and receives on one transport', async () => {
    const alice = await publish('alice5', 'chromium-microphone.1');
    const bob = openSingle('bob5', [subscriptionTo(alice.publication, alice.leg)]);
    const [own] = publicationsOf('rtcnode-camera-vp8.1');
    assert.ok(own);
    host.want(bob, { publications: [own], subscriptions: [subscriptionTo(alice.publication, alice.leg)] });
    const { midToTrackId } = await offer(bob, readGolden('rtcnode-camera-vp8.1.offer.sdp'));
    assert.deepEqual(Object.values(midToTrackId), ['TR_alice5']);
    await host.reached(bob, 'published', ({ publications }) => publications.length === 1);
    await until(() => (node.counts.producers > 1 ? '' : 'no producer'));
  });

  it('goes on in another leg with the same sections, once the client has come back', async () => {
    const alice = await publish('alice6', 'chromium-camera-vp8.1');
    const subscriptions = [subscriptionTo(alice.publication, alice.leg)];
    const bob = openSingle('bob6', subscriptions);
    const data = recorded.sections.filter(({ kind }) => kind === 'application');
    const sdp = offerWith({ audio: 1, video: 2 }, data);
    const before = await offer(bob, sdp);
    await bound(bob, 1);
    host.send({ kind: 'export', leg: bob });
    const { snapshot: moved } = await host.nth('exported', bob, 1);
    const next = legId('PA_bob6' as ParticipantSid, 2);
    host.send({ kind: 'open', leg: next, identity: host.identityOf(bob), wanted: host.wantedOf(bob), moved });
    await host.nth('prepared', next, 1);
    host.send({ kind: 'hold', leg: bob, how: 'resume' });
    const { snapshot, data: heldData } = await host.nth('held', bob, 1);
    host.send({ kind: 'activate', leg: next, how: 'resume', snapshot, data: heldData });
    await host.nth('resumed', next, 1);
    const after = await offer(next, sdp);
    assert.deepEqual(after.midToTrackId, before.midToTrackId);
    const [was, is] = [sectionOf(before.sdp, 'v0'), sectionOf(after.sdp, 'v0')];
    assert.deepEqual([is.formats, is.extensions, is.msids], [was.formats, was.extensions, was.msids]);
    assert.notDeepEqual(is.ssrcs, was.ssrcs, 'other streams');
    assert.notEqual(is.ice?.usernameFragment, was.ice?.usernameFragment, 'another transport');
    await bound(next, 1);
    host.send({ kind: 'close', leg: bob, reason: 'moved' });
  });
});

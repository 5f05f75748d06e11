import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { TestCluster } from '../kit/cluster.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { JoinRefused } from '../kit/light/light-signal.ts';
import { startSentinel, type SentinelSetup } from '../kit/redis.ts';
import type { TcpProxy } from '../kit/tcp-proxy.ts';
import { joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';

type Call = { room: string; alice: LightClient; bob: LightClient };

const callCount = 6;
const backWithinMs = 5_000;

describe('a zone with two of four masters, a Sentinel and the writing Redis that is lost at once', () => {
  let sentinel: SentinelSetup;
  let cluster: TestCluster;
  let endpoint: LightEndpoint;
  let front: TcpProxy;

  before(async () => {
    sentinel = await startSentinel();
    cluster = await TestCluster.start({ masters: 4, media: 3, sentinel });
    endpoint = await LightEndpoint.start();
    front = await cluster.frontDoor();
  });
  after(async () => {
    await endpoint?.close();
    await front?.close();
    await cluster?.close();
    await sentinel?.close();
  });

  const join = async (room: string, identity: string, url: string, publish = {}): Promise<LightClient> =>
    LightClient.join({ url, token: await joinToken({ room, identity }), endpoint, publish });

  /** Alice sits at the door, which leads to a master of the lost zone first; bob at a master that stays. */
  async function startCall(room: string): Promise<Call> {
    const alice = await join(room, 'alice', front.url, { audio: true, video: true });
    const bob = await join(room, 'bob', cluster.url(3), { audio: true });
    for (const track of alice.publishedTrackSids) await bob.waitForTrack(track, { contiguousMs: 200 });
    for (const track of bob.publishedTrackSids) await alice.waitForTrack(track, { contiguousMs: 200 });
    for (const track of alice.publishedTrackSids) await bob.stats(track, { reset: true });
    return { room, alice, bob };
  }

  async function assertUninterrupted({ alice, bob }: Call): Promise<void> {
    for (const client of [alice, bob]) assert.equal(client.leaveReceived, undefined, client.identity);
    for (const track of alice.publishedTrackSids) {
      const stats = await bob.waitForTrack(track, { contiguousMs: 300 });
      assert.equal(stats.lost, 0);
      assert.ok(stats.maxGapMs < 1_000, `gap of ${stats.maxGapMs} ms`);
    }
  }

  it('interrupts no call; new rooms get a clear 503 and work again; a node that dies meanwhile is recovered', async (t) => {
    const calls: Call[] = [];
    for (let index = 0; index < callCount; index += 1) calls.push(await startCall(`call-${index}`));
    const victim = cluster.hostOf('call-0');
    const hit = calls.filter(({ room }) => cluster.hostOf(room) === victim);
    const spared = calls.filter((call) => !hit.includes(call));
    const lost = cluster.redis;

    const diedAtMs = performance.now();
    await Promise.all([
      ...cluster.masters.slice(0, 2).map((node) => node.kill()),
      sentinel.sentinels[0]?.kill(),
      lost.kill(),
      victim.kill(),
    ]);
    await Promise.all(
      spared.map(async ({ alice }) => {
        await alice.waitFor(() => alice.socketCloseCode !== undefined, 'the end of the socket');
        await alice.resume();
      }),
    );
    t.diagnostic(`all sockets are back after ${Math.round(performance.now() - diedAtMs)} ms`);

    const refusals: JoinRefused[] = [];
    const tryJoin = async (room: string, identity: string): Promise<LightClient | undefined> => {
      try {
        return await join(room, identity, front.url);
      } catch (error) {
        if (!(error instanceof JoinRefused)) throw error;
        refusals.push(error);
        return undefined;
      }
    };
    const untilIn = async (room: string, identity: string): Promise<LightClient> => {
      let client: LightClient | undefined;
      await until(async () => ((client = await tryJoin(room, identity)) === undefined ? 'refused' : ''), {
        timeoutMs: 25_000,
        intervalMs: 100,
      });
      if (client === undefined) throw new Error('unreachable');
      return client;
    };
    const promoted = sentinel.untilMasterIsNot(lost).then(() => performance.now());
    const fresh = untilIn('new', 'zoe').then((client) => ({ client, atMs: performance.now() }));
    const recovered = Promise.all(
      hit.map(async ({ room, alice, bob }) => {
        const { sid } = alice.joinResponse.room ?? {};
        await Promise.all([alice, bob].map((client) => client.abandon()));
        const again = await untilIn(room, 'alice');
        assert.equal(again.joinResponse.room?.sid, sid, 'another room of the same name');
        return { client: again, atMs: performance.now() };
      }),
    );
    const [promotedAtMs, newcomer, returned] = await Promise.all([promoted, fresh, recovered]);
    const sinceDeath = (atMs: number): number => Math.round(atMs - diedAtMs);
    t.diagnostic(
      `Sentinel names another Redis after ${sinceDeath(promotedAtMs)} ms, a new room is in after ` +
        `${sinceDeath(newcomer.atMs)} ms, ${returned.length} rooms of the dead node after ` +
        `${sinceDeath(Math.max(...returned.map(({ atMs }) => atMs)))} ms`,
    );
    assert.ok(newcomer.atMs - promotedAtMs < backWithinMs);
    for (const { atMs } of returned) assert.ok(atMs - promotedAtMs < backWithinMs);
    assert.ok(refusals.length > 0, 'nobody was refused while there was no Redis to write to');
    for (const { status, body } of refusals) {
      assert.equal(status, 503);
      assert.match(body, /store|host|room|node/);
    }
    for (const call of spared) await assertUninterrupted(call);
    for (const { alice, bob } of spared) await Promise.all([alice.leave(), bob.leave()]);
    for (const { client } of [newcomer, ...returned]) await client.leave();
  });
});

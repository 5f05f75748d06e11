import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { RoomServiceClient } from 'livekit-server-sdk';
import { configSchema } from '../../src/config/options.ts';
import type { RunningMedia } from '../../src/roles/media.ts';
import type { RunningRole } from '../../src/roles/node-parts.ts';
import { freePort, freePortRange } from '../kit/free-ports.ts';
import { LightClient } from '../kit/light-client.ts';
import { findWorker } from '../kit/light/build.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { LogRecord } from '../kit/log-record.ts';
import { startRedis, type RedisProcess } from '../kit/redis.ts';
import { devKey, joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';
import { WebhookTarget } from '../kit/webhook-receiver.ts';

const pipePorts = 40;

/** The roles in this process, over a real Redis and the real relay, so that a test can ask for moves. */
describe('a room whose host moves to another node', () => {
  const log = new LogRecord();
  let hooks: WebhookTarget;
  let redis: RedisProcess;
  let endpoint: LightEndpoint;
  let master: RunningRole;
  let service: RoomServiceClient;
  const media: RunningMedia[] = [];

  before(async () => {
    const worker = await findWorker();
    if (worker !== undefined) process.env['MEDIASOUP_WORKER_BIN'] = worker;
    hooks = await WebhookTarget.start();
    redis = await startRedis();
    endpoint = await LightEndpoint.start();
    const { startMedia } = await import('../../src/roles/media.ts');
    const { startMaster } = await import('../../src/roles/master.ts');
    for (let index = 0; index < 2; index += 1) media.push(await startMedia(await optionsOf()));
    master = await startMaster(await optionsOf());
    service = new RoomServiceClient(url(), devKey.apiKey, devKey.apiSecret);
    await until(async () => {
      const nodes = await redis.ask('SCARD test:nodes');
      return nodes.startsWith(':3') ? '' : nodes;
    });
  });
  after(async () => {
    await master?.close();
    for (const node of media) await node.close();
    await endpoint?.close();
    await redis?.close();
    await hooks?.close();
    assert.deepEqual(log.unexpectedErrors(), []);
  });

  async function optionsOf() {
    const first = await freePortRange(1 + pipePorts);
    const config = configSchema.parse({
      port: await freePort(),
      bind_addresses: ['127.0.0.1'],
      keys: { [devKey.apiKey]: devKey.apiSecret },
      redis: { address: `127.0.0.1:${redis.port}` },
      room: { max_legs_per_node: 2 },
      node_limit: { cpu: 0, worker_cpu: 1, event_loop_lag: 0 },
      webhook: { api_key: devKey.apiKey, urls: [hooks.url] },
      cluster: {
        name: 'test',
        secret: 'the secret of a cluster under test',
        relay_port: await freePort(),
        relay_bind_addresses: ['127.0.0.1'],
      },
      rtc: {
        workers: 1,
        node_ip: ['127.0.0.1'],
        bind_address: '127.0.0.1',
        port_range_start: first,
        port_range_end: first,
        pipe_port_range_start: first + 1,
        pipe_port_range_end: first + pipePorts,
      },
    });
    return { config, log: log.logger('info') };
  }

  const url = (): string => `http://127.0.0.1:${master.port}`;
  const join = async (room: string, identity: string, publish = {}): Promise<LightClient> =>
    LightClient.join({ url: url(), token: await joinToken({ room, identity }), endpoint, publish });
  const hostOf = (room: string): RunningMedia | undefined =>
    media.find(({ nodeId, moves }) => moves.on(nodeId).rooms.some(({ roomName }) => roomName === room));

  /** Asks all the time, and remembers what went wrong. */
  function askOn(room: string, alice: LightClient, bob: LightClient) {
    const faults: string[] = [];
    const state = { count: 0, isOver: false };
    const asking = (async () => {
      while (!state.isOver) {
        state.count += 1;
        const mark = `${state.count}`;
        await service.updateRoomMetadata(room, mark).catch((error: unknown) => faults.push(String(error)));
        await alice.sendData(Buffer.from(mark), { topic: 'count' });
        alice.send({ case: 'updateMetadata', value: { requestId: state.count, metadata: mark } as never });
        await bob.waitFor(
          () =>
            bob.messages.some(
              (message) =>
                message.case === 'update' &&
                message.value.participants.some((info) => info.identity === 'alice' && info.metadata === mark),
            ),
          `the metadata ${mark} of alice`,
        );
      }
    })();
    const end = async (): Promise<number> => {
      state.isOver = true;
      await asking;
      assert.deepEqual(faults, []);
      return state.count;
    };
    /** A few more, from now on. */
    const some = async (): Promise<void> => {
      const before = state.count;
      await until(() => (faults.length > 0 || state.count > before + 2 ? '' : `only ${state.count - before} answers`));
    };
    return { end, some };
  }

  it('goes on without a break for anybody, there and back', async (t) => {
    const room = 'moving';
    const alice = await join(room, 'alice', { audio: true, video: true });
    const bob = await join(room, 'bob');
    const carol = await join(room, 'carol', { audio: true });
    const everybody = [alice, bob, carol];
    for (const client of [bob, carol]) {
      for (const track of alice.publishedTrackSids) await client.waitForTrack(track, { contiguousMs: 300 });
      for (const track of alice.publishedTrackSids) await client.stats(track, { reset: true });
    }
    const sid = alice.joinResponse.room?.sid;
    await service.updateParticipant(room, 'alice', {
      permission: { canPublish: true, canSubscribe: true, canPublishData: true, canUpdateMetadata: true },
    });
    const asked = askOn(room, alice, bob);
    for (let round = 0; round < 4; round += 1) {
      const from = hostOf(room);
      const to = media.find((node) => node !== from);
      assert.ok(from !== undefined && to !== undefined, `nobody hosts the room in round ${round}`);
      from.moves.perform({ kind: 'moveHost', roomName: room, target: to.nodeId });
      const [moving] = from.moves.on(from.nodeId).rooms;
      assert.equal(moving?.hostMove.kind, 'moving');
      from.moves.perform({ kind: 'moveHost', roomName: room, target: to.nodeId });
      await until(() => (hostOf(room) === to ? '' : 'the room has not moved'));
      await asked.some();
      await carol.sendData(Buffer.from('x'), { topic: `round ${round}` });
      for (const client of [alice, bob]) {
        await client.waitForPacket(({ value }) => value.case === 'user' && value.value.topic === `round ${round}`);
      }
    }
    t.diagnostic(`${await asked.end()} requests of each kind were answered meanwhile`);
    for (const client of [bob, carol]) {
      for (const track of alice.publishedTrackSids) {
        const stats = await client.waitForTrack(track, { contiguousMs: 500 });
        assert.equal(stats.lost, 0);
        assert.ok(stats.maxGapMs < 1_000, `${client.identity} had a gap of ${stats.maxGapMs} ms`);
      }
    }
    for (const client of everybody) {
      assert.equal(client.leaveReceived, undefined);
      assert.equal(client.socketCloseCode, undefined);
      const states = client.messages.flatMap((message) =>
        message.case === 'update' ? message.value.participants.map(({ state }) => state) : [],
      );
      assert.equal(states.includes(3), false, `${client.identity} was told that somebody left`);
    }
    const dave = await join(room, 'dave');
    assert.equal(dave.joinResponse.room?.sid, sid);
    for (const track of alice.publishedTrackSids) await dave.waitForTrack(track, { contiguousMs: 200 });
    const names = hooks.ofRoom(room).map(({ event }) => event);
    assert.equal(names.filter((name) => name === 'participant_joined').length, 4, names.join());
    assert.equal(names.filter((name) => name === 'room_started').length, 1, names.join());
    for (const client of [...everybody, dave]) await client.leave();
  });

  it('is not moved by a node that does not host it', () => {
    const [node] = media;
    assert.throws(() => node?.moves.perform({ kind: 'moveHost', roomName: 'unknown', target: node.nodeId }), {
      reason: 'not-here',
    });
  });
});

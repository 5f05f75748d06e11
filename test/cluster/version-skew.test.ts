import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:tls';
import { after, before, describe, it } from 'node:test';
import { LeaveRequest_Action } from '@livekit/protocol';
import { RoomServiceClient } from 'livekit-server-sdk';
import { redisOptions } from '../../src/cluster/redis-config.ts';
import { RedisStore } from '../../src/cluster/redis-store.ts';
import { bodyFrame, FrameReader } from '../../src/cluster/relay-frame.ts';
import { readGoodbye } from '../../src/cluster/relay-hello.ts';
import { clientTls, relayKeys } from '../../src/cluster/relay-secret.ts';
import { encodeMessage } from '../../src/cluster/wire-codec.ts';
import { configSchema } from '../../src/config/options.ts';
import type { NodeId } from '../../src/protocol/ids.ts';
import { clusterName, clusterSecret, TestCluster, type ClusterProcess } from '../kit/cluster.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { LogRecord } from '../kit/log-record.ts';
import { newerAddress, NewerRelay } from '../kit/newer-relay.ts';
import { devKey, joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';

const key = relayKeys(clusterName, clusterSecret);

describe('a cluster whose nodes hear each other as nodes of the next version', () => {
  let cluster: TestCluster;
  let endpoint: LightEndpoint;
  let store: RedisStore;
  const relays: NewerRelay[] = [];

  before(async () => {
    cluster = await TestCluster.start({
      masters: 2,
      media: 2,
      config: { cluster: { relay_address: newerAddress }, room: { max_legs_per_node: 1 } },
      beforeStart: async (relayPort) => void relays.push(await NewerRelay.start({ port: relayPort, key })),
    });
    endpoint = await LightEndpoint.start();
    const log = new LogRecord().logger('silent');
    const redis = { address: `127.0.0.1:${cluster.redis.port}` };
    const options = redisOptions(configSchema.parse({ redis, cluster: { name: clusterName } }), {
      clientName: 'newer',
      log,
    });
    assert.ok(options !== undefined);
    store = new RedisStore(options);
    await store.ready(5_000);
  });
  after(async () => {
    await endpoint?.close();
    await store?.close();
    await cluster?.close();
    for (const relay of relays) await relay.close();
  });

  const join = async (room: string, identity: string, publish = {}): Promise<LightClient> =>
    LightClient.join({
      url: cluster.url(identity.length % 2),
      token: await joinToken({ room, identity, attributes: { seat: '1' } }),
      endpoint,
      publish,
    });

  /** A media node that only the next version can work with: idle, and therefore the best one. */
  async function stateFutureNode(): Promise<void> {
    const [known] = (await store.nodes.list()).filter(({ record }) => record.roles.includes('media'));
    assert.ok(known !== undefined);
    const load = { ...known.record.load, cpu: 0, rooms: 0, participants: 0, newer: { gpu: 1 } };
    const protocol = { min: 2, max: 3, newer: true };
    await store.nodes.beat({ ...known.record, nodeId: 'ND_future' as NodeId, protocol, load, ...{ newer: ['field'] } });
  }

  it('has calls with all they need, changes and ends of rooms, and takeovers', async (t) => {
    const room = 'skewed';
    await stateFutureNode();
    const beat = setInterval(() => void stateFutureNode().catch(() => undefined), 500);
    t.after(() => clearInterval(beat));
    const service = new RoomServiceClient(cluster.url(1), devKey.apiKey, devKey.apiSecret);
    const { sid } = await service.createRoom({ name: room, metadata: 'before', departureTimeout: 60 });
    const alice = await join(room, 'alice', { audio: true, video: { simulcast: true } });
    const bob = await join(room, 'bob', { audio: true });
    for (const track of alice.publishedTrackSids) await bob.waitForTrack(track, { contiguousMs: 300 });
    for (const track of bob.publishedTrackSids) await alice.waitForTrack(track, { contiguousMs: 300 });
    for (let index = 0; index < 50; index += 1) await alice.sendData(Buffer.from(String(index)), { topic: 'numbers' });
    await bob.waitFor(
      () => bob.packets.length === 50,
      () => `${bob.packets.length} packets`,
    );
    await service.updateRoomMetadata(room, 'changed');
    await bob.waitForMessage((message) => message.case === 'roomUpdate' && message.value.room?.metadata === 'changed');
    await service.updateParticipant(room, 'bob', { attributes: { seat: '2' } });
    await alice.waitForParticipant('bob', ({ attributes }) => attributes['seat'] === '2');
    await alice.resume();
    assert.ok(relays.filter(({ connections }) => connections > 0).length >= 2, 'the nodes do not meet as newer ones');

    // What a newer host has saved beside what we know.
    const owner = await store.rooms.find(room);
    assert.ok(owner !== undefined);
    const saved = { name: 'newer:part', bytes: new TextEncoder().encode('of the future') };
    assert.equal(await store.rooms.save(room, owner.epoch, new Map([[saved.name, saved.bytes]])), 'written');
    const host = cluster.hostOf(room);
    await cluster.addMedia();
    await host.kill();
    // Alice came first and is where the host was; bob's leg outlives it.
    assert.equal((await alice.waitForLeave()).action, LeaveRequest_Action.RECONNECT);
    await alice.abandon();
    const again = await join(room, 'alice', { audio: true });
    for (const track of again.publishedTrackSids) await bob.waitForTrack(track, { contiguousMs: 200 });
    assert.equal(bob.leaveReceived, undefined);
    assert.equal(again.joinResponse.room?.sid, sid);
    assert.equal(again.joinResponse.room?.metadata, 'changed');
    assert.equal((await service.getParticipant(room, 'bob')).attributes['seat'], '2');
    const kept = await store.rooms.load(room);
    assert.deepEqual(kept?.parts.get(saved.name), saved.bytes);
    await Promise.all([again.leave(), bob.leave()]);
    await service.deleteRoom(room);
    assert.deepEqual(await service.listRooms([room]), []);
    const problems = cluster.nodes.flatMap(({ log }) =>
      log.lines.filter((line) => /relay-bad|overflow/.test(String(line['reason']))),
    );
    assert.deepEqual(problems, []);
  });

  // Each of another node: a log says the same thing once in ten seconds.
  for (const [age, role, range] of [
    ['old', 'masters', { minProtocol: 0, maxProtocol: 0 }],
    ['new', 'media', { minProtocol: 2, maxProtocol: 4 }],
  ] as const) {
    it(`refuses a node that is too ${age} to work with, and says why on both sides`, async () => {
      const node = cluster[role].find(({ isRunning }) => isRunning);
      assert.ok(node !== undefined);
      const { reason, detail } = await refusalOf(node, range);
      assert.equal(reason, 'no-common-protocol');
      assert.match(detail, new RegExp(`${range.minProtocol} to ${range.maxProtocol} there, 1 to 1 here`));
      await until(() => {
        const said = node.log.lines.some((line) => JSON.stringify(line).includes(detail));
        return said ? '' : `${node.name} does not say so`;
      });
    });
  }

  async function refusalOf(node: ClusterProcess, range: object): Promise<{ reason: string; detail: string }> {
    const socket = connect({ host: '127.0.0.1', port: node.relayPort, ...clientTls(key) });
    await once(socket, 'secureConnect');
    const about = { cluster: clusterName, nodeId: 'ND_stranger', role: 'media', software: '0', features: [] };
    socket.write(
      bodyFrame('hello', encodeMessage({ ...about, ...range, windowBytes: 65_536, maxMessageBytes: 1_000_000 })),
    );
    const reader = new FrameReader();
    for await (const bytes of socket) {
      for (const frame of reader.push(bytes as Buffer)) {
        if (frame.type === 'goodbye') {
          socket.destroy();
          return readGoodbye(frame.body);
        }
      }
    }
    return assert.fail('the node ended the connection without a word');
  }
});

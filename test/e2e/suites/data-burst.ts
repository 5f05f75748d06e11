import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { DisconnectReason, LeaveRequest_Action, type DataPacket } from '@livekit/protocol';
import { RoomEvent } from '@livekit/rtc-node';
import { LightClient, type LightClientOptions } from '../../kit/light-client.ts';
import { LightEndpoint } from '../../kit/light/light-endpoint.ts';
import type { StartTarget, TestTarget } from '../../kit/target.ts';
import { treeMemory } from '../../kit/process-memory.ts';
import { RtcClient } from '../../kit/rtc-node.ts';
import { joinToken } from '../../kit/tokens.ts';
import { UdpRelay } from '../../kit/udp-relay.ts';
import { until } from '../../kit/until.ts';

const megabyte = 1_000_000;
const lossyTestMs = 9000;
/** Where the server is, and where it says that it is. */
const direct = '127.0.0.1';
const announced = '127.0.0.2';

export function dataBurstSuite(start: StartTarget): void {
  let node: TestTarget;
  let endpoint: LightEndpoint;

  before(async () => {
    // Real clients have to go to the announced address, where a test puts its bad network.
    node = await start({ rtc: { node_ip: [announced] } });
    endpoint = await LightEndpoint.start();
  });
  after(async () => {
    await endpoint?.close();
    await node?.close();
  });

  async function join(room: string, identity: string, options: Partial<LightClientOptions> = {}): Promise<LightClient> {
    return LightClient.join({
      url: node.url,
      token: await joinToken({ room, identity }),
      endpoint,
      reroute: ({ port }) => ({ address: direct, port }),
      ...options,
    });
  }

  it('keeps lossy messages young on a path that carries a fifth of them, with flat memory', async (t) => {
    const pathBps = 500_000;
    const messageBytes = 1000;
    const intervalMs = (messageBytes * 8 * 1000) / (pathBps * 5);
    const sender = await join('lossy', 'sender');
    const { pid, mediaPort } = node.hostOf('lossy');
    const relays: UdpRelay[] = [];
    t.after(() => {
      for (const relay of relays) relay.close();
    });
    const startRelay = async (listen = {}): Promise<UdpRelay> => {
      const target = { address: direct, port: mediaPort };
      const relay = await UdpRelay.start({ target, down: { rateBps: pathBps }, ...listen });
      relays.push(relay);
      return relay;
    };
    // What nobody looks at, only the memory that they may cost.
    const crowd = await Promise.all(
      Array.from({ length: 9 }, async (_, index) => {
        const { port } = await startRelay();
        return join('lossy', `slow-${index}`, { countData: true, reroute: () => ({ address: direct, port }) });
      }),
    );
    await startRelay({ listenAddress: announced, listenPort: mediaPort });
    const receiver = await RtcClient.join({ url: node.url, room: 'lossy', identity: 'receiver' });
    await Promise.all(crowd.map((client) => client.waitForChannels()));
    await sender.connectPublisher();

    const ages: number[] = [];
    receiver.room.on(RoomEvent.DataReceived, (payload) => {
      ages.push(performance.now() - Buffer.from(payload).readDoubleBE());
    });
    const send = async (): Promise<void> => {
      const payload = Buffer.alloc(messageBytes);
      payload.writeDoubleBE(performance.now());
      await sender.sendData(payload, { reliable: false });
    };
    // Nothing arrives before the channel is open.
    await until(async () => {
      await send();
      return ages.length > 0 ? '' : 'nothing arrived';
    });
    ages.length = 0;

    const samples: { node: number; worker: number }[] = [];
    const startMs = performance.now();
    const elapsedMs = (): number => performance.now() - startMs;
    let sent = 0;
    while (elapsedMs() < lossyTestMs) {
      for (const due = elapsedMs() / intervalMs; sent < due; sent += 1) await send();
      await delay(5);
      if (elapsedMs() > lossyTestMs / 3 + samples.length * 250) samples.push(await treeMemory(pid));
    }

    const sorted = ages.toSorted((a, b) => a - b);
    const p99 = sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
    const goodputBps = (ages.length * messageBytes * 8 * 1000) / lossyTestMs;
    const growth = (kind: 'node' | 'worker'): number => {
      const third = Math.floor(samples.length / 3);
      const lowest = (part: typeof samples): number => Math.min(...part.map((sample) => sample[kind]));
      return lowest(samples.slice(-third)) - lowest(samples.slice(0, third));
    };
    t.diagnostic(
      `age p50 ${sorted[sorted.length >> 1]?.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms; ${ages.length} of ${sent} arrived, ` +
        `${(goodputBps / 1000).toFixed(0)} kbit/s; growth node ${growth('node') / megabyte} MB, worker ${growth('worker') / megabyte} MB`,
    );
    assert.ok(p99 < 300, `p99 of the age is ${p99} ms`);
    assert.ok(goodputBps > pathBps * 0.4, `only ${goodputBps} bit/s came through`);
    // Kept in queues, four fifths of it would be a quarter of a megabyte per second and receiver.
    assert.ok(growth('worker') < 3 * megabyte, `the worker grew by ${growth('worker')} bytes`);
    assert.ok(growth('node') < 20 * megabyte, `the node grew by ${growth('node')} bytes`);
    await Promise.all([sender, ...crowd].map((client) => client.leave()));
    await receiver.close();
  });

  it('brings a burst of 600 messages of 15 KB to five readers whole and in order, and closes a sixth that never reads', async () => {
    const sender = await join('burst', 'sender');
    const readers = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((identity) => join('burst', identity)));
    const deaf = await join('burst', 'deaf');
    await Promise.all([...readers, deaf].map((client) => client.waitForChannels()));
    deaf.subscriberPeer.setReadingData(false);

    let sent = 0;
    const send = async (count: number): Promise<void> => {
      for (const end = sent + count; sent < end; sent += 1) {
        const payload = Buffer.alloc(15_000, sent);
        payload.writeUInt32BE(sent);
        await sender.sendData(payload);
      }
    };
    const assertAllArrived = async (): Promise<void> => {
      for (const reader of readers) {
        await reader.waitFor(
          () => reader.packets.length >= sent,
          () => `${reader.packets.length} of ${sent} messages`,
          20_000,
        );
        assert.deepEqual(
          reader.packets.map((packet) => numberOf(packet)),
          Array.from({ length: sent }, (_, index) => index),
        );
      }
    };
    await send(600);
    await assertAllArrived();
    // Nine megabytes are less than what may wait for one subscriber.
    const isTold = (): boolean => deaf.leaveReceived !== undefined;
    assert.equal(isTold(), false);
    while (!isTold() && sent < 1800) {
      await send(50);
      await assertAllArrived();
    }
    const leave = await deaf.waitForLeave();
    assert.equal(leave.reason, DisconnectReason.STATE_MISMATCH);
    assert.equal(leave.action, LeaveRequest_Action.RECONNECT);
    // What waits in the server, and what the client's own buffer took.
    assert.ok(sent * 15_000 > 16 * megabyte && sent * 15_000 < 20 * megabyte, `closed after ${sent} messages`);
    await send(50);
    await assertAllArrived();
    for (const reader of readers) {
      assert.equal(reader.leaveReceived, undefined);
      assert.equal(reader.participants.has('deaf'), false);
    }
    await Promise.all([sender, ...readers].map((client) => client.leave()));
    await deaf.abandon();
  });
}

function numberOf(packet: DataPacket): number {
  return packet.value.case === 'user' ? Buffer.from(packet.value.value.payload).readUInt32BE() : Number.NaN;
}

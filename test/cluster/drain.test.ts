import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, describe, it } from 'node:test';
import { LeaveRequest_Action } from '@livekit/protocol';
import { RoomServiceClient } from 'livekit-server-sdk';
import { AdminClient } from '../../src/cli/admin-client.ts';
import type { NodeReport } from '../../src/protocol/node-report.ts';
import { delayFigures, tellBench } from '../kit/bench-figures.ts';
import { TestCluster, type ClusterProcess } from '../kit/cluster.ts';
import { freePort } from '../kit/free-ports.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { devKey, joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';

const main = path.join(import.meta.dirname, '../../src/main.ts');
const drainedWithinMs = 30_000;

describe('a media node that is taken out of service', () => {
  let cluster: TestCluster;
  let endpoint: LightEndpoint;
  /** Of the masters. */
  const metricsPorts: number[] = [];

  before(async () => {
    cluster = await TestCluster.start({ masters: 0, media: 3, config: { drain: { policy: 'wait', deadline: 120 } } });
    for (let count = 0; count < 2; count += 1) {
      const port = await freePort();
      metricsPorts.push(port);
      await cluster.addMaster({ prometheus_port: port });
    }
    await serving(3);
    endpoint = await LightEndpoint.start();
  });
  after(async () => {
    await endpoint?.close();
    await cluster?.close();
  });

  const masterUrl = (): string => cluster.masters.find((node) => node.isRunning)?.url ?? '';
  const admin = (): AdminClient => new AdminClient({ url: masterUrl(), ...devKey }, { USER: 'ana' });
  const service = (): RoomServiceClient => new RoomServiceClient(masterUrl(), devKey.apiKey, devKey.apiSecret);
  const join = async (room: string, identity: string, publish = {}): Promise<LightClient> =>
    LightClient.join({ url: masterUrl(), token: await joinToken({ room, identity }), endpoint, publish });

  async function plenum(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
    const env = {
      ...process.env,
      USER: 'ana',
      LIVEKIT_URL: masterUrl(),
      LIVEKIT_API_KEY: devKey.apiKey,
      LIVEKIT_API_SECRET: devKey.apiSecret,
    };
    const child = spawn(process.execPath, [main, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const text = { out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text.out += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text.err += chunk));
    await once(child, 'close');
    return { code: child.exitCode, ...text };
  }

  const waitForState = (node: ClusterProcess, state: string, timeoutMs = drainedWithinMs): Promise<void> =>
    until(
      async () => {
        const report = await admin().get(node.nodeId);
        return report.state === state ? '' : `${node.name} is ${JSON.stringify(report)}`;
      },
      { timeoutMs, intervalMs: 100 },
    );

  /** Resolves when so many nodes get new work, as every master knows. */
  async function serving(count: number): Promise<void> {
    await until(async () => {
      for (const [index, port] of metricsPorts.entries()) {
        if (cluster.masters[index]?.isRunning !== true) continue;
        const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
        const found = /^plenum_nodes\{state="SERVING".*\} (\d+)$/m.exec(text)?.[1] ?? '0';
        if (Number(found) !== count) return `master ${index + 1} knows of ${found} nodes that serve`;
      }
      return '';
    });
  }

  /** A room on this very node: all others take none meanwhile. */
  async function roomsOn<Result>(node: ClusterProcess, work: () => Promise<Result>): Promise<Result> {
    const others = cluster.media.filter((other) => other !== node && other.isRunning);
    for (const other of others) await admin().step(other.nodeId, 'cordon', {});
    await serving(1);
    const result = await work();
    for (const other of others) await admin().step(other.nodeId, 'undrain', {});
    await serving(1 + others.length);
    return result;
  }

  const media = (index: number): ClusterProcess => {
    const node = cluster.media[index];
    if (node === undefined) throw new Error('unreachable');
    return node;
  };

  async function startCall(room: string): Promise<LightClient[]> {
    await service().createRoom({ name: room, departureTimeout: 1, emptyTimeout: 60 });
    const publisher = await join(room, 'publisher', { audio: true });
    const listener = await join(room, 'listener');
    await listener.waitForTrack(publisher.publishedTrackSids[0] ?? '', { contiguousMs: 100 });
    return [publisher, listener];
  }

  async function assertGoesOn([publisher, listener]: LightClient[]): Promise<void> {
    assert.equal(publisher?.leaveReceived, undefined);
    assert.equal(listener?.leaveReceived, undefined);
    await listener?.waitForTrack(publisher?.publishedTrackSids[0] ?? '', { contiguousMs: 200 });
  }

  async function endCall(room: string, clients: LightClient[]): Promise<void> {
    for (const client of clients) await client.leave();
    await service().deleteRoom(room);
  }

  it('by migrate, on the command line, is empty while its rooms go on elsewhere', async (t) => {
    const node = media(0);
    const rooms = Array.from({ length: 7 }, (_, index) => `moves-${index}`);
    const calls = await roomsOn(node, async () => {
      await service().createRoom({ name: 'deserted', emptyTimeout: 60 });
      return Promise.all(rooms.map(startCall));
    });
    for (const room of rooms) assert.equal(cluster.hostOf(room), node);

    const startedAtMs = performance.now();
    const drained = plenum('node', 'drain', node.nodeId, '--policy', 'migrate', '--reason', 'kernel update', '--wait');
    const back = Promise.all(
      calls.flat().map(async (client) => {
        const leave = await client.waitForLeave(drainedWithinMs);
        assert.equal(leave.action, LeaveRequest_Action.RECONNECT);
        await client.abandon();
        const room = client.joinResponse.room?.name ?? '';
        return join(room, client.identity, client.identity === 'publisher' ? { audio: true } : {});
      }),
    );
    await serving(2);
    const late = await startCall('late');
    assert.notEqual(cluster.hostOf('late'), node);
    const clients = await back;
    const { code, out, err } = await drained;
    const drainedMs = performance.now() - startedAtMs;
    t.diagnostic(`${rooms.length} rooms are moved by reconnects, drained after ${Math.round(drainedMs)} ms`);
    tellBench(`a node with ${rooms.length} calls of clients that reconnect is empty after`, delayFigures([drainedMs]));
    assert.equal(code, 0, err);
    assert.match(out, /DRAINING/);
    assert.match(out, new RegExp(`${node.nodeId} DRAINED`));
    assert.match(out, /reason +kernel update/);

    for (const room of rooms) {
      assert.notEqual(cluster.hostOf(room), node);
      const [publisher, listener] = ['publisher', 'listener'].map((identity) =>
        clients.find((client) => client.joinResponse.room?.name === room && client.identity === identity),
      );
      assert.ok(publisher !== undefined && listener !== undefined);
      await assertGoesOn([publisher, listener]);
      await endCall(room, [publisher, listener]);
    }
    await endCall('late', late);
    await until(() => (cluster.hostOf('deserted') === node ? 'nobody else has opened the room' : ''));
    await service().deleteRoom('deserted');

    const again = await plenum('node', 'undrain', node.nodeId);
    assert.equal(again.code, 1);
    assert.match(again.err, /is DRAINED.*[Ss]tart/);
    const list = await plenum('node', 'list');
    assert.equal(list.code, 0);
    assert.match(list.out, new RegExp(`${node.nodeId} +media +DRAINED.*ana: kernel update`));
    // Nothing holds it any more.
    assert.equal(await node.stop(), 0);
  });

  it('comes back by undrain, and stays as it is when no other node could take its rooms', async () => {
    const [node, other] = [media(1), media(2)];
    const call = await roomsOn(node, () => startCall('stays'));
    await admin().step(other.nodeId, 'cordon', { reason: 'the last one is to stay' });
    await admin().step(node.nodeId, 'drain', { policy: 'migrate' });
    let report: NodeReport | undefined;
    await until(async () => {
      report = await admin().get(node.nodeId);
      return /no media node can take room stays/.test(report.drain?.waitingFor.join() ?? '')
        ? ''
        : JSON.stringify(report);
    });
    assert.equal(report?.drain?.rooms, 1);
    assert.equal(report?.drain?.participants, 2);
    await assertGoesOn(call);
    await admin().step(node.nodeId, 'undrain', {});
    await serving(1);
    const next = await startCall('next');
    assert.equal(cluster.hostOf('next'), node);
    await admin().step(other.nodeId, 'undrain', {});
    await serving(2);
    await assertGoesOn(call);
    await endCall('stays', call);
    await endCall('next', next);
  });

  it('waits through an outage of Redis with nothing torn down, and goes on after it', async () => {
    const node = media(1);
    const call = await roomsOn(node, () => startCall('outlives'));
    await admin().step(node.nodeId, 'drain', { policy: 'wait' });
    await until(async () => ((await admin().get(node.nodeId)).drain?.rooms === 1 ? '' : 'nobody has looked'));
    cluster.redis.pause();
    await delay(4_000);
    await assertGoesOn(call);
    cluster.redis.resume();
    await until(async () => {
      const { state, drain } = await admin().get(node.nodeId);
      return state === 'DRAINING' && drain?.waitingFor[0] === 'room outlives goes on'
        ? ''
        : `${state} ${JSON.stringify(drain)}`;
    });
    await assertGoesOn(call);
    await endCall('outlives', call);
    await waitForState(node, 'DRAINED');
    await node.stop();
  });

  it('after SIGTERM waits for its last room, outlives the leader of its drain, and ends with code 0', async () => {
    await cluster.addMedia();
    await serving(2);
    const node = media(2);
    const call = await roomsOn(node, () => startCall('last'));
    const ended = node.stop();
    let leader = '';
    await until(async () => {
      const { drain } = await admin().get(node.nodeId);
      leader = drain?.leader ?? '';
      return leader === '' ? 'nobody leads the drain' : '';
    });
    const master = cluster.masters.find(({ nodeId }) => nodeId === leader);
    assert.ok(master !== undefined);
    await master.kill();
    await until(
      async () => {
        const { state, drain } = await admin().get(node.nodeId);
        const isTaken = drain !== null && drain.leader !== '' && drain.leader !== leader;
        return state === 'DRAINING' && isTaken ? '' : `${state} ${JSON.stringify(drain)}`;
      },
      { timeoutMs: 15_000 },
    );
    const refused = await plenum('node', 'undrain', node.nodeId);
    assert.equal(refused.code, 1);
    assert.match(refused.err, /told to stop/);
    assert.ok(node.isRunning);
    await service().deleteRoom('last');
    assert.equal(await ended, 0);
    for (const client of call) await client.abandon();
  });
});

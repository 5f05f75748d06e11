import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { startTestPool } from '../../test/kit/media-pool.ts';
import { until } from '../../test/kit/until.ts';
import { routerCodecs } from '../sdp/capabilities.ts';
import { engineCounts } from './engine-counts.ts';
import { opusParameters } from './rtp-fixtures.ts';
import type { WorkerPool } from './worker-pool.ts';

const mediaCodecs = routerCodecs(['audio/opus', 'video/VP8']);

async function withPool(
  settings: Parameters<typeof startTestPool>[0],
  use: (pool: WorkerPool) => Promise<void>,
): Promise<void> {
  const pool = await startTestPool(settings);
  try {
    await use(pool);
  } finally {
    await pool.close();
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('worker pool', () => {
  it('gives each worker one port, and a second instance on the machine the next free ones', async () => {
    await withPool({ workers: 2 }, async (first) => {
      await withPool({ workers: 2 }, async (second) => {
        const ports = [...first.workers, ...second.workers].map((worker) => worker.port);
        assert.equal(new Set(ports).size, 4);
        assert.ok(ports.every((port) => port >= 51_000 && port <= 51_400));
        const router = await second.leastLoaded().createRouter({ mediaCodecs });
        const { local } = await router.createPeerTransport();
        assert.deepEqual(new Set(local.candidates.map((entry) => entry.port)), new Set([second.workers[0]?.port]));
      });
    });
  });

  it('says so when the port range is used up', async () => {
    await withPool({ portRangeStart: 51_390, portRangeEnd: 51_390 }, async () => {
      await assert.rejects(startTestPool({ portRangeStart: 51_390, portRangeEnd: 51_390 }), {
        reason: 'no-free-media-port',
      });
    });
  });

  it('closes everything on a killed worker, says which it was and replaces it on the same index and port', async () => {
    await withPool({ workers: 2 }, async (pool) => {
      const [victim, other] = pool.workers;
      assert.ok(victim !== undefined && other !== undefined);
      const router = await victim.createRouter({ mediaCodecs });
      const [publisher, subscriber] = await Promise.all([router.createPeerTransport(), router.createPeerTransport()]);
      const producer = await publisher.produce({
        id: 'TR_1',
        kind: 'audio',
        rtpParameters: opusParameters({ ssrc: 1111 }),
      });
      const consumer = await subscriber.consume({ producerId: 'TR_1', mid: '1', bwe: false });
      const data = await subscriber.openDataSubscriber();
      const untouched = await other.createRouter({ mediaCodecs });
      const reasons: string[] = [];
      for (const object of [router, publisher, subscriber, producer, consumer, data]) {
        (object as { once(name: 'close', listener: (reason: string) => void): void }).once('close', (reason) =>
          reasons.push(reason),
        );
      }

      const died = once(pool, 'died');
      const restarted = once(pool, 'restarted');
      process.kill(victim.pid, 'SIGKILL');
      assert.deepEqual(await died, [0]);
      assert.deepEqual(
        reasons,
        Array.from({ length: 6 }, () => 'worker-died'),
      );
      assert.equal(pool.worker(0), undefined);
      assert.deepEqual(pool.workers, [other]);
      await assert.rejects(publisher.restartIce(), { reason: 'media-closed' });
      await assert.rejects(consumer.resume(), { reason: 'media-closed' });
      await assert.rejects(victim.createRouter({ mediaCodecs }), { reason: 'media-closed' });
      data.send('_reliable', new Uint8Array(10));

      assert.deepEqual(await restarted, [0]);
      assert.equal(pool.worker(0)?.port, victim.port);
      assert.notEqual(pool.worker(0)?.pid, victim.pid);
      await pool.worker(0)?.createRouter({ mediaCodecs });
      assert.equal(untouched.closed, false);
      await untouched.createPeerTransport();
    });
  });

  it('ends its processes and starts none any more when it closes during a restart', async () => {
    const pool = await startTestPool();
    const pid = pool.workers[0]?.pid ?? 0;
    const died = once(pool, 'died');
    process.kill(pid, 'SIGKILL');
    await died;
    await pool.close();
    assert.deepEqual(pool.workers, []);
    assert.throws(() => pool.leastLoaded(), { reason: 'no-media-worker' });
  });

  it('ends its processes', async () => {
    const pool = await startTestPool({ workers: 2 });
    const pids = pool.workers.map((worker) => worker.pid);
    assert.ok(pids.every(isRunning));
    await pool.close();
    await until(() => pids.filter(isRunning).join(' '));
  });

  it('places on the worker that carries least', async () => {
    await withPool({ workers: 2 }, async (pool) => {
      const first = pool.leastLoaded();
      const router = await first.createRouter({ mediaCodecs });
      const transport = await router.createPeerTransport();
      assert.notEqual(pool.leastLoaded(), first);
      transport.close();
      assert.equal(pool.leastLoaded(), first);
    });
  });

  it('reports what each worker uses', async () => {
    await withPool({ workers: 1 }, async (pool) => {
      const router = await pool.leastLoaded().createRouter({ mediaCodecs });
      const transport = await router.createPeerTransport();
      await transport.produce({ id: 'TR_1', kind: 'audio', rtpParameters: opusParameters({ ssrc: 1111 }) });
      const [usage] = await pool.usage();
      assert.ok(usage !== undefined);
      assert.ok(usage.rssBytes > 4_000_000 && usage.rssBytes < 200_000_000, `${usage.rssBytes} bytes resident`);
      assert.ok(usage.cpuMs > 0);
      assert.deepEqual(
        {
          routers: usage.routers,
          transports: usage.transports,
          producers: usage.producers,
          consumers: usage.consumers,
        },
        { routers: 1, transports: 1, producers: 1, consumers: 0 },
      );
    });
  });

  it('leaves nothing behind after rooms have come and gone', async () => {
    await withPool({ workers: 1 }, async (pool) => {
      const before = await engineCounts(pool);
      for (let life = 0; life < 20; life += 1) {
        const router = await pool.leastLoaded().createRouter({ mediaCodecs });
        const [publisher, subscriber] = await Promise.all([router.createPeerTransport(), router.createPeerTransport()]);
        await publisher.produce({ id: 'TR_1', kind: 'audio', rtpParameters: opusParameters({ ssrc: 1111 }) });
        await subscriber.consume({ producerId: 'TR_1', mid: '1', bwe: false });
        await Promise.all([publisher.openDataPublisher(), subscriber.openDataSubscriber()]);
        const during = await engineCounts(pool);
        assert.deepEqual([during.routers, during.producers, during.consumers], [1, 1, 1]);
        // Half of the rooms are emptied first, half are closed whole.
        if (life % 2 === 0) {
          publisher.close();
          subscriber.close();
        }
        router.close();
      }
      assert.deepEqual(await engineCounts(pool), before);
    });
  });
});

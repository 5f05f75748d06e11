import assert from 'node:assert/strict';
import { configSchema } from '../../src/config/options.ts';
import { LegNode } from '../../src/leg/leg-node.ts';
import { engineCounts } from '../../src/media/engine-counts.ts';
import type { WorkerPool } from '../../src/media/worker-pool.ts';
import { nodeId, type NodeId } from '../../src/protocol/ids.ts';
import { FakeHost } from './fake-host.ts';
import { LogRecord } from './log-record.ts';
import { startTestPool } from './media-pool.ts';
import { PeerLinks } from './peer-links.ts';
import { until } from './until.ts';

/** A node with legs, with one worker and a host that the test plays. */
export type Place = { id: NodeId; host: FakeHost; node: LegNode; pool: WorkerPool };

export const peerTimings = { requestTimeoutMs: 5000, graceMs: 500, reconnectMs: 20 };

/** Two nodes with legs, anew for each test; their workers serve all tests of a file. */
export class LegPlaces {
  readonly #pools: readonly [WorkerPool, WorkerPool];
  #places: Place[] = [];
  #log = new LogRecord();

  private constructor(pools: readonly [WorkerPool, WorkerPool]) {
    this.#pools = pools;
  }

  /** @param firstPort of a hundred, of which the first twenty are for the two workers */
  static async start(firstPort: number): Promise<LegPlaces> {
    const portRangeEnd = firstPort + 100;
    const one = await startTestPool({ portRangeStart: firstPort, portRangeEnd });
    return new LegPlaces([one, await startTestPool({ portRangeStart: firstPort + 10, portRangeEnd })]);
  }

  open(): { one: Place; two: Place; links: PeerLinks; log: LogRecord } {
    this.#log = new LogRecord();
    const links = new PeerLinks();
    const [first, second] = this.#pools;
    const [one, two] = [this.#place('one', first, links), this.#place('two', second, links)];
    this.#places = [one, two];
    return { one, two, links, log: this.#log };
  }

  /** Ends the nodes of a test, which must leave nothing in the engine and no error in the log. */
  async end(): Promise<void> {
    for (const { node, pool } of this.#places) {
      await node.close();
      await until(async () => {
        const { routers, transports, producers, consumers } = await engineCounts(pool);
        const left = routers + transports + producers + consumers;
        return left === 0 ? '' : `${left} engine objects left`;
      });
    }
    assert.deepEqual(this.#log.unexpectedErrors(), []);
  }

  async close(): Promise<void> {
    await Promise.all(this.#pools.map((pool) => pool.close()));
  }

  #place(name: string, pool: WorkerPool, links: PeerLinks): Place {
    const id = nodeId(name);
    const config = configSchema.parse({ rtc: { pipe_linger: 0.3 } });
    const node = new LegNode({
      nodeId: id,
      pool,
      config,
      log: this.#log.logger(),
      peers: links.connector(id),
      peerTimings,
    });
    links.add(id, node);
    return { id, host: new FakeHost(node), node, pool };
  }
}

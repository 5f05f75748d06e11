/** What a suite of client tests runs against: one node, or a cluster behind its masters. */
import { TestCluster } from './cluster.ts';
import { freePort, freePortRange } from './free-ports.ts';
import { Scrape } from './metrics.ts';
import { mergeConfig, startNode, startNodeProcess, type RawConfig, type TestNode } from './node.ts';

/** The media node of a room. */
export type MediaHost = { pid: number; mediaPort: number };

export type TestTarget = {
  /** Base URL that clients may use; of a cluster that of another master each time. */
  readonly url: string;
  /** Of all nodes together. */
  metrics(): Promise<Scrape>;
  /** Of a room that exists. */
  hostOf(room: string): MediaHost;
  /** Fails on errors in a log that the test did not expect. */
  close(): Promise<void>;
};

export type StartTarget = (config?: RawConfig) => Promise<TestTarget>;

/** One node in this process. */
export async function startNodeTarget(config: RawConfig = {}): Promise<TestTarget> {
  const metricsPort = await freePort();
  const node = await startNode({ config: mergeConfig({ prometheus_port: metricsPort }, config) });
  return targetOf(node, metricsPort, { pid: process.pid, mediaPort: node.config.rtc.port_range_start });
}

/** One node in a process of its own. */
export async function startProcessTarget(config: RawConfig = {}): Promise<TestTarget> {
  const [metricsPort, mediaPort] = [await freePort(), await freePortRange(2)];
  const rtc = { port_range_start: mediaPort, port_range_end: mediaPort + 1 };
  const node = await startNodeProcess({ config: mergeConfig({ prometheus_port: metricsPort, rtc }, config) });
  return targetOf(node, metricsPort, { pid: node.pid, mediaPort });
}

/** Two masters and three media nodes. */
export async function startClusterTarget(config: RawConfig = {}): Promise<TestTarget> {
  const cluster = await TestCluster.start({ masters: 2, media: 3, config });
  let uses = 0;
  return {
    get url() {
      uses += 1;
      return cluster.url(uses % cluster.masters.length);
    },
    metrics: () => cluster.metrics(),
    hostOf: (room) => {
      const { pid, mediaPortStart } = cluster.hostOf(room);
      return { pid, mediaPort: mediaPortStart };
    },
    close: () => cluster.close(),
  };
}

/** The same, with each participant of a room on another media node as long as there is one. */
export function startSpreadTarget(config: RawConfig = {}): Promise<TestTarget> {
  return startClusterTarget(mergeConfig({ room: { max_legs_per_node: 1 } }, config));
}

/** Real clients then use a single peer connection; the light client goes on with two. */
export function onOneConnection(start: StartTarget): StartTarget {
  return (config = {}) => start(mergeConfig({ rtc: { single_peer_connection: true } }, config));
}

function targetOf(node: TestNode, metricsPort: number, host: MediaHost): TestTarget {
  return {
    url: node.url,
    metrics: () => Scrape.of(metricsPort),
    hostOf: () => host,
    close: () => node.close(),
  };
}

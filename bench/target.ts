/** The server that is measured: one of our own for a scenario, or any LiveKit-compatible one that somebody else started. */
import { RoomServiceClient } from 'livekit-server-sdk';
import { TestCluster } from '../test/kit/cluster.ts';
import { startNodeProcess, type RawConfig } from '../test/kit/node.ts';
import { devKey } from '../test/kit/tokens.ts';
import { pin, sampleTree, type ProcessSample } from './process-tree.ts';

export type ApiKey = { apiKey: string; apiSecret: string };

export type Target = {
  url: string;
  key: ApiKey;
  /** All processes of the server; empty when nobody said which they are. */
  sample(): ProcessSample[];
  rooms: RoomServiceClient;
  close(): Promise<void>;
};

export type ExternalServer = { url: string; key: ApiKey; pids: number[] };

/** Core for the server's processes, with one left for those of the load. */
export const serverCore = 0;

export function externalTarget(server: ExternalServer): Target {
  return {
    url: server.url,
    key: server.key,
    sample: () => sampleTree(server.pids),
    rooms: new RoomServiceClient(server.url, server.key.apiKey, server.key.apiSecret),
    close: async () => {},
  };
}

export type OwnServer = {
  config: RawConfig;
  /** Binary of the media worker; else the usual one. */
  worker?: string | undefined;
  pinned: boolean;
  /** More options for Node. */
  nodeOptions?: string | undefined;
  /** Where Node writes a CPU profile when it ends. */
  profileFolder?: string | undefined;
};

export async function startTarget(options: OwnServer): Promise<Target> {
  const node = await inEnvironment(options, async () => startNodeProcess({ logLevel: 'warn', config: options.config }));
  return started({ url: node.url, pids: [node.pid], pinned: options.pinned, close: async () => node.close() });
}

/** A Redis, one master and media nodes with one worker each. */
export async function startClusterTarget(options: OwnServer & { mediaNodes: number }): Promise<Target> {
  const cluster = await inEnvironment(options, async () =>
    TestCluster.start({ masters: 1, media: options.mediaNodes, config: options.config }),
  );
  return started({
    url: cluster.url(0),
    pids: [...cluster.nodes.map(({ pid }) => pid), cluster.redis.pid],
    pinned: options.pinned,
    close: async () => cluster.close(),
  });
}

function started(server: { url: string; pids: number[]; pinned: boolean; close: () => Promise<void> }): Target {
  const target = externalTarget({ url: server.url, key: devKey, pids: server.pids });
  if (server.pinned) {
    pin(
      target.sample().map(({ pid }) => pid),
      serverCore,
    );
  }
  return { ...target, close: server.close };
}

/** What the server inherits while it is started; mediasoup reads the path of its worker from there. */
async function inEnvironment<T>(options: OwnServer, start: () => Promise<T>): Promise<T> {
  const before = { ...process.env };
  if (options.worker !== undefined) {
    process.env['MEDIASOUP_WORKER_BIN'] = options.worker;
  }
  const profile = options.profileFolder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.profileFolder}`];
  const more = [before['NODE_OPTIONS'] ?? '', options.nodeOptions ?? '', ...profile];
  process.env['NODE_OPTIONS'] = more.filter((text) => text !== '').join(' ');
  try {
    return await start();
  } finally {
    process.env['MEDIASOUP_WORKER_BIN'] = before['MEDIASOUP_WORKER_BIN'] ?? '';
    process.env['NODE_OPTIONS'] = before['NODE_OPTIONS'] ?? '';
  }
}

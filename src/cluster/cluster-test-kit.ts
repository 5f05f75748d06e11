/** Nodes of a cluster in one process, over the memory store and the memory relay. */
import { createLog } from '../observe/log.ts';
import { defaultNodeLimits, type NodeLoad } from '../placement/load.ts';
import { nodeId as toNodeId, type NodeId } from '../protocol/ids.ts';
import { ClusterDirectory } from './cluster-directory.ts';
import { ClusterNodes } from './cluster-nodes.ts';
import type { RoomGrant } from './directory.ts';
import { HostAffirmation } from './host-affirmation.ts';
import { heedEndedNodes } from './node-notices.ts';
import { MemoryStoreServer, type MemoryStore } from './memory-store.ts';
import { MemoryRelayHub, type MemoryRelay } from './relay-memory.ts';
import type { NodeRecord } from './store-records.ts';
import { RoomLeases } from './room-leases.ts';

export const testTimings = { heartbeatMs: 50, leaseMs: 200, keepMs: 60_000 };

const log = createLog({ level: 'silent', json: true });

export type TestMember = { nodeId: NodeId; store: MemoryStore; relay: MemoryRelay; nodes: ClusterNodes };

export class MemoryCluster {
  readonly server = new MemoryStoreServer({ timings: testTimings });
  readonly hub = new MemoryRelayHub({ log, transfer: structuredClone, lostAfterMs: 100 });
  readonly recovered: string[] = [];
  /** Rooms that masters have told nodes to be others'. */
  readonly superseded: string[] = [];
  readonly #beats = new Map<NodeId, NodeJS.Timeout>();
  readonly #affirming = new Map<NodeId, () => void>();
  readonly #closing: (() => void)[] = [];

  /** A node that states itself until it is killed. */
  async join(suffix: string, role: 'master' | 'media' | 'other', load: Partial<NodeLoad> = {}): Promise<TestMember> {
    const nodeId = toNodeId(suffix);
    const store = this.server.connect();
    const relay = this.hub.join({ nodeId, role, software: 'test', features: [] });
    const record = nodeRecord(nodeId, role, load);
    await store.nodes.beat(record);
    const beat = setInterval(() => void store.nodes.beat(record).catch(() => undefined), testTimings.heartbeatMs);
    this.#beats.set(nodeId, beat);
    const nodes = new ClusterNodes({
      registry: store.nodes,
      states: store.nodeStates,
      health: store.health,
      timings: testTimings,
      log,
    });
    this.#closing.push(() => {
      nodes.close();
      clearInterval(beat);
    });
    await nodes.start();
    this.#closing.push(await heedEndedNodes(store.bus, nodes));
    if (role === 'media') {
      this.#affirm({ nodeId, store, relay, nodes });
    }
    return { nodeId, store, relay, nodes };
  }

  /** As long as a media node can be reached, masters hear that it goes on. */
  #affirm({ nodeId, store, relay, nodes }: TestMember): void {
    const affirmation = new HostAffirmation({
      nodes,
      relay,
      intervalMs: testTimings.heartbeatMs,
      affirmed: () => undefined,
      superseded: (roomName, epoch) => this.superseded.push(`${roomName} ${nodeId} ${epoch}`),
    });
    const renew = async (): Promise<void> => {
      const sentAtMs = performance.now();
      await store.rooms.renew(nodeId, []);
      affirmation.renewed(sentAtMs);
    };
    const timer = setInterval(() => void renew().catch(() => undefined), testTimings.heartbeatMs);
    const stop = (): void => {
      clearInterval(timer);
      affirmation.close();
    };
    this.#closing.push(stop);
    this.#affirming.set(nodeId, stop);
    affirmation.start();
  }

  async directory({ nodeId, store, relay, nodes }: TestMember): Promise<ClusterDirectory> {
    const directory = new ClusterDirectory({
      nodeId,
      store,
      nodes,
      relay,
      limits: { ...defaultNodeLimits, rooms: 3 },
      region: '',
      recovered: (roomName, host) => this.recovered.push(`${roomName} ${host}`),
      log,
    });
    await directory.start();
    await nodes.refresh();
    this.#closing.push(() => directory.close());
    return directory;
  }

  leases({ nodeId, store }: TestMember, successor?: NodeId, admitsRooms = () => true): RoomLeases {
    const leases = new RoomLeases({ store, nodeId, chooseSuccessor: () => successor, admitsRooms, log });
    this.#closing.push(() => leases.close());
    return leases;
  }

  /** It is heard again. */
  beatAgain({ nodeId, store }: TestMember): void {
    const record = nodeRecord(nodeId, 'media', {});
    const beat = setInterval(() => void store.nodes.beat(record).catch(() => undefined), testTimings.heartbeatMs);
    this.#closing.push(() => clearInterval(beat));
  }

  /** It says nothing any more, to nobody. */
  kill(nodeId: NodeId): void {
    clearInterval(this.#beats.get(nodeId));
    this.#affirming.get(nodeId)?.();
    this.hub.kill(nodeId);
  }

  /** It cannot renew, but it can be reached. */
  stopBeating(nodeId: NodeId): void {
    clearInterval(this.#beats.get(nodeId));
  }

  close(): void {
    for (const close of this.#closing.toReversed()) {
      close();
    }
  }
}

function nodeRecord(nodeId: NodeId, role: string, load: Partial<NodeLoad>): NodeRecord {
  return {
    nodeId,
    machineId: 'test',
    roles: [role],
    version: '0.0.0',
    protocol: { min: 1, max: 1 },
    region: '',
    zone: '',
    relay: { host: '127.0.0.1', port: 1 },
    publicAddress: '127.0.0.1',
    state: 'SERVING',
    load: {
      cpu: 0,
      cores: 2,
      bitrateBps: 0,
      packetsPerSecond: 0,
      tracks: 0,
      rooms: 0,
      participants: 0,
      eventLoopLagMs: 0,
      ...load,
      workers: [...(load.workers ?? [])],
    },
    uptimeMs: 1,
  };
}

/** What a master and the host that it chooses do for a new room. */
export async function openRoom(
  { nodeId, store }: TestMember,
  leases: RoomLeases,
  roomName: string,
): Promise<RoomGrant> {
  await store.rooms.claim(roomName, nodeId);
  return leases.acquire(roomName);
}

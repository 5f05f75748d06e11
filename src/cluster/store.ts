/**
 * What the nodes of a cluster share, as interfaces: who is alive, which node hosts which room at which epoch, leases and
 * a bus. One implementation keeps it in Redis, one in memory; one contract suite holds for both.
 *
 * Time is the store's: a *cluster clock* in milliseconds that only the store advances. Nodes hand in and get back
 * durations, never points of time, so that no two machines' clocks are ever compared.
 *
 * Every call settles within the store's deadline. When the store does not answer, calls reject with code `unavailable`
 * and one of the reasons of `store-errors.ts`. A call that fails after it was sent may have taken effect; all calls but
 * `NodeStates.change` can simply be repeated.
 */
import type { NodeId } from '../protocol/ids.ts';
import type { NodeRecord, NodeStateChange, NodeStateRecord } from './store-records.ts';

/**
 * A fencing token. It grows with every grant of anything, across failovers and restarts of the store too; it is a safe
 * integer, so it can be compared and stored anywhere. Who sees a higher one for the same thing ignores lower ones.
 */
export type Epoch = number;

export type StoreTimings = {
  /** How often nodes state themselves and renew their leases. */
  heartbeatMs: number;
  /** Life of a lease or of a node without a renewal: heartbeat × misses. After an outage all leases live that much longer. */
  leaseMs: number;
  /** How long records of dead nodes and of rooms whose lease ended are kept for those who recover them. */
  keepMs: number;
};

export const defaultStoreTimings: StoreTimings = { heartbeatMs: 500, leaseMs: 2_000, keepMs: 300_000 };

export interface ClusterStore {
  readonly timings: StoreTimings;
  readonly health: StoreHealth;
  readonly nodes: NodeRegistry;
  readonly nodeStates: NodeStates;
  readonly rooms: RoomRecords;
  readonly leases: Leases;
  readonly records: SharedRecords;
  readonly bus: ClusterBus;
  close(): Promise<void>;
}

/** Ends a subscription; safe to call twice. */
export type Unsubscribe = () => void;

export interface StoreHealth {
  /**
   * Monotonic milliseconds (`performance.now()`, or the injected clock) since when the store has accepted writes without
   * a gap; undefined while it does not. A takeover needs this to be at least one lease period ago.
   */
  answeringSince(): number | undefined;
  /** `lost` once when the store stops to answer, `back` once when it answers again and all subscriptions are renewed. */
  onChange(listener: (change: 'lost' | 'back') => void): Unsubscribe;
}

export type NodeEntry = {
  record: NodeRecord;
  /** False once the node has missed its beats; the entry stays for `keepMs`. */
  isLive: boolean;
  /** Milliseconds of the cluster clock since the last beat. */
  beatAgeMs: number;
};

export interface NodeRegistry {
  /**
   * States a node; to be repeated every heartbeat. @returns its lifecycle record when somebody wrote one, so that a node
   * learns within a heartbeat that it is drained or was declared lost, also when the notification did not reach it.
   */
  beat(record: NodeRecord): Promise<{ state: NodeStateRecord | undefined }>;
  /** Takes a node that ends in good order off the list. */
  leave(nodeId: NodeId): Promise<void>;
  /** All nodes that are live or died less than `keepMs` ago. */
  list(): Promise<NodeEntry[]>;
  /**
   * Tells that a node appeared, left, or changed anything but its load and uptime. Best effort: list again on `back`, and
   * deaths are only seen by listing.
   */
  onChange(listener: (nodeId: NodeId) => void): Unsubscribe;
}

export type NodeStateOutcome =
  | { kind: 'changed'; record: NodeStateRecord }
  /** Somebody else changed it first; `record` is what stands, undefined when there is none. */
  | { kind: 'conflict'; record: NodeStateRecord | undefined };

/** Durable lifecycle of nodes: who drains what, why, until when. Which transitions make sense is the caller's to know. */
export interface NodeStates {
  get(nodeId: NodeId): Promise<NodeStateRecord | undefined>;
  list(): Promise<NodeStateRecord[]>;
  /**
   * Compare and set: applies `change` if the record still has `expectedEpoch` (0 = there is none). Fields that this
   * version does not know stay. After `unavailable` read again before repeating it.
   */
  change(nodeId: NodeId, expectedEpoch: Epoch, change: NodeStateChange): Promise<NodeStateOutcome>;
  /** Forgets a node that is gone. @returns false when the record no longer has that epoch. */
  remove(nodeId: NodeId, expectedEpoch: Epoch): Promise<boolean>;
  onChange(listener: (nodeId: NodeId) => void): Unsubscribe;
}

export type RoomOwner = { nodeId: NodeId; epoch: Epoch };

export type RoomClaim =
  /** `nodeId` hosts the room. `created`: this call made it so; a repeated call after a lost answer says false. */
  | ({ kind: 'owned'; created: boolean } & RoomOwner)
  /** The owner's lease has expired. Who has made sure that the owner is really gone goes on with `takeOver`. */
  | ({ kind: 'orphaned' } & RoomOwner);

export type RoomTakeOver =
  | { kind: 'taken'; epoch: Epoch }
  /** The owner's lease lives, or the room has moved on since: this is who has it. */
  | ({ kind: 'refused' } & RoomOwner)
  /** There is no such room (any more): claim it. */
  | { kind: 'missing' };

export type RoomHolding = { roomName: string; epoch: Epoch };

export type RoomRenewal = {
  /** Owned by somebody else at a higher epoch (`owner`), or released: stop hosting them. */
  lost: { roomName: string; owner: RoomOwner | undefined }[];
  /** The store had lost or forgotten these; they are stated again, and need `save` and `publish` again. */
  restated: string[];
};

/** `superseded`: the room has a higher epoch; stop hosting it. `unknown`: the store lost it; `renew` states it again. */
export type RoomWrite = 'written' | 'superseded' | 'unknown';

/** Small pieces of a room that outlive its host, by name (one per participant, say); undefined deletes a piece. */
export type RoomParts = Map<string, Uint8Array | undefined>;

export type SavedRoom = {
  epoch: Epoch;
  parts: Map<string, Uint8Array>;
};

export interface RoomRecords {
  /** Who hosts the room now; `isLive` is false once the lease has expired. */
  find(roomName: string): Promise<(RoomOwner & { isLive: boolean }) | undefined>;
  /**
   * The room's owner, or `nodeId` with a new epoch when there is none. Atomic: of any number of parallel claims one
   * creates, all others get its result. Nobody is told an owner that a replica does not know too. While the store may
   * have lost writes (after a restart or failover), unknown rooms wait up to two heartbeats for nodes to restate them.
   */
  claim(roomName: string, nodeId: NodeId): Promise<RoomClaim>;
  /**
   * Extends the leases of all rooms that a node hosts, and states them again where the store has forgotten them; to be
   * called every heartbeat with all of them.
   */
  renew(nodeId: NodeId, rooms: readonly RoomHolding[]): Promise<RoomRenewal>;
  /** Makes a node the owner of a room whose lease has expired, with a new epoch. */
  takeOver(roomName: string, expectedEpoch: Epoch, newNodeId: NodeId): Promise<RoomTakeOver>;
  /** The owner hands its room to another node, which gets a new epoch. The lease does not need to have expired. */
  handOver(roomName: string, epoch: Epoch, newNodeId: NodeId): Promise<RoomTakeOver>;
  /** The room is finished: its name is free and what was saved is gone. @returns false when somebody else has it. */
  release(roomName: string, epoch: Epoch): Promise<boolean>;
  /** Changes pieces that survive the host. They stay for `keepMs` after the lease ended. */
  save(roomName: string, epoch: Epoch, parts: RoomParts): Promise<RoomWrite>;
  /** What was saved, by any owner; undefined when there is no such room. */
  load(roomName: string): Promise<SavedRoom | undefined>;
  /** States a room's protobuf `Room` for `list`. */
  publish(roomName: string, epoch: Epoch, room: Uint8Array): Promise<RoomWrite>;
  /** What was published, of all rooms when `names` is empty. Rooms between two hosts are in it. */
  list(names: readonly string[]): Promise<Uint8Array[]>;
  /** Rooms that a node owns, also when it is dead. */
  ofNode(nodeId: NodeId): Promise<(RoomHolding & { isLive: boolean })[]>;
}

export type LeaseResult =
  | { kind: 'held'; epoch: Epoch }
  /** Somebody else holds it. */
  | { kind: 'taken'; holder: string; epoch: Epoch };

/** Named leases, e.g. of the one node that leads draining. */
export interface Leases {
  /** Takes the lease when it is free or expired; the holder that asks again keeps its epoch. */
  acquire(name: string, holder: string): Promise<LeaseResult>;
  /** @returns false when the lease is lost for good: somebody else has it. */
  renew(name: string, holder: string, epoch: Epoch): Promise<boolean>;
  release(name: string, holder: string, epoch: Epoch): Promise<void>;
}

export type SharedRecord = { value: Uint8Array; epoch: Epoch };

/** Small durable pieces that one leader writes and every node reads, by name; certificates, say. */
export interface SharedRecords {
  get(name: string): Promise<SharedRecord | undefined>;
  /**
   * Writes a record and tells the listeners of all nodes. @returns false, without writing, when it carries a higher
   * epoch: the writer has been succeeded.
   * @param record at most `maxRecordBytes`; `lifeMs` is how long it is kept, for ever when it is left out
   */
  set(name: string, record: SharedRecord & { lifeMs?: number }): Promise<boolean>;
  /** @returns false when it carries a higher epoch. */
  remove(name: string, epoch: Epoch): Promise<boolean>;
  /** Tells the name of a record that was written or removed, but not that one has expired. Best effort: get it again on `back`. */
  onChange(listener: (name: string) => void): Unsubscribe;
}

export const maxRecordBytes = 256 * 1024;

/** Small messages to whoever listens now: at most once, in order per sender. Nothing that must arrive rides on it. */
export interface ClusterBus {
  /** @param message at most `maxBusMessageBytes`; more is refused with reason `store-too-large`. */
  publish(topic: string, message: Uint8Array): Promise<void>;
  /**
   * Resolves once messages arrive; while the store is away, at once, and they arrive from `back` on. Renewed after
   * reconnects; what was sent in between is lost: read again on `back`.
   */
  subscribe(topic: string, listener: (message: Uint8Array) => void): Promise<Unsubscribe>;
}

export const maxBusMessageBytes = 64 * 1024;

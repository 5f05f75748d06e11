/**
 * The cluster's store inside one process: for a node that is alone, and for tests and simulations with several nodes,
 * which may hurt it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { NodeId } from '../protocol/ids.ts';
import { StoreState, type NodeStateFound, type StoreData } from './memory-store-state.ts';
import { storeAway, storeClosed } from './store-errors.ts';
import { checkParts, checkSize, maxRoomBytes } from './store-limits.ts';
import { decodeNode, decodeNodeState, encodeNode, encodeNodeState, type NodeStateRecord } from './store-records.ts';
import { untilSettled } from './store-settling.ts';
import {
  defaultStoreTimings,
  maxBusMessageBytes,
  type ClusterBus,
  type ClusterStore,
  type Leases,
  type NodeRegistry,
  type NodeStates,
  maxRecordBytes,
  type RoomRecords,
  type SharedRecords,
  type StoreHealth,
  type StoreTimings,
  type Unsubscribe,
} from './store.ts';

export type MemoryStoreOptions = {
  timings?: StoreTimings;
  /** Monotonic milliseconds. */
  now?: () => number;
  /** Waits that many milliseconds of `now`. */
  wait?: (ms: number) => Promise<unknown>;
};

/** What all nodes of the process share. Each takes its own store from `connect`. */
export class MemoryStoreServer {
  readonly timings: StoreTimings;
  readonly now: () => number;
  readonly wait: (ms: number) => Promise<unknown>;
  readonly #state: StoreState;
  readonly #stores = new Set<MemoryStore>();
  #lastMs: number;
  #isAway = false;

  constructor(options: MemoryStoreOptions = {}) {
    this.timings = options.timings ?? defaultStoreTimings;
    this.now = options.now ?? (() => performance.now());
    this.wait = options.wait ?? delay;
    this.#state = new StoreState(this.timings);
    this.#lastMs = this.now();
  }

  connect(): MemoryStore {
    const store = new MemoryStore(this);
    this.#stores.add(store);
    return store;
  }

  /** From now on it answers nobody. */
  stop(): void {
    this.state();
    this.#isAway = true;
    this.#tell();
  }

  /** Answers again, as after a hang or a cut network: nothing is lost. */
  start(): void {
    const nowMs = this.now();
    if (this.#isAway) {
      this.#state.elapseOutage(nowMs - this.#lastMs);
    }
    this.#lastMs = nowMs;
    this.#isAway = false;
    this.#tell();
  }

  /** All that it knows, for `failOver` to fall back to. */
  checkpoint(): StoreData {
    return this.#state.checkpoint();
  }

  /** Another server takes over that knows what was known then; what was written since is lost. */
  failOver(known: StoreData = this.checkpoint()): void {
    this.stop();
    this.#state.failOver(known, true);
    this.start();
  }

  /** The server crashes, and comes back with what it had synced then. */
  restart(known: StoreData = this.checkpoint()): void {
    this.stop();
    this.#state.failOver(known, false);
    this.start();
  }

  get isAway(): boolean {
    return this.#isAway;
  }

  /** The rules, with the clock set. */
  state(): StoreState {
    const nowMs = this.now();
    if (!this.#isAway) {
      this.#state.elapse(nowMs - this.#lastMs);
      this.#lastMs = nowMs;
    }
    return this.#state;
  }

  send(topic: string, message: Uint8Array): void {
    for (const store of this.#stores) {
      store.deliver(topic, message);
    }
  }

  forget(store: MemoryStore): void {
    this.#stores.delete(store);
  }

  #tell(): void {
    for (const store of this.#stores) {
      store.look();
    }
  }
}

const nodeChanged = 'node';
const nodeStateChanged = 'node-state';
const recordChanged = 'record';
const busTopic = (topic: string): string => `bus:${topic}`;

/** One node's view of the shared store. */
export class MemoryStore implements ClusterStore, StoreHealth {
  readonly timings: StoreTimings;
  readonly health: StoreHealth = this;
  readonly nodes: NodeRegistry;
  readonly nodeStates: NodeStates;
  readonly rooms: RoomRecords;
  readonly leases: Leases;
  readonly records: SharedRecords;
  readonly bus: ClusterBus;
  readonly #server: MemoryStoreServer;
  readonly #topics = new Map<string, Set<(message: Uint8Array) => void>>();
  readonly #listeners = new Set<(change: 'lost' | 'back') => void>();
  #answeringSinceMs: number | undefined;
  #isCutOff = false;
  #isClosed = false;

  constructor(server: MemoryStoreServer) {
    this.#server = server;
    this.timings = server.timings;
    this.nodes = this.#nodes();
    this.nodeStates = this.#nodeStates();
    this.rooms = this.#rooms();
    this.leases = this.#leases();
    this.records = this.#records();
    this.bus = this.#bus();
    this.look();
  }

  /** Cuts this node alone off the store, or lets it back. */
  cutOff(isCutOff: boolean): void {
    this.#isCutOff = isCutOff;
    this.look();
  }

  answeringSince(): number | undefined {
    return this.#answeringSinceMs;
  }

  onChange(listener: (change: 'lost' | 'back') => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#topics.clear();
    this.#server.forget(this);
    return Promise.resolve();
  }

  /** Told by the server when it goes or comes. */
  look(): void {
    const isAway = this.#server.isAway || this.#isCutOff;
    if (isAway === (this.#answeringSinceMs === undefined)) {
      return;
    }
    this.#answeringSinceMs = isAway ? undefined : this.#server.now();
    for (const listener of this.#listeners) {
      listener(isAway ? 'lost' : 'back');
    }
  }

  /** Told by the server: a message for all who listen. */
  deliver(topic: string, message: Uint8Array): void {
    if (!this.#topics.has(topic) || this.#answeringSinceMs === undefined) {
      return;
    }
    const copy = Uint8Array.from(message);
    queueMicrotask(() => {
      for (const listener of this.#topics.get(topic) ?? []) {
        listener(copy);
      }
    });
  }

  /** One atomic step, answered in a later turn as over a network. */
  async #run<Result>(step: (state: StoreState) => Result): Promise<Result> {
    await Promise.resolve();
    if (this.#isClosed) {
      throw storeClosed();
    }
    if (this.#answeringSinceMs === undefined) {
      throw storeAway();
    }
    return step(this.#server.state());
  }

  #subscribe(topic: string, listener: (message: Uint8Array) => void): Unsubscribe {
    const own = (message: Uint8Array): void => listener(message);
    const listeners = this.#topics.get(topic) ?? new Set();
    this.#topics.set(topic, listeners.add(own));
    return () => listeners.delete(own);
  }

  #onId(topic: string, listener: (nodeId: NodeId) => void): Unsubscribe {
    return this.#subscribe(topic, (message) => listener(Buffer.from(message).toString() as NodeId));
  }

  #sendId(topic: string, nodeId: NodeId): void {
    this.#server.send(topic, Buffer.from(nodeId));
  }

  #nodes(): NodeRegistry {
    return {
      beat: (record) =>
        this.#run((state) => {
          const beaten = state.beat(record.nodeId, encodeNode(record));
          if (beaten.isNews) {
            this.#sendId(nodeChanged, record.nodeId);
          }
          return { state: toRecord(beaten.state) };
        }),
      leave: (nodeId) =>
        this.#run((state) => {
          if (state.leave(nodeId)) {
            this.#sendId(nodeChanged, nodeId);
          }
        }),
      list: () =>
        this.#run((state) =>
          state.nodes().map(({ encoded, isLive, beatAgeMs }) => ({ record: decodeNode(encoded), isLive, beatAgeMs })),
        ),
      onChange: (listener) => this.#onId(nodeChanged, listener),
    };
  }

  #nodeStates(): NodeStates {
    return {
      get: (nodeId) => this.#run((state) => toRecord(state.nodeState(nodeId))),
      list: () => this.#run((state) => state.nodeStates().flatMap(({ found }) => toRecord(found) ?? [])),
      change: (nodeId, expectedEpoch, change) =>
        this.#run((state) => {
          const current = toRecord(state.nodeState(nodeId));
          if ((current?.epoch ?? 0) !== expectedEpoch) {
            return { kind: 'conflict', record: current };
          }
          state.setNodeState(nodeId, encodeNodeState(current, nodeId, change), change.remainingMs);
          this.#sendId(nodeStateChanged, nodeId);
          const record = toRecord(state.nodeState(nodeId));
          return record === undefined ? { kind: 'conflict', record } : { kind: 'changed', record };
        }),
      remove: (nodeId, expectedEpoch) =>
        this.#run((state) => {
          const current = state.nodeState(nodeId);
          if (current !== undefined && current.epoch !== expectedEpoch) {
            return false;
          }
          state.removeNodeState(nodeId);
          this.#sendId(nodeStateChanged, nodeId);
          return true;
        }),
      onChange: (listener) => this.#onId(nodeStateChanged, listener),
    };
  }

  #rooms(): RoomRecords {
    const wait = this.#server.wait;
    return {
      find: (roomName) => this.#run((state) => state.find(roomName)),
      claim: (roomName, nodeId) => untilSettled(() => this.#run((state) => state.claim(roomName, nodeId)), wait),
      renew: (nodeId, rooms) => this.#run((state) => state.renew(nodeId, rooms)),
      takeOver: (roomName, epoch, newNodeId) =>
        this.#run((state) => state.takeOver(roomName, epoch, { newNodeId, isGiven: false })),
      handOver: (roomName, epoch, newNodeId) =>
        this.#run((state) => state.takeOver(roomName, epoch, { newNodeId, isGiven: true })),
      release: (roomName, epoch) => this.#run((state) => state.release(roomName, epoch)),
      save: async (roomName, epoch, parts) => {
        checkParts(parts);
        return this.#run((state) => state.save(roomName, epoch, parts));
      },
      load: (roomName) => this.#run((state) => state.load(roomName)),
      publish: async (roomName, epoch, room) => {
        checkSize('a room', room, maxRoomBytes);
        return this.#run((state) => state.publish(roomName, epoch, room));
      },
      list: (names) => this.#run((state) => state.list(names)),
      ofNode: (nodeId) => this.#run((state) => state.ofNode(nodeId)),
    };
  }

  #leases(): Leases {
    const wait = this.#server.wait;
    return {
      acquire: (name, holder) => untilSettled(() => this.#run((state) => state.acquire(name, holder)), wait),
      renew: (name, holder, epoch) => this.#run((state) => state.renewLease(name, holder, epoch)),
      release: (name, holder, epoch) => this.#run((state) => state.releaseLease(name, holder, epoch)),
    };
  }

  #records(): SharedRecords {
    const tell = (name: string): void => this.#server.send(recordChanged, Buffer.from(name));
    return {
      get: (name) => this.#run((state) => state.record(name)),
      set: async (name, record) => {
        checkSize(`the record ${name}`, record.value, maxRecordBytes);
        return this.#run((state) => {
          const isWritten = state.setRecord(name, record);
          if (isWritten) tell(name);
          return isWritten;
        });
      },
      remove: (name, epoch) =>
        this.#run((state) => {
          const outcome = state.removeRecord(name, epoch);
          if (outcome === 'removed') tell(name);
          return outcome !== 'superseded';
        }),
      onChange: (listener) => this.#subscribe(recordChanged, (message) => listener(Buffer.from(message).toString())),
    };
  }

  #bus(): ClusterBus {
    return {
      publish: async (topic, message) => {
        checkSize(`a message on ${topic}`, message, maxBusMessageBytes);
        return this.#run(() => this.#server.send(busTopic(topic), message));
      },
      subscribe: (topic, listener) => Promise.resolve(this.#subscribe(busTopic(topic), listener)),
    };
  }
}

function toRecord(found: NodeStateFound | undefined): NodeStateRecord | undefined {
  return found === undefined ? undefined : decodeNodeState(found.record, found);
}

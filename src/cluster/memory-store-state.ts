/** The rules of the store over plain data, one call at a time. `redis-scripts.ts` holds the same rules in Lua. */
import type { NodeId } from '../protocol/ids.ts';
import type { EncodedNode } from './store-records.ts';
import type { Settling } from './store-settling.ts';
import type {
  Epoch,
  LeaseResult,
  RoomClaim,
  RoomHolding,
  RoomOwner,
  RoomParts,
  RoomRenewal,
  RoomTakeOver,
  RoomWrite,
  SavedRoom,
  StoreTimings,
} from './store.ts';

type Holding = { owner: string; epoch: Epoch; expiresMs: number };
type Room = Holding & { parts: Map<string, Uint8Array>; listing: Uint8Array | undefined };
type Node = EncodedNode & { expiresMs: number };
type StoredRecord = { value: Uint8Array; epoch: Epoch; endsMs: number };
type NodeStateEntry = { epoch: Epoch; record: Uint8Array; deadlineMs: number | undefined };

/** All that a failover could lose or bring back: data only, so that a copy is a checkpoint. */
export type StoreData = {
  /** The cluster clock. */
  nowMs: number;
  /** Until then, leases that lived at `fromMs` live. */
  graceMs: number;
  fromMs: number;
  /** Until then, unknown rooms may be rooms that the store has lost. */
  settledMs: number;
  epoch: Epoch;
  nodes: Map<NodeId, Node>;
  nodeStates: Map<NodeId, NodeStateEntry>;
  rooms: Map<string, Room>;
  leases: Map<string, Holding>;
  records: Map<string, StoredRecord>;
};

export type NodeStateFound = { epoch: Epoch; record: Uint8Array; remainingMs: number | null };

const epochsPerFailover = 2 ** 32;
const epochsPerRestart = 65_536;

export class StoreState {
  readonly #timings: StoreTimings;
  #data: StoreData;
  #configEpoch = 0;

  constructor(timings: StoreTimings) {
    this.#timings = timings;
    const clock = { nowMs: 0, graceMs: 0, fromMs: 0, settledMs: 0, epoch: 0 };
    this.#data = {
      ...clock,
      nodes: new Map(),
      nodeStates: new Map(),
      rooms: new Map(),
      leases: new Map(),
      records: new Map(),
    };
  }

  checkpoint(): StoreData {
    return structuredClone(this.#data);
  }

  elapse(ms: number): void {
    this.#data.nowMs += Math.max(0, ms);
  }

  /** Time in which nobody could renew anything: little of it counts, and all leases that lived get one period more. */
  elapseOutage(ms: number): void {
    const data = this.#data;
    const beforeMs = data.nowMs;
    this.elapse(Math.min(ms, this.#blindMs));
    if (beforeMs >= data.graceMs) {
      data.fromMs = beforeMs;
    }
    data.graceMs = data.nowMs + this.#timings.leaseMs;
  }

  /** Another process goes on, with what it knows. */
  failOver(known: StoreData, isOtherServer: boolean): void {
    this.#data = structuredClone(known);
    this.elapseOutage(0);
    this.#data.settledMs = this.#data.nowMs + this.#blindMs;
    this.#data.epoch += epochsPerRestart;
    this.#configEpoch += isOtherServer ? 1 : 0;
  }

  beat(nodeId: NodeId, encoded: EncodedNode): { isNews: boolean; state: NodeStateFound | undefined } {
    const before = this.#data.nodes.get(nodeId);
    const isNews =
      before === undefined || !this.#isLive(before.expiresMs) || Buffer.compare(before.stable, encoded.stable) !== 0;
    this.#data.nodes.set(nodeId, { ...encoded, expiresMs: this.#leaseEndMs });
    return { isNews, state: this.nodeState(nodeId) };
  }

  leave(nodeId: NodeId): boolean {
    return this.#data.nodes.delete(nodeId);
  }

  nodes(): { encoded: EncodedNode; isLive: boolean; beatAgeMs: number }[] {
    return [...this.#data.nodes].flatMap(([nodeId, { expiresMs, ...encoded }]) => {
      if (this.#isGone(expiresMs)) {
        this.#data.nodes.delete(nodeId);
        return [];
      }
      return [{ encoded, isLive: this.#isLive(expiresMs), beatAgeMs: this.#leaseEndMs - expiresMs }];
    });
  }

  nodeState(nodeId: NodeId): NodeStateFound | undefined {
    const found = this.#data.nodeStates.get(nodeId);
    if (found === undefined) {
      return undefined;
    }
    const { epoch, record, deadlineMs } = found;
    return { epoch, record, remainingMs: deadlineMs === undefined ? null : deadlineMs - this.#data.nowMs };
  }

  nodeStates(): { nodeId: NodeId; found: NodeStateFound }[] {
    return [...this.#data.nodeStates.keys()].flatMap((nodeId) => {
      const found = this.nodeState(nodeId);
      return found === undefined ? [] : [{ nodeId, found }];
    });
  }

  /** @param remainingMs null: no deadline; undefined: as before */
  setNodeState(nodeId: NodeId, record: Uint8Array, remainingMs: number | null | undefined): void {
    const kept = this.#data.nodeStates.get(nodeId)?.deadlineMs;
    const given = remainingMs === null || remainingMs === undefined ? undefined : this.#data.nowMs + remainingMs;
    const deadlineMs = remainingMs === undefined ? kept : given;
    this.#data.nodeStates.set(nodeId, { epoch: this.#nextEpoch(), record, deadlineMs });
  }

  removeNodeState(nodeId: NodeId): void {
    this.#data.nodeStates.delete(nodeId);
  }

  find(roomName: string): (RoomOwner & { isLive: boolean }) | undefined {
    const room = this.#room(roomName);
    return room === undefined || room.owner === '' ? undefined : { ...ownerOf(room), isLive: this.#isHeld(room) };
  }

  claim(roomName: string, nodeId: NodeId): RoomClaim | Settling {
    const room = this.#room(roomName);
    if (room !== undefined && room.owner !== '') {
      return this.#isHeld(room)
        ? { kind: 'owned', created: false, ...ownerOf(room) }
        : { kind: 'orphaned', ...ownerOf(room) };
    }
    if (room === undefined && this.#data.nowMs < this.#data.settledMs) {
      return this.#settling();
    }
    this.#data.rooms.delete(roomName);
    const epoch = this.#nextEpoch();
    this.#hold(roomName, nodeId, epoch);
    return { kind: 'owned', created: true, nodeId, epoch };
  }

  renew(nodeId: NodeId, rooms: readonly RoomHolding[]): RoomRenewal {
    const result: RoomRenewal = { lost: [], restated: [] };
    for (const { roomName, epoch } of rooms) {
      const room = this.#room(roomName);
      if (room !== undefined && (room.epoch > epoch || (room.epoch === epoch && room.owner !== nodeId))) {
        result.lost.push({ roomName, owner: room.owner === '' ? undefined : ownerOf(room) });
        continue;
      }
      if (room === undefined) {
        this.#data.rooms.delete(roomName);
      }
      if (room === undefined || room.epoch < epoch) {
        result.restated.push(roomName);
      }
      this.#seenEpoch(epoch);
      this.#hold(roomName, nodeId, epoch);
    }
    return result;
  }

  /** @param isGiven by its owner, whose lease may live */
  takeOver(
    roomName: string,
    expectedEpoch: Epoch,
    { newNodeId, isGiven }: { newNodeId: NodeId; isGiven: boolean },
  ): RoomTakeOver {
    const room = this.#room(roomName);
    if (room === undefined || room.owner === '') {
      return { kind: 'missing' };
    }
    if (room.epoch !== expectedEpoch || (this.#isHeld(room) && !isGiven)) {
      return { kind: 'refused', ...ownerOf(room) };
    }
    const epoch = this.#nextEpoch();
    this.#hold(roomName, newNodeId, epoch);
    return { kind: 'taken', epoch };
  }

  release(roomName: string, epoch: Epoch): boolean {
    const room = this.#room(roomName);
    if (room !== undefined && room.epoch > epoch) {
      return false;
    }
    this.#data.rooms.set(roomName, { ...this.#buried(epoch), parts: new Map(), listing: undefined });
    return true;
  }

  save(roomName: string, epoch: Epoch, parts: RoomParts): RoomWrite {
    return this.#write(roomName, epoch, (room) => {
      for (const [name, value] of parts) {
        if (value === undefined) {
          room.parts.delete(name);
        } else {
          room.parts.set(name, Uint8Array.from(value));
        }
      }
    });
  }

  load(roomName: string): SavedRoom | undefined {
    const room = this.#room(roomName);
    return room === undefined || room.owner === '' ? undefined : { epoch: room.epoch, parts: new Map(room.parts) };
  }

  publish(roomName: string, epoch: Epoch, listing: Uint8Array): RoomWrite {
    return this.#write(roomName, epoch, (room) => {
      room.listing = Uint8Array.from(listing);
    });
  }

  list(names: readonly string[]): Uint8Array[] {
    const wanted = names.length === 0 ? [...this.#data.rooms.keys()] : [...new Set(names)];
    return wanted.flatMap((name) => this.#room(name)?.listing ?? []);
  }

  ofNode(nodeId: NodeId): (RoomHolding & { isLive: boolean })[] {
    return [...this.#data.rooms.keys()].flatMap((roomName) => {
      const room = this.#room(roomName);
      return room?.owner === nodeId ? [{ roomName, epoch: room.epoch, isLive: this.#isHeld(room) }] : [];
    });
  }

  acquire(name: string, holder: string): LeaseResult | Settling {
    const lease = this.#lease(name);
    if (lease !== undefined && this.#isHeld(lease)) {
      if (lease.owner !== holder) {
        return { kind: 'taken', holder: lease.owner, epoch: lease.epoch };
      }
      lease.expiresMs = this.#leaseEndMs;
      return { kind: 'held', epoch: lease.epoch };
    }
    if (lease === undefined && this.#data.nowMs < this.#data.settledMs) {
      return this.#settling();
    }
    const epoch = this.#nextEpoch();
    this.#data.leases.set(name, { owner: holder, epoch, expiresMs: this.#leaseEndMs });
    return { kind: 'held', epoch };
  }

  renewLease(name: string, holder: string, epoch: Epoch): boolean {
    const lease = this.#lease(name);
    if (lease !== undefined && (lease.epoch > epoch || (lease.epoch === epoch && lease.owner !== holder))) {
      return false;
    }
    this.#seenEpoch(epoch);
    this.#data.leases.set(name, { owner: holder, epoch, expiresMs: this.#leaseEndMs });
    return true;
  }

  releaseLease(name: string, holder: string, epoch: Epoch): void {
    const lease = this.#lease(name);
    if (lease === undefined || (lease.owner === holder && lease.epoch <= epoch)) {
      this.#data.leases.set(name, this.#buried(epoch));
    }
  }

  record(name: string): { value: Uint8Array; epoch: Epoch } | undefined {
    const found = this.#data.records.get(name);
    return found === undefined || found.endsMs <= this.#data.nowMs
      ? undefined
      : { value: Uint8Array.from(found.value), epoch: found.epoch };
  }

  setRecord(name: string, record: { value: Uint8Array; epoch: Epoch; lifeMs?: number }): boolean {
    this.#seenEpoch(record.epoch);
    if ((this.record(name)?.epoch ?? 0) > record.epoch) {
      return false;
    }
    const endsMs = record.lifeMs === undefined ? Number.POSITIVE_INFINITY : this.#data.nowMs + record.lifeMs;
    this.#data.records.set(name, { value: Uint8Array.from(record.value), epoch: record.epoch, endsMs });
    return true;
  }

  removeRecord(name: string, epoch: Epoch): 'removed' | 'missing' | 'superseded' {
    const found = this.record(name);
    if ((found?.epoch ?? 0) > epoch) {
      return 'superseded';
    }
    this.#data.records.delete(name);
    return found === undefined ? 'missing' : 'removed';
  }

  get #blindMs(): number {
    return 2 * this.#timings.heartbeatMs;
  }

  get #leaseEndMs(): number {
    return this.#data.nowMs + this.#timings.leaseMs;
  }

  #settling(): Settling {
    return { kind: 'settling', waitMs: this.#data.settledMs - this.#data.nowMs };
  }

  #isLive(expiresMs: number): boolean {
    const { nowMs, graceMs, fromMs } = this.#data;
    return expiresMs > nowMs || (nowMs < graceMs && expiresMs > fromMs);
  }

  #isGone(expiresMs: number): boolean {
    return expiresMs + this.#timings.keepMs <= this.#data.nowMs && !this.#isLive(expiresMs);
  }

  #isHeld(holding: Holding): boolean {
    return holding.owner !== '' && this.#isLive(holding.expiresMs);
  }

  #nextEpoch(): Epoch {
    this.#data.epoch = Math.max(this.#data.epoch, this.#configEpoch * epochsPerFailover) + 1;
    return this.#data.epoch;
  }

  #seenEpoch(epoch: Epoch): void {
    this.#data.epoch = Math.max(this.#data.epoch, epoch);
  }

  #room(roomName: string): Room | undefined {
    return this.#unlessGone(this.#data.rooms, roomName);
  }

  #lease(name: string): Holding | undefined {
    return this.#unlessGone(this.#data.leases, name);
  }

  #unlessGone<Kind extends Holding>(holdings: Map<string, Kind>, name: string): Kind | undefined {
    const found = holdings.get(name);
    if (found !== undefined && this.#isGone(found.expiresMs)) {
      holdings.delete(name);
      return undefined;
    }
    return found;
  }

  #hold(roomName: string, owner: NodeId, epoch: Epoch): void {
    const { parts, listing } = this.#data.rooms.get(roomName) ?? {
      parts: new Map<string, Uint8Array>(),
      listing: undefined,
    };
    this.#data.rooms.set(roomName, { owner, epoch, expiresMs: this.#leaseEndMs, parts, listing });
  }

  /** Marks what was released, so that nobody who slept through its end can state it again. */
  #buried(epoch: Epoch): Holding {
    return { owner: '', epoch, expiresMs: this.#data.nowMs };
  }

  #write(roomName: string, epoch: Epoch, change: (room: Room) => void): RoomWrite {
    const room = this.#room(roomName);
    if (room === undefined || room.epoch < epoch) {
      return 'unknown';
    }
    if (room.epoch > epoch || room.owner === '') {
      return 'superseded';
    }
    change(room);
    return 'written';
  }
}

function ownerOf(holding: Holding): RoomOwner {
  return { nodeId: holding.owner as NodeId, epoch: holding.epoch };
}

/**
 * The rooms that this node hosts, as the store knows them: epochs, leases, what survives the node, and whether the node
 * may act for them (`placement/takeover.ts` says why these rules keep two hosts apart).
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../observe/log.ts';
import { hostVoice, judgeGrant, type TakeoverTimings } from '../placement/takeover.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { RoomPart } from '../room/events.ts';
import type { RoomGrant, RoomOwnership } from './directory.ts';
import { encodeRoomNotice, roomNoticeTopic } from './room-notices.ts';
import { RoomWrites } from './room-writes.ts';
import type { ClusterStore, Epoch } from './store.ts';

/** What masters say of this node. */
export interface Affirmation {
  /** When the last ping that a master affirmed was sent, on the monotonic clock. */
  affirmedAtMs(): number;
  /** A renewal of all leases that was sent then has succeeded. */
  renewed(sentAtMs: number): void;
}

export type RoomLeasesOptions = {
  store: ClusterStore;
  nodeId: NodeId;
  /** Which node is to have a room that this one gives away; undefined when there is none. */
  chooseSuccessor: (roomName: string) => NodeId | undefined;
  affirmation?: Affirmation;
  /** Whether this node may open rooms now; one that drains passes on what was meant for it. */
  admitsRooms: () => boolean;
  log: Logger;
};

/** For which somebody waits who wants to read in the store what was stated: long enough for one that is well. */
const stateTimeoutMs = 500;

type Holding = {
  epoch: Epoch;
  writes: RoomWrites;
  /** When the last renewal that succeeded was sent: in the store the lease ends later than it does from here on. */
  renewedAtMs: number;
  /** It is being given away; the answer may be lost although the room has another host. */
  frozenAtMs: number | undefined;
};

const maxSeen = 10_000;
const savedTimeoutMs = 1_000;

export class RoomLeases implements RoomOwnership {
  readonly #options: RoomLeasesOptions;
  readonly #timings: TakeoverTimings;
  readonly #held = new Map<string, Holding>();
  /** The highest epochs that anybody has shown this node, of rooms that it does not host. */
  readonly #seen = new Map<string, Epoch>();
  /** Ended rooms that the store has not been told of yet. */
  readonly #releases = new Map<string, { epoch: Epoch; running: Promise<void> | undefined }>();
  #lost: (roomName: string) => void = () => undefined;
  #voice: () => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #isRenewing = false;

  constructor(options: RoomLeasesOptions) {
    this.#options = options;
    const { leaseMs } = options.store.timings;
    this.#timings = { leaseMs, affirmMs: leaseMs };
  }

  start(): void {
    this.#timer = setInterval(() => void this.renew(), this.#options.store.timings.heartbeatMs);
  }

  close(): void {
    clearInterval(this.#timer);
    for (const { writes } of this.#held.values()) {
      writes.close();
    }
  }

  get size(): number {
    return this.#held.size;
  }

  epochOf(roomName: string): Epoch | undefined {
    return this.#held.get(roomName)?.epoch;
  }

  onLost(lost: (roomName: string) => void): void {
    this.#lost = lost;
  }

  onVoice(listener: () => void): void {
    this.#voice = listener;
  }

  /** A master has affirmed this node. */
  affirmed(): void {
    this.#voice();
  }

  mayAct(roomName: string): boolean {
    const held = this.#held.get(roomName);
    if (held === undefined) {
      return false;
    }
    const nowMs = performance.now();
    if (held.frozenAtMs !== undefined && nowMs - held.frozenAtMs < this.#timings.affirmMs) {
      return false;
    }
    const affirmedAtMs = this.#options.affirmation?.affirmedAtMs() ?? -Infinity;
    const standing = {
      // What Redis said before the room was to be given away says nothing about who has it now.
      renewalAgeMs: held.frozenAtMs === undefined ? nowMs - held.renewedAtMs : Infinity,
      affirmationAgeMs: nowMs - affirmedAtMs,
      isSuperseded: false,
    };
    return hostVoice(standing, this.#timings).kind === 'act';
  }

  async acquire(roomName: string): Promise<RoomGrant> {
    await this.#releases.get(roomName)?.running;
    const { store, nodeId } = this.#options;
    // Masters place rooms: a claim of one that is not this node's would make it here, past every limit.
    const found = await store.rooms.find(roomName);
    if (found?.nodeId !== nodeId) {
      return { kind: found === undefined ? 'missing' : 'elsewhere' };
    }
    // Only a claim waits for a replica to know the room too.
    const sentAtMs = performance.now();
    const [owner, early] = await Promise.all([store.rooms.claim(roomName, nodeId), store.rooms.load(roomName)]);
    if (owner.nodeId !== nodeId) {
      return { kind: 'elsewhere' };
    }
    const isOwned = owner.kind === 'owned';
    const granted = isOwned ? owner.epoch : await this.#regain(roomName, owner.epoch);
    const epoch = granted === undefined ? undefined : await this.#rise(roomName, granted);
    if (epoch === undefined) {
      return { kind: 'elsewhere' };
    }
    if (!this.#held.has(roomName) && (await this.#passOn(roomName, epoch))) {
      return { kind: 'elsewhere' };
    }
    // What was read beside the question counts when it was this node's already then.
    const saved = early?.epoch === epoch ? early : await store.rooms.load(roomName);
    const parts = saved === undefined || saved.parts.size === 0 ? undefined : saved.parts;
    this.#hold(roomName, epoch, { sentAtMs, parts });
    return { kind: 'owned', epoch, parts };
  }

  publish(roomName: string, room: Uint8Array): void {
    this.#held.get(roomName)?.writes.publish(room);
  }

  save(roomName: string, parts: readonly RoomPart[]): void {
    this.#held.get(roomName)?.writes.save(parts);
  }

  async saved(roomName: string): Promise<void> {
    const { writes } = this.#held.get(roomName) ?? {};
    const deadlineMs = performance.now() + savedTimeoutMs;
    while (writes !== undefined && !writes.isClean && performance.now() < deadlineMs) {
      await Promise.race([writes.flush(), delay(savedTimeoutMs, undefined, { ref: false })]);
      if (!writes.isClean) {
        await delay(20);
      }
    }
  }

  release(roomName: string): void {
    const held = this.#held.get(roomName);
    if (held !== undefined) {
      this.#drop(roomName, held);
      this.#releases.set(roomName, { epoch: held.epoch, running: undefined });
      this.#release(roomName);
    }
  }

  async stated(roomName: string): Promise<void> {
    const writing = this.#held.get(roomName)?.writes.flush() ?? this.#releases.get(roomName)?.running;
    if (writing !== undefined && this.#options.store.health.answeringSince() !== undefined) {
      const enough = new AbortController();
      await Promise.race([writing, delay(stateTimeoutMs, undefined, { signal: enough.signal }).catch(() => undefined)]);
      enough.abort();
    }
  }

  async handOver(roomName: string, successor = this.#options.chooseSuccessor(roomName)): Promise<NodeId | undefined> {
    const held = this.#held.get(roomName);
    if (held === undefined || successor === undefined) {
      return undefined;
    }
    const { rooms } = this.#options.store;
    held.frozenAtMs = performance.now();
    try {
      await held.writes.flush();
      const given = await rooms.handOver(roomName, held.epoch, successor);
      if (given.kind !== 'taken') {
        return undefined;
      }
      this.#saw(roomName, given.epoch);
      this.#drop(roomName, held);
      await this.#tell(roomName);
      return successor;
    } catch (error) {
      // It may have happened all the same: a renewal that is sent after this will tell.
      this.#options.log.warn({ err: error, room: roomName }, 'a room could not be given to another node');
      return undefined;
    }
  }

  superseded(roomName: string, epoch: Epoch): void {
    const held = this.#held.get(roomName);
    if (held === undefined || held.epoch < epoch) {
      this.#saw(roomName, epoch);
      this.#forsake(roomName, held?.epoch);
    }
  }

  /** Extends all leases at once. Never rejects: while the store is away, rooms go on. */
  async renew(): Promise<void> {
    for (const roomName of this.#releases.keys()) {
      this.#release(roomName);
    }
    if (this.#isRenewing) {
      return;
    }
    this.#isRenewing = true;
    const sentAtMs = performance.now();
    const stated = [...this.#held].map(([roomName, { epoch }]) => ({ roomName, epoch }));
    try {
      const renewal = await this.#options.store.rooms.renew(this.#options.nodeId, stated);
      const epochs = new Map(stated.map(({ roomName, epoch }) => [roomName, epoch]));
      for (const { roomName, owner } of renewal.lost) {
        if (owner !== undefined) {
          this.#saw(roomName, owner.epoch);
        }
        this.#forsake(roomName, epochs.get(roomName));
      }
      this.#renewed(epochs, sentAtMs);
      this.#options.affirmation?.renewed(sentAtMs);
      for (const roomName of renewal.restated) {
        this.#held.get(roomName)?.writes.restate();
      }
      for (const { writes } of this.#held.values()) {
        void writes.flush();
      }
      this.#voice();
    } catch (error) {
      this.#options.log.debug({ err: error }, 'the leases of rooms could not be renewed');
    } finally {
      this.#isRenewing = false;
    }
  }

  #renewed(epochs: ReadonlyMap<string, Epoch>, sentAtMs: number): void {
    for (const [roomName, epoch] of epochs) {
      const held = this.#held.get(roomName);
      if (held?.epoch === epoch) {
        held.renewedAtMs = Math.max(held.renewedAtMs, sentAtMs);
        if (held.frozenAtMs !== undefined && sentAtMs > held.frozenAtMs) {
          held.frozenAtMs = undefined;
        }
      }
    }
  }

  #hold(
    roomName: string,
    epoch: Epoch,
    { sentAtMs, parts }: { sentAtMs: number; parts: ReadonlyMap<string, Uint8Array> | undefined },
  ): void {
    const { rooms } = this.#options.store;
    const superseded = (): void => this.#forsake(roomName, epoch);
    const writes = new RoomWrites({ rooms, roomName, epoch, superseded });
    writes.inherit(parts ?? new Map());
    this.#held.get(roomName)?.writes.close();
    this.#held.set(roomName, { epoch, writes, renewedAtMs: sentAtMs, frozenAtMs: undefined });
    this.#seen.delete(roomName);
  }

  /** Our lease of it ran out before we came to host it. */
  async #regain(roomName: string, epoch: Epoch): Promise<Epoch | undefined> {
    const taken = await this.#options.store.rooms.takeOver(roomName, epoch, this.#options.nodeId);
    return taken.kind === 'taken' ? taken.epoch : undefined;
  }

  /** The store has forgotten later hosts of the room, but others have heard them: a grant as high as theirs is needed. */
  async #rise(roomName: string, granted: Epoch): Promise<Epoch | undefined> {
    const { store, nodeId, log } = this.#options;
    const highestSeen = this.#held.get(roomName)?.epoch ?? this.#seen.get(roomName);
    if (highestSeen === undefined || judgeGrant(granted, highestSeen) === 'host') {
      return granted;
    }
    log.info({ room: roomName, epoch: granted, highestSeen }, 'a higher epoch is asked for than the store remembers');
    // What is stated to the store raises what it grants next.
    const { lost } = await store.rooms.renew(nodeId, [{ roomName, epoch: highestSeen }]);
    const given = lost.length > 0 ? undefined : await store.rooms.handOver(roomName, highestSeen, nodeId);
    return given?.kind === 'taken' ? given.epoch : undefined;
  }

  #saw(roomName: string, epoch: Epoch): void {
    const highest = Math.max(epoch, this.#seen.get(roomName) ?? 0);
    this.#seen.delete(roomName);
    this.#seen.set(roomName, highest);
    const oldest = this.#seen.keys().next().value;
    if (this.#seen.size > maxSeen && oldest !== undefined) {
      this.#seen.delete(oldest);
    }
  }

  /** A room that was meant for this node before others knew that it takes none. Without a successor it makes do. */
  async #passOn(roomName: string, epoch: Epoch): Promise<boolean> {
    const { store, chooseSuccessor, admitsRooms, log } = this.#options;
    const successor = admitsRooms() ? undefined : chooseSuccessor(roomName);
    const given = successor && (await store.rooms.handOver(roomName, epoch, successor));
    if (given?.kind !== 'taken') {
      return false;
    }
    this.#saw(roomName, given.epoch);
    await this.#tell(roomName);
    log.info({ room: roomName }, 'room passed on: this node takes none');
    return true;
  }

  #forsake(roomName: string, epoch: Epoch | undefined): void {
    const held = this.#held.get(roomName);
    if (held !== undefined && held.epoch === epoch) {
      this.#drop(roomName, held);
      this.#options.log.warn({ room: roomName, epoch }, 'another node hosts the room now');
      this.#lost(roomName);
    }
  }

  #drop(roomName: string, held: Holding): void {
    held.writes.close();
    this.#held.delete(roomName);
  }

  /** Until the store has taken it, the room's name is not free; each renewal tries again. */
  #release(roomName: string): void {
    const release = this.#releases.get(roomName);
    if (release === undefined || release.running !== undefined) {
      return;
    }
    release.running = this.#options.store.rooms
      .release(roomName, release.epoch)
      .then(async () => {
        this.#releases.delete(roomName);
        await this.#tell(roomName);
      })
      .catch((error: unknown) => {
        release.running = undefined;
        this.#options.log.debug({ err: error, room: roomName }, 'the end of a room could not be stated');
      });
  }

  async #tell(roomName: string): Promise<void> {
    await this.#options.store.bus.publish(roomNoticeTopic, encodeRoomNotice([roomName])).catch(() => undefined);
  }
}

/** The rooms that this node hosts, as the store knows them: epochs, leases, and what survives the node. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../observe/log.ts';
import { judgeGrant } from '../placement/takeover.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { RoomPart } from '../room/events.ts';
import type { RoomGrant, RoomOwnership } from './directory.ts';
import { encodeRoomNotice, roomNoticeTopic } from './room-notices.ts';
import { RoomWrites } from './room-writes.ts';
import type { ClusterStore, Epoch } from './store.ts';

export type RoomLeasesOptions = {
  store: ClusterStore;
  nodeId: NodeId;
  /** Which node is to have a room that this one gives away; undefined when there is none. */
  chooseSuccessor: (roomName: string) => NodeId | undefined;
  log: Logger;
};

/** For which somebody waits who wants to read in the store what was stated: long enough for one that is well. */
const stateTimeoutMs = 500;

type Holding = { epoch: Epoch; writes: RoomWrites };

export class RoomLeases implements RoomOwnership {
  readonly #options: RoomLeasesOptions;
  readonly #held = new Map<string, Holding>();
  /** Ended rooms that the store has not been told of yet. */
  readonly #releases = new Map<string, { epoch: Epoch; running: Promise<void> | undefined }>();
  #lost: (roomName: string) => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #isRenewing = false;
  /** When the last renewal that succeeded was sent: in the store the leases end later than from here on. */
  #renewalSentAtMs = -Infinity;

  constructor(options: RoomLeasesOptions) {
    this.#options = options;
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

  async acquire(roomName: string, mayCreate: boolean): Promise<RoomGrant> {
    await this.#releases.get(roomName)?.running;
    const { store, nodeId } = this.#options;
    const asked = mayCreate ? this.#claim(roomName) : store.rooms.find(roomName);
    const [owner, early] = await Promise.all([asked, store.rooms.load(roomName)]);
    if (owner === undefined) {
      return { kind: 'missing' };
    }
    if (owner.nodeId !== nodeId) {
      return { kind: 'elsewhere' };
    }
    const epoch = owner.isLive ? owner.epoch : await this.#regain(roomName, owner.epoch);
    if (epoch === undefined || judgeGrant(epoch, this.#held.get(roomName)?.epoch) !== 'host') {
      return { kind: 'elsewhere' };
    }
    // What was read beside the question counts when it was this node's already then.
    const saved = early?.epoch === epoch ? early : await store.rooms.load(roomName);
    const writes = new RoomWrites({
      rooms: store.rooms,
      roomName,
      epoch,
      superseded: () => this.#forsake(roomName, epoch),
    });
    const parts = saved === undefined || saved.parts.size === 0 ? undefined : saved.parts;
    writes.inherit(parts ?? new Map());
    this.#held.set(roomName, { epoch, writes });
    return { kind: 'owned', epoch, parts };
  }

  isConfirmed(): boolean {
    return performance.now() - this.#renewalSentAtMs < this.#options.store.timings.leaseMs;
  }

  publish(roomName: string, room: Uint8Array): void {
    this.#held.get(roomName)?.writes.publish(room);
  }

  save(roomName: string, parts: readonly RoomPart[]): void {
    this.#held.get(roomName)?.writes.save(parts);
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

  async handOver(roomName: string): Promise<boolean> {
    const held = this.#held.get(roomName);
    const successor = this.#options.chooseSuccessor(roomName);
    if (held === undefined || successor === undefined) {
      return false;
    }
    const { rooms } = this.#options.store;
    try {
      await held.writes.flush();
      const given = await rooms.handOver(roomName, held.epoch, successor);
      if (given.kind === 'taken') {
        this.#drop(roomName, held);
        await this.#tell(roomName);
      }
      return given.kind === 'taken';
    } catch (error) {
      this.#options.log.warn({ err: error, room: roomName }, 'a room could not be given to another node');
      return false;
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
      this.#renewalSentAtMs = sentAtMs;
      const epochs = new Map(stated.map(({ roomName, epoch }) => [roomName, epoch]));
      for (const { roomName } of renewal.lost) {
        this.#forsake(roomName, epochs.get(roomName));
      }
      for (const roomName of renewal.restated) {
        this.#held.get(roomName)?.writes.restate();
      }
      for (const { writes } of this.#held.values()) {
        void writes.flush();
      }
    } catch (error) {
      this.#options.log.debug({ err: error }, 'the leases of rooms could not be renewed');
    } finally {
      this.#isRenewing = false;
    }
  }

  async #claim(roomName: string): Promise<{ nodeId: NodeId; epoch: Epoch; isLive: boolean }> {
    const claim = await this.#options.store.rooms.claim(roomName, this.#options.nodeId);
    return { nodeId: claim.nodeId, epoch: claim.epoch, isLive: claim.kind === 'owned' };
  }

  /** Our lease of it ran out before we came to host it. */
  async #regain(roomName: string, epoch: Epoch): Promise<Epoch | undefined> {
    const taken = await this.#options.store.rooms.takeOver(roomName, epoch, this.#options.nodeId);
    return taken.kind === 'taken' ? taken.epoch : undefined;
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

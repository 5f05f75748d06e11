/**
 * What one room still has to write to the store: the newest of everything, one write at a time. What the store did not
 * take is written again; after the store has forgotten the room, all of it is.
 */
import type { RoomPart } from '../room/events.ts';
import type { RoomRecords, RoomWrite } from './store.ts';

export type RoomWritesOptions = {
  rooms: RoomRecords;
  roomName: string;
  epoch: number;
  /** The room has a higher epoch. */
  superseded: () => void;
};

export class RoomWrites {
  readonly #options: RoomWritesOptions;
  /** All that is to be kept, by name. */
  readonly #parts = new Map<string, Uint8Array>();
  #dirtyParts = new Map<string, Uint8Array | undefined>();
  #room: Uint8Array | undefined;
  #isRoomDirty = false;
  #writing: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: RoomWritesOptions) {
    this.#options = options;
  }

  publish(room: Uint8Array): void {
    this.#room = room;
    this.#isRoomDirty = true;
    void this.flush();
  }

  /** What an earlier host saved, which is in the store already. */
  inherit(parts: ReadonlyMap<string, Uint8Array>): void {
    for (const [name, bytes] of parts) {
      this.#parts.set(name, bytes);
    }
  }

  save(parts: readonly RoomPart[]): void {
    for (const { name, bytes } of parts) {
      if (bytes === undefined) {
        this.#parts.delete(name);
      } else {
        this.#parts.set(name, bytes);
      }
      this.#dirtyParts.set(name, bytes);
    }
    void this.flush();
  }

  /** The store knows nothing of the room any more. */
  restate(): void {
    this.#isRoomDirty = this.#room !== undefined;
    this.#dirtyParts = new Map([...this.#parts, ...this.#dirtyParts]);
    void this.flush();
  }

  close(): void {
    this.#isClosed = true;
  }

  /** Everything is in the store. */
  get isClean(): boolean {
    return !this.#isRoomDirty && this.#dirtyParts.size === 0 && this.#writing === undefined;
  }

  /** Resolves when the store has all of it, or did not take it: then it stays to be written by the next flush. */
  async flush(): Promise<void> {
    if (this.#hasWork()) {
      this.#writing ??= this.#writeAll();
    }
    await this.#writing;
  }

  #hasWork(): boolean {
    return !this.#isClosed && (this.#isRoomDirty || this.#dirtyParts.size > 0);
  }

  async #writeAll(): Promise<void> {
    try {
      while (this.#hasWork()) {
        if (!(await this.#writeOnce())) break;
      }
    } finally {
      this.#writing = undefined;
    }
  }

  /** @returns whether to go on */
  async #writeOnce(): Promise<boolean> {
    const { rooms, roomName, epoch } = this.#options;
    const parts = this.#dirtyParts;
    const room = this.#isRoomDirty ? this.#room : undefined;
    this.#dirtyParts = new Map();
    this.#isRoomDirty = false;
    const nothing = Promise.resolve<RoomWrite>('written');
    const results = await Promise.allSettled([
      parts.size === 0 ? nothing : rooms.save(roomName, epoch, parts),
      room === undefined ? nothing : rooms.publish(roomName, epoch, room),
    ]);
    if (results.some((result) => result.status === 'fulfilled' && result.value === 'superseded')) {
      this.#options.superseded();
      return false;
    }
    const [saved, published] = results.map((result) => result.status === 'fulfilled' && result.value === 'written');
    if (saved !== true) {
      this.#dirtyParts = new Map([...parts, ...this.#dirtyParts]);
    }
    this.#isRoomDirty ||= published !== true;
    return saved === true && published === true;
  }
}

import type { Logger } from '../observe/log.ts';
import type { RoomGrant, RoomOwnership } from '../cluster/directory.ts';

export type RoomAnswer =
  | Exclude<RoomGrant, { kind: 'owned' }>
  | { kind: 'opened' }
  | { kind: 'failed'; error: unknown };

export type OpeningRoomsOptions = {
  ownership: RoomOwnership;
  open: (roomName: string, grant: Extract<RoomGrant, { kind: 'owned' }>) => void;
  log: Logger;
};

/** Who waits for a room that is asked for from the store: in order, answered together. */
export class OpeningRooms {
  readonly #options: OpeningRoomsOptions;
  readonly #waiting = new Map<string, ((answer: RoomAnswer) => void)[]>();

  constructor(options: OpeningRoomsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** @param answered called once, later */
  request(roomName: string, mayCreate: boolean, answered: (answer: RoomAnswer) => void): void {
    const key = `${mayCreate ? 'create' : 'find'} ${roomName}`;
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined) {
      waiting.push(answered);
      return;
    }
    this.#waiting.set(key, [answered]);
    void this.#acquire(roomName, mayCreate).then((answer) => {
      const all = this.#waiting.get(key) ?? [];
      this.#waiting.delete(key);
      for (const tell of all) {
        this.#tell(tell, answer);
      }
    });
  }

  async #acquire(roomName: string, mayCreate: boolean): Promise<RoomAnswer> {
    const { ownership, open, log } = this.#options;
    try {
      const grant = await ownership.acquire(roomName, mayCreate);
      if (grant.kind !== 'owned') {
        return grant;
      }
      open(roomName, grant);
      return { kind: 'opened' };
    } catch (error) {
      log.warn({ err: error, room: roomName }, 'a room could not be opened');
      return { kind: 'failed', error };
    }
  }

  /** One request's fault is not the others'. */
  #tell(tell: (answer: RoomAnswer) => void, answer: RoomAnswer): void {
    try {
      tell(answer);
    } catch (error) {
      this.#options.log.error({ err: error }, 'a request to a room that was opened failed');
    }
  }
}

import type { Logger } from '../observe/log.ts';
import type { RoomGrant, RoomOwnership } from '../cluster/directory.ts';
import type { JoinParameters } from '../protocol/session-messages.ts';

export type OwnedRoom = Extract<RoomGrant, { kind: 'owned' }>;

export type RoomAnswer =
  | Exclude<RoomGrant, { kind: 'owned' }>
  | { kind: 'opened' }
  | { kind: 'failed'; error: unknown };

export type OpeningRoomsOptions = {
  ownership: RoomOwnership;
  /** @returns false when the room was lost again meanwhile */
  open: (roomName: string, grant: OwnedRoom, createdBy: JoinParameters | undefined) => Promise<boolean>;
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

  /**
   * @param request whose join opens the room, if one does
   * @param answered called once, later
   */
  request(roomName: string, request: { createdBy?: JoinParameters }, answered: (answer: RoomAnswer) => void): void {
    const waiting = this.#waiting.get(roomName);
    if (waiting !== undefined) {
      waiting.push(answered);
      return;
    }
    this.#waiting.set(roomName, [answered]);
    void this.#acquire(roomName, request.createdBy).then((answer) => {
      const all = this.#waiting.get(roomName) ?? [];
      this.#waiting.delete(roomName);
      for (const tell of all) {
        this.#tell(tell, answer);
      }
    });
  }

  async #acquire(roomName: string, createdBy: JoinParameters | undefined): Promise<RoomAnswer> {
    const { ownership, open, log } = this.#options;
    try {
      const grant = await ownership.acquire(roomName);
      if (grant.kind !== 'owned') {
        return grant;
      }
      return (await open(roomName, grant, createdBy)) ? { kind: 'opened' } : { kind: 'elsewhere' };
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
